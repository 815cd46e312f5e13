//! The HTTP/1 requests of a connection.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use http::header::CONNECTION;
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::body::ClientBody;
use super::connection_manager::{LAST_REQUEST, ServedConnection};
use super::leaving;
use super::raw_head::RawHeads;
use crate::drain::Phase;
use crate::listener::Watch;
use crate::router::exchange;

/// Bytes of a request head.
const MAX_HEAD: usize = 60 * 1024;
/// Read buffer of an HTTP/1 connection; must hold a head.
const MAX_BUFFER: usize = 128 * 1024;

/// Serves a connection until its end.
pub async fn serve<I>(io: RawHeads<I>, connection: Arc<ServedConnection>)
where
    I: AsyncRead + AsyncWrite + Watch + Unpin + Send + 'static,
{
    let served = Arc::clone(&connection);
    let service = service_fn(move |request: Request<Incoming>| {
        let served = Arc::clone(&served);
        async move {
            let mut response = exchange::serve(&served, request.map(ClientBody::Http1)).await;
            let leaves = served.worker.drain.phase() > Phase::Serving || served.downstream.must_leave();
            if leaves && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    // `max_headers` stays unset: hyper's own limit is the same MAX_HEADERS, and a limit of one's own makes it prepare the
    // whole table for every head. `half_close` keeps it from reading ahead for a client that goes away in the middle of a
    // request, where the seam below looks out for that. `pipeline_flush` stays off, since it holds answers back; `writev` is
    // left to the transport.
    let mut builder = http1::Builder::new();
    builder.half_close(io.watches()).max_header_size(MAX_HEAD).max_buf_size(MAX_BUFFER).header_read_timeout(None);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(io), service).with_upgrades());
    let ended = leaving::run(serving.as_mut(), |serving| serving.graceful_shutdown(), &connection, Some(LAST_REQUEST)).await;
    leaving::report(&connection, ended);
}
