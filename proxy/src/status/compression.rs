//! Metrics compressed with gzip for those who accept it, as Prometheus does.

use std::io::Write;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

/// Shorter bodies fit into one packet anyway.
const WORTH_IT: usize = 1024;

/// An answer to a request with these headers.
pub fn respond(request: &HeaderMap, content_type: HeaderValue, body: Vec<u8>) -> Response {
    let compressed = if body.len() >= WORTH_IT && accepts_gzip(request) { gzip(&body) } else { None };
    let mut response = compressed.map_or_else(
        || body.into_response(),
        |compressed| ([(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))], compressed).into_response(),
    );
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    response
}

/// Level 1: this runs on the thread that also answers probes.
fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// RFC 9110, 12.5.3: listed by name or by `*`, and not with weight 0.
fn accepts_gzip(request: &HeaderMap) -> bool {
    let weight = |name: &str| {
        let lists = request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        lists.flat_map(|list| list.split(',')).find_map(|entry| {
            let (coding, parameters) = entry.split_once(';').unwrap_or((entry, ""));
            let weight = parameters.trim().strip_prefix("q=").and_then(|weight| weight.trim().parse::<f32>().ok()).unwrap_or(1.0);
            coding.trim().eq_ignore_ascii_case(name).then_some(weight)
        })
    };
    weight("gzip").or_else(|| weight("*")).is_some_and(|weight| weight > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_those_who_accept_it() {
        for (accepted, expected) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("br, *", true),
            ("gzip;q=0", false),
            ("gzip;q=0, *", false),
            ("identity", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            assert_eq!(accepts_gzip(&headers), expected, "{accepted:?}");
        }
    }

    #[test]
    fn short_bodies_stay_as_they_are() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        let respond = |length| respond(&headers, HeaderValue::from_static("text/plain"), vec![b'a'; length]);
        assert!(respond(WORTH_IT - 1).headers().get(header::CONTENT_ENCODING).is_none());
        let long = respond(WORTH_IT);
        assert_eq!(long.headers()[header::CONTENT_ENCODING], "gzip");
        assert_eq!(long.headers()[header::CONTENT_TYPE], "text/plain");
    }
}
