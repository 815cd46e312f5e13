//! Answers that the proxy makes itself (Istio semantics 8.8).

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::body::ResponseBody;
use super::{grpc, headers};
use crate::error::{Error, Failure};
use crate::listener::Direction;
use crate::router::stream::Stream;
use crate::telemetry::ResponseFlags;

/// What to answer and how to book it.
#[derive(Clone, Debug)]
pub struct LocalReply {
    /// Status, before the translation for gRPC.
    pub status: StatusCode,
    /// Body, `text/plain`.
    pub body: Bytes,
    /// Response flags.
    pub flags: ResponseFlags,
    /// Response code details.
    pub details: Cow<'static, str>,
    /// Further headers.
    pub headers: HeaderMap,
    /// gRPC status of gRPC requests, when it is not the one that follows from the HTTP status.
    pub grpc_status: Option<u8>,
}

impl LocalReply {
    /// An answer with a status, a body and details, and no flag.
    pub fn new(status: StatusCode, body: &'static str, details: &'static str) -> Self {
        LocalReply {
            status,
            body: Bytes::from_static(body.as_bytes()),
            flags: ResponseFlags::NONE,
            details: Cow::Borrowed(details),
            headers: HeaderMap::new(),
            grpc_status: None,
        }
    }

    /// Adds a flag.
    #[must_use]
    pub fn flag(mut self, flags: ResponseFlags) -> Self {
        self.flags.insert(flags);
        self
    }

    /// The answer to a request whose last attempt failed.
    pub fn for_error(error: &Error, retried: bool) -> Self {
        let body = match error.body(retried) {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        };
        let mut reply = LocalReply { body, details: error.details(), ..LocalReply::new(error.status(), "", "") }.flag(error.flags());
        if error.failure == Failure::Overflow {
            reply.headers.insert(headers::OVERLOADED, HeaderValue::from_static("true"));
        }
        reply
    }

    /// A request that the codec let through and that must be refused; the connection closes after it.
    pub fn bad_request(details: &'static str) -> Self {
        let mut reply = Self::new(StatusCode::BAD_REQUEST, "Bad Request", details).flag(ResponseFlags::DPE);
        reply.headers.insert(http::header::CONNECTION, HeaderValue::from_static("close"));
        reply
    }

    /// The head, translated for gRPC clients, and the body that goes with it.
    pub fn into_parts(self, is_grpc: bool, is_head: bool, direction: Direction) -> (StatusCode, HeaderMap, Bytes) {
        let mut map = self.headers;
        map.insert(http::header::SERVER, headers::server_name(direction));
        if is_grpc {
            let status = self.grpc_status.unwrap_or_else(|| grpc::status_for_http(self.status.as_u16()));
            map.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            map.insert(HeaderName::from_static("grpc-status"), headers::number(u64::from(status)));
            if !self.body.is_empty()
                && let Ok(message) = HeaderValue::try_from(grpc::encode_message(&String::from_utf8_lossy(&self.body)))
            {
                map.insert(HeaderName::from_static("grpc-message"), message);
            }
            return (StatusCode::OK, map, Bytes::new());
        }
        if !self.body.is_empty() && !map.contains_key(CONTENT_TYPE) {
            map.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        }
        let bodiless = self.status == StatusCode::NO_CONTENT || self.status == StatusCode::NOT_MODIFIED;
        if !bodiless {
            map.insert(CONTENT_LENGTH, headers::number(self.body.len() as u64));
        }
        let body = if is_head || bodiless { Bytes::new() } else { self.body };
        (self.status, map, body)
    }
}

/// Finishes an answer made here. `operations` applies the response header operations of the chosen route.
pub fn respond(
    reply: LocalReply,
    mut stream: Box<Stream>,
    is_head: bool,
    direction: Direction,
    operations: impl FnOnce(&mut HeaderMap),
) -> Response<ResponseBody> {
    let (flags, details) = (reply.flags, reply.details.clone());
    let (status, mut map, body) = reply.into_parts(stream.is_grpc(), is_head, direction);
    operations(&mut map);
    stream.note(|record| {
        record.flags.insert(flags);
        record.details = details;
    });
    stream.answers(status, &map);
    if flags.contains(ResponseFlags::DC) {
        // Nobody will see this answer; a client that went away is logged with code 0.
        stream.note(|record| record.status = 0);
    }
    let mut response = Response::new(ResponseBody::local(body, stream));
    *response.status_mut() = status;
    *response.headers_mut() = map;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_reply_has_type_and_length_and_a_head_reply_no_body() {
        let reply = LocalReply::new(StatusCode::SERVICE_UNAVAILABLE, "no healthy upstream", "no_healthy_upstream");
        let (status, map, body) = reply.clone().into_parts(false, false, Direction::Outbound);
        assert_eq!((status.as_u16(), body.as_ref()), (503, &b"no healthy upstream"[..]));
        assert_eq!(
            (&map["content-type"], &map["content-length"]),
            (&HeaderValue::from_static("text/plain"), &HeaderValue::from_static("19"))
        );
        let (_, map, body) = reply.into_parts(false, true, Direction::Inbound);
        assert!(body.is_empty());
        assert_eq!((&map["content-length"], &map["server"]), (&HeaderValue::from_static("19"), &HeaderValue::from_static("istio-envoy")));
    }

    #[test]
    fn a_grpc_client_gets_a_status_it_understands() {
        let reply = LocalReply::for_error(&Error::unsent(Failure::RouteTimeout), false);
        let (status, map, body) = reply.into_parts(true, false, Direction::Outbound);
        assert_eq!((status.as_u16(), body.len(), &map["grpc-status"]), (200, 0, &HeaderValue::from_static("14")));
        assert_eq!(map["grpc-message"], "upstream request timeout");
    }

    #[test]
    fn overflow_says_that_it_is_one() {
        let reply = LocalReply::for_error(&Error::unsent(Failure::Overflow), false);
        assert_eq!((&reply.headers["x-envoy-overloaded"], reply.flags), (&HeaderValue::from_static("true"), ResponseFlags::UO));
    }
}
