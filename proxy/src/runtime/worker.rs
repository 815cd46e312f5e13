//! What one worker owns.
//!
//! A worker is a thread with a `current_thread` runtime. Every connection handed to it lives and dies there and holds
//! an `Arc<Worker>`; types stay `Send`, so that a work-stealing runtime remains a start-up switch.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::drain::Drain;
use crate::http::Routings;
use crate::identity::Identity;
use crate::listener::{Handshakes, Residents};
use crate::snapshot::ConfigHandle;
use crate::tcp::Pipes;
use crate::telemetry::WorkerTelemetry;
use crate::upstream::pool::Shard;

/// Per-worker state, shared by the connections of that worker.
#[derive(Debug)]
pub struct Worker {
    /// 0-based number.
    pub id: usize,
    /// The configuration in force.
    pub config: ConfigHandle,
    /// The same as this worker's connections share it.
    pub routings: Arc<Routings>,
    /// The workload's certificate and trust, rotated behind this handle.
    pub identity: Arc<Identity>,
    /// Idle and active upstream connections of this worker.
    pub pool: Shard,
    /// Pipes for bulk transfers.
    pub pipes: Pipes,
    /// Counters, histograms and the access-log queue of this worker.
    pub telemetry: WorkerTelemetry,
    /// The drain state of the process.
    pub drain: Drain,
    /// Live downstream connections, as those who may have to leave.
    pub residents: Arc<Residents>,
    /// Live downstream connections, read by the dispatcher.
    pub connections: AtomicUsize,
    /// The route name of requests that matched no route.
    pub no_name: Arc<str>,
    /// TLS handshakes with clients in progress.
    pub handshakes: Handshakes,
}
