//! Access logs: a format compiled with the snapshot, rendered at stream end, written off the hot path.

/// Header values an access-log format asks for.
#[derive(Clone, Debug, Default)]
pub struct CapturedHeaders {}
