//! `headers.request` and `headers.response` of routes and destinations (Istio semantics 1.9).

use bytes::BytesMut;
use http::{HeaderMap, HeaderValue};
use outrigger_config::model::{FormatPiece, HeaderFormat, HeaderOperations, Route, WeightedCluster};

use crate::listener::Downstream;

/// Where `%VAR%` values come from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The connection.
    pub downstream: &'a Downstream,
    /// Headers of the request, before these operations.
    pub request: Option<&'a HeaderMap>,
    /// Method, path with query and Host, which are no headers here.
    pub line: RequestLine<'a>,
    /// Protocol of the downstream, `HTTP/1.1`.
    pub protocol: &'a str,
}

/// The parts of a request that `%REQ(:name)%` names.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestLine<'a> {
    /// `:method`.
    pub method: &'a str,
    /// `:path`.
    pub path: &'a str,
    /// `:authority`.
    pub authority: &'a str,
}

/// The request operations of a route and of its chosen destination, in the order Istio gives them: with one destination
/// its own come last and win, with several the route's do.
pub fn request_order<'a>(route: &'a Route, destination: &'a WeightedCluster, single: bool) -> [&'a HeaderOperations; 2] {
    order(&route.request_headers, &destination.request_headers, single)
}

/// The same for responses.
pub fn response_order<'a>(route: &'a Route, destination: &'a WeightedCluster, single: bool) -> [&'a HeaderOperations; 2] {
    order(&route.response_headers, &destination.response_headers, single)
}

fn order<'a>(route: &'a HeaderOperations, destination: &'a HeaderOperations, single: bool) -> [&'a HeaderOperations; 2] {
    if single { [route, destination] } else { [destination, route] }
}

/// Applies one level: remove, then set, then add. Host changes are the caller's business.
pub fn apply(operations: &HeaderOperations, headers: &mut HeaderMap, source: Source<'_>) {
    for name in &operations.remove {
        headers.remove(name);
    }
    for (name, format) in &operations.set {
        let value = render(format, source, headers);
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    for (name, format) in &operations.add {
        let value = render(format, source, headers);
        if let Some(value) = value {
            headers.append(name, value);
        }
    }
}

/// The value of a format; `None` when it is not a legal header value.
pub fn render(format: &HeaderFormat, source: Source<'_>, current: &HeaderMap) -> Option<HeaderValue> {
    let pieces = match format {
        HeaderFormat::Literal(value) => return Some(value.clone()),
        HeaderFormat::Template(pieces) => pieces,
    };
    let mut value = BytesMut::new();
    for piece in pieces {
        match piece {
            FormatPiece::Text(text) => value.extend_from_slice(text.as_bytes()),
            FormatPiece::Command { name, argument } => expand(name, argument.as_deref(), source, current, &mut value),
        }
    }
    HeaderValue::from_maybe_shared(value.freeze()).ok()
}

fn expand(name: &str, argument: Option<&str>, source: Source<'_>, current: &HeaderMap, value: &mut BytesMut) {
    let downstream = source.downstream;
    let tls = downstream.tls.as_ref();
    let text = match name {
        "REQ" => return expand_request(argument.unwrap_or_default(), source, current, value),
        "DOWNSTREAM_REMOTE_ADDRESS" => Some(downstream.peer.to_string()),
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Some(downstream.peer.ip().to_string()),
        "DOWNSTREAM_REMOTE_PORT" => Some(downstream.peer.port().to_string()),
        "DOWNSTREAM_LOCAL_ADDRESS" => Some(downstream.destination.to_string()),
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => Some(downstream.destination.ip().to_string()),
        "DOWNSTREAM_LOCAL_PORT" => Some(downstream.destination.port().to_string()),
        "DOWNSTREAM_TLS_VERSION" => tls.map(|tls| tls.version.to_owned()),
        "DOWNSTREAM_PEER_URI_SAN" => tls.and_then(|tls| tls.peer_identity.clone()),
        "DOWNSTREAM_LOCAL_URI_SAN" => tls.and_then(|tls| tls.local_identity.clone()),
        "DOWNSTREAM_PEER_SUBJECT" => tls.map(|tls| tls.peer_subject.clone()),
        "DOWNSTREAM_PEER_FINGERPRINT_256" => tls.map(|tls| tls.peer_certificate_hash.clone()),
        "REQUESTED_SERVER_NAME" => downstream.sni.clone(),
        "PROTOCOL" => Some(source.protocol.to_owned()),
        "HOSTNAME" => std::env::var("HOSTNAME").ok(),
        _ => None,
    };
    value.extend_from_slice(text.as_deref().unwrap_or("-").as_bytes());
}

/// `%REQ(first?alternative)%`.
fn expand_request(argument: &str, source: Source<'_>, current: &HeaderMap, value: &mut BytesMut) {
    let headers = source.request.unwrap_or(current);
    for name in argument.split('?') {
        let found = match name {
            ":method" | ":METHOD" => Some(source.line.method.as_bytes()),
            ":path" | ":PATH" => Some(source.line.path.as_bytes()),
            ":authority" | ":AUTHORITY" => Some(source.line.authority.as_bytes()),
            name => headers.get(name).map(HeaderValue::as_bytes),
        };
        if let Some(found) = found {
            return value.extend_from_slice(found);
        }
    }
    value.extend_from_slice(b"-");
}
