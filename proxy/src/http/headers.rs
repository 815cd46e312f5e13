//! Header rules on the way through (Istio semantics 8.2, 8.3 and 6.5).
//!
//! One pass over the request's header names finds what is there; only then are headers looked up, removed or added, since
//! looking for each of thirty names in every request would cost more than routing it.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{LazyLock, OnceLock};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, SERVER, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, header};

use crate::listener::{Direction, Downstream};

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

/// What a request carries among the headers that a proxy cares for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// `x-request-id`.
    pub request_id: bool,
    /// `x-forwarded-proto`.
    pub forwarded_proto: bool,
    /// `x-forwarded-client-cert`.
    pub client_cert: bool,
    /// `x-envoy-peer-metadata` or its id.
    pub peer_metadata: bool,
    /// `x-envoy-decorator-operation`.
    pub decorator: bool,
    /// `connection`, `keep-alive`, `proxy-connection`, `transfer-encoding`, `upgrade` or `te`.
    pub hop_by_hop: bool,
    /// Of these, another than `connection`.
    beside_connection: bool,
    /// A header that only internal callers may send.
    pub untrusted: bool,
    /// A header that a gateway does not take from clients.
    pub mesh_only: bool,
    /// `expect`.
    pub expect: bool,
    /// `content-type`.
    pub content_type: bool,
    /// `content-length`.
    pub content_length: bool,
    /// `x-forwarded-for`.
    pub forwarded_for: bool,
    /// More than one `host`.
    pub several_hosts: bool,
    /// Bytes of all fields as HTTP/1 would write them.
    pub bytes: usize,
}

/// Looks at every header once.
pub fn scan(headers: &HeaderMap) -> Seen {
    let mut seen = Seen::default();
    let mut hosts = 0;
    for (name, value) in headers {
        let name = name.as_str();
        seen.bytes += field_bytes(name, value);
        // The first letter settles most names at once.
        match name.as_bytes().first() {
            Some(b'x') => scan_extension(name, &mut seen),
            Some(b'h') => hosts += u32::from(name == "host"),
            Some(b'c' | b'e' | b'k' | b'p' | b't' | b'u') => match name {
                "connection" => seen.hop_by_hop = true,
                "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" | "te" => {
                    (seen.hop_by_hop, seen.beside_connection) = (true, true);
                }
                "content-type" => seen.content_type = true,
                "content-length" => seen.content_length = true,
                "expect" => seen.expect = true,
                _ => {}
            },
            _ => {}
        }
    }
    seen.several_hosts = hosts > 1;
    seen
}

fn field_bytes(name: &str, value: &HeaderValue) -> usize {
    name.len() + value.len() + ": \r\n".len()
}

fn scan_extension(name: &str, seen: &mut Seen) {
    let Some(rest) = name.strip_prefix("x-envoy-") else {
        match name {
            "x-request-id" => seen.request_id = true,
            "x-forwarded-proto" => seen.forwarded_proto = true,
            "x-forwarded-client-cert" => seen.client_cert = true,
            "x-forwarded-for" => seen.forwarded_for = true,
            _ => {}
        }
        return;
    };
    match rest {
        "peer-metadata" | "peer-metadata-id" => seen.peer_metadata = true,
        "decorator-operation" => seen.decorator = true,
        "downstream-service-cluster" | "downstream-service-node" | "original-path" => seen.mesh_only = true,
        _ => seen.untrusted = true,
    }
}

/// Headers by which a trusted caller steers Envoy; removed from everybody, since nobody counts as internal.
static UNTRUSTED: [HeaderName; 17] = [
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

/// The length that a request says it has, or what there is of it: no number, or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoLength;

/// Leaves one `content-length` of those of an HTTP/2 request. Its codec takes an empty one for 0, and compares what is repeated
/// without leaving it out; an HTTP/1 server could read either as another request.
///
/// # Errors
/// When there is one that is no number, or another number.
pub fn settle_length(headers: &mut HeaderMap) -> Result<(), NoLength> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return Ok(()) };
    let length = length(first).ok_or(NoLength)?;
    let mut repeated = false;
    for again in lengths {
        repeated = true;
        if self::length(again) != Some(length) {
            return Err(NoLength);
        }
    }
    if repeated {
        headers.insert(CONTENT_LENGTH, number(length));
    }
    Ok(())
}

/// The number in a `content-length`: digits and nothing else.
pub fn length(value: &HeaderValue) -> Option<u64> {
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

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

/// What a connection says about its client in every request, as text made with the first.
#[derive(Debug, Default)]
pub struct ClientText {
    address: OnceLock<HeaderValue>,
    certificate: OnceLock<Option<HeaderValue>>,
}

impl ClientText {
    fn address(&self, peer: IpAddr) -> &HeaderValue {
        self.address.get_or_init(|| match peer.to_canonical() {
            IpAddr::V4(address) => ipv4_text(address),
            IpAddr::V6(address) => HeaderValue::try_from(address.to_string()).unwrap_or(HeaderValue::from_static("-")),
        })
    }

    fn certificate(&self, downstream: &Downstream) -> Option<&HeaderValue> {
        let text = || client_cert_element(downstream).and_then(|element| HeaderValue::try_from(element).ok());
        self.certificate.get_or_init(text).as_ref()
    }
}

/// Dotted decimal, at a tenth of what the standard library's padding formatter takes; due once per connection.
fn ipv4_text(address: Ipv4Addr) -> HeaderValue {
    let mut text = Vec::with_capacity("255.255.255.255".len());
    for octet in address.octets() {
        if !text.is_empty() {
            text.push(b'.');
        }
        if octet >= 100 {
            text.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            text.push(b'0' + octet / 10 % 10);
        }
        text.push(b'0' + octet % 10);
    }
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static("-"))
}

fn add_client_address(headers: &mut HeaderMap, seen: Seen, downstream: &Downstream) {
    let address = downstream.client_text.address(downstream.peer.ip());
    let list = if seen.forwarded_for { appended(headers, address) } else { Some(address.clone()) };
    if let Some(list) = list {
        headers.insert(FORWARDED_FOR, list);
    }
    headers.insert(EXTERNAL_ADDRESS, address.clone());
}

/// The addresses that `x-forwarded-for` names so far, and one more.
fn appended(headers: &HeaderMap, address: &HeaderValue) -> Option<HeaderValue> {
    let mut list = Vec::new();
    for known in headers.get_all(&FORWARDED_FOR).iter().filter(|value| !value.is_empty()) {
        list.extend_from_slice(known.as_bytes());
        list.push(b',');
    }
    list.extend_from_slice(address.as_bytes());
    HeaderValue::from_maybe_shared(Bytes::from(list)).ok()
}

/// Sidecars append an element for a mesh mTLS client and remove the header of a plaintext one; gateways never believe it.
fn forward_client_cert(headers: &mut HeaderMap, seen: Seen, downstream: &Downstream) {
    if downstream.direction == Direction::Outbound {
        return;
    }
    let Some(element) = downstream.client_text.certificate(downstream) else {
        if seen.client_cert {
            headers.remove(FORWARDED_CLIENT_CERT);
        }
        return;
    };
    if !seen.client_cert || downstream.direction != Direction::Inbound {
        headers.insert(FORWARDED_CLIENT_CERT, element.clone());
        return;
    }
    let mut value = String::new();
    for known in headers.get_all(&FORWARDED_CLIENT_CERT) {
        value.push_str(&String::from_utf8_lossy(known.as_bytes()));
        value.push(',');
    }
    value.push_str(&String::from_utf8_lossy(element.as_bytes()));
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(FORWARDED_CLIENT_CERT, value);
    }
}

fn client_cert_element(downstream: &Downstream) -> Option<String> {
    let tls = downstream.tls.as_ref().filter(|tls| !tls.peer_certificate_hash.is_empty())?;
    let mut element = String::with_capacity(256);
    if let Some(own) = &tls.local_identity {
        let _ = write!(element, "By={own};");
    }
    let _ = write!(element, "Hash={};Subject=\"{}\"", tls.peer_certificate_hash, tls.peer_subject.replace('"', "\\\""));
    let _ = write!(element, ";URI={}", tls.peer_identity.as_deref().unwrap_or_default());
    for name in &tls.peer_dns_names {
        let _ = write!(element, ";DNS={name}");
    }
    Some(element)
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
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("00000000-0000-4000-8000-000000000000"))
}

/// What a response carries among the headers that a proxy cares for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answered {
    /// `connection`, `keep-alive`, `proxy-connection`, `transfer-encoding` or `upgrade`.
    hop_by_hop: bool,
    /// `x-envoy-decorator-operation`.
    decorator: bool,
    /// `x-envoy-peer-metadata` or its id.
    pub peer_metadata: bool,
    encoding: bool,
    length: bool,
}

impl Answered {
    /// Looks at every header name once.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut seen = Answered::default();
        for name in headers.keys() {
            match name.as_str() {
                "content-length" => seen.length = true,
                "transfer-encoding" => (seen.hop_by_hop, seen.encoding) = (true, true),
                "connection" | "keep-alive" | "proxy-connection" | "upgrade" => seen.hop_by_hop = true,
                "x-envoy-decorator-operation" => seen.decorator = true,
                "x-envoy-peer-metadata" | "x-envoy-peer-metadata-id" => seen.peer_metadata = true,
                _ => {}
            }
        }
        seen
    }

    /// Whether a response tells its length in two ways. The codec reads by the encoding and hands both headers on; a client
    /// that was sent the length would lose the rest of the body, or take it for the next answer.
    pub fn has_two_lengths(self) -> bool {
        self.encoding && self.length
    }
}

/// Removes what must not travel back and writes our name.
pub fn sanitize_response(headers: &mut HeaderMap, seen: Answered, direction: Direction, upgrade: bool) {
    if seen.hop_by_hop {
        for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING] {
            headers.remove(name);
        }
        if upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        } else {
            headers.remove(UPGRADE);
        }
    }
    if seen.decorator {
        headers.remove(DECORATOR);
    }
    headers.insert(SERVER, server_name(direction));
}

/// `server`: `envoy` towards the local application, `istio-envoy` towards everybody else.
pub fn server_name(direction: Direction) -> HeaderValue {
    HeaderValue::from_static(match direction {
        Direction::Outbound => "envoy",
        Direction::Inbound | Direction::Gateway => "istio-envoy",
    })
}

/// Makes fields fit for HTTP/2.
///
/// What it has no fields for is removed (RFC 9113, 8.2.2): what comes from a peer is cleaned before, but a route's own header
/// operations may add such. Values that no two messages share are kept out of header compression, which would push one out of its table
/// for each that it takes in, here and at the peer, so that in the end no value would be found there.
pub fn fit_for_http2(headers: &mut HeaderMap) {
    let (mut misfits, mut te) = (false, false);
    for (name, value) in headers.iter_mut() {
        match name.as_str() {
            "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => misfits = true,
            // The codec refuses others.
            "te" => te |= value != "trailers",
            "x-request-id" | "traceparent" | "x-b3-traceid" | "x-b3-spanid" => value.set_sensitive(true),
            _ => {}
        }
    }
    if te {
        headers.remove(TE);
    }
    if misfits {
        [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING, UPGRADE].iter().for_each(|name| drop(headers.remove(name)));
    }
}

/// A number as a header value, without allocating below 256.
pub fn number(value: u64) -> HeaderValue {
    static SMALL: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| {
        let text = |value: u16| &*Box::leak(value.to_string().into_boxed_str());
        (0..256).map(|value| HeaderValue::from_static(text(value))).collect()
    });
    match usize::try_from(value).ok().and_then(|value| SMALL.get(value)) {
        Some(known) => known.clone(),
        None => HeaderValue::from(value),
    }
}

/// `cookie` fields of an HTTP/2 request, joined as HTTP/1 wants them (RFC 9113, 8.2.3).
pub fn join_cookies(headers: &mut HeaderMap) {
    let mut all = headers.get_all(header::COOKIE).iter();
    if let (Some(_), Some(_)) = (all.next(), all.next()) {
        let values: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(joined) = HeaderValue::from_bytes(&values.join(&b"; "[..])) {
            headers.insert(header::COOKIE, joined);
        }
    }
}

#[cfg(test)]
mod tests;
