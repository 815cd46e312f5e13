//! Namespaces, and the little there is to ask of them.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use outrigger_iptables_init::{Args, Outcome, run};

/// Runs `work` in a fresh network namespace with `lo` up.
pub fn in_namespace<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root: they make network namespaces");
            sh("ip link set lo up");
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs a shell line in the namespace of this thread and returns its output.
#[track_caller]
pub fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-ec", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The default sidecar's arguments in one flavour.
pub fn sidecar(flavour: &str) -> Args {
    let some = |value: &str| Some(value.to_owned());
    Args {
        proxy_uid: some("1337"),
        istio_service_cidr: some("*"),
        istio_inbound_ports: some("*"),
        istio_local_exclude_ports: some("15090,15021,15020"),
        force_iptables_binary: some(flavour),
        ..Args::default()
    }
}

/// Applies and expects to have written something.
#[track_caller]
pub fn apply(args: Args) {
    assert_eq!(run(args).unwrap(), Outcome::Applied);
}

/// The `-A` lines of a chain as `iptables-save` shows them.
pub fn chain(program: &str, chain: &str) -> Vec<String> {
    let prefix = format!("-A {chain} ");
    let saved = sh(&format!("{program} -t nat 2>/dev/null"));
    saved.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect()
}

/// All rules and chains of both flavours and families, without comments and counters.
pub fn everything() -> String {
    let programs = ["iptables-legacy-save", "iptables-nft-save", "ip6tables-legacy-save", "ip6tables-nft-save"];
    let saved: String = programs.map(|program| sh(&format!("{program} 2>/dev/null"))).concat();
    let lines = saved.lines().filter(|line| line.starts_with("-A ") || line.starts_with(":ISTIO"));
    lines.map(|line| format!("{line}\n")).collect()
}
