//! What stands in the kernel after applying, applying again, reconciling and cleaning up.

use std::sync::mpsc::channel;

use nix::unistd::gettid;
use outrigger_iptables_init::{Error, Outcome, run};

use crate::support::{apply, chain, everything, in_namespace, sh, sidecar};

const FLAVOURS: [&str; 2] = ["legacy", "nft"];

/// The 18 rules of contract 2.1, by chain, as iptables-save shows them; `L` is localhost, `P` the passthrough source.
const DEFAULT: [(&str, &[&str]); 6] = [
    ("PREROUTING", &["-p tcp -j ISTIO_INBOUND"]),
    ("OUTPUT", &["-j ISTIO_OUTPUT"]),
    (
        "ISTIO_INBOUND",
        &[
            "-p tcp -m tcp --dport 15008 -j RETURN",
            "-p tcp -m tcp --dport 15090 -j RETURN",
            "-p tcp -m tcp --dport 15021 -j RETURN",
            "-p tcp -m tcp --dport 15020 -j RETURN",
            "-p tcp -j ISTIO_IN_REDIRECT",
        ],
    ),
    ("ISTIO_REDIRECT", &["-p tcp -j REDIRECT --to-ports 15001"]),
    ("ISTIO_IN_REDIRECT", &["-p tcp -j REDIRECT --to-ports 15006"]),
    (
        "ISTIO_OUTPUT",
        &[
            "-s P -o lo -j RETURN",
            "! -d L -o lo -p tcp -m tcp ! --dport 15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT",
            "-o lo -m owner ! --uid-owner 1337 -j RETURN",
            "-m owner --uid-owner 1337 -j RETURN",
            "! -d L -o lo -p tcp -m tcp ! --dport 15008 -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT",
            "-o lo -m owner ! --gid-owner 1337 -j RETURN",
            "-m owner --gid-owner 1337 -j RETURN",
            "-d L -j RETURN",
            "-j ISTIO_REDIRECT",
        ],
    ),
];

fn assert_default_rules(program: &str, localhost: &str, passthrough: &str) {
    for (name, rules) in DEFAULT {
        let expected: Vec<String> = rules
            .iter()
            .map(|rule| rule.replace("-d L", &format!("-d {localhost}")).replace("-s P", &format!("-s {passthrough}")))
            .collect();
        assert_eq!(chain(program, name), expected, "{program}, chain {name}");
    }
}

#[test]
fn all_eighteen_rules_stand_in_order_for_both_families_in_both_flavours() {
    assert_eq!(DEFAULT.iter().map(|(_, rules)| rules.len()).sum::<usize>(), 18);
    for flavour in FLAVOURS {
        in_namespace(|| {
            apply(sidecar(flavour));
            assert_default_rules(&format!("iptables-{flavour}-save"), "127.0.0.1/32", "127.0.0.6/32");
            assert_default_rules(&format!("ip6tables-{flavour}-save"), "::1/128", "::6/128");
            assert!(sh("ip -6 addr show dev lo").contains("inet6 ::6/128"), "the proxy must be able to bind ::6");
        });
    }
}

#[test]
fn applying_twice_changes_nothing() {
    for flavour in FLAVOURS {
        in_namespace(|| {
            apply(sidecar(flavour));
            let before = everything();
            assert_eq!(run(sidecar(flavour)).unwrap(), Outcome::AlreadyInPlace);
            assert_eq!(everything(), before);
        });
    }
}

#[test]
fn force_apply_writes_again_and_leaves_each_rule_once() {
    for flavour in FLAVOURS {
        in_namespace(|| {
            apply(sidecar(flavour));
            let before = everything();
            let mut args = sidecar(flavour);
            args.force_apply = Some("true".to_owned());
            apply(args);
            assert_eq!(everything(), before);
        });
    }
}

#[test]
fn cleaning_up_leaves_nothing_of_ours_and_everything_of_others() {
    for flavour in FLAVOURS {
        in_namespace(|| {
            sh(&format!("iptables-{flavour} -t nat -A OUTPUT -d 192.0.2.9 -j RETURN"));
            let others = everything();
            let mut args = sidecar(flavour);
            args.istio_exclude_interfaces = Some("net1".to_owned());
            args.drop_invalid = Some("true".to_owned());
            apply(args.clone());
            assert_ne!(everything(), others);
            args.cleanup_only = Some("true".to_owned());
            args.force_iptables_binary = None;
            assert_eq!(run(args.clone()).unwrap(), Outcome::CleanedUp);
            assert_eq!(everything(), others);
            assert!(!sh("ip -6 addr show dev lo").contains("::6"));
            assert_eq!(run(args).unwrap(), Outcome::CleanedUp, "with nothing there it is no error");
        });
    }
}

#[test]
fn rules_of_another_configuration_are_refused_and_with_reconcile_replaced() {
    for flavour in FLAVOURS {
        in_namespace(|| {
            let mut old = sidecar(flavour);
            old.istio_service_cidr = Some("10.0.0.0/8".to_owned());
            old.envoy_port = Some("19001".to_owned());
            apply(old);
            let before = everything();
            let error = run(sidecar(flavour)).unwrap_err();
            assert!(matches!(&error, Error::Different { .. }), "{error}");
            assert!(error.to_string().contains("--reconcile"), "{error}");
            assert_eq!(everything(), before, "a refusal changes nothing");

            let mut args = sidecar(flavour);
            args.reconcile = Some("true".to_owned());
            apply(args.clone());
            assert_default_rules(&format!("iptables-{flavour}-save"), "127.0.0.1/32", "127.0.0.6/32");
            assert_default_rules(&format!("ip6tables-{flavour}-save"), "::1/128", "::6/128");
            assert_eq!(run(args).unwrap(), Outcome::AlreadyInPlace);
        });
    }
}

#[test]
fn rules_in_the_wrong_order_are_noticed_and_mended() {
    for flavour in FLAVOURS {
        in_namespace(|| {
            apply(sidecar(flavour));
            let good = everything();
            sh(&format!(
                "iptables-{flavour} -t nat -D ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN; iptables-{flavour} -t nat -A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN"
            ));
            let mut args = sidecar(flavour);
            assert!(matches!(run(args.clone()), Err(Error::Different { .. })));
            args.reconcile = Some("true".to_owned());
            apply(args);
            assert_eq!(everything(), good);
        });
    }
}

#[test]
fn rules_left_in_the_other_flavour_are_noticed_and_with_reconcile_removed() {
    for (old, new) in [("legacy", "nft"), ("nft", "legacy")] {
        in_namespace(|| {
            apply(sidecar(old));
            let mut args = sidecar(new);
            assert!(matches!(run(args.clone()), Err(Error::Different { .. })));
            args.reconcile = Some("true".to_owned());
            apply(args);
            assert!(chain(&format!("iptables-{old}-save"), "ISTIO_OUTPUT").is_empty());
            assert_default_rules(&format!("iptables-{new}-save"), "127.0.0.1/32", "127.0.0.6/32");
        });
    }
}

#[test]
fn unasked_nft_is_taken_unless_legacy_holds_rules() {
    let unasked = || {
        let mut args = sidecar("");
        args.force_iptables_binary = None;
        args
    };
    in_namespace(|| {
        apply(unasked());
        assert_default_rules("iptables-nft-save", "127.0.0.1/32", "127.0.0.6/32");
    });
    in_namespace(|| {
        sh("iptables-legacy -t nat -A OUTPUT -d 192.0.2.9 -j RETURN; ip6tables-legacy -t nat -A OUTPUT -d 2001:db8::9 -j RETURN");
        apply(unasked());
        assert_eq!(chain("iptables-legacy-save", "ISTIO_OUTPUT").len(), 9);
        assert_eq!(chain("ip6tables-legacy-save", "ISTIO_OUTPUT").len(), 9);
        assert!(chain("iptables-nft-save", "ISTIO_OUTPUT").is_empty());
    });
}

#[test]
fn a_dry_run_touches_nothing() {
    in_namespace(|| {
        let mut args = sidecar("nft");
        args.dry_run = Some("true".to_owned());
        let Outcome::DryRun(text) = run(args).unwrap() else { panic!("a dry run says so") };
        assert!(text.contains("-A ISTIO_OUTPUT -j ISTIO_REDIRECT"));
        assert_eq!(everything(), "");
    });
}

#[test]
fn another_namespace_is_worked_in_by_its_path_and_the_callers_is_left_alone() {
    let (send, path) = channel();
    let (done, wait) = channel::<()>();
    let other = std::thread::spawn(move || {
        in_namespace(move || {
            send.send(format!("/proc/self/task/{}/ns/net", gettid())).unwrap();
            let _ = wait.recv();
            everything()
        })
    });
    in_namespace(move || {
        let mut args = sidecar("nft");
        args.network_namespace = Some(path.recv().unwrap());
        apply(args);
        assert_eq!(everything(), "", "the caller's namespace");
    });
    drop(done);
    assert!(other.join().unwrap().contains("-A ISTIO_OUTPUT -j ISTIO_REDIRECT"));
}

#[test]
fn a_namespace_that_does_not_exist_is_named() {
    let mut args = sidecar("nft");
    args.network_namespace = Some("/run/netns/no-such-namespace".to_owned());
    let message = run(args).unwrap_err().to_string();
    assert!(message.contains("--network-namespace /run/netns/no-such-namespace"), "{message}");
}
