//! `outrigger inject`, `uninject` and `check-inject`: by hand and on manifests what the webhook does to pods in a cluster.
//!
//! The work on texts is `outrigger_injector::manifest`, the work on pods the rest of that crate; here are flags, files and words.

pub mod check;
pub mod command;
mod configuration;
mod diff;
mod explain;
mod input;
mod output;
pub mod uninject;
