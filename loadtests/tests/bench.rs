//! `outrigger-bench` at the command line: what it does where nobody reads what it prints.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn bench(arguments: &[&str], stdout: impl Into<Stdio>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger-bench"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in a folder of the working copy");
    command.args(arguments).current_dir(root).stdout(stdout).output().expect("the program starts")
}

/// A pipe that nobody reads.
fn closed() -> std::io::PipeWriter {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    for arguments in [&["list"][..], &["list", "--names"], &["render", "envoy", "http"]] {
        let output = bench(arguments, closed());
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
}

/// A file that stands on a full disk.
fn full() -> File {
    File::options().write(true).open("/dev/full").expect("every Linux has it")
}

fn assert_says_that_it_cannot_print(output: &Output) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stderr.starts_with(b"outrigger-bench: cannot write to standard output: "), "{output:?}");
}

/// The report of the last run's results, whose tables go to `stdout`; its files must be written in any case.
fn report(stdout: impl Into<Stdio>) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let results = folder.path().join("results.jsonl");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("results/latest.jsonl"), &results).expect("the results of the last run");
    let output = bench(&["report", results.to_str().expect("UTF-8")], stdout);
    for file in ["latest.md", "latest.jsonl", "comparison.svg"] {
        assert!(folder.path().join(file).exists(), "{file}");
    }
    output
}

#[test]
fn without_a_reader_of_the_tables_results_are_written_all_the_same() {
    let output = report(closed());
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn where_the_tables_cannot_be_printed_results_are_written_before_it_is_said() {
    assert_says_that_it_cannot_print(&report(full()));
}

#[test]
fn a_full_disk_is_an_error_that_says_so() {
    assert_says_that_it_cannot_print(&bench(&["list", "--names"], full()));
}
