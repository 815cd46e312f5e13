//! The binary's allocator is set up as `cli/src/sys.rs` says.

use std::process::Command;

#[test]
fn freed_pages_go_back_after_half_a_second() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    let output = command.arg("ps").arg("--help").env("_RJEM_MALLOC_CONF", "stats_print:true").output().expect("started");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("opt.dirty_decay_ms: 500 "), "{told}");
}
