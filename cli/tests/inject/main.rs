//! `outrigger inject`, `uninject` and `check-inject` as a person or a pipe sees them.

mod check;
mod contract;
mod every_kind;
mod faults;
mod golden;
mod shopfront;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use outrigger_config::yaml::{Node, documents};
use serde_json::Value;

/// What a command did.
struct Done {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the command with these arguments from the repository's root.
fn outrigger(arguments: &[&str], input: &str) -> Done {
    outrigger_in(&root(), arguments, input)
}

/// Runs it from this folder.
fn outrigger_in(folder: &Path, arguments: &[&str], input: &str) -> Done {
    let mut child = Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = input.to_owned();
    // A command that refuses its arguments reads nothing.
    let writer = std::thread::spawn(move || drop(stdin.write_all(text.as_bytes())));
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Done { code: status.code(), out: String::from_utf8(stdout).unwrap(), err: String::from_utf8(stderr).unwrap() }
}

/// Injects a text and requires success.
fn inject(text: &str) -> String {
    let done = outrigger(&["inject", "-f", "-"], text);
    assert_eq!(done.code, Some(0), "{}", done.err);
    done.out
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The values of a text's documents.
fn read(text: &str) -> Vec<Value> {
    let node = |document: outrigger_config::yaml::Document<'_>| document.node.unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    documents(text).into_iter().map(|document| Node::to_json(&node(document))).collect()
}

/// Names of the pod's containers, sorted: which starts first is the transformation's business.
fn containers(pod: &Value) -> Vec<&str> {
    let containers = pod["spec"]["containers"].as_array().unwrap();
    let mut names: Vec<&str> = containers.iter().map(|container| container["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}
