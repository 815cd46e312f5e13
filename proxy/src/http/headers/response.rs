//! What of a response must not travel back, and our name.

use http::header::{CONNECTION, SERVER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue};

use super::{DECORATOR, KEEP_ALIVE, PROXY_CONNECTION};
use crate::listener::Direction;

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
