//! Rules as text for `nft -f`.

use std::fmt::Write as _;

use ipnet::IpNet;

use super::PREFIX;
use crate::merge::Merged;
use crate::rule::{Chain, Family, Match, Table, Target};

/// Name of a table.
#[must_use]
pub fn table(table: Table) -> String {
    format!("{PREFIX}{}", table.name())
}

/// The whole of what is fed to `nft -f`: the tables removed if they are there, then made anew. One transaction.
#[must_use]
pub fn replacement(merged: &[Merged]) -> String {
    removal() + &render(merged)
}

/// Removes the tables; adding them first makes that no error where they are not there.
#[must_use]
pub fn removal() -> String {
    let names = Table::ALL.map(table);
    names.iter().map(|name| format!("add table inet {name}\ndelete table inet {name}\n")).collect()
}

/// The tables that hold rules, with their chains in order of first mention.
#[must_use]
pub fn render(merged: &[Merged]) -> String {
    let mut text = String::new();
    for kernel_table in Table::ALL {
        let rules: Vec<&Merged> = merged.iter().filter(|rule| rule.rule.table == kernel_table).collect();
        if rules.is_empty() {
            continue;
        }
        let _ = writeln!(text, "table inet {} {{", table(kernel_table));
        for chain in chains(&rules) {
            render_chain(&mut text, kernel_table, chain, &rules);
        }
        text.push_str("}\n");
    }
    text
}

/// The chains that rules stand in or jump to, each once, in order of first mention.
pub(super) fn chains(rules: &[&Merged]) -> Vec<Chain> {
    let mut found: Vec<Chain> = Vec::new();
    for rule in rules {
        let target = if let Target::Jump(chain) = rule.rule.target { Some(chain) } else { None };
        for chain in std::iter::once(rule.rule.chain).chain(target) {
            if !found.contains(&chain) {
                found.push(chain);
            }
        }
    }
    found
}

fn render_chain(text: &mut String, table: Table, chain: Chain, rules: &[&Merged]) {
    let _ = writeln!(text, "\tchain {} {{", chain.native_name());
    if let Some(Hook { kind, priority, .. }) = hook_of(table, chain) {
        let _ = writeln!(text, "\t\ttype {kind} hook {} priority {priority}; policy accept;", chain.native_name());
    }
    for rule in rules.iter().filter(|rule| rule.rule.chain == chain) {
        let _ = writeln!(text, "\t\t{} comment \"{}\"", line(rule), comment(rule));
    }
    text.push_str("\t}\n");
}

/// Where the kernel calls a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Type of the chain.
    pub kind: &'static str,
    /// Number of the hook: 0 prerouting, 3 output (linux/netfilter.h).
    pub number: u32,
    /// Lower comes first.
    pub priority: i32,
}

/// The hook of one of the kernel's own chains. Priorities are those of the iptables tables; a changed mark has to change the route
/// as well, which only the type `route` does.
#[must_use]
pub fn hook_of(table: Table, chain: Chain) -> Option<Hook> {
    let number = match chain {
        Chain::Prerouting => 0,
        Chain::Output => 3,
        _ => return None,
    };
    let (kind, priority) = match table {
        Table::Raw => ("filter", -300),
        Table::Mangle if chain == Chain::Output => ("route", -150),
        Table::Mangle => ("filter", -150),
        Table::Nat => ("nat", -100),
    };
    Some(Hook { kind, number, priority })
}

/// Why the rule is there, and a number made of what it says.
#[must_use]
pub fn comment(rule: &Merged) -> String {
    let said = format!("{} {}", rule.rule.chain.native_name(), line(rule));
    format!("{} [{:08x}]", rule.rule.why, fingerprint(said.as_bytes()))
}

/// FNV-1a, 32 bits. Rules are compared with it, not protected by it.
fn fingerprint(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// A rule without its comment.
#[must_use]
pub fn line(merged: &Merged) -> String {
    let mut words: Vec<String> = Vec::new();
    if let Some(family) = merged.family.filter(|_| !merged.has_address()) {
        words.push(format!("meta nfproto {}", if family == Family::V4 { "ipv4" } else { "ipv6" }));
    }
    words.extend(merged.rule.matches.iter().filter_map(condition));
    words.push(target(merged));
    words.join(" ")
}

fn condition(condition: &Match) -> Option<String> {
    Some(match condition {
        Match::Source(net) => format!("{} saddr {net}", family(net)),
        Match::Destination(net) => format!("{} daddr {net}", family(net)),
        Match::NotDestination(net) => format!("{} daddr != {net}", family(net)),
        Match::InInterface(name) => format!("iifname {}", interface(name)?),
        Match::OutInterface(name) => format!("oifname {}", interface(name)?),
        Match::Tcp => "meta l4proto tcp".to_owned(),
        Match::TcpPort(port) => format!("tcp dport {port}"),
        Match::NotTcpPort(port) => format!("tcp dport != {port}"),
        Match::NotTcpPorts([one, other]) => format!("tcp dport != {one} tcp dport != {other}"),
        Match::UdpPort(port) => format!("udp dport {port}"),
        Match::UdpSourcePort(port) => format!("udp sport {port}"),
        Match::Uid(uid) => format!("meta skuid {uid}"),
        Match::NotUid(uid) => format!("meta skuid != {uid}"),
        Match::Gid(gid) => format!("meta skgid {gid}"),
        Match::NotGid(gid) => format!("meta skgid != {gid}"),
        Match::Mark(mark) => format!("meta mark {mark}"),
        Match::NotMark(mark) => format!("meta mark != {mark}"),
        Match::ConnectionMark(mark) => format!("ct mark {mark}"),
        Match::ConntrackInvalid => "ct state invalid".to_owned(),
        Match::ConntrackEstablished => "ct state related,established".to_owned(),
    })
}

fn family(net: &IpNet) -> &'static str {
    match net {
        IpNet::V4(_) => "ip",
        IpNet::V6(_) => "ip6",
    }
}

/// What iptables writes as a final `+`, nftables writes as `*`; alone it means every interface and is no condition.
fn interface(name: &str) -> Option<String> {
    match name.strip_suffix('+') {
        Some("") => None,
        Some(prefix) => Some(format!("\"{prefix}*\"")),
        None => Some(format!("\"{name}\"")),
    }
}

fn target(merged: &Merged) -> String {
    match merged.rule.target {
        Target::Return => "return".to_owned(),
        Target::Jump(chain) => format!("jump {}", chain.native_name()),
        Target::Redirect(port) => format!("redirect to :{port}"),
        Target::Tproxy { port, mark } => {
            let family = if merged.family == Some(Family::V6) { "ip6" } else { "ip" };
            format!("tproxy {family} to :{port} meta mark set {mark} accept")
        }
        Target::SetMark(mark) => format!("meta mark set {mark}"),
        Target::SaveMark => "ct mark set meta mark".to_owned(),
        Target::RestoreMark => "meta mark set ct mark".to_owned(),
        Target::Zone(zone) => format!("ct zone set {zone}"),
        Target::Accept => "accept".to_owned(),
        Target::Drop => "drop".to_owned(),
    }
}
