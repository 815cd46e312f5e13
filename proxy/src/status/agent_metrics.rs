//! What pilot-agent would say about itself, by its names: scrapes, start, certificate, process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike;

use crate::admin::resident_bytes;
use crate::runtime::Process;
use crate::telemetry::encode::{Exposition, Kind};

/// Scrapes of the merged metrics.
pub static SCRAPES: AtomicU64 = AtomicU64::new(0);
/// Application endpoints that did not answer one.
pub static APPLICATION_FAILURES: AtomicU64 = AtomicU64::new(0);

/// The agent's part of the merged metrics.
pub fn exposition(process: &Process) -> String {
    let mut out = Exposition::default();
    out.single("istio_agent_scrapes_total", Kind::Counter, "Scrapes of the merged metrics.", SCRAPES.load(Ordering::Relaxed));
    scrape_failures(&mut out);
    if let Some(took) = process.lifecycle.startup_duration() {
        out.single("istio_agent_startup_duration_seconds", Kind::Gauge, "Time from start to ready.", took.as_secs_f64());
    }
    if let Some(expires) = process.identity.status().expires_at {
        let left = expires.duration_since(SystemTime::now()).map_or(0, |left| left.as_secs());
        out.family("istio_agent_cert_expiry_seconds", Kind::Gauge, "Time until the workload certificate expires.");
        out.sample("istio_agent_cert_expiry_seconds", "resource_name=\"default\"", left);
    }
    of_process(process, &mut out);
    out.finish()
}

/// The proxy's part and the agent's come from this very process and cannot fail.
fn scrape_failures(out: &mut Exposition) {
    const NAME: &str = "istio_agent_scrape_failures_total";
    out.family(NAME, Kind::Counter, "Parts of a scrape that failed.");
    for (part, failures) in [("agent", 0), ("application", APPLICATION_FAILURES.load(Ordering::Relaxed)), ("envoy", 0)] {
        out.sample(NAME, &format!("type=\"{part}\""), failures);
    }
}

/// What Prometheus' client libraries say of every process. What the kernel does not tell is left out.
fn of_process(process: &Process, out: &mut Exposition) {
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        let seconds = micros as f64 / 1e6;
        out.single("istio_agent_process_cpu_seconds_total", Kind::Counter, "User and system CPU time.", seconds);
    }
    if let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        out.single("istio_agent_process_max_fds", Kind::Gauge, "Most file descriptors.", limit);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // Reading the folder holds one itself.
        out.single("istio_agent_process_open_fds", Kind::Gauge, "Open file descriptors.", open.count().saturating_sub(1));
    }
    out.single("istio_agent_process_resident_memory_bytes", Kind::Gauge, "Resident memory.", resident_bytes());
    let started = SystemTime::now().checked_sub(process.started.elapsed());
    if let Some(started) = started.and_then(|started| started.duration_since(UNIX_EPOCH).ok()) {
        out.single("istio_agent_process_start_time_seconds", Kind::Gauge, "When the process started.", started.as_secs_f64());
    }
}
