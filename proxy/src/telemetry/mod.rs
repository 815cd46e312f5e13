//! What happened, counted and written down: per-worker cells, resolved handles, logs off the hot path.

pub mod access_log;

mod flags;
mod record;
mod worker;

pub use flags::ResponseFlags;
pub use record::{HttpRecord, TcpRecord, UpstreamFacts};
pub use worker::{ConnectionScope, TcpReport, WorkerTelemetry};
