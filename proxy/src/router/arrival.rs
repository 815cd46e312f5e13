//! A request as it arrives: checked, cleaned, booked (Istio semantics 8.2, 8.4, 8.5).

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{EXPECT, HOST};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use http_body::Body;

use super::stream::Stream;
use crate::http::body::ClientBody;
use crate::http::headers::{self, Seen};
use crate::http::local_reply::LocalReply;
use crate::http::path_normalization::normalize;
use crate::http::peers::Received;
use crate::http::upgrade::Upgrade;
use crate::http::{Routing, ServedConnection};
use crate::http1::MAX_HEADERS;
use crate::listener::Direction;
use crate::telemetry::access_log::CapturedHeaders;
use crate::upstream::upload::Upload;

/// A request that may be routed.
#[derive(Debug)]
pub struct Arrival {
    /// Head, without what must not travel on.
    pub head: Parts,
    /// Host, from the header or `:authority`.
    pub authority: HeaderValue,
    /// The authority is what the `host` header says.
    pub host_stands: bool,
    /// Body, unless there is none.
    pub upload: Option<Arc<Upload>>,
    /// It asks to become a WebSocket.
    pub upgrade: bool,
    /// Peer metadata that the request carried.
    pub received: Received,
    /// The books.
    pub stream: Box<Stream>,
}

/// A request that must be refused: the answer, and the books, which are closed as a disconnection if nobody sends it.
#[derive(Debug)]
pub struct Refused {
    /// The answer.
    pub reply: LocalReply,
    /// The request was a HEAD.
    pub is_head: bool,
    /// The books.
    pub stream: Box<Stream>,
}

/// Checks and cleans a request.
///
/// # Errors
/// When it must be refused.
pub fn receive(connection: &ServedConnection, routing: &Routing, mut head: Parts, body: ClientBody) -> Result<Arrival, Box<Refused>> {
    let seen = headers::scan(&head.headers);
    if seen.several_cookies && head.version == Version::HTTP_2 {
        headers::join_cookies(&mut head.headers);
    }
    let fields = head.headers.len();
    let downstream = &connection.downstream;
    let named = authority(&head, downstream.destination);
    let authority = named.clone().unwrap_or(HeaderValue::from_static(""));
    let mut stream = Stream::begin(downstream, &connection.worker, &head, seen, authority.clone());
    let asked = Upgrade::of(&head, seen);
    let received = if seen.peer_metadata { Received::take(&mut head.headers) } else { Received::default() };
    let sanitized = headers::sanitize_request(&mut head.headers, seen, downstream, asked == Upgrade::WebSocket);
    if let Some(log) = routing.config.access_log() {
        stream.capture(CapturedHeaders::capture(log, &head.headers));
    }
    let refusal = if sanitized.is_err() || seen.several_hosts {
        Some(LocalReply::bad_request("http1.codec_error"))
    } else if let Some(refusal) = refused_by_http2(&mut head, fields, seen) {
        Some(refusal)
    } else if named.is_none() {
        Some(LocalReply::bad_request("missing_host_header"))
    } else if asked == Upgrade::Refused {
        Some(LocalReply::new(StatusCode::FORBIDDEN, "", "upgrade_failed"))
    } else {
        normalize_path(&mut head.uri, routing)
    };
    if let Some(reply) = refusal {
        return Err(Box::new(Refused { reply, is_head: head.method == Method::HEAD, stream }));
    }
    if downstream.direction == Direction::Inbound {
        remember_peer(connection, &received);
    }
    let upgrade = asked == Upgrade::WebSocket;
    let upload = upload(body, &head, seen);
    if let Some(upload) = &upload {
        stream.uploads(upload);
    }
    let host_stands = head.uri.authority().is_none() && head.version != Version::HTTP_10;
    Ok(Arrival { head, authority, host_stands, upload, upgrade, received, stream })
}

/// What its codec lets pass of an HTTP/2 request, and an HTTP/1 one would be refused for. `fields` is how many came.
fn refused_by_http2(head: &mut Parts, fields: usize, seen: Seen) -> Option<LocalReply> {
    if head.version != Version::HTTP_2 {
        return None;
    }
    if fields > MAX_HEADERS {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Some(LocalReply::new(status, "Request Header Fields Too Large", "http2.too_many_headers"));
    }
    let ambiguous = seen.content_length && headers::settle_length(&mut head.headers).is_err();
    ambiguous.then(|| LocalReply::bad_request("http2.invalid_content_length"))
}

/// The Host of a request. HTTP/1.0 clients may leave it out: the address they dialled stands in. `None` makes a 400.
fn authority(head: &Parts, destination: SocketAddr) -> Option<HeaderValue> {
    if let Some(authority) = head.uri.authority() {
        return HeaderValue::try_from(authority.as_str()).ok();
    }
    match head.headers.get(HOST) {
        Some(host) => Some(host.clone()),
        None if head.version == Version::HTTP_10 => HeaderValue::try_from(destination.to_string()).ok(),
        None => None,
    }
}

/// Puts the normalised path in place; the answer when there is none.
fn normalize_path(uri: &mut Uri, routing: &Routing) -> Option<LocalReply> {
    let path = uri.path();
    match uri.path_and_query().and_then(|whole| whole.as_str().bytes().next()) {
        Some(b'/') => {}
        // HTTP/1 has no such target; one of HTTP/2 that is not `*` begins with a slash (RFC 9113, 8.3.1).
        Some(b'?') => return Some(LocalReply::bad_request("http2.invalid_path")),
        _ => return Some(LocalReply::new(StatusCode::NOT_FOUND, "", "absolute_path_rejected")),
    }
    let Ok(normal) = normalize(path, routing.config.model.mesh.path_normalization) else {
        return Some(LocalReply::bad_request("path_normalization_failed"));
    };
    if normal != path {
        let text = match uri.query() {
            Some(query) => format!("{normal}?{query}"),
            None => normal.into_owned(),
        };
        match PathAndQuery::try_from(text) {
            Ok(path) => *uri = with_path(uri, path),
            Err(_) => return Some(LocalReply::bad_request("path_normalization_failed")),
        }
    }
    None
}

/// The same URI with another path.
pub fn with_path(uri: &Uri, path: PathAndQuery) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

fn remember_peer(connection: &ServedConnection, received: &Received) {
    let known = &connection.downstream.peer_workload;
    if known.get().is_none()
        && let Some(workload) = received.workload()
    {
        let _ = known.set(workload);
    }
}

fn upload(body: ClientBody, head: &Parts, seen: Seen) -> Option<Arc<Upload>> {
    if body.is_end_stream() {
        return None;
    }
    let waits = seen.expect && head.version == Version::HTTP_11 && expects_continue(&head.headers);
    Some(Upload::new(body, true, waits))
}

fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get_all(EXPECT).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
