//! gRPC conventions over HTTP (Istio semantics 8.10).

use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderName};

/// `grpc-status`.
pub const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Whether a request or response is gRPC: content type `application/grpc`, alone or followed by `+` or `;`.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return false };
    match value.as_bytes().strip_prefix(b"application/grpc") {
        Some(rest) => matches!(rest.first(), None | Some(b'+' | b';')),
        None => false,
    }
}

/// `grpc-status` among headers or trailers.
pub fn status_of(headers: &HeaderMap) -> Option<u16> {
    headers.get(STATUS)?.to_str().ok()?.parse().ok()
}

/// The gRPC status of an answer made here with an HTTP status.
pub fn status_for_http(status: u16) -> u8 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// `grpc-message`: percent-encoded outside printable ASCII, `%` included.
pub fn encode_message(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(byte as char),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_that_count_as_grpc() {
        let check = |value: &'static str| is_grpc(&HeaderMap::from_iter([(CONTENT_TYPE, http::HeaderValue::from_static(value))]));
        assert!(check("application/grpc") && check("application/grpc+proto") && check("application/grpc;x=y"));
        assert!(!check("application/grpc-web") && !check("application/json"));
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn messages_are_percent_encoded() {
        assert_eq!(encode_message("100% n\u{e4}\n"), "100%25 n%C3%A4%0A");
    }
}
