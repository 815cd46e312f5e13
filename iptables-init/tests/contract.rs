//! The rules beside the tables of the contract (2.1, 2.2, 2.4, 2.5), written here once more, by hand, for IPv4 and in both families
//! where they differ by constants alone. The golden files say what changed; this says whether it may.

use outrigger_iptables_init::{Args, Outcome, run};

/// The `-A` lines of a chain after the `*table` of one family, in the order in which they will stand.
fn chain(args: Args, family: &str, table: &str, chain: &str) -> Vec<String> {
    let Ok(Outcome::DryRun(text)) = run(args) else { panic!("a dry run succeeds with text") };
    let start = format!("# {family}-restore");
    let of_family = text.split("# ").map(|part| format!("# {part}")).find(|part| part.starts_with(&start)).unwrap();
    let of_table = of_family.split('*').find(|part| part.starts_with(&format!("{table}\n"))).unwrap_or_default();
    let mut rules = Vec::new();
    for line in of_table.lines() {
        if let Some(rule) = line.strip_prefix(&format!("-A {chain} ")) {
            rules.push(rule.to_owned());
        } else if let Some(rule) = line.strip_prefix(&format!("-I {chain} 1 ")) {
            rules.insert(0, rule.to_owned());
        }
    }
    rules
}

fn sidecar(change: impl FnOnce(&mut Args)) -> Args {
    let mut args = Args {
        proxy_uid: set("1337"),
        istio_service_cidr: set("*"),
        istio_inbound_ports: set("*"),
        istio_local_exclude_ports: set("15090,15021,15020"),
        dry_run: set("true"),
        ..Args::default()
    };
    change(&mut args);
    args
}

fn set(value: &str) -> Option<String> {
    Some(value.to_owned())
}

/// Compares chains with rows in which `L` is localhost, `P` the passthrough source, `M` and `S` the marks 1337 and 1338.
#[track_caller]
fn check(change: fn(&mut Args), rows: &[(&str, &str, &[&str])]) {
    for (family, localhost, passthrough) in [("iptables", "127.0.0.1/32", "127.0.0.6/32"), ("ip6tables", "::1/128", "::6/128")] {
        for (table, name, rules) in rows {
            let constants = [("{L}", localhost), ("{P}", passthrough), ("{M}", "0x539"), ("{S}", "0x53a"), ("{ALL}", "0xffffffff")];
            let rule = |rule: &&str| constants.iter().fold((*rule).to_owned(), |rule, (name, value)| rule.replace(name, value));
            let wanted: Vec<String> = rules.iter().map(rule).collect();
            assert_eq!(chain(sidecar(change), family, table, name), wanted, "{family} {table} {name}");
        }
    }
}

const SELF_CALL: &str = "! -d {L} -o lo -p tcp -m tcp ! --dport 15008 -m owner";

#[test]
fn the_default_is_table_2_1() {
    let by_uid = format!("{SELF_CALL} --uid-owner 1337 -j ISTIO_IN_REDIRECT");
    let by_gid = format!("{SELF_CALL} --gid-owner 1337 -j ISTIO_IN_REDIRECT");
    check(
        |_| {},
        &[
            (
                "nat",
                "ISTIO_INBOUND",
                &[
                    "-p tcp -m tcp --dport 15008 -j RETURN",
                    "-p tcp -m tcp --dport 15090 -j RETURN",
                    "-p tcp -m tcp --dport 15021 -j RETURN",
                    "-p tcp -m tcp --dport 15020 -j RETURN",
                    "-p tcp -j ISTIO_IN_REDIRECT",
                ],
            ),
            ("nat", "ISTIO_REDIRECT", &["-p tcp -j REDIRECT --to-ports 15001"]),
            ("nat", "ISTIO_IN_REDIRECT", &["-p tcp -j REDIRECT --to-ports 15006"]),
            ("nat", "PREROUTING", &["-p tcp -j ISTIO_INBOUND"]),
            ("nat", "OUTPUT", &["-j ISTIO_OUTPUT"]),
            (
                "nat",
                "ISTIO_OUTPUT",
                &[
                    "-s {P} -o lo -j RETURN",
                    &by_uid,
                    "-o lo -m owner ! --uid-owner 1337 -j RETURN",
                    "-m owner --uid-owner 1337 -j RETURN",
                    &by_gid,
                    "-o lo -m owner ! --gid-owner 1337 -j RETURN",
                    "-m owner --gid-owner 1337 -j RETURN",
                    "-d {L} -j RETURN",
                    "-j ISTIO_REDIRECT",
                ],
            ),
            ("mangle", "PREROUTING", &[]),
            ("raw", "OUTPUT", &[]),
        ],
    );
}

#[test]
fn tproxy_is_table_2_4() {
    check(
        |args| args.istio_inbound_interception_mode = set("TPROXY"),
        &[
            ("nat", "PREROUTING", &[]),
            ("nat", "ISTIO_INBOUND", &["-p tcp -m tcp --dport 15008 -j RETURN"]),
            ("nat", "ISTIO_IN_REDIRECT", &["-p tcp -j REDIRECT --to-ports 15006"]),
            ("mangle", "ISTIO_DIVERT", &["-j MARK --set-xmark {M}/{ALL}", "-j ACCEPT"]),
            ("mangle", "ISTIO_TPROXY", &["! -d {L} -p tcp -j TPROXY --on-port 15006 --tproxy-mark {M}/{ALL}"]),
            (
                "mangle",
                "PREROUTING",
                &["-p tcp -j ISTIO_INBOUND", "-p tcp -m mark --mark {M} -j CONNMARK --save-mark --nfmask {ALL} --ctmask {ALL}"],
            ),
            (
                "mangle",
                "ISTIO_INBOUND",
                &[
                    "-p tcp -m mark --mark {M} -j RETURN",
                    "-s {P} -i lo -p tcp -j RETURN",
                    "-i lo -p tcp -m mark ! --mark {S} -j RETURN",
                    "-p tcp -m tcp --dport 15090 -j RETURN",
                    "-p tcp -m tcp --dport 15021 -j RETURN",
                    "-p tcp -m tcp --dport 15020 -j RETURN",
                    "-p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT",
                    "-p tcp -j ISTIO_TPROXY",
                ],
            ),
            (
                "mangle",
                "OUTPUT",
                &[
                    "-o lo -p tcp -m mark --mark {M} -j RETURN",
                    "! -d {L} -o lo -p tcp -m owner --uid-owner 1337 -j MARK --set-xmark {S}/{ALL}",
                    "! -d {L} -o lo -p tcp -m owner --gid-owner 1337 -j MARK --set-xmark {S}/{ALL}",
                    "-p tcp -m connmark --mark {M} -j CONNMARK --restore-mark --nfmask {ALL} --ctmask {ALL}",
                ],
            ),
        ],
    );
}

#[test]
fn dns_capture_is_2_5() {
    const SELF_CALL: &str = "! -d {L} -o lo -p tcp -m multiport ! --dports 53,15008 -m owner";
    let by_uid = format!("{SELF_CALL} --uid-owner 1337 -j ISTIO_IN_REDIRECT");
    let by_gid = format!("{SELF_CALL} --gid-owner 1337 -j ISTIO_IN_REDIRECT");
    check(
        |args| {
            args.redirect_dns = set("true");
            args.capture_all_dns = set("true");
        },
        &[
            (
                "nat",
                "ISTIO_OUTPUT",
                &[
                    "-s {P} -o lo -j RETURN",
                    &by_uid,
                    "-o lo -p tcp -m tcp ! --dport 53 -m owner ! --uid-owner 1337 -j RETURN",
                    "-m owner --uid-owner 1337 -j RETURN",
                    &by_gid,
                    "-o lo -p tcp -m tcp ! --dport 53 -m owner ! --gid-owner 1337 -j RETURN",
                    "-m owner --gid-owner 1337 -j RETURN",
                    "-j ISTIO_OUTPUT_DNS",
                    "-d {L} -j RETURN",
                    "-j ISTIO_REDIRECT",
                ],
            ),
            (
                "nat",
                "ISTIO_OUTPUT_DNS",
                &["-p tcp -m tcp --dport 53 -j REDIRECT --to-ports 15053", "-p udp -m udp --dport 53 -j REDIRECT --to-ports 15053"],
            ),
            ("raw", "OUTPUT", &["-j ISTIO_OUTPUT_DNS"]),
            ("raw", "PREROUTING", &["-j ISTIO_INBOUND"]),
            (
                "raw",
                "ISTIO_OUTPUT_DNS",
                &[
                    "-p udp -m udp --dport 53 -m owner --uid-owner 1337 -j CT --zone 1",
                    "-p udp -m udp --sport 15053 -m owner --uid-owner 1337 -j CT --zone 2",
                    "-p udp -m udp --dport 53 -m owner --gid-owner 1337 -j CT --zone 1",
                    "-p udp -m udp --sport 15053 -m owner --gid-owner 1337 -j CT --zone 2",
                    "-p udp -m udp --dport 53 -j CT --zone 2",
                ],
            ),
            ("raw", "ISTIO_INBOUND", &["-p udp -m udp --sport 53 -j CT --zone 1"]),
        ],
    );
}

#[test]
fn variations_are_those_of_2_2() {
    check(
        |args| {
            args.istio_service_cidr = set("");
            args.istio_outbound_ports = set("80");
            args.istio_local_outbound_ports_exclude = set("3306");
            args.istio_exclude_interfaces = set("net1");
            args.istio_inbound_ports = set("80,443");
            args.outbound_owner_groups = set("202,203");
            args.drop_invalid = set("true");
        },
        &[
            ("nat", "PREROUTING", &["-i net1 -j RETURN", "-p tcp -j ISTIO_INBOUND"]),
            ("nat", "OUTPUT", &["-o net1 -j RETURN", "-j ISTIO_OUTPUT"]),
            (
                "nat",
                "ISTIO_INBOUND",
                &[
                    "-p tcp -m tcp --dport 15008 -j RETURN",
                    "-p tcp -m tcp --dport 80 -j ISTIO_IN_REDIRECT",
                    "-p tcp -m tcp --dport 443 -j ISTIO_IN_REDIRECT",
                ],
            ),
            (
                "nat",
                "ISTIO_OUTPUT",
                &[
                    "-p tcp -m tcp --dport 3306 -j RETURN",
                    "-p udp -m udp --dport 3306 -j RETURN",
                    "-s {P} -o lo -j RETURN",
                    &format!("{SELF_CALL} --uid-owner 1337 -j ISTIO_IN_REDIRECT"),
                    "-o lo -m owner ! --uid-owner 1337 -j RETURN",
                    "-m owner --uid-owner 1337 -j RETURN",
                    &format!("{SELF_CALL} --gid-owner 1337 -j ISTIO_IN_REDIRECT"),
                    "-o lo -m owner ! --gid-owner 1337 -j RETURN",
                    "-m owner --gid-owner 1337 -j RETURN",
                    "-m owner ! --gid-owner 202 -m owner ! --gid-owner 203 -j RETURN",
                    "-d {L} -j RETURN",
                    "-p tcp -m tcp --dport 80 -j ISTIO_REDIRECT",
                ],
            ),
            ("mangle", "PREROUTING", &["-m conntrack --ctstate INVALID -j ISTIO_DROP"]),
            ("mangle", "ISTIO_DROP", &["-j DROP"]),
        ],
    );
}

#[test]
fn nested_machines_come_before_inbound_capture_as_in_2_2() {
    let args = || {
        sidecar(|args| {
            args.kube_virt_interfaces = set("vm1");
            args.istio_service_cidr = set("10.0.0.0/8,192.0.2.0/24");
        })
    };
    assert_eq!(
        chain(args(), "iptables", "nat", "PREROUTING"),
        [
            "-d 192.0.2.0/24 -i vm1 -j ISTIO_REDIRECT",
            "-d 10.0.0.0/8 -i vm1 -j ISTIO_REDIRECT",
            "-i vm1 -j RETURN",
            "-p tcp -j ISTIO_INBOUND"
        ]
    );
    assert_eq!(chain(args(), "ip6tables", "nat", "PREROUTING"), ["-i vm1 -j RETURN", "-p tcp -j ISTIO_INBOUND"]);
}
