//! Fields of HTTP/1 made fit for HTTP/2, and of HTTP/2 for HTTP/1.

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

/// `cookie` fields of an HTTP/2 request, joined as HTTP/1 wants them (RFC 9113, 8.2.3).
pub fn join_cookies(headers: &mut HeaderMap) {
    let mut all = headers.get_all(COOKIE).iter();
    if let (Some(_), Some(_)) = (all.next(), all.next()) {
        let values: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(joined) = HeaderValue::from_bytes(&values.join(&b"; "[..])) {
            headers.insert(COOKIE, joined);
        }
    }
}
