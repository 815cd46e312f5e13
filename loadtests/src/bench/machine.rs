//! The machine under the comparison: what it is, and how it is made quiet for the run.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, unshare};
use nix::unistd::Pid;

use super::sys;

/// Pins the calling thread, and what it starts, to one CPU. A CPU that does not exist leaves it where it is.
pub fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    if set.set(cpu).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}

/// Runs `action` with the calling thread on `cpu`, so that what it starts stays there, and moves the thread back.
pub fn on_cpu<T>(cpu: Option<usize>, action: impl FnOnce() -> T) -> T {
    let before = sched_getaffinity(Pid::from_raw(0));
    if let Some(cpu) = cpu {
        pin(cpu);
    }
    let done = action();
    if let Ok(set) = before {
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
    done
}

/// Moves the calling thread, and what it starts, into a network namespace of its own with loopback up, wide port range
/// and cubic, where the machine allows that in a namespace; else what the machine uses by default, as any program does
/// there. It goes away with its last process.
///
/// # Errors
/// Without root, or without iproute2.
pub fn enter_namespace() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| io::Error::other(format!("a network namespace of its own needs root: {error}")))?;
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
    if !status.success() {
        return Err(io::Error::other("ip link set lo up failed"));
    }
    for (name, value) in [
        ("ipv4/ip_local_port_range", "20000 65535"),
        ("ipv4/tcp_tw_reuse", "1"),
        ("ipv4/tcp_max_tw_buckets", "200000"),
        ("core/somaxconn", "4096"),
        ("ipv4/tcp_max_syn_backlog", "8192"),
        ("ipv4/tcp_congestion_control", "cubic"),
    ] {
        // Some kernels have these for the whole machine only; every proxy then runs with the same values all the same.
        drop(fs::write(format!("/proc/sys/net/{name}"), value));
    }
    Ok(())
}

const CONGESTION: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// Another congestion control in this namespace; dropping it puts back what was there.
pub struct Congestion {
    before: String,
}

impl Congestion {
    /// For the sockets made from now on.
    ///
    /// # Errors
    /// The kernel does not have it, or does not allow it in a namespace.
    pub fn change(name: &str) -> io::Result<Congestion> {
        let before = fs::read_to_string(CONGESTION)?;
        fs::write(CONGESTION, name).map_err(|error| io::Error::new(error.kind(), format!("{CONGESTION} = {name}: {error}")))?;
        Ok(Congestion { before })
    }

    /// Whether the one in force spreads what it sends over time, by timers that a relay pays for.
    pub fn paces() -> bool {
        fs::read_to_string(CONGESTION).is_ok_and(|name| name.trim().starts_with("bbr"))
    }
}

impl Drop for Congestion {
    fn drop(&mut self) {
        drop(fs::write(CONGESTION, self.before.trim()));
    }
}

/// Settings of the machine for the time of a run; dropping it puts back what was there.
pub struct Quiet {
    before: Vec<(&'static str, String)>,
}

const HALT_POLL: [(&str, &str); 3] = [
    ("/sys/module/haltpoll/parameters/guest_halt_poll_allow_shrink", "N"),
    ("/sys/module/haltpoll/parameters/guest_halt_poll_grow_start", "1000000"),
    ("/sys/module/haltpoll/parameters/guest_halt_poll_ns", "1000000"),
];
const AUTOGROUP: &str = "/proc/self/autogroup";

impl Quiet {
    /// Puts this process and its children before everything else, and lets the idle CPUs of a virtual machine poll for a
    /// millisecond before they halt: waking a halted one costs a trip through the hypervisor, 10 to 20 us, which is
    /// charged to whoever sends.
    pub fn begin() -> Quiet {
        sys::set_priority(-15);
        let mut before = Vec::new();
        for (file, value) in HALT_POLL {
            if let Ok(old) = fs::read_to_string(file)
                && fs::write(file, value).is_ok()
            {
                before.push((file, old.trim().to_owned()));
            }
        }
        // With autogroups, priorities count only within a session, so the session gets one as well.
        // Reading gives "/autogroup-7 nice 0", writing takes the number.
        if let Ok(old) = fs::read_to_string(AUTOGROUP)
            && let Some((_, nice)) = old.trim().rsplit_once(' ')
            && fs::write(AUTOGROUP, "-15").is_ok()
        {
            before.push((AUTOGROUP, nice.to_owned()));
        }
        Quiet { before }
    }

    /// Whether idle CPUs poll.
    pub fn polls(&self) -> bool {
        self.before.iter().any(|(file, _)| file.ends_with("guest_halt_poll_ns"))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        for (file, value) in &self.before {
            drop(fs::write(file, value));
        }
    }
}

/// "2 CPUs (Intel Xeon), Linux 6.1.0, 4 GiB".
pub fn description() -> String {
    let field = |file: &str, name: &str| -> Option<String> {
        let text = fs::read_to_string(file).ok()?;
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown CPU".to_owned());
    let virtualised = if fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains(" hypervisor ")) { "virtual " } else { "" };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let memory = field("/proc/meminfo", "MemTotal").and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0);
    let congestion = fs::read_to_string(CONGESTION).unwrap_or_default();
    let (kernel, congestion) = (kernel.trim(), congestion.trim());
    format!("{cpus} {virtualised}CPUs ({model}), {:.0} GiB, Linux {kernel}, TCP {congestion}", memory / 1024.0 / 1024.0)
}

/// The first line of what a program says about its version.
pub fn version(program: &Path, argument: &str) -> String {
    let Ok(output) = Command::new(program).arg(argument).output() else { return "unknown".to_owned() };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().find(|line| !line.trim().is_empty()).unwrap_or("unknown").trim().to_owned()
}

/// The commit of the working copy, with `+` when files differ from it.
pub fn revision() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
    if dirty { format!("{commit}+") } else { commit }
}
