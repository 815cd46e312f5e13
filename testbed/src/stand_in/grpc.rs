//! gRPC as far as an echo needs it: messages are not decoded, only their frames come back.
//!
//! Any method echoes what it receives, unary and streaming alike, and ends with `grpc-status: 0`. The metadata
//! `stand-in-grpc-status: N` makes it answer that status in the headers ("trailers-only"), which is the form in which a
//! proxy may retry it. Source: the gRPC over HTTP/2 protocol document and `grpc/health/v1/health.proto`.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body as _, Incoming};

use super::body::Body;

/// A `HealthCheckResponse` with `status: SERVING`, behind its five bytes of frame.
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 0x08, 1];

/// Whether a request is gRPC by its content type.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    kind.strip_prefix(b"application/grpc").is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// The answer to one call; `failing` is the HTTP status an injected failure wants, if there is one.
pub(crate) fn answer(request: Request<Incoming>, failing: Option<StatusCode>) -> Response<Body> {
    if failing.is_some() {
        return trailers_only(HeaderValue::from_static("14"));
    }
    if let Some(status) = request.headers().get("stand-in-grpc-status") {
        return trailers_only(status.clone());
    }
    if request.uri().path() == "/grpc.health.v1.Health/Check" {
        return with_type(unary(Bytes::from_static(SERVING)));
    }
    with_type(echo(request.into_body()))
}

/// Data frames as they come, the client's own trailers replaced by a status of zero.
fn echo(incoming: Incoming) -> Body {
    let frames = futures_util::stream::unfold(Some(incoming), |state| async move {
        let mut incoming = state?;
        while !incoming.is_end_stream() {
            match incoming.frame().await {
                Some(Ok(frame)) if frame.is_data() => return Some((Ok(frame), Some(incoming))),
                Some(Ok(_trailers)) => {}
                Some(Err(error)) => return Some((Err(error), None)),
                None => break,
            }
        }
        Some((Ok(Frame::trailers(status_trailers())), None))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// One message and the status of success.
fn unary(message: Bytes) -> Body {
    let frames = [Frame::data(message), Frame::trailers(status_trailers())];
    StreamBody::new(futures_util::stream::iter(frames.map(Ok))).boxed_unsync()
}

fn status_trailers() -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))])
}

fn with_type(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn trailers_only(status: HeaderValue) -> Response<Body> {
    let mut response = with_type(super::body::fixed(Bytes::new()));
    response.headers_mut().insert("grpc-status", status);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_by_its_content_type() {
        for (kind, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
            assert_eq!(is_grpc(&headers), expected, "{kind}");
        }
    }
}
