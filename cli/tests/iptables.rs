//! The command `outrigger iptables`, and the same by Istio's name: what a person or a pod spec sees of it. The rules themselves are
//! tested in their own crate.

use std::process::{Command, Output};

fn outrigger(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    command.args(arguments.split_whitespace());
    command
}

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn a_dry_run_prints_the_rules_of_both_families_without_any_right() {
    let (code, out, _) = run(&mut outrigger("iptables -p 15001 -z 15006 -u 1337 -m REDIRECT -i * -b * -d 15090,15021,15020 --dry-run"));
    assert_eq!(code, Some(0));
    assert_eq!(out.matches("-A ISTIO_OUTPUT -j ISTIO_REDIRECT\n").count(), 2, "{out}");
    assert!(out.contains("-A ISTIO_OUTPUT -s ::6/128 -o lo -j RETURN\n"), "{out}");
}

#[test]
fn environment_variables_are_defaults() {
    let mut command = outrigger("iptables -n -i *");
    let (code, out, _) =
        run(command.env("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "4711").env("ISTIO_SERVICE_CIDR", "10.0.0.0/8").env("PROXY_UID", "99"));
    assert_eq!(code, Some(0));
    assert!(out.contains("--uid-owner 99 ") && out.contains("-m owner --gid-owner 4711 -j RETURN"), "{out}");
    assert!(!out.contains("10.0.0.0/8"), "the command line wins: {out}");
}

#[test]
fn a_mistyped_flag_is_refused_but_under_istios_name_ignored_with_a_warning() {
    let (code, _, err) = run(&mut outrigger("iptables --dry-rnu -i *"));
    assert_eq!(code, Some(2), "{err}");
    let (code, out, err) = run(&mut outrigger("istio-iptables --dry-run --from-the-future -i *"));
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("`--from-the-future` is not known here and is ignored"), "{err}");
    assert!(out.contains("-A ISTIO_OUTPUT -j ISTIO_REDIRECT"), "{out}");
}

#[test]
fn a_bad_value_ends_with_exit_code_1_and_names_the_flag() {
    let (code, out, err) = run(&mut outrigger("iptables -d 15090,http --dry-run"));
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("-d/--istio-local-exclude-ports: expected a port from 1 to 65535 (got `http`)"), "{err}");
}

#[test]
fn without_iptables_the_package_to_install_is_named() {
    let empty = tempfile::tempdir().unwrap();
    let shell = format!("PATH={} exec {} iptables -i '*'", empty.path().display(), env!("CARGO_BIN_EXE_outrigger"));
    let (code, _, err) = run(Command::new("unshare").args(["--net", "sh", "-c", &shell]));
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.contains(
            "IPv4: iptables-nft-restore, iptables-restore, iptables-legacy-restore not found in PATH; install the package `iptables`"
        ),
        "{err}"
    );
}

/// Runs the command in a fresh network namespace, prepared by `setup`, where only IPv4's nft programs exist.
fn without_ip6tables(setup: &str) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    for program in ["iptables-nft-save", "iptables-nft-restore"] {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().stdout;
        std::os::unix::fs::symlink(String::from_utf8(found).unwrap().trim(), folder.path().join(program)).unwrap();
    }
    let shell = format!("{setup}; PATH={} exec {} iptables -i '*'", folder.path().display(), env!("CARGO_BIN_EXE_outrigger"));
    run(Command::new("unshare").args(["--net", "sh", "-ec", &shell]))
}

#[test]
fn missing_ip6tables_is_told_and_fatal_only_where_an_ipv6_address_could_bypass_the_proxy() {
    let (code, _, err) = without_ip6tables("ip link set lo up");
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("only IPv4 is captured"), "{err}");
    let (code, _, err) = without_ip6tables("ip link set lo up; ip addr add fd00::1/64 dev lo");
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("IPv6: ip6tables-nft-restore") && err.contains("install the package `iptables`"), "{err}");
}
