//! Header values kept for the log while the exchange goes on.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::AccessLog;

/// Header values an access-log format asks for, with the format itself: a line is rendered by the format that was in force
/// when its request began.
#[derive(Clone, Debug)]
pub struct CapturedHeaders {
    pub(super) log: Arc<AccessLog>,
    pub(super) request: Vec<Option<HeaderValue>>,
    pub(super) response: Vec<Option<HeaderValue>>,
    pub(super) trailers: Vec<Option<HeaderValue>>,
}

impl CapturedHeaders {
    /// Keeps the request headers that `log` names. Values are shared with the map, not copied.
    pub fn capture(log: &Arc<AccessLog>, request: &HeaderMap) -> Self {
        CapturedHeaders { request: pick(&log.wanted.request, request), log: Arc::clone(log), response: Vec::new(), trailers: Vec::new() }
    }

    /// Keeps the response headers that the format names.
    pub fn response(&mut self, response: &HeaderMap) {
        self.response = pick(&self.log.wanted.response, response);
    }

    /// Keeps the response trailers that the format names.
    pub fn trailers(&mut self, trailers: &HeaderMap) {
        self.trailers = pick(&self.log.wanted.trailers, trailers);
    }
}

fn pick(names: &[HeaderName], headers: &HeaderMap) -> Vec<Option<HeaderValue>> {
    names.iter().map(|name| headers.get(name).cloned()).collect()
}
