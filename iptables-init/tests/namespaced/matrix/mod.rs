//! The capture matrix: for each rule a packet that takes it and one that does not, in IPv4 and IPv6, by each backend.
//!
//! One pod per backend serves all cases: each configuration replaces the one before by `--reconcile`, which is thereby tested as well.
//! Whoever a connection reaches says who it is and what it sees of the connection, so a case is a list of questions and answers.

mod bed;
mod cases;

use outrigger_iptables_init::Family;

use bed::Bed;
use cases::{CASES, Case, Packet, Reaches};

fn run(backend: &str) {
    Bed::with(|bed| {
        let mut failures = Vec::new();
        for case in CASES {
            bed.apply(backend, case);
            for family in Family::ALL {
                failures.extend(case.packets.iter().filter_map(|packet| failure(bed, case, packet, family)));
            }
        }
        assert!(failures.is_empty(), "{backend}:\n{}", failures.join("\n"));
    });
}

fn failure(bed: &Bed, case: &Case, packet: &Packet, family: Family) -> Option<String> {
    let target = packet.to.address(family)?;
    let mut answer = bed.ask(packet, target);
    if packet.reaches == Reaches::App && answer.starts_with("app ") {
        answer.truncate("app".len());
    }
    let wanted = packet.expected(family);
    (answer != wanted).then(|| format!("{}: {family} {packet:?}: `{answer}`, not `{wanted}`", case.name))
}

#[test]
fn every_rule_is_taken_and_passed_by_with_iptables_legacy() {
    run("legacy");
}

#[test]
fn every_rule_is_taken_and_passed_by_with_iptables_nft() {
    run("nft");
}

#[test]
fn every_rule_is_taken_and_passed_by_with_native_nftables() {
    run("native");
}
