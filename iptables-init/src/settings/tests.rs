//! Values of flags: what is taken, what is refused, and in which words.

use super::{Action, Backend, Flavour, Selection, read};
use crate::{Args, Error};

/// Sets some flags.
type Change = fn(&mut Args);

fn with(change: impl FnOnce(&mut Args)) -> Result<(super::Settings, super::Options), Error> {
    let mut args = Args::default();
    change(&mut args);
    read(&args)
}

fn some(value: &str) -> Option<String> {
    Some(value.to_owned())
}

#[test]
fn without_flags_nothing_is_captured_but_the_proxy_is_known() {
    let (settings, options) = read(&Args::default()).unwrap();
    assert_eq!((settings.outbound_capture_port, settings.inbound_capture_port, settings.inbound_tunnel_port), (15001, 15006, 15008));
    assert_eq!(settings.inbound_ports, Selection::Only(vec![]));
    assert_eq!(settings.outbound_ranges, Selection::Only(vec![]));
    assert_eq!(settings.loopback_v4.to_string(), "127.0.0.1/32");
    assert_eq!(options.action, Action::Apply);
    assert_eq!(options.backend, Backend::Iptables(None));
}

#[test]
fn the_group_follows_the_user_unless_it_is_given() {
    let (settings, _) = with(|args| args.proxy_uid = some("5,6")).unwrap();
    assert_eq!((settings.proxy_uids, settings.proxy_gids), (vec![5, 6], vec![5, 6]));
    let (settings, _) = with(|args| args.proxy_gid = some("root")).unwrap();
    assert_eq!(settings.proxy_gids, vec![0]);
}

#[test]
fn an_unknown_proxy_user_falls_back_to_1337() {
    let (settings, _) = with(|args| args.envoy_user = some("nobody-of-that-name")).unwrap();
    assert_eq!(settings.proxy_uids, vec![1337]);
    let (settings, _) = with(|args| args.envoy_user = some("root")).unwrap();
    assert_eq!(settings.proxy_uids, vec![0]);
}

#[test]
fn ranges_lose_their_host_bits_as_the_kernel_would_show_them() {
    let (settings, _) = with(|args| args.istio_service_cidr = some("10.1.2.3/8, fd00::1/16")).unwrap();
    let Selection::Only(ranges) = settings.outbound_ranges else { panic!("a list was given") };
    assert_eq!(ranges.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "fd00::/16"]);
}

#[test]
fn bad_values_name_the_flag_the_value_and_what_was_expected() {
    let cases: [(Change, &str); 8] = [
        (|args| args.envoy_port = some("0"), "-p/--envoy-port: expected a port from 1 to 65535 (got `0`); no rule was changed"),
        (
            |args| args.istio_local_exclude_ports = some("80,http"),
            "-d/--istio-local-exclude-ports: expected a port from 1 to 65535 (got `http`)",
        ),
        (|args| args.istio_service_cidr = some("10.0.0.1"), "expected a range such as 10.0.0.0/8 or fd00::/8 (got `10.0.0.1`)"),
        (|args| args.istio_service_exclude_cidr = some("*"), "-x/--istio-service-exclude-cidr: `*` must stand alone"),
        (|args| args.istio_exclude_interfaces = some("eth0\n-A OUTPUT -j DROP"), "expected an interface name"),
        (|args| args.istio_inbound_interception_mode = some("TRPOXY"), "expected REDIRECT or TPROXY"),
        (|args| args.reconcile = some("yes"), "--reconcile: expected true or false"),
        (|args| args.outbound_ipv4_loopback_cidr = some("10.0.0.0/8"), "expected a range within 127.0.0.0/8"),
    ];
    for (change, expected) in cases {
        let message = with(change).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn the_run_is_described_by_its_options() {
    let (_, options) = with(|args| {
        args.cleanup_only = some("true");
        args.force_iptables_binary = some("nft");
        args.network_namespace = some("/run/netns/a");
    })
    .unwrap();
    assert_eq!((options.action, options.backend), (Action::CleanUp, Backend::Iptables(Some(Flavour::Nft))));
    assert_eq!(options.network_namespace.as_deref(), Some("/run/netns/a".as_ref()));
}

#[test]
fn validation_takes_its_port_and_patience_from_flags() {
    let (_, options) = with(|args| {
        args.run_validation = some("true");
        args.probe_timeout = some("250ms");
    })
    .unwrap();
    let probe = options.validation.unwrap();
    assert_eq!((probe.port, probe.timeout.as_millis()), (15002, 250));
}

#[test]
fn more_groups_than_a_rule_can_hold_are_refused() {
    let list = (0..65).map(|n: u32| n.to_string()).collect::<Vec<_>>().join(",");
    let message = with(|args| args.outbound_owner_groups = Some(list)).unwrap_err().to_string();
    assert!(message.contains("at most 64 groups"), "{message}");
}

#[test]
fn a_probe_timeout_that_is_no_duration_or_endless_is_refused() {
    for value in ["5", "s", "-1s", "1.5h", "5s5", ".s", "1..s", "99999999999999999999s", "18446744073709551615m", "3601s"] {
        let result = with(|args| {
            args.run_validation = some("true");
            args.probe_timeout = some(value);
        });
        assert!(matches!(result, Err(Error::Setting { flag: "--probe-timeout", .. })), "{value}");
    }
}

#[test]
fn the_meshs_wish_for_dns_capture_is_left_alone_while_the_proxy_has_no_resolver() {
    let captures = |variable: &'static str| {
        let args = Args::default().with_environment(|name| [variable, "CAPTURE_ALL_DNS"].contains(&name).then(|| "true".to_owned()));
        read(&args).unwrap().0.dns.is_on()
    };
    assert!(!captures("ISTIO_META_DNS_CAPTURE"));
    assert!(captures("REDIRECT_DNS"), "what is said to this program itself counts");
}
