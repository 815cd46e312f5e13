//! `outrigger demo` holds what it shows. It takes twenty seconds and needs root; it is a program of its own, so that no other
//! test runs beside it.

use std::process::{Command, Output};

fn demo(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_outrigger")).arg("demo").args(arguments).output().expect("the program starts")
}

#[test]
fn every_check_of_all_seven_parts_holds() {
    let output = demo(&["-o", "json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    let parts = shown["parts"].as_array().expect("parts");
    let checks = parts.iter().filter_map(|part| part["checks"].as_array()).flatten();
    let broken: Vec<_> = checks.clone().filter(|check| check["ok"] != true).collect();
    assert!(broken.is_empty(), "{broken:#?}");
    assert_eq!((output.status.code(), parts.len()), (Some(0), 7), "{said}");
    assert!(checks.count() > 30);
}
