//! What happened, counted and written down: per-worker cells, resolved handles, logs off the hot path.

pub mod access_log;

pub mod encode;

mod cells;
mod flags;
mod istio_metrics;
mod labels;
mod pointers;
mod record;
mod registry;
mod scope;
mod worker;

pub use flags::ResponseFlags;
pub use record::{HttpRecord, TcpRecord, UpstreamFacts};
pub use registry::{ClusterTotals, Telemetry};
pub use worker::{ConnectionScope, TcpReport, WorkerTelemetry};

#[cfg(test)]
mod tests;
