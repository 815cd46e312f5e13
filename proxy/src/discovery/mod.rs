//! Where configuration comes from: sources feeding the registry, compiled and published.
//!
//! [`FileSource`] knows which files say what; [`Publisher`] turns changes into a published [`crate::snapshot::Config`];
//! [`watch_files`] joins the two for as long as the process lives. Losing the source never stops traffic: the last
//! configuration stays, and its age is a metric.

mod cover;
mod file;
mod look;
mod pending;
mod publisher;
mod status;
mod watch;

pub use file::FileSource;
pub use publisher::{Outcome, Overrides, Publisher};
pub use status::{DiscoveryReport, DiscoveryStatus};
pub use watch::watch_files;

#[cfg(test)]
mod tests;
