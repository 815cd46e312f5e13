//! What TPROXY needs of routing: packets with its mark are for this machine, whatever their destination (contract 2.4).
//!
//! `ip rule add fwmark 1337 lookup 133` and `ip route add local default dev lo table 133`, for each family.

use std::io;

use nix::net::if_::if_nametoindex;

use crate::Error;
use crate::netlink::{self, Change, Request};
use crate::rule::Family;
use crate::settings::Tproxy;

// Values of linux/rtnetlink.h and linux/fib_rules.h.
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
const FR_ACT_TO_TBL: u8 = 1;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TABLE: u16 = 15;
const RTA_OIF: u16 = 4;
const RTA_TABLE: u16 = 15;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_HOST: u8 = 254;
const RTN_LOCAL: u8 = 2;

/// What `ip rule add` chooses where there are only the kernel's own rules.
const PRIORITY: u32 = 32765;
/// How many copies of a rule are looked for at most.
const MAX_COPIES: u32 = 8;

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Rule,
    Route,
}

/// The parts in the order in which they are added: a rule never leads to an empty table.
pub(crate) const PARTS: [Part; 2] = [Part::Route, Part::Rule];

/// The command that would do the same, for people.
pub(crate) fn command(tproxy: Tproxy, family: Family, part: Part) -> String {
    let Tproxy { mark, route_table } = tproxy;
    let program = match family {
        Family::V4 => "ip",
        Family::V6 => "ip -6",
    };
    match part {
        Part::Rule => format!("{program} rule add fwmark {mark} lookup {route_table}"),
        Part::Route => format!("{program} route add local default dev lo table {route_table}"),
    }
}

/// Why, for people.
pub(crate) fn why(part: Part) -> &'static str {
    match part {
        Part::Rule => "marked packets are looked up in a table of their own",
        Part::Route => "in which every address is this pod's",
    }
}

/// Adds or removes one part; says whether that changed anything.
///
/// # Errors
/// [`Error::Routing`] with the command that would do the same.
pub(crate) fn change(tproxy: Tproxy, family: Family, part: Part, change: Change) -> Result<bool, Error> {
    let request = match part {
        Part::Rule => Ok(rule(tproxy, family, change)),
        Part::Route => route(tproxy, family),
    };
    let sent = request.and_then(|request| match change {
        Change::Add => netlink::send(&request, change),
        Change::Remove => remove_copies(&request),
    });
    sent.map_err(|source| Error::Routing { command: command(tproxy, family, part), source })
}

/// Others may have added the same under other priorities.
fn remove_copies(request: &Request) -> io::Result<bool> {
    for number in 0..MAX_COPIES {
        if !netlink::send(request, Change::Remove)? {
            return Ok(number > 0);
        }
    }
    Ok(true)
}

/// Without a priority of its own the kernel would take every addition for a new rule. To remove, any priority will do.
fn rule(tproxy: Tproxy, family: Family, change: Change) -> Request {
    // Family, prefix lengths, type of service, table (in the attribute), two reserved, action, flags.
    let fixed = vec![netlink::number(family), 0, 0, 0, 0, 0, 0, FR_ACT_TO_TBL, 0, 0, 0, 0];
    let mut attributes = vec![(FRA_FWMARK, number(tproxy.mark)), (FRA_TABLE, number(tproxy.route_table))];
    if change == Change::Add {
        attributes.push((FRA_PRIORITY, number(PRIORITY)));
    }
    Request { add: RTM_NEWRULE, remove: RTM_DELRULE, fixed, attributes }
}

fn route(tproxy: Tproxy, family: Family) -> io::Result<Request> {
    let fixed = vec![netlink::number(family), 0, 0, 0, 0, RTPROT_BOOT, RT_SCOPE_HOST, RTN_LOCAL, 0, 0, 0, 0];
    let attributes = vec![(RTA_OIF, number(if_nametoindex("lo")?)), (RTA_TABLE, number(tproxy.route_table))];
    Ok(Request { add: RTM_NEWROUTE, remove: RTM_DELROUTE, fixed, attributes })
}

fn number(value: u32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}
