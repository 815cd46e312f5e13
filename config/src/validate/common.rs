//! Rules that several kinds share: durations, ports, labels, hosts, visibility, expressions.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use super::Checker;
use crate::decode::Path;
use crate::matcher::FullRegex;
use crate::string_map::StringMap;

/// Longest regular expression Istio takes.
const MAX_REGEX: usize = 1024;

impl Checker<'_> {
    /// A duration must be a positive whole number of milliseconds.
    pub(super) fn duration(&mut self, path: &Path<'_>, duration: Option<Duration>) {
        if let Some(duration) = duration {
            self.require(duration >= Duration::from_millis(1), path, "expected a duration of at least 1ms");
            self.whole_milliseconds(path, duration);
        }
    }

    /// A duration that may be 0 ("none") must be a whole number of milliseconds.
    pub(super) fn duration_or_zero(&mut self, path: &Path<'_>, duration: Option<Duration>) {
        if let Some(duration) = duration {
            self.whole_milliseconds(path, duration);
        }
    }

    fn whole_milliseconds(&mut self, path: &Path<'_>, duration: Duration) {
        self.require(duration.subsec_nanos().is_multiple_of(1_000_000), path, "expected a whole number of milliseconds");
    }

    /// A port number.
    pub(super) fn port(&mut self, path: &Path<'_>, number: u32) {
        if !(1..=65535).contains(&number) {
            self.error(path, format!("expected a port from 1 to 65535, found {number}"));
        }
    }

    /// A port number, where 0 stands for "not given".
    pub(super) fn port_or_zero(&mut self, path: &Path<'_>, number: u32) {
        if number != 0 {
            self.port(path, number);
        }
    }

    /// A number that may not be negative.
    pub(super) fn not_negative(&mut self, path: &Path<'_>, number: i32) {
        if number < 0 {
            self.error(path, format!("expected 0 or more, found {number}"));
        }
    }

    /// A share in percent.
    pub(super) fn percent(&mut self, path: &Path<'_>, value: f64) {
        let fits = value == 0.0 || (0.0001..=100.0).contains(&value);
        if !fits {
            self.error(path, format!("expected a percentage, 0 or from 0.0001 to 100, found {value}"));
        }
    }

    /// Labels as Kubernetes defines them.
    pub(super) fn labels(&mut self, path: &Path<'_>, labels: &StringMap) {
        for (key, value) in labels {
            let at = path.key(key);
            self.require(is_label_key(key), &at, "this is not a valid label name");
            if !is_label_value(value) {
                self.error(&at, format!("expected a label value: at most 63 letters, digits, '-', '_', '.', found {value:?}"));
            }
        }
    }

    /// A workload selector: equality only, so that `*` cannot be meant.
    pub(super) fn selector(&mut self, path: &Path<'_>, labels: &StringMap) {
        self.warn_if(labels.is_empty(), path, "this selector is empty, so it selects all workloads");
        if let Some((key, _)) = labels.iter().find(|(key, value)| key.contains('*') || value.contains('*')) {
            return self.error(&path.key(key), "a selector compares for equality; \"*\" has no meaning in it");
        }
        self.labels(path, labels);
    }

    /// Visibility: no repetition, nothing beside `*` or `~`, names of namespaces.
    pub(super) fn export_to(&mut self, path: &Path<'_>, list: &[String], namespace: &str, nobody_allowed: bool) {
        let mut seen = HashSet::new();
        for (index, entry) in list.iter().enumerate() {
            let at = path.index(index);
            let name = if entry == "." { namespace } else { entry.as_str() };
            self.require(seen.insert(name), &at, "this namespace is listed twice (\".\" is the object's own)");
            match entry.as_str() {
                "*" => self.require(list.len() == 1, &at, "\"*\" already means everybody; list nothing beside it"),
                "~" if nobody_allowed => self.require(list.len() == 1, &at, "\"~\" means nobody; list nothing beside it"),
                "." => {}
                other if is_dns_label(other) => {}
                other => self.error(&at, format!("expected \".\", \"*\" or a namespace, found {other:?}")),
            }
        }
    }

    /// An RE2 expression. False when it is none.
    pub(super) fn regex(&mut self, path: &Path<'_>, pattern: &str) -> bool {
        let before = self.problems.len();
        self.regex_problem(path, pattern);
        self.problems.len() == before
    }

    fn regex_problem(&mut self, path: &Path<'_>, pattern: &str) {
        if pattern.is_empty() {
            return self.error(path, "expected a regular expression, found an empty string");
        }
        if pattern.len() > MAX_REGEX {
            return self.error(path, format!("a regular expression has at most {MAX_REGEX} characters, this one has {}", pattern.len()));
        }
        if let Err(reason) = FullRegex::new(pattern) {
            let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
            self.error(path, format!("this is not a regular expression in RE2 syntax: {reason}"));
        }
    }

    /// A host that may be a wildcard.
    pub(super) fn wildcard_host(&mut self, path: &Path<'_>, host: &str) {
        if let Err(reason) = wildcard_domain(host) {
            self.error(path, format!("{host:?} is not a host name: {reason}"));
        }
    }

    /// A list in which each entry may stand once.
    pub(super) fn unique<'a>(&mut self, path: &Path<'_>, list: impl IntoIterator<Item = &'a str>, what: &str) {
        let mut seen = HashSet::new();
        for (index, entry) in list.into_iter().enumerate() {
            if !seen.insert(entry) {
                self.error(&path.index(index), format!("the {what} {entry:?} is listed twice"));
            }
        }
    }
}

/// A DNS label (RFC 1123): lower-case letters, digits and inner hyphens, at most 63.
pub(super) fn is_dns_label(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('-') && !text.ends_with('-')
}

/// A DNS name in the form of Kubernetes object names: dots, lower-case letters, digits and inner hyphens, at most 253.
pub(super) fn is_dns_subdomain(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let part = |part: &str| !part.is_empty() && part.bytes().all(allowed) && !part.starts_with('-') && !part.ends_with('-');
    text.len() <= 253 && text.split('.').all(part)
}

/// `name` or `prefix/name`.
pub(super) fn is_label_key(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    prefix.is_none_or(is_dns_subdomain) && !name.is_empty() && is_label_value(name)
}

/// Empty, or at most 63 letters, digits, `-`, `_`, `.` that begin and end with a letter or digit.
pub(super) fn is_label_value(value: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    let inner = |c: char| edge(c) || matches!(c, '-' | '_' | '.');
    value.is_empty() || (value.len() <= 63 && value.chars().all(inner) && value.starts_with(edge) && value.ends_with(edge))
}

/// Whether a host is a full name without wildcard, or why not.
pub(super) fn domain(host: &str) -> Result<(), &'static str> {
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.is_empty() {
        return Err("it is empty");
    }
    if name.len() > 255 {
        return Err("it has more than 255 characters");
    }
    let labels: Vec<&str> = name.split('.').collect();
    labels.iter().try_for_each(|label| dns_part(label))?;
    let numeric = labels.len() > 1 && labels.last().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if numeric { Err("its last part has digits only") } else { Ok(()) }
}

fn dns_part(label: &str) -> Result<(), &'static str> {
    match label {
        "" => Err("a part between dots is empty"),
        _ if label.len() > 63 => Err("a part between dots has more than 63 characters"),
        _ if label.contains('*') => Err("only the first part may have a wildcard, as \"*\" or at its start"),
        _ if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') => Err("only letters, digits and hyphens are allowed"),
        _ if label.starts_with('-') || label.ends_with('-') => Err("a part may not begin or end with a hyphen"),
        _ => Ok(()),
    }
}

/// Whether a host is `*`, a full name, or a name whose first part is `*`, `*x` or `*-x`.
pub(super) fn wildcard_domain(host: &str) -> Result<(), &'static str> {
    let Some(rest) = host.strip_prefix('*') else {
        return domain(host);
    };
    let rest = rest.strip_prefix('.').or_else(|| rest.strip_prefix('-')).unwrap_or(rest);
    if rest.is_empty() {
        return if host == "*" { Ok(()) } else { Err("something must follow the wildcard") };
    }
    domain(rest)
}

/// Whether a host is an IP address.
pub(super) fn is_ip(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

/// Whether a pattern (a name or a wildcard) covers every name that `host` covers. `*.foo.com` does not cover `foo.com`.
pub(super) fn covers(pattern: &str, host: &str) -> bool {
    let Some(suffix) = pattern.strip_prefix('*') else {
        return pattern.eq_ignore_ascii_case(host);
    };
    let (host, suffix) = (host.strip_prefix('*').unwrap_or(host).as_bytes(), suffix.as_bytes());
    let tail = host.len().checked_sub(suffix.len()).and_then(|start| host.get(start..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(suffix))
}

/// Whether some name is covered by both hosts.
pub(super) fn overlap(a: &str, b: &str) -> bool {
    covers(a, b) || covers(b, a)
}

/// Whether a text is an IP address or a range such as `10.0.0.0/8`.
pub(super) fn is_subnet(text: &str) -> bool {
    is_ip(text) || text.parse::<ipnet::IpNet>().is_ok()
}
