//! The HTTP/2 requests of a connection.
//!
//! One hundred streams with windows of 256 KiB under a connection window of 1 MiB, as Istio sets them (Istio semantics 8.1).

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection_manager::ServedConnection;
use super::leaving;
use super::raw_head::RawHeads;
use super::write_batch::BatchedIo;
use crate::listener::Watch;
use crate::router::exchange;
use crate::upstream::pool::{CONNECTION_WINDOW, MAX_HEADER_LIST, STREAM_WINDOW};

/// Concurrent streams of an HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// Streams that an HTTP/2 client may open and reset before we have looked at them; one more ends the connection with
/// ENHANCE_YOUR_CALM (CVE-2023-44487).
const MAX_RESET_UNSEEN: usize = 20;
/// Streams of an HTTP/2 connection that we had to reset for the client's mistakes; one more ends it likewise
/// (RUSTSEC-2024-0003).
const MAX_RESET_BY_US: usize = 1024;

/// Serves a connection until its end.
pub async fn serve<I>(io: RawHeads<I>, connection: Arc<ServedConnection>)
where
    I: AsyncRead + AsyncWrite + Watch + Unpin + Send + 'static,
{
    let served = Arc::clone(&connection);
    let service = service_fn(move |request: Request<Incoming>| {
        let served = Arc::clone(&served);
        // Boxed at once: the codec moves the future several times before it runs.
        Box::pin(async move { Ok::<_, Infallible>(exchange::serve(&served, request).await) })
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESET_UNSEEN)
        .max_local_error_reset_streams(MAX_RESET_BY_US)
        .max_send_buf_size(64 * 1024);
    let io = BatchedIo::new(io);
    let sender = io.sender();
    let serving = pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut serving = sender.run(serving);
    leaving::run(Pin::new(&mut serving), |serving| serving.get_mut().get_mut().as_mut().graceful_shutdown(), &connection, None).await;
}
