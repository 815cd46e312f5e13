//! What is written through the kernel's interface is what `nft` reads, and what `nft` itself would have written. Needs root: each test has a
//! network namespace of its own, which vanishes with its thread.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};

use super::{list, listing, lower_guard, put_back, raise_guard, remove, replace};
use crate::merge::{Merged, merge};
use crate::native::{Listing, text};
use crate::rule::Family;
use crate::{Args, settings};

fn in_namespace<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root: they make network namespaces");
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn nft(arguments: &[&str]) -> String {
    let output = Command::new("nft").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn rules(change: fn(&mut Args)) -> Vec<Merged> {
    let some = |value: &str| Some(value.to_owned());
    let mut args = Args { proxy_uid: some("1337"), istio_service_cidr: some("*"), istio_inbound_ports: some("*"), ..Args::default() };
    args.istio_local_exclude_ports = some("15090,15021,15020");
    change(&mut args);
    merge(&settings::read(&args).unwrap().0, &Family::ALL)
}

fn set(value: &str) -> Option<String> {
    Some(value.to_owned())
}

const CONFIGURATIONS: [fn(&mut Args); 4] = [
    |_| {},
    |args| {
        args.istio_inbound_interception_mode = set("TPROXY");
        args.drop_invalid = set("true");
        args.istio_exclude_interfaces = set("net1,vpn+");
        args.proxy_gid = set("1337,2000");
    },
    |args| {
        args.redirect_dns = set("true");
        args.capture_all_dns = set("true");
        args.outbound_owner_groups = set("202,203");
        args.istio_local_outbound_ports_exclude = set("3306");
    },
    |args| {
        args.kube_virt_interfaces = set("vm0");
        args.istio_service_cidr = set("10.96.0.0/12,192.0.2.1/32,fd00:10::/63,0.0.0.0/0");
        args.istio_service_exclude_cidr = set("169.254.169.254/32,fd00:ec2::254/128");
        args.istio_outbound_ports = set("9000");
        args.outbound_ipv4_loopback_cidr = set("127.0.0.0/8");
    },
];

#[test]
fn the_kernel_holds_the_same_rules_whether_nft_or_this_program_wrote_them() {
    for change in CONFIGURATIONS {
        let rules = rules(change);
        let by_nft = in_namespace(|| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text::replacement(&rules)).unwrap();
            nft(&["-f", file.path().to_str().unwrap()]);
            (nft(&["list", "ruleset"]), listing(&list().unwrap()))
        });
        let by_kernel = in_namespace(|| {
            replace(&rules).unwrap();
            (nft(&["list", "ruleset"]), listing(&list().unwrap()))
        });
        assert_eq!(sorted(&by_kernel.0), sorted(&by_nft.0));
        assert_eq!(sorted(&by_nft.0).concat().matches(" comment ").count(), rules.len(), "the comparison sees every rule");
        assert_eq!(by_kernel.1, Listing::wanted(&rules));
        assert_eq!(by_nft.1, Listing::wanted(&rules));
    }
}

/// Chains in the order of their names: `nft` and this program make them in different orders, which means nothing.
fn sorted(printed: &str) -> Vec<String> {
    let (mut found, mut table): (Vec<String>, String) = (Vec::new(), String::new());
    for line in printed.lines() {
        if line.starts_with("table ") {
            table = line.to_owned();
        } else if line.trim_start().starts_with("chain ") {
            found.push(format!("{table} {line}"));
        } else if let Some(last) = found.last_mut().filter(|_| !matches!(line.trim(), "" | "}")) {
            last.push('\n');
            last.push_str(line.trim());
        }
    }
    found.sort();
    found
}

#[test]
fn what_stood_before_is_put_back_and_removal_leaves_other_tables_alone() {
    in_namespace(|| {
        nft(&["add", "table", "inet", "others"]);
        let others = nft(&["list", "ruleset"]);
        replace(&rules(CONFIGURATIONS[1])).unwrap();
        let before = nft(&["list", "ruleset"]);
        let items = list().unwrap();
        replace(&rules(CONFIGURATIONS[2])).unwrap();
        assert_ne!(nft(&["list", "ruleset"]), before);
        put_back(&items).unwrap();
        assert_eq!(sorted(&nft(&["list", "ruleset"])), sorted(&before));
        remove().unwrap();
        assert_eq!(nft(&["list", "ruleset"]), others);
        remove().unwrap();
    });
}

#[test]
fn the_guard_drops_both_protocols_at_three_hooks_until_it_is_lowered() {
    in_namespace(|| {
        raise_guard().unwrap();
        let raised = nft(&["list", "ruleset"]);
        assert_eq!((raised.matches("tcp drop").count(), raised.matches("udp drop").count()), (3, 3), "{raised}");
        lower_guard().unwrap();
        assert_eq!(nft(&["list", "ruleset"]), "");
    });
}

#[test]
fn a_thousand_ranges_are_one_transaction() {
    in_namespace(|| {
        let ranges: Vec<String> = (0..1000).map(|n| format!("10.{}.{}.0/24", n / 256, n % 256)).collect();
        let args = Args { istio_service_cidr: Some(ranges.join(",")), ..Args::default() };
        let rules = merge(&settings::read(&args).unwrap().0, &Family::ALL);
        replace(&rules).unwrap();
        assert_eq!(listing(&list().unwrap()), Listing::wanted(&rules));
    });
}

#[test]
fn what_the_kernel_refuses_changes_nothing() {
    in_namespace(|| {
        replace(&rules(CONFIGURATIONS[0])).unwrap();
        let mut items = list().unwrap();
        let before = nft(&["list", "ruleset"]);
        // A rule before the chain it stands in.
        items.reverse();
        assert!(put_back(&items).is_err());
        assert_eq!(nft(&["list", "ruleset"]), before);
    });
}
