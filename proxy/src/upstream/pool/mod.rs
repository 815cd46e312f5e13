//! Upstream connections, one shard per worker.

/// The connections of one worker.
#[derive(Debug, Default)]
pub struct Shard {}
