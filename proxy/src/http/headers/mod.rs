//! Header rules on the way through (Istio semantics 8.2, 8.3 and 6.5).
//!
//! [`scan`] finds what a request carries, [`sanitize_request`] lets go on what may, [`sanitize_response`] what may go back;
//! [`fit_for_http2`] and [`join_cookies`] stand between the versions of HTTP.

mod client;
mod number;
mod request;
mod response;
mod seen;
mod short_text;
mod translate;

use http::header::HeaderName;

pub use client::ClientText;
pub use number::{NoLength, length, number, settle_length};
pub use request::{ProtectedHeaderNamed, sanitize_request};
pub use response::{Answered, sanitize_response, server_name};
pub use seen::{Seen, scan};
pub use translate::{fit_for_http2, join_cookies};

/// `x-request-id`.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// `x-forwarded-for`.
pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `x-forwarded-proto`.
pub const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// `x-forwarded-client-cert`.
pub const FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
/// `x-envoy-external-address`.
pub const EXTERNAL_ADDRESS: HeaderName = HeaderName::from_static("x-envoy-external-address");
/// `x-envoy-attempt-count`.
pub const ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
/// `x-envoy-decorator-operation`.
pub const DECORATOR: HeaderName = HeaderName::from_static("x-envoy-decorator-operation");
/// `x-envoy-expected-rq-timeout-ms`.
pub const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
/// `x-envoy-original-path`.
pub const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
/// `x-envoy-overloaded`.
pub const OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");
/// `x-envoy-upstream-service-time`.
pub const SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

#[cfg(test)]
mod tests;
