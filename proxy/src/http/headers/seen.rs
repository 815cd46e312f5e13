//! What a request carries, found in one pass over its header names: only then are headers looked up, removed or added, since looking
//! for each of thirty names in every request would cost more than routing it.

use http::{HeaderMap, HeaderValue};

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
    pub(super) beside_connection: bool,
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
    /// More than one `cookie`.
    pub several_cookies: bool,
    /// Bytes of all fields as HTTP/1 would write them.
    pub bytes: usize,
}

/// Looks at every header once.
pub fn scan(headers: &HeaderMap) -> Seen {
    let mut seen = Seen::default();
    let (mut hosts, mut cookies) = (0, 0);
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
                "cookie" => cookies += 1,
                _ => {}
            },
            _ => {}
        }
    }
    (seen.several_hosts, seen.several_cookies) = (hosts > 1, cookies > 1);
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
