//! Between backends, modes and configurations: what is noticed, what is replaced, what is left behind (nothing).

use outrigger_iptables_init::{Args, Error, Outcome, run};

use crate::support::{apply, chain, everything, in_namespace, sh, sidecar};

fn set(value: &str) -> Option<String> {
    Some(value.to_owned())
}

fn backend(name: &str) -> Args {
    if name == "native" { Args { native_nftables: set("true"), ..sidecar("") } } else { sidecar(name) }
}

/// Rules of both families in every backend, and what TPROXY has in the routing tables.
fn standing() -> String {
    let routing = sh("for v in -4 -6; do ip $v rule | grep fwmark || true; ip $v route show table 133 2>/dev/null || true; done");
    everything() + &sh("nft list tables inet") + &routing
}

#[test]
fn every_backend_is_cleaned_up_completely_tproxy_and_dns_included() {
    for name in ["legacy", "nft", "native"] {
        in_namespace(|| {
            let before = standing();
            let mut args = backend(name);
            args.istio_inbound_interception_mode = set("TPROXY");
            args.redirect_dns = set("true");
            args.capture_all_dns = set("true");
            args.drop_invalid = set("true");
            args.kube_virt_interfaces = set("vm0");
            args.istio_exclude_interfaces = set("net1");
            apply(args.clone());
            let applied = standing();
            assert!(applied.contains("fwmark 0x539 lookup 133") && applied.contains("local default dev lo"), "{name}: {applied}");
            assert_eq!(run(args.clone()).unwrap(), Outcome::AlreadyInPlace, "{name}");
            args.cleanup_only = set("true");
            assert_eq!(run(args.clone()).unwrap(), Outcome::CleanedUp);
            assert_eq!(standing(), before, "{name}");
            assert_eq!(run(args).unwrap(), Outcome::CleanedUp, "{name}: with nothing there it is no error");
        });
    }
}

#[test]
fn from_one_backend_to_another_only_by_reconcile_and_nothing_stays_behind() {
    for (old, new) in [("legacy", "native"), ("native", "legacy"), ("nft", "native"), ("native", "nft")] {
        in_namespace(|| {
            apply(backend(new));
            let wanted = standing();
            let mut args = backend(new);
            args.cleanup_only = set("true");
            run(args).unwrap();
            apply(backend(old));
            let error = run(backend(new)).unwrap_err();
            assert!(matches!(&error, Error::Different { .. }), "{old} to {new}: {error}");
            let mut args = backend(new);
            args.reconcile = set("true");
            apply(args);
            assert_eq!(standing(), wanted, "{old} to {new}");
        });
    }
}

#[test]
fn from_tproxy_to_redirect_marks_and_routes_go_too() {
    for name in ["legacy", "nft", "native"] {
        in_namespace(|| {
            let (redirect, mut tproxy) = (backend(name), backend(name));
            apply(redirect.clone());
            let wanted = standing();
            tproxy.istio_inbound_interception_mode = set("TPROXY");
            tproxy.istio_exclude_interfaces = set("net1");
            tproxy.reconcile = set("true");
            apply(tproxy);
            let mut redirect = redirect;
            redirect.reconcile = set("true");
            apply(redirect);
            assert_eq!(standing(), wanted, "{name}");
        });
    }
}

#[test]
fn changed_native_rules_are_noticed_and_mended() {
    for change in [
        "nft insert rule inet istio-proxy-nat istio-output tcp dport 80 accept",
        "nft flush chain inet istio-proxy-nat istio-in-redirect",
        "nft add chain inet istio-proxy-nat istio-more",
        "nft delete table inet istio-proxy-mangle",
    ] {
        in_namespace(|| {
            let mut args = backend("native");
            args.drop_invalid = set("true");
            apply(args.clone());
            let good = sh("nft list ruleset");
            sh(change);
            let error = run(args.clone()).unwrap_err();
            assert!(matches!(&error, Error::Different { .. }), "{change}: {error}");
            args.reconcile = set("true");
            apply(args);
            assert_eq!(sh("nft list ruleset"), good, "{change}");
        });
    }
}

#[test]
fn native_rules_leave_other_tables_alone() {
    in_namespace(|| {
        sh("nft add table inet others; nft add chain inet others own; nft add rule inet others own tcp dport 1 drop");
        let before = sh("nft list ruleset");
        let mut args = backend("native");
        apply(args.clone());
        args.cleanup_only = set("true");
        run(args).unwrap();
        assert_eq!(sh("nft list ruleset"), before);
    });
}

#[test]
fn like_istio_the_order_of_rules_does_not_count() {
    in_namespace(|| {
        let mut args = sidecar("nft");
        apply(args.clone());
        sh("iptables-nft -t nat -D ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN; iptables-nft -t nat -A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN");
        assert!(matches!(run(args.clone()), Err(Error::Different { .. })));
        args.like_istio = set("unordered");
        assert_eq!(run(args).unwrap(), Outcome::AlreadyInPlace);
    });
}

#[test]
fn like_istio_ipv6_is_left_alone_without_an_address_and_with_a_second_one_unless_dual_stack() {
    let ipv6_rules = |addresses: &'static str, dual_stack: bool| {
        in_namespace(move || {
            sh(addresses);
            let mut args = sidecar("nft");
            args.like_istio = set("ipv6-detection");
            args.dual_stack = dual_stack.then(|| "true".to_owned());
            apply(args);
            assert!(!chain("iptables-nft-save", "ISTIO_OUTPUT").is_empty());
            !chain("ip6tables-nft-save", "ISTIO_OUTPUT").is_empty()
        })
    };
    const BOTH: &str =
        "ip link add eth0 type veth peer name other; ip addr add 10.0.0.1/24 dev eth0; ip addr add fd00::1/64 dev eth0 nodad";
    assert!(!ipv6_rules("true", false));
    assert!(!ipv6_rules(BOTH, false));
    assert!(ipv6_rules(BOTH, true));
    assert!(ipv6_rules("ip link add eth0 type veth peer name other; ip addr add fd00::1/64 dev eth0 nodad", false));
}

#[test]
fn temporary_rules_that_drop_everything_are_gone_afterwards() {
    for name in ["legacy", "nft", "native"] {
        in_namespace(|| {
            let mut args = backend(name);
            args.drop_invalid = set("true");
            apply(args.clone());
            args.envoy_port = set("16001");
            args.reconcile = set("true");
            args.like_istio = set("guards");
            apply(args);
            let now = standing();
            assert!(["-A INPUT", "-A FORWARD", "-A OUTPUT -p", "guard"].iter().all(|text| !now.contains(text)), "{now}");
        });
    }
}

#[test]
fn validation_succeeds_by_every_backend_and_in_both_modes() {
    for (name, mode) in [("legacy", "TPROXY"), ("nft", "TPROXY"), ("native", "TPROXY"), ("native", "REDIRECT")] {
        in_namespace(|| {
            let mut args = backend(name);
            args.istio_inbound_interception_mode = set(mode);
            args.run_validation = set("true");
            args.probe_timeout = set("10s");
            assert_eq!(run(args).unwrap(), Outcome::Applied, "{name} {mode}");
        });
    }
}

#[test]
fn a_pods_own_lock_is_taken_in_cni_mode_and_removed() {
    in_namespace(|| {
        let mut args = sidecar("legacy");
        args.cni_mode = set("true");
        apply(args);
        let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata("/proc/thread-self/ns/net").unwrap());
        assert!(!std::env::temp_dir().join(format!("xtables.{inode}.lock")).exists());
        assert!(!chain("iptables-legacy-save", "ISTIO_OUTPUT").is_empty());
    });
}

#[test]
fn where_ipv6_is_switched_off_everything_works_for_ipv4() {
    for name in ["legacy", "nft", "native"] {
        in_namespace(|| {
            sh("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
            let before = standing();
            let mut args = backend(name);
            args.istio_inbound_interception_mode = set("TPROXY");
            args.run_validation = set("true");
            args.probe_timeout = set("10s");
            apply(args.clone());
            args.run_validation = None;
            args.cleanup_only = set("true");
            run(args).unwrap();
            assert_eq!(standing(), before, "{name}");
        });
    }
}
