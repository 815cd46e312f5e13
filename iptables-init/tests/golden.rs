//! The text of the rules for the default sidecar and for every variation of contract 2.2, compared with files in `golden/`.
//! `OUTRIGGER_BLESS=1 cargo test -p outrigger-iptables-init --test golden` writes the files anew.

use std::path::Path;

use outrigger_iptables_init::{Args, Outcome, run};

/// The arguments of Istio's template, then changed by the case.
fn sidecar(change: impl FnOnce(&mut Args)) -> Args {
    let some = |value: &str| Some(value.to_owned());
    let mut args = Args {
        envoy_port: some("15001"),
        inbound_capture_port: some("15006"),
        proxy_uid: some("1337"),
        istio_inbound_interception_mode: some("REDIRECT"),
        istio_service_cidr: some("*"),
        istio_service_exclude_cidr: some(""),
        istio_inbound_ports: some("*"),
        istio_local_exclude_ports: some("15090,15021,15020"),
        dry_run: some("true"),
        ..Args::default()
    };
    change(&mut args);
    args
}

#[track_caller]
fn check(name: &str, change: impl FnOnce(&mut Args)) {
    let Ok(Outcome::DryRun(text)) = run(sidecar(change)) else { panic!("a dry run succeeds with text") };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"));
    if std::env::var_os("OUTRIGGER_BLESS").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(text, golden, "{name}: the rules changed; read the difference, then bless");
}

fn set(value: &str) -> Option<String> {
    Some(value.to_owned())
}

#[test]
fn default_sidecar() {
    check("default", |_| {});
}

#[test]
fn no_inbound_capture() {
    check("no-inbound", |args| args.istio_inbound_ports = set(""));
}

#[test]
fn some_inbound_ports_replace_the_excluded_ones() {
    check("inbound-ports", |args| args.istio_inbound_ports = set("80,443"));
}

#[test]
fn no_outbound_capture() {
    check("no-outbound", |args| args.istio_service_cidr = set(""));
}

#[test]
fn some_outbound_ranges_split_by_family() {
    check("outbound-ranges", |args| {
        args.istio_service_cidr = set("10.96.0.0/12,fd00:10::/64,0.0.0.0/0");
        args.istio_service_exclude_cidr = set("10.96.0.10/32,fd00:10::a/128");
    });
}

#[test]
fn excluded_ranges_come_before_everything_is_captured() {
    check("outbound-exclude-ranges", |args| {
        args.istio_service_exclude_cidr = set("169.254.169.254/32,10.0.0.0/8");
    });
}

#[test]
fn a_loopback_range_makes_loopback_capturable() {
    check("outbound-loopback", |args| args.istio_service_cidr = set("127.1.2.3/32"));
}

#[test]
fn outbound_ports_excluded_first_and_included_last() {
    check("outbound-ports", |args| {
        args.istio_service_cidr = set("");
        args.istio_local_outbound_ports_exclude = set("3306,6379");
        args.istio_outbound_ports = set("80,8080");
    });
}

#[test]
fn excluded_interfaces_come_before_everything() {
    check("exclude-interfaces", |args| args.istio_exclude_interfaces = set("net1,net2"));
}

#[test]
fn several_users_and_groups() {
    check("several-owners", |args| {
        args.proxy_uid = set("1337,1338");
        args.proxy_gid = set("1337,2000");
    });
}

#[test]
fn only_some_groups_captured() {
    check("owner-groups", |args| args.outbound_owner_groups = set("202,203"));
}

#[test]
fn some_groups_left_alone() {
    check("owner-groups-exclude", |args| args.outbound_owner_groups_exclude = set("888,889"));
}

#[test]
fn another_idea_of_localhost() {
    check("loopback-cidr", |args| args.outbound_ipv4_loopback_cidr = set("127.0.0.0/8"));
}

#[test]
fn invalid_packets_dropped() {
    check("drop-invalid", |args| args.drop_invalid = set("true"));
}

#[test]
fn other_ports_of_the_proxy() {
    check("other-ports", |args| {
        args.envoy_port = set("16001");
        args.inbound_capture_port = set("16006");
        args.inbound_tunnel_port = set("16008");
    });
}
