//! `outrigger load` at its command line, against a small server of the test's own: what it prints, and with which status it
//! ends. Needs no root.

mod closed;
mod demands;
mod find_max;
mod progress;
mod reports;
mod server;

use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_outrigger");

/// `outrigger load` with these arguments.
fn load(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).arg("load").args(arguments).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The status with everything printed, for messages.
fn outcome(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}
