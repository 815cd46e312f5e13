//! Access logs: a format compiled with the snapshot, rendered at stream end, written off the hot path.
//!
//! The router asks [`crate::snapshot::Config::access_log`] once per request; when there is a format it captures the
//! headers that the format names while they are at hand, and hands them on in [`super::HttpRecord::captured`]. The line is
//! rendered straight into the worker's queue and written by a thread of its own, in batches.
//!
//! Source: sidecar contract 7.5.

mod capture;
mod format;
mod json;
mod operator;
mod queue;
mod render;
mod start_time;
mod text;
mod writer;

pub use capture::CapturedHeaders;
pub use format::{AccessLog, settings_from_flags};
pub use queue::LogQueue;
pub use render::{render_http, render_tcp};
pub use writer::LogWriter;

#[cfg(test)]
mod tests;
