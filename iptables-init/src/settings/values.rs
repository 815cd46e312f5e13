//! Reading single values and comma lists; every refusal names the flag, the value and what was expected.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use nix::unistd::{Group, User};

use super::Selection;
use crate::Error;

/// The kernel's limit on one rule's owner matches, kept from Istio (contract 2.2).
const MAX_GROUPS: usize = 64;

pub(super) fn groups(flag: &'static str, list: &str) -> Result<Vec<u32>, Error> {
    let found: Vec<u32> =
        items(list).map(|item| group_id(item).ok_or_else(|| setting(flag, item, "no such group"))).collect::<Result<_, _>>()?;
    if found.len() > MAX_GROUPS {
        return Err(setting(flag, list, &format!("expected at most {MAX_GROUPS} groups")));
    }
    Ok(found)
}

pub(super) fn ids(flag: &'static str, list: &str, lookup: fn(&str) -> Option<u32>) -> Result<Vec<u32>, Error> {
    let found: Vec<u32> = items(list)
        .map(|item| lookup(item).ok_or_else(|| setting(flag, item, "expected a number or a name this system knows")))
        .collect::<Result<_, _>>()?;
    if found.is_empty() { Err(setting(flag, list, "expected at least one")) } else { Ok(found) }
}

pub(super) fn user_id(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| User::from_name(name).ok().flatten().map(|user| user.uid.as_raw()))
}

pub(super) fn group_id(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw()))
}

pub(super) fn selection<T>(list: &str, read: impl Fn(&str) -> Result<Vec<T>, Error>) -> Result<Selection<T>, Error> {
    if list.trim() == "*" { Ok(Selection::All) } else { read(list).map(Selection::Only) }
}

pub(super) fn ports(flag: &'static str, list: &str) -> Result<Vec<u16>, Error> {
    items(list).map(|item| port(flag, item)).collect()
}

pub(super) fn port_or(flag: &'static str, value: &Option<String>, default: u16) -> Result<u16, Error> {
    match text(value) {
        "" => Ok(default),
        item => port(flag, item),
    }
}

pub(super) fn number_or(flag: &'static str, value: &Option<String>, default: u32, greatest: u32) -> Result<u32, Error> {
    match text(value) {
        "" => Ok(default),
        item => {
            let number = item.parse().ok().filter(|number| (1..=greatest).contains(number));
            number.ok_or_else(|| setting(flag, item, &format!("expected a number from 1 to {greatest}")))
        }
    }
}

pub(super) fn port(flag: &'static str, item: &str) -> Result<u16, Error> {
    item.parse().ok().filter(|port| *port != 0).ok_or_else(|| setting(flag, item, "expected a port from 1 to 65535"))
}

pub(super) fn ranges(flag: &'static str, list: &str) -> Result<Vec<IpNet>, Error> {
    items(list)
        .map(|item| match item.parse::<IpNet>() {
            Ok(net) => Ok(net.trunc()),
            Err(_) if item == "*" => Err(setting(flag, list, "`*` must stand alone, and only where everything may be captured")),
            Err(_) => Err(setting(flag, item, "expected a range such as 10.0.0.0/8 or fd00::/8")),
        })
        .collect()
}

/// A name ends up in the text for iptables-restore, so nothing but a real interface name may pass. A final `+` matches a prefix.
pub(super) fn interfaces(flag: &'static str, list: &str) -> Result<Vec<String>, Error> {
    items(list)
        .map(|item| {
            let fits = item.len() <= 15
                && item.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'"' | b'\'' | b'\\' | b'!' | b'*'));
            if fits { Ok(item.to_owned()) } else { Err(setting(flag, item, "expected an interface name of at most 15 characters")) }
        })
        .collect()
}

pub(super) fn loopback(value: &str) -> Result<Ipv4Net, Error> {
    const FLAG: &str = "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR";
    if value.is_empty() {
        return Ok(Ipv4Net::from(Ipv4Addr::LOCALHOST));
    }
    let net: Ipv4Net = value.parse().map_err(|_| setting(FLAG, value, "expected a range such as 127.0.0.1/32"))?;
    let fits = net.addr().is_loopback() && (8..=32).contains(&net.prefix_len());
    if fits { Ok(net.trunc()) } else { Err(setting(FLAG, value, "expected a range within 127.0.0.0/8")) }
}

/// A Go duration such as `5s`, `500ms`, `1.5s` or `1m30s`, of at most an hour.
pub(super) fn duration(flag: &'static str, value: &str, default: Duration) -> Result<Duration, Error> {
    if value.is_empty() {
        return Ok(default);
    }
    let length = seconds(value).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let length = length.filter(|length| *length <= Duration::from_secs(3600));
    length.ok_or_else(|| setting(flag, value, "expected a duration such as 5s, 500ms or 1m30s, at most an hour"))
}

/// The sum of number and unit pairs.
fn seconds(mut text: &str) -> Option<f64> {
    let mut sum = 0.0;
    while !text.is_empty() {
        let (number, rest) = text.split_at(text.find(|c: char| c != '.' && !c.is_ascii_digit())?);
        let (unit, rest) = rest.split_at(rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len()));
        let factor = match unit {
            "us" | "\u{b5}s" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        sum += number.parse::<f64>().ok()? * factor;
        text = rest;
    }
    Some(sum)
}

pub(super) fn boolean(flag: &'static str, value: &Option<String>) -> Result<bool, Error> {
    match text(value) {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        other => Err(setting(flag, other, "expected true or false")),
    }
}

pub(super) fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty())
}

pub(super) fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}

pub(super) fn setting(flag: &'static str, value: &str, reason: &str) -> Error {
    Error::Setting { flag, value: value.to_owned(), reason: reason.to_owned() }
}
