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

#[test]
fn the_two_legs_of_a_dns_query_are_tracked_apart_even_with_the_same_addresses_and_ports() {
    const DNS: Case = Case { name: "zones", change: |args| args.redirect_dns = Some("true".to_owned()), packets: &[] };
    for backend in ["legacy", "nft", "native"] {
        Bed::with(|bed| {
            bed.apply(backend, &DNS);
            for (source, resolver) in [("10.77.0.2:5353", "10.77.0.53:53"), ("[fd77::2]:5353", "[fd77::53]:53")] {
                let (source, resolver) = (Some(source.parse().unwrap()), resolver.parse().unwrap());
                let application = bed::as_owner(1000, 1000, || bed::ask_by_udp(source, resolver));
                assert_eq!(application.unwrap(), "dns-proxy", "{backend}");
                let proxy = bed::as_owner(1337, 1337, || bed::ask_by_udp(source, resolver));
                assert_eq!(proxy.unwrap(), "peer", "{backend}");
            }
        });
    }
}

/// SYN together with FIN fits no connection; a closed port answers it with a reset, unless it never gets there.
#[test]
fn packets_that_fit_no_connection_are_dropped_if_asked_for() {
    const DROP: Case = Case { name: "drop", change: |args| args.drop_invalid = Some("true".to_owned()), packets: &[] };
    const KEEP: Case = Case { name: "keep", change: |_| {}, packets: &[] };
    for backend in ["legacy", "nft", "native"] {
        Bed::with(|bed| {
            bed.apply(backend, &KEEP);
            assert!(bed.resets_to_invalid_packets() > 0, "{backend}: the probe itself works");
            bed.apply(backend, &DROP);
            assert_eq!(bed.resets_to_invalid_packets(), 0, "{backend}");
        });
    }
}

/// Whatever changes into whatever: while rules are replaced a connection may have to wait, but none gets past the proxy.
#[test]
fn nothing_gets_past_the_proxy_while_rules_are_replaced() {
    const REDIRECT: Case = Case { name: "redirect", change: |_| {}, packets: &[] };
    const TPROXY: Case = Case {
        name: "tproxy",
        change: |args| {
            args.istio_inbound_interception_mode = Some("TPROXY".to_owned());
            args.drop_invalid = Some("true".to_owned());
        },
        packets: &[],
    };
    Bed::with(|bed| {
        bed.apply("legacy", &REDIRECT);
        let answers = bed.while_asking(|| {
            for (backend, case) in [
                ("legacy", &TPROXY),
                ("legacy", &REDIRECT),
                ("nft", &TPROXY),
                ("nft", &REDIRECT),
                ("native", &TPROXY),
                ("native", &REDIRECT),
                ("legacy", &REDIRECT),
            ] {
                bed.apply(backend, case);
            }
        });
        let past: Vec<&String> =
            answers.iter().filter(|answer| !answer.starts_with("inbound") && !answer.starts_with("outbound")).collect();
        assert!(past.is_empty(), "{past:?}");
        for side in ["inbound", "outbound"] {
            assert!(
                answers.iter().filter(|answer| answer.starts_with(side)).count() > 5,
                "too few {side} answers to tell: {}",
                answers.len()
            );
        }
    });
}
