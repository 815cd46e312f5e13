//! What can be asked about the configuration source: for metrics, readiness and `/config_dump`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use outrigger_config::diagnostic::Diagnostic;

/// The state of the configuration source, shared by its readers.
#[derive(Debug, Default)]
pub struct DiscoveryStatus(Mutex<DiscoveryReport>);

/// One look at the state of the configuration source.
#[derive(Clone, Debug, Default)]
pub struct DiscoveryReport {
    /// Generation in force, 0 = none yet.
    pub generation: u64,
    /// When it was published.
    pub published_at: Option<Instant>,
    /// Objects in force.
    pub objects: usize,
    /// Highest `metadata.resourceVersion` among them; 0 when none has one.
    pub(super) highest_version: u64,
    /// The same when for the last time everything that was noticed was in force: no file being written or missing for a moment,
    /// none that cannot be read, every root listed. 0 before the first look under a watch. Whoever wrote the objects can tell by it
    /// whether they have arrived, all of them: files are read one after the other, so that the newest of them alone proves
    /// nothing about one that was written meanwhile.
    pub resource_version: u64,
    /// Publications so far.
    pub updates: u64,
    /// Publications that came with at least one error.
    pub rejected: u64,
    /// Time from the first look at the changed files to publication, of the last update.
    pub last_duration: Duration,
    /// Everything there is to say about the configuration in force.
    pub diagnostics: Arc<[Diagnostic]>,
    /// Why the source cannot be read in full, if so.
    pub last_error: Option<String>,
    /// Whether changes are noticed by themselves; false when watching failed.
    pub watching: bool,
}

impl DiscoveryStatus {
    /// The state now.
    pub fn report(&self) -> DiscoveryReport {
        self.lock().clone()
    }

    /// Changes the state.
    pub(super) fn update(&self, change: impl FnOnce(&mut DiscoveryReport)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, DiscoveryReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
