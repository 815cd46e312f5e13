//! Rules as text for `iptables-restore --noflush`.
//!
//! Conditions are written in the order in which `iptables-save` shows them, so that a person can lay the two side by side.

use std::fmt::Write as _;

use crate::plan::plan;
use crate::rule::{Chain, Family, Match, Place, Rule, Table, Target};
use crate::settings::Settings;

/// The whole input of `iptables-restore` (or `ip6tables-restore`) for rules in an empty namespace: per table, by name, the
/// chains in order of first mention, the rules in order.
#[must_use]
pub fn render(rules: &[Rule]) -> String {
    render_after(rules, |_| Vec::new())
}

/// Like [`render`], with lines put before the rules of each table: what removes older ones. A table without lines is left out.
/// One table is one transaction: no packet ever meets the old rules gone and the new ones missing.
#[must_use]
pub fn render_after(rules: &[Rule], before: impl Fn(Table) -> Vec<String>) -> String {
    let mut text = String::new();
    for table in Table::ALL {
        let mut lines = before(table);
        lines.extend(chains(rules, table).into_iter().map(|chain| format!("-N {}", chain.name())));
        lines.extend(rules.iter().filter(|rule| rule.table == table).map(line));
        if !lines.is_empty() {
            let _ = writeln!(text, "*{}\n{}\nCOMMIT", table.name(), lines.join("\n"));
        }
    }
    text
}

/// What `--dry-run` prints for these families.
#[must_use]
pub fn dry_run(settings: &Settings, families: &[Family]) -> String {
    let program = |family| if family == Family::V4 { "iptables-restore" } else { "ip6tables-restore" };
    families.iter().map(|family| format!("# {} --noflush\n{}", program(*family), render(&plan(settings, *family)))).collect()
}

/// Own chains of a table. `ISTIO_OUTPUT` comes last, as in Istio, which creates it with the first outbound rule.
fn chains(rules: &[Rule], table: Table) -> Vec<Chain> {
    let mut found: Vec<Chain> = Vec::new();
    for rule in rules.iter().filter(|rule| rule.table == table) {
        if !rule.chain.is_built_in() && !found.contains(&rule.chain) {
            found.push(rule.chain);
        }
    }
    found
}

/// One rule as `-A CHAIN ...` or `-I CHAIN 1 ...`.
#[must_use]
pub fn line(rule: &Rule) -> String {
    let mut text = match rule.place {
        Place::Last => format!("-A {}", rule.chain.name()),
        Place::First => format!("-I {} 1", rule.chain.name()),
    };
    text.push_str(&specification(rule));
    text
}

/// What follows the chain: conditions and target, each with a space before it.
#[must_use]
pub fn specification(rule: &Rule) -> String {
    let mut text = String::new();
    for condition in &rule.matches {
        text.push(' ');
        text.push_str(&condition_text(condition));
    }
    text.push_str(&match rule.target {
        Target::Return => " -j RETURN".to_owned(),
        Target::Jump(chain) => format!(" -j {}", chain.name()),
        Target::Redirect(port) => format!(" -j REDIRECT --to-ports {port}"),
        Target::Tproxy { port, mark } => format!(" -j TPROXY --on-port {port} --tproxy-mark {mark:#x}/0xffffffff"),
        Target::SetMark(mark) => format!(" -j MARK --set-xmark {mark:#x}/0xffffffff"),
        Target::SaveMark => " -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff".to_owned(),
        Target::RestoreMark => " -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff".to_owned(),
        Target::Zone(zone) => format!(" -j CT --zone {zone}"),
        Target::Accept => " -j ACCEPT".to_owned(),
        Target::Drop => " -j DROP".to_owned(),
    });
    text
}

fn condition_text(condition: &Match) -> String {
    match condition {
        Match::Source(net) => format!("-s {net}"),
        Match::Destination(net) => format!("-d {net}"),
        Match::NotDestination(net) => format!("! -d {net}"),
        Match::InInterface(name) => format!("-i {name}"),
        Match::OutInterface(name) => format!("-o {name}"),
        Match::Tcp => "-p tcp".to_owned(),
        Match::TcpPort(port) => format!("-p tcp -m tcp --dport {port}"),
        Match::NotTcpPort(port) => format!("-p tcp -m tcp ! --dport {port}"),
        Match::NotTcpPorts([one, other]) => format!("-p tcp -m multiport ! --dports {one},{other}"),
        Match::UdpPort(port) => format!("-p udp -m udp --dport {port}"),
        Match::UdpSourcePort(port) => format!("-p udp -m udp --sport {port}"),
        Match::Uid(uid) => format!("-m owner --uid-owner {uid}"),
        Match::NotUid(uid) => format!("-m owner ! --uid-owner {uid}"),
        Match::Gid(gid) => format!("-m owner --gid-owner {gid}"),
        Match::NotGid(gid) => format!("-m owner ! --gid-owner {gid}"),
        Match::Mark(mark) => format!("-m mark --mark {mark:#x}"),
        Match::NotMark(mark) => format!("-m mark ! --mark {mark:#x}"),
        Match::ConnectionMark(mark) => format!("-m connmark --mark {mark:#x}"),
        Match::ConntrackEstablished => "-m conntrack --ctstate RELATED,ESTABLISHED".to_owned(),
        Match::ConntrackInvalid => "-m conntrack --ctstate INVALID".to_owned(),
    }
}
