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

/// A file that names these resolvers.
fn resolv_conf(servers: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let lines: Vec<String> = servers.split_whitespace().map(|server| format!("nameserver {server}")).collect();
    std::fs::write(file.path(), lines.join("\n")).unwrap();
    file
}

#[track_caller]
fn check(name: &str, change: impl FnOnce(&mut Args)) {
    let mut args = sidecar(change);
    let resolv_conf = resolv_conf(args.resolv_conf.as_deref().unwrap_or_default());
    args.resolv_conf = Some(resolv_conf.path().display().to_string());
    let Ok(Outcome::DryRun(text)) = run(args) else { panic!("a dry run succeeds with text") };
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

#[test]
fn tproxy_of_all_ports() {
    check("tproxy", |args| args.istio_inbound_interception_mode = set("TPROXY"));
}

#[test]
fn tproxy_of_some_ports_with_other_numbers() {
    check("tproxy-ports", |args| {
        args.istio_inbound_interception_mode = set("TPROXY");
        args.istio_inbound_ports = set("80,443");
        args.istio_inbound_tproxy_mark = set("2000");
        args.istio_inbound_tproxy_route_table = set("200");
    });
}

#[test]
fn tproxy_without_inbound_capture() {
    check("tproxy-no-inbound", |args| {
        args.istio_inbound_interception_mode = set("TPROXY");
        args.istio_inbound_ports = set("");
    });
}

#[test]
fn tproxy_with_excluded_interfaces_and_several_owners() {
    check("tproxy-interfaces", |args| {
        args.istio_inbound_interception_mode = set("TPROXY");
        args.istio_exclude_interfaces = set("net1");
        args.proxy_uid = set("1337,1338");
        args.proxy_gid = set("1337");
        args.drop_invalid = set("true");
    });
}

#[test]
fn dns_to_the_servers_of_each_family() {
    check("dns", |args| {
        args.redirect_dns = set("true");
        args.resolv_conf = set("10.96.0.10 fd00:10::a");
    });
}

#[test]
fn dns_to_servers_of_one_family_leaves_the_other_without_a_jump() {
    check("dns-one-family", |args| {
        args.redirect_dns = set("true");
        args.resolv_conf = set("10.96.0.10 10.96.0.11");
    });
}

#[test]
fn dns_to_any_server() {
    check("dns-all", |args| {
        args.redirect_dns = set("true");
        args.capture_all_dns = set("true");
    });
}

#[test]
fn dns_without_servers_is_off() {
    check("default", |args| args.redirect_dns = set("true"));
}

#[test]
fn dns_of_some_groups_and_loopback_captured() {
    check("dns-groups", |args| {
        args.redirect_dns = set("true");
        args.resolv_conf = set("127.0.0.53");
        args.outbound_owner_groups = set("202,203");
        args.istio_service_cidr = set("127.0.0.0/8");
    });
}

#[test]
fn dns_as_istio_writes_it() {
    check("dns-like-istio", |args| {
        args.redirect_dns = set("true");
        args.resolv_conf = set("10.96.0.10");
        args.like_istio = set("dns-by-group");
    });
}

#[test]
fn nested_machines_with_everything_captured() {
    check("reroute", |args| {
        args.kube_virt_interfaces = set("vm1,vm2");
        args.istio_service_exclude_cidr = set("10.0.0.0/8");
    });
}

#[test]
fn nested_machines_with_ranges_of_both_families() {
    check("reroute-ranges", |args| {
        args.kube_virt_interfaces = set("vm1,vm2");
        args.istio_service_cidr = set("10.96.0.0/12,192.0.2.0/24,fd00:10::/64");
    });
}

#[test]
fn excluded_ports_and_ranges_together_keep_their_order() {
    check("outbound-everything", |args| {
        args.istio_local_outbound_ports_exclude = set("3306");
        args.istio_service_exclude_cidr = set("10.0.0.0/8");
        args.istio_outbound_ports = set("9000");
        args.istio_service_cidr = set("172.16.0.0/12");
        args.outbound_owner_groups_exclude = set("888");
    });
}

#[test]
fn another_idea_of_localhost_counts_for_tproxy() {
    check("tproxy-loopback-cidr", |args| {
        args.istio_inbound_interception_mode = set("TPROXY");
        args.outbound_ipv4_loopback_cidr = set("127.0.0.0/8");
    });
}

#[test]
fn native_default() {
    check("native", |args| args.native_nftables = set("true"));
}

#[test]
fn all_features_that_go_together_give_the_native_rules_on_record() {
    check("native-everything", |args| {
        everything(args);
        args.native_nftables = set("true");
    });
}

#[test]
fn all_features_that_go_together_give_the_rules_on_record() {
    check("everything", everything);
}

#[test]
fn explain_tells_the_reason_of_each_default_rule() {
    check("explain", |args| args.explain = set("text"));
}

#[test]
fn explain_tells_the_reason_of_each_rule_of_all_features() {
    check("explain-everything", |args| {
        everything(args);
        args.explain = set("text");
    });
}

#[test]
fn explain_as_json_has_the_native_rules_with_their_reasons() {
    check("explain-native-json", |args| {
        args.native_nftables = set("true");
        args.explain = set("json");
    });
}

/// Every feature that others do not exclude.
fn everything(args: &mut Args) {
    args.istio_inbound_interception_mode = set("TPROXY");
    args.drop_invalid = set("true");
    args.redirect_dns = set("true");
    args.resolv_conf = set("10.96.0.10 fd00:10::a");
    args.kube_virt_interfaces = set("vm+");
    args.istio_exclude_interfaces = set("net1");
    args.istio_local_outbound_ports_exclude = set("3306");
    args.istio_service_exclude_cidr = set("169.254.169.254/32,fd00:ec2::254/128");
    args.istio_outbound_ports = set("9000");
    args.istio_service_cidr = set("10.0.0.0/8,fd00::/8");
    args.outbound_owner_groups_exclude = set("888");
}
