//! Runs in a process of their own, for which some programs are not what they were: they fail, or end the run that called them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use outrigger_iptables_init::{lenient, run};

use crate::support::{apply, chain, everything, in_namespace, sh, sidecar};

const LINE: &str = "OUTRIGGER_TEST_LINE";

/// The other process's part; by itself no test. A namespace is inherited from the thread that starts the process.
#[test]
fn child() {
    if let Ok(line) = std::env::var(LINE) {
        let (args, _) = lenient::parse(line.split(' ').map(str::to_owned).collect()).unwrap();
        println!("outcome: {:?}", run(args).map_err(|error| error.to_string()));
    }
}

/// Runs a command line in this thread's namespace, with shell scripts in place of programs. Returns what the run came to; nothing
/// if it did not come to an end.
pub fn run_with(scripts: &[(&str, &str)], line: &str) -> Option<String> {
    run_as("env", scripts, line)
}

/// The same behind a program that starts others, such as `setpriv`.
pub fn run_as(starter: &str, scripts: &[(&str, &str)], line: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, script) in scripts {
        let file = folder.path().join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let test = std::env::current_exe().unwrap();
    let mut starter = starter.split(' ');
    let mut command = Command::new(starter.next().unwrap());
    command.args(starter).arg(test).args(["--exact", "programs::child", "--nocapture"]).env("PATH", path).env(LINE, line);
    let Output { stdout, .. } = command.output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned();
    text.lines().find_map(|line| line.split_once("outcome: ").map(|(_, outcome)| outcome.to_owned()))
}

const SIDECAR: &str = "-u 1337 -i * -b * -d 15090,15021,15020";

/// What the programs say on a kernel without nf_tables.
fn without_nf_tables() -> Vec<(&'static str, &'static str)> {
    const REFUSAL: &str = "echo 'Could not fetch rule set generation id: Invalid argument' >&2; exit 4";
    let iptables = ["iptables-nft-save", "iptables-nft-restore", "ip6tables-nft-save", "ip6tables-nft-restore"];
    let plain = ["iptables-save", "iptables-restore", "ip6tables-save", "ip6tables-restore", "nft"];
    iptables.into_iter().chain(plain).map(|name| (name, REFUSAL)).collect()
}

#[test]
fn where_the_kernel_lacks_nf_tables_the_legacy_programs_capture_and_clean_up() {
    in_namespace(|| {
        assert_eq!(run_with(&without_nf_tables(), SIDECAR).as_deref(), Some("Ok(Applied)"));
        assert_eq!(chain("iptables-legacy-save", "ISTIO_OUTPUT").len(), 9);
        assert_eq!(chain("ip6tables-legacy-save", "ISTIO_OUTPUT").len(), 9);
        assert_eq!(run_with(&without_nf_tables(), "--cleanup-only").as_deref(), Some("Ok(CleanedUp)"));
        assert_eq!(everything(), "");
    });
}

#[test]
fn a_flavour_that_is_forced_or_the_only_one_must_be_listed_to_be_cleaned_up() {
    in_namespace(|| {
        let mut all = without_nf_tables();
        let outcome = run_with(&all, "--cleanup-only --force-iptables-binary nft").unwrap();
        assert!(outcome.contains("iptables-nft-save failed"), "{outcome}");
        all.extend(["iptables-legacy-save", "ip6tables-legacy-save"].map(|name| (name, "echo refused >&2; exit 1")));
        let outcome = run_with(&all, "--cleanup-only").unwrap();
        assert!(outcome.starts_with("Err("), "{outcome}");
    });
}

#[test]
fn what_cannot_be_removed_does_not_keep_the_rest_from_being_removed() {
    in_namespace(|| {
        apply(sidecar("legacy"));
        sh("iptables-nft -t nat -N ISTIO_OUTPUT");
        let outcome = run_with(&[("iptables-legacy-restore", "echo refused >&2; exit 1")], "--cleanup-only").unwrap();
        assert!(outcome.contains("iptables-legacy-restore failed"), "{outcome}");
        assert_eq!(chain("iptables-legacy-save", "ISTIO_OUTPUT").len(), 9);
        let others = sh("iptables-nft-save 2>/dev/null; ip6tables-legacy-save; ip -6 addr show dev lo");
        assert!(!others.contains("ISTIO_") && !others.contains("::6/"), "{others}");
    });
}

#[test]
fn in_a_user_namespace_the_kernels_own_interface_captures_too() {
    const NAMESPACE: &str = "unshare --user --map-root-user --net env PATH=/nowhere";
    assert_eq!(run_as(NAMESPACE, &[], &format!("{SIDECAR} --native-nftables")).as_deref(), Some("Ok(Applied)"));
}

/// Carries out only the first table of a batch that removes chains of ours, and fails.
const STOPS_HALFWAY: &str = r#"PATH=${PATH#*:}; batch=$(cat)
case "$1 $batch" in --noflush*"-X ISTIO_"*) echo "$batch" | sed /^COMMIT/q | iptables-legacy-restore "$@"; exit 1;; esac
echo "$batch" | iptables-legacy-restore "$@""#;

#[test]
fn a_removal_that_fails_halfway_is_taken_back() {
    in_namespace(|| {
        let mut args = sidecar("legacy");
        args.drop_invalid = Some("true".to_owned());
        apply(args);
        let before = everything();
        let line = format!("{SIDECAR} --force-iptables-binary nft --reconcile");
        let outcome = run_with(&[("iptables-legacy-restore", STOPS_HALFWAY)], &line).unwrap();
        assert!(outcome.contains("iptables-legacy-restore failed"), "{outcome}");
        assert_eq!(everything(), before);
    });
}
