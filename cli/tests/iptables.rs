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
fn without_the_iptables_asked_for_the_package_to_install_is_named() {
    let empty = tempfile::tempdir().unwrap();
    let shell =
        format!("PATH={} exec {} iptables -i '*' --force-iptables-binary nft", empty.path().display(), env!("CARGO_BIN_EXE_outrigger"));
    let (code, _, err) = run(Command::new("unshare").args(["--net", "sh", "-c", &shell]));
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("IPv4: iptables-nft-restore not found in PATH; install the package `iptables`"), "{err}");
}

#[test]
fn a_log_that_cannot_be_written_does_not_end_the_command_after_its_work() {
    let (_, _, logged) = run(Command::new("unshare").args(["--net", env!("CARGO_BIN_EXE_outrigger"), "iptables", "-i", "*", "-b", "*"]));
    assert!(!logged.is_empty(), "something is logged");
    let shell = format!("exec {} iptables -u 1337 -i '*' -b '*' 2>/dev/full", env!("CARGO_BIN_EXE_outrigger"));
    let (code, out, _) = run(Command::new("unshare").args(["--net", "sh", "-c", &shell]));
    assert_eq!((code, out.as_str()), (Some(0), "capture rules are in place\n"));
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

/// A folder to put before `PATH`, with programs that are these shell scripts. `$REAL` in a script is the program's own path.
fn instead(programs: &[(&str, &str)]) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    for (name, script) in programs {
        let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).output().unwrap().stdout;
        let file = folder.path().join(name);
        std::fs::write(&file, format!("#!/bin/sh\nREAL={}\n{script}\n", String::from_utf8(found).unwrap().trim())).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

/// Runs a shell script in a fresh network namespace, with `$OUTRIGGER`; `instead` comes first in `PATH` as `$INSTEAD`.
fn in_namespace(instead: &tempfile::TempDir, script: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", &format!("ip link set lo up; {script}")]);
    run(command.env("OUTRIGGER", env!("CARGO_BIN_EXE_outrigger")).env("INSTEAD", instead.path()))
}

#[test]
fn explain_says_in_one_line_each_what_rules_are_for_and_changes_nothing() {
    let (code, out, _) = run(&mut outrigger("iptables -i * -b * -m TPROXY --explain"));
    assert_eq!(code, Some(0));
    assert!(out.starts_with("FAMILY  TABLE   CHAIN "), "{out}");
    let line = out.lines().find(|line| line.contains("ip rule add fwmark 1337 lookup 133")).unwrap();
    assert!(line.starts_with("IPv4") && line.ends_with("looked up in a table of their own"), "{line}");
    let (code, out, _) = run(&mut outrigger("iptables -i * --native-nftables --explain=json"));
    assert_eq!(code, Some(0));
    let rules: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(rules[0]["table"], "istio-proxy-nat");
    assert!(rules.as_array().unwrap().iter().all(|rule| rule["why"].as_str().is_some_and(|why| !why.is_empty())));
}

#[test]
fn help_teaches_by_example_under_both_names() {
    let (code, out, _) = run(&mut outrigger("iptables --help"));
    assert_eq!(code, Some(0));
    assert!(out.contains("Examples:") && out.contains("--explain") && out.contains("TPROXY"), "{out}");
    let (code, out, _) = run(&mut outrigger("istio-iptables --help"));
    assert_eq!(code, Some(0));
    assert!(out.contains("--istio-inbound-tproxy-mark"), "{out}");
}

#[test]
fn without_net_admin_the_capability_is_named() {
    let empty = instead(&[]);
    let (code, _, err) = in_namespace(&empty, "exec setpriv --bounding-set=-net_admin --inh-caps=-net_admin $OUTRIGGER iptables -i '*'");
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("lacks the capability NET_ADMIN") && err.contains("securityContext"), "{err}");
}

#[test]
fn a_read_only_lock_file_is_gone_round_and_where_that_fails_told() {
    let read_only = "mount -t tmpfs -o ro none /run; exec $OUTRIGGER iptables -i '*' --force-iptables-binary legacy";
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "sh", "-c", read_only]).env("OUTRIGGER", env!("CARGO_BIN_EXE_outrigger"));
    let (code, out, err) = run(&mut command);
    assert_eq!((code, out.as_str()), (Some(0), "capture rules are in place\n"), "{err}");

    let script = "echo \"Fatal: can't open lock file /run/xtables.lock: Read-only file system\" >&2; exit 4";
    let old = instead(&[("iptables-legacy-restore", script)]);
    let (code, _, err) = in_namespace(&old, "PATH=$INSTEAD:$PATH exec $OUTRIGGER iptables -i '*' --force-iptables-binary legacy");
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("iptables-legacy-restore cannot open its lock file") && err.contains("emptyDir"), "{err}");
}

#[test]
fn a_program_too_old_to_wait_for_the_lock_is_asked_again_without() {
    let script = r#"case "$*" in *--wait*) echo "iptables-restore: unrecognized option '--wait'" >&2; exit 2;; esac; exec $REAL "$@""#;
    let old = instead(&[("iptables-nft-restore", script)]);
    let (code, _, err) = in_namespace(&old, "PATH=$INSTEAD:$PATH exec $OUTRIGGER iptables -i '*' --force-iptables-binary nft");
    assert_eq!(code, Some(0), "{err}");
}

#[test]
fn what_the_kernel_lacks_is_named_with_its_module_before_anything_changes() {
    let refuses = |text: &str| {
        let script = r#"input=$(cat); case "$input" in *TEXT*) echo "line 3 failed: No chain/target/match by that name." >&2; exit 1;; esac
                        printf '%s\n' "$input" | $REAL "$@""#;
        instead(&[("iptables-nft-restore", &script.replace("TEXT", text))])
    };
    for (text, flags, module) in [
        ("TPROXY", "-m TPROXY", "xt_TPROXY"),
        ("zone", "--redirect-dns --capture-all-dns", "xt_CT"),
        ("ctstate", "--drop-invalid", "xt_conntrack"),
    ] {
        let script = format!(
            "PATH=$INSTEAD:$PATH; $OUTRIGGER iptables -i '*' -b '*' --force-iptables-binary nft {flags}; code=$?; iptables-nft-save 2>/dev/null; exit $code"
        );
        let (code, out, err) = in_namespace(&refuses(text), &script);
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains(module) && err.contains("which this kernel refuses"), "{err}");
        assert!(!out.contains("ISTIO_"), "{out}");
    }
}

#[test]
fn a_failure_on_the_way_puts_back_what_stood_before() {
    let script = r#"input=$(cat); case "$input" in *"--to-ports 16001"*) echo "no more memory" >&2; exit 1;; esac
                    printf '%s\n' "$input" | $REAL "$@""#;
    let failing = instead(&[("ip6tables-nft-restore", script)]);
    let show = "show() { iptables-nft-save -t nat 2>/dev/null | grep ^-A; iptables-nft-save -t mangle 2>/dev/null | grep ^-A; ip rule; ip -6 addr show dev lo | grep ::6; };";
    let iptables = "$OUTRIGGER iptables -b '*' --force-iptables-binary nft";
    // From nothing, and from another configuration.
    for before in ["true".to_owned(), format!("{iptables} -i 10.0.0.0/8 >/dev/null 2>&1")] {
        let script = format!(
            "{show} export PATH=$INSTEAD:$PATH; {before}; show; echo ---; {iptables} -i '*' -p 16001 -m TPROXY --reconcile; code=$?; show; exit $code"
        );
        let (code, out, err) = in_namespace(&failing, &script);
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains("ip6tables-nft-restore failed") && err.contains("no more memory") && err.contains("rolling back"), "{err}");
        let (earlier, later) = out.split_once("---\n").unwrap();
        assert_eq!(earlier, later);
    }
}

#[test]
fn rules_that_do_not_arrive_as_written_are_noticed_and_taken_back() {
    let losing = instead(&[("iptables-nft-restore", r#"sed '/--dport 15020/d' | $REAL "$@""#)]);
    let script = "PATH=$INSTEAD:$PATH; $OUTRIGGER iptables -i '*' -b '*' -d 15020 --force-iptables-binary nft; code=$?; iptables-nft-save; exit $code";
    let (code, out, err) = in_namespace(&losing, script);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("not those that were written") && err.contains("15020"), "{err}");
    assert!(!out.contains("ISTIO_"), "{out}");
}

#[test]
fn without_any_program_nftables_is_written_by_the_kernels_own_interface() {
    let empty = tempfile::tempdir().unwrap();
    let none = format!("PATH={}", empty.path().display());
    let flags = "-i '*' -b '*' -m TPROXY";
    let script = format!(
        "ip link set lo up; {none} $OUTRIGGER iptables {flags} --run-validation && nft list ruleset && {none} $OUTRIGGER iptables {flags} \
         && {none} $OUTRIGGER iptables {flags} -p 16001 --reconcile && $OUTRIGGER iptables {flags} -p 16001 --native-nftables \
         && {none} $OUTRIGGER iptables {flags} --cleanup-only && echo left: && nft list ruleset && ip rule"
    );
    let mut command = Command::new("unshare");
    let (code, out, err) = run(command.args(["--net", "sh", "-c", &script]).env("OUTRIGGER", env!("CARGO_BIN_EXE_outrigger")));
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("no iptables is installed: nftables is used directly"), "{err}");
    assert!(out.starts_with("capture rules are in place\ntable inet istio-proxy-mangle {"), "{out}");
    assert_eq!(out.matches("capture rules were in place already").count(), 2, "the second finds what `nft` would find: {out}");
    let (_, left) = out.split_once("left:\n").unwrap();
    assert!(!left.contains("istio") && !left.contains("fwmark"), "{left}");
}
