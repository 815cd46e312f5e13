//! The part of a request that routes look at.

use http::HeaderMap;

/// A borrowed request head.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// Method as received.
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host or `:authority` as received, port included.
    pub authority: &'a str,
    /// Normalised path without query.
    pub path: &'a str,
    /// Query string without `?`, as received.
    pub query: Option<&'a str>,
    /// Header fields.
    pub headers: &'a HeaderMap,
}
