//! What keeps the webhook supplied: configuration, certificates, and the cluster's knowledge of both.

pub mod args;

pub use args::Args;
