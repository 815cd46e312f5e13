//! Each family finds its own plan in the merged list, in order.

use proptest::prelude::*;

use super::{Merged, in_position, merge};
use crate::plan::plan;
use crate::rule::{Family, Rule};
use crate::{Args, settings};

fn of_family(merged: &[Merged], family: Family) -> Vec<Rule> {
    merged.iter().filter(|rule| rule.family.is_none_or(|of| of == family)).map(|rule| rule.rule.clone()).collect()
}

/// By table and chain, since chains may come in another sequence.
fn sorted(mut rules: Vec<Rule>) -> Vec<Rule> {
    rules.sort_by_key(|rule| (rule.table, rule.chain.name()));
    rules
}

fn arguments() -> impl Strategy<Value = Args> {
    let list = |items: &'static [&'static str]| {
        proptest::collection::vec(proptest::sample::select(items), 0..4).prop_map(|items| Some(items.join(",")))
    };
    let flag = || proptest::option::of(Just("true".to_owned()));
    let ranges = || list(&["10.0.0.0/8", "fd00::/8", "0.0.0.0/0", "::/0", "127.0.0.0/8", "192.0.2.1/32"]);
    let ports = || list(&["80", "443", "53"]);
    (ranges(), ranges(), ports(), ports(), list(&["net1", "net2"]), list(&["vm1", "vm2"]), flag(), flag(), flag()).prop_map(
        |(include, exclude, inbound, outbound, interfaces, reroute, tproxy, dns, all)| Args {
            istio_service_cidr: include,
            istio_service_exclude_cidr: exclude,
            istio_inbound_ports: inbound,
            istio_local_outbound_ports_exclude: outbound,
            istio_exclude_interfaces: interfaces,
            kube_virt_interfaces: reroute,
            istio_inbound_interception_mode: tproxy.map(|_| "TPROXY".to_owned()),
            capture_all_dns: all.clone().or_else(|| dns.clone()),
            redirect_dns: dns,
            drop_invalid: all,
            ..Args::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn each_family_finds_its_own_plan_in_order(args in arguments()) {
        let settings = settings::read(&args).unwrap().0;
        let merged = merge(&settings, &Family::ALL);
        for family in Family::ALL {
            prop_assert_eq!(sorted(of_family(&merged, family)), sorted(in_position(plan(&settings, family))));
        }
    }
}

#[test]
fn one_family_alone_is_its_plan_and_says_so() {
    let settings = settings::read(&Args::default()).unwrap().0;
    let merged = merge(&settings, &[Family::V4]);
    assert_eq!(merged.len(), plan(&settings, Family::V4).len());
    assert!(merged.iter().all(|rule| rule.family == Some(Family::V4)));
}
