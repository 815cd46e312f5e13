//! Access logs: a format compiled with the snapshot, rendered at stream end, written off the hot path.
//!
//! The router asks [`crate::snapshot::Config::access_log`] once per request; when there is a format it captures the
//! headers that the format names while they are at hand, and hands them on in [`super::HttpRecord::captured`].

use std::sync::Arc;

use http::HeaderMap;

/// A compiled access-log format and its destination.
#[derive(Debug)]
pub struct AccessLog {}

/// Header values an access-log format asks for.
#[derive(Clone, Debug)]
pub struct CapturedHeaders {
    log: Arc<AccessLog>,
}

impl CapturedHeaders {
    /// Keeps the request headers that `log` names. Values are shared with the map, not copied.
    pub fn capture(log: &Arc<AccessLog>, request: &HeaderMap) -> Self {
        let _ = request;
        CapturedHeaders { log: Arc::clone(log) }
    }

    /// Keeps the response headers that the format names.
    pub fn response(&mut self, response: &HeaderMap) {
        let _ = (&self.log, response);
    }

    /// Keeps the response trailers that the format names.
    pub fn trailers(&mut self, trailers: &HeaderMap) {
        let _ = trailers;
    }
}
