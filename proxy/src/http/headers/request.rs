//! What of a request must not travel on, and what the next hop expects.

use http::HeaderMap;
use http::header::{CONNECTION, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};

use super::client::{add_client_address, forward_client_cert};
use super::short_text;
use super::{
    DECORATOR, EXPECTED_TIMEOUT, EXTERNAL_ADDRESS, FORWARDED_PROTO, KEEP_ALIVE, ORIGINAL_PATH, PROXY_CONNECTION, REQUEST_ID, Seen,
};
use crate::listener::{Direction, Downstream};

/// Headers by which a trusted caller steers Envoy; removed from everybody, since nobody counts as internal.
pub(super) static UNTRUSTED: [HeaderName; 17] = [
    EXTERNAL_ADDRESS,
    EXPECTED_TIMEOUT,
    HeaderName::from_static("x-envoy-internal"),
    HeaderName::from_static("x-envoy-retry-on"),
    HeaderName::from_static("x-envoy-retry-grpc-on"),
    HeaderName::from_static("x-envoy-max-retries"),
    HeaderName::from_static("x-envoy-retriable-status-codes"),
    HeaderName::from_static("x-envoy-retriable-header-names"),
    HeaderName::from_static("x-envoy-hedge-on-per-try-timeout"),
    HeaderName::from_static("x-envoy-upstream-rq-timeout-ms"),
    HeaderName::from_static("x-envoy-upstream-rq-per-try-timeout-ms"),
    HeaderName::from_static("x-envoy-upstream-rq-timeout-alt-response"),
    HeaderName::from_static("x-envoy-upstream-alt-stat-name"),
    HeaderName::from_static("x-envoy-upstream-stream-duration-ms"),
    HeaderName::from_static("x-envoy-ip-tags"),
    HeaderName::from_static("x-envoy-force-trace"),
    HeaderName::from_static("x-envoy-is-timeout-retry"),
];

static MESH_ONLY: [HeaderName; 4] = [
    DECORATOR,
    ORIGINAL_PATH,
    HeaderName::from_static("x-envoy-downstream-service-cluster"),
    HeaderName::from_static("x-envoy-downstream-service-node"),
];

/// `connection` names a header that must reach the upstream: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtectedHeaderNamed;

/// Removes what must not travel on and adds what the next hop expects. `upgrade` keeps the headers of a WebSocket upgrade.
///
/// # Errors
/// When `connection` names a protected header.
pub fn sanitize_request(headers: &mut HeaderMap, seen: Seen, downstream: &Downstream, upgrade: bool) -> Result<(), ProtectedHeaderNamed> {
    if seen.hop_by_hop {
        remove_named_by_connection(headers)?;
        headers.remove(CONNECTION);
    }
    if seen.beside_connection {
        remove_hop_by_hop(headers, upgrade);
    }
    if seen.untrusted {
        UNTRUSTED.iter().for_each(|name| drop(headers.remove(name)));
    }
    let gateway = downstream.direction == Direction::Gateway;
    if gateway && (seen.mesh_only || seen.decorator) {
        MESH_ONLY.iter().for_each(|name| drop(headers.remove(name)));
    } else if seen.decorator && downstream.direction == Direction::Inbound {
        headers.remove(DECORATOR);
    }
    if gateway {
        add_client_address(headers, seen, downstream);
    }
    if gateway || !seen.forwarded_proto {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(if downstream.tls.is_some() { "https" } else { "http" }));
    }
    if gateway || !seen.request_id {
        headers.insert(REQUEST_ID, request_id(rand::random()));
    }
    forward_client_cert(headers, seen, downstream);
    Ok(())
}

fn remove_named_by_connection(headers: &mut HeaderMap) -> Result<(), ProtectedHeaderNamed> {
    /// What `connection` says without naming a header, and headers that go or stay by rules of their own.
    const OTHERS: [&[u8]; 4] = [b"close", b"keep-alive", b"upgrade", b"te"];
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|token| !OTHERS.iter().any(|other| token.eq_ignore_ascii_case(other)))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .collect();
    for name in named {
        let protected = matches!(name.as_str(), "host" | "content-length") || name.as_str().starts_with("x-forwarded-");
        if protected {
            return Err(ProtectedHeaderNamed);
        }
        headers.remove(name);
    }
    Ok(())
}

fn remove_hop_by_hop(headers: &mut HeaderMap, upgrade: bool) {
    let trailers = headers.get_all(TE).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING, TE] {
        headers.remove(name);
    }
    headers.remove("http2-settings");
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    } else {
        headers.remove(UPGRADE);
    }
}

/// A version 4 UUID from 128 random bits.
fn request_id(random: u128) -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let random = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let mut text = [b'-'; 36];
    // Where each of the sixteen bytes begins, between the hyphens.
    const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
    for (byte, place) in random.to_be_bytes().into_iter().zip(PLACES) {
        text[place] = HEX[usize::from(byte >> 4)];
        text[place + 1] = HEX[usize::from(byte & 0xf)];
    }
    short_text::value(&text).unwrap_or(HeaderValue::from_static("00000000-0000-4000-8000-000000000000"))
}
