//! Header names. Those of the standard are constants of the `http` crate; of the others it copies each occurrence into
//! memory of its own, which proxies would do for the same few names in every request.

use http::HeaderName;

/// Names that are no standard ones and come with many requests of a mesh.
static KNOWN: [HeaderName; 15] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-client-cert"),
    HeaderName::from_static("x-envoy-attempt-count"),
    HeaderName::from_static("x-envoy-decorator-operation"),
    HeaderName::from_static("x-envoy-peer-metadata"),
    HeaderName::from_static("x-envoy-peer-metadata-id"),
    HeaderName::from_static("x-b3-traceid"),
    HeaderName::from_static("x-b3-spanid"),
    HeaderName::from_static("x-b3-sampled"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("keep-alive"),
];

/// The name of a field; `None` when it is none.
pub fn name(bytes: &[u8]) -> Option<HeaderName> {
    if matches!(bytes.first(), Some(b'x' | b'X' | b't' | b'T' | b'k' | b'K')) {
        let mut known = KNOWN.iter().filter(|known| known.as_str().len() == bytes.len());
        if let Some(known) = known.find(|known| known.as_str().as_bytes().eq_ignore_ascii_case(bytes)) {
            return Some(known.clone());
        }
    }
    HeaderName::from_bytes(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_itself_however_it_is_written() {
        for (written, meant) in [("X-Request-ID", "x-request-id"), ("Host", "host"), ("x-other", "x-other"), ("TE", "te")] {
            assert_eq!(name(written.as_bytes()).unwrap(), meant);
        }
        assert_eq!(name(b"no name"), None);
    }
}
