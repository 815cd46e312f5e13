//! Standard output that takes nothing: a reader that has gone, and a disk that is full.

use std::fs::OpenOptions;
use std::process::{Command, Output, Stdio};

use crate::{PROGRAM, server, text};

fn run(arguments: &[&str], stdout: impl Into<Stdio>) -> Output {
    Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).stdout(stdout).output().expect("the program starts")
}

/// A pipe that nobody reads.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").expect("a device that is always full").into()
}

/// Commands that print and need neither root nor a run of pods, which other tests have (see `testbed`), with their status.
fn commands(url: &str) -> Vec<(Vec<&str>, i32)> {
    vec![
        (vec!["version"], 0),
        (vec!["version", "-o", "json"], 0),
        (vec!["proxy", "--help"], 0),
        (vec!["iptables", "-i", "*", "-b", "*", "--dry-run"], 0),
        (vec!["load", url, "-n", "5"], 0),
        (vec!["load", url, "-n", "5", "-o", "json"], 0),
        (vec!["load", url, "--find-max", "errors<50%", "--probe", "1s", "-q", "10", "--max-rate", "10"], 0),
    ]
}

#[test]
fn a_reader_that_has_gone_ends_no_command_with_a_panic() {
    let url = server::content();
    for (arguments, status) in commands(&url) {
        let output = run(&arguments, unread());
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(status), String::new()), "{arguments:?}");
    }
}

#[test]
fn a_full_disk_is_said_and_is_a_failure() {
    let url = server::content();
    for (arguments, _) in commands(&url) {
        let output = run(&arguments, full());
        let said = text(&output.stderr);
        assert!(output.status.code().is_some_and(|status| status == 1 || status == 2), "{arguments:?}: {:?} {said}", output.status);
        assert!(said.contains("cannot write to standard output: No space left"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_full_disk_for_the_report_does_not_cost_the_page() {
    let (url, folder) = (server::content(), tempfile::tempdir().expect("a folder"));
    let search = ["--find-max", "errors<50%", "--probe", "1s", "-q", "10", "--max-rate", "10"];
    for (name, demand) in [("run.html", &["-n", "5"][..]), ("search.html", &search)] {
        let page = folder.path().join(name);
        let wanted = ["load", &url, "--html", page.to_str().expect("a path")];
        run(&[&wanted, demand].concat(), full());
        assert!(std::fs::read_to_string(&page).is_ok_and(|page| page.contains("</html>")), "{name}");
    }
}

#[test]
fn warnings_that_nobody_reads_end_no_command_with_a_panic() {
    let url = server::url(503, &["web-1"]);
    let arguments = ["load", &url, "-n", "5", "--slo", "errors<1%", "-o", "json"];
    let output = Command::new(PROGRAM).args(arguments).stdout(Stdio::null()).stderr(unread()).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
}
