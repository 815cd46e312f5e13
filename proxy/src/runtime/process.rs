//! What the admin pages, the status server and the scraper see of the process.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use super::{Lifecycle, LogControl, Readiness, Worker};
use crate::bootstrap::Settings;
use crate::discovery::DiscoveryStatus;
use crate::identity::Identity;
use crate::snapshot::ConfigHandle;
use crate::telemetry::Telemetry;
use crate::telemetry::access_log::LogWriter;

/// The parts of a running process.
#[derive(Debug)]
pub struct Process {
    /// What it was told.
    pub settings: Settings,
    /// The configuration in force.
    pub config: ConfigHandle,
    /// All workers.
    pub workers: Vec<Arc<Worker>>,
    /// Certificates.
    pub identity: Arc<Identity>,
    /// Every worker's counters.
    pub telemetry: Telemetry,
    /// The access log's writer.
    pub access_log: LogWriter,
    /// The configuration source.
    pub discovery: Arc<DiscoveryStatus>,
    /// Phase, readiness, end.
    pub lifecycle: Lifecycle,
    /// Levels of the process's own log.
    pub logging: LogControl,
    /// When it started.
    pub started: Instant,
}

impl Process {
    /// Live downstream connections.
    pub fn connections(&self) -> usize {
        self.workers.iter().map(|worker| worker.connections.load(Ordering::Relaxed)).sum()
    }

    /// Whether traffic may come (sidecar contract 6.5).
    pub fn readiness(&self) -> Readiness {
        let mut reasons = self.lifecycle.reasons();
        if self.discovery.report().generation == 0 {
            reasons.push("no configuration has been loaded".to_owned());
        }
        let identity = self.identity.status();
        if !identity.is_ready(SystemTime::now()) {
            let why = identity.problem.unwrap_or_else(|| "the workload certificate is missing or has expired".to_owned());
            reasons.push(format!("no valid workload certificate: {why}"));
        }
        Readiness { reasons }
    }
}
