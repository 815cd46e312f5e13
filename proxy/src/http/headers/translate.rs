//! Fields made fit for HTTP/2, and those of HTTP/2 made what everybody else expects.

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONNECTION, COOKIE, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};

use super::{KEEP_ALIVE, PROXY_CONNECTION};

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

/// Joins the `cookie` fields into which an HTTP/2 client may divide its cookies for the sake of compression: whatever looks at a
/// request is to see them as one (RFC 9113, 8.2.3).
pub fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_maybe_shared(Bytes::from(crumbs.join(&b"; "[..]))) {
        headers.insert(COOKIE, joined);
    }
}
