//! Serves the HTTP/1 and HTTP/2 requests of one downstream connection.
//!
//! Settings are Istio's (Istio semantics 8.1): 60 KiB and 100 header fields per head (431 beyond), HTTP/1.0 accepted,
//! `100 Continue` passed through, one hundred HTTP/2 streams with windows of 256 KiB under a connection window of 1 MiB.

use std::borrow::Cow;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONNECTION;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use outrigger_config::model::RouteConfiguration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::dozing::Dozing;
use super::headers::Seen;
use super::raw_head::{Findings, RawHeads};
use super::refusal::Refusal;
use super::write_batch::BatchedIo;
use crate::drain::{Drain, Phase};
use crate::listener::{Downstream, Watch};
use crate::router::exchange;
use crate::router::stream::Stream;
use crate::runtime::Worker;
use crate::snapshot::Config;
use crate::telemetry::ResponseFlags;
use crate::upstream::pool::{CONNECTION_WINDOW, MAX_HEADER_LIST, STREAM_WINDOW};

/// Bytes of a request head.
const MAX_HEAD: usize = 60 * 1024;
/// Fields of a request head: hyper's own limit while it parses HTTP/1; HTTP/2 leaves it to [`crate::router::arrival`].
pub(crate) const MAX_HEADERS: usize = 100;
/// Read buffer of an HTTP/1 connection; must hold a head.
const MAX_BUFFER: usize = 128 * 1024;
/// Concurrent streams of an HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// Streams that an HTTP/2 client may open and reset before we have looked at them; one more ends the connection with
/// ENHANCE_YOUR_CALM (CVE-2023-44487).
const MAX_RESET_UNSEEN: usize = 20;
/// Streams of an HTTP/2 connection that we had to reset for the client's mistakes; one more ends it likewise
/// (RUSTSEC-2024-0003).
const MAX_RESET_BY_US: usize = 1024;
/// What an HTTP/2 client sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a draining HTTP/1 connection waits for another request, which is answered with `connection: close`. To close it
/// at once would lose a request that is on its way: HTTP/1 has no GOAWAY, and hyper closes a connection without a request
/// in hand when told to shut down.
const LAST_REQUEST: Duration = Duration::from_millis(500);
/// Downstream connections without a request for this long are closed, within a factor of two (Istio semantics 8.1).
const IDLE: Duration = Duration::from_secs(3600);

/// Which HTTP version a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// HTTP/2 when the client sends its preface, else HTTP/1.
    Auto,
    /// HTTP/1.1 or 1.0.
    Http1,
    /// HTTP/2, agreed by ALPN or known.
    Http2,
}

/// What the requests of one connection share.
#[derive(Debug)]
pub struct ServedConnection {
    /// Facts about the connection.
    pub downstream: Arc<Downstream>,
    /// The worker it lives on.
    pub worker: Arc<Worker>,
    /// What the seam below the codec found; empty on HTTP/2.
    pub findings: Arc<Findings>,
    /// The route name of requests that matched no route.
    pub no_name: Arc<str>,
    table: Arc<str>,
    routing: Mutex<Arc<Routing>>,
}

/// One configuration generation as this connection uses it. Wrapped once per connection, so that its requests count
/// references where no other worker does.
#[derive(Debug)]
pub struct Routing {
    /// The generation.
    pub config: Arc<Config>,
    /// The connection's route table in it; `None` once the listener or service is gone.
    pub table: Option<Arc<RouteConfiguration>>,
}

impl Routing {
    fn new(config: Arc<Config>, table: &str) -> Arc<Self> {
        let table = config.route_table(table).cloned();
        Arc::new(Routing { config, table })
    }
}

impl ServedConnection {
    fn new(downstream: Arc<Downstream>, table: Arc<str>, worker: Arc<Worker>) -> Arc<Self> {
        let routing = Mutex::new(Routing::new(worker.config.load_full(), &table));
        Arc::new(ServedConnection { downstream, worker, findings: Arc::default(), no_name: "".into(), table, routing })
    }

    /// The configuration in force, for the whole of one exchange.
    pub fn routing(&self) -> Arc<Routing> {
        let mut kept = self.routing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.worker.config.load();
        if !Arc::ptr_eq(&current, &kept.config) {
            *kept = Routing::new(Arc::clone(&current), &self.table);
        }
        Arc::clone(&kept)
    }

    /// Books a head that the codec refused by itself.
    fn codec_error(&self, error: &hyper::Error) {
        let Refusal { status, details, .. } = Refusal::new(error.is_parse_too_large(), &self.findings);
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(b"-").unwrap_or_default();
        let (head, ()) = request.into_parts();
        let (seen, authority) = (Seen::default(), HeaderValue::from_static(""));
        let mut stream = Stream::begin(&self.downstream, &self.worker, &head, seen, authority, &self.no_name);
        stream.note(|record| {
            record.path = PathAndQuery::from_static("/");
            record.status = status;
            record.flags = ResponseFlags::DPE;
            record.details = Cow::Borrowed(details);
        });
        stream.complete();
    }
}

/// Serves a connection until its end. `table` names the route configuration; it is looked up again whenever the
/// configuration changes, so that long-lived connections follow.
pub async fn serve<I>(mut io: I, downstream: Arc<Downstream>, table: Arc<str>, codec: Codec, worker: Arc<Worker>)
where
    I: AsyncRead + AsyncWrite + Watch + Unpin + Send + 'static,
{
    let (codec, early) = match codec {
        Codec::Auto => tokio::select! {
            found = sniff(&mut io) => match found {
                Ok(found) => found,
                Err(_) => return,
            },
            () = enough_silence(worker.drain.clone()) => return,
        },
        known => (known, Bytes::new()),
    };
    let connection = ServedConnection::new(downstream, table, worker);
    match codec {
        Codec::Http2 => Box::pin(serve_http2(RawHeads::http2(io, early), connection)).await,
        Codec::Http1 | Codec::Auto => {
            let io = RawHeads::http1(io, early, Arc::clone(&connection.findings), connection.downstream.direction);
            Box::pin(serve_http1(io, connection)).await;
        }
    }
}

/// How long a client may be connected without a byte: the idle limit, and no longer than for a last request when draining.
async fn enough_silence(mut drain: Drain) {
    tokio::select! {
        () = drain.reached(Phase::Draining) => tokio::time::sleep(LAST_REQUEST).await,
        () = tokio::time::sleep(IDLE) => {}
    }
}

/// Reads as much as tells HTTP/2 from HTTP/1.
async fn sniff<I: AsyncRead + Unpin>(io: &mut I) -> std::io::Result<(Codec, Bytes)> {
    let mut early = BytesMut::with_capacity(1024);
    loop {
        if io.read_buf(&mut early).await? == 0 {
            return Ok((Codec::Http1, early.freeze()));
        }
        let compared = early.len().min(PREFACE.len());
        if early[..compared] != PREFACE[..compared] {
            return Ok((Codec::Http1, early.freeze()));
        }
        if compared == PREFACE.len() {
            return Ok((Codec::Http2, early.freeze()));
        }
    }
}

async fn serve_http1<I>(io: RawHeads<I>, connection: Arc<ServedConnection>)
where
    I: AsyncRead + AsyncWrite + Watch + Unpin + Send + 'static,
{
    let served = Arc::clone(&connection);
    let service = service_fn(move |request: Request<Incoming>| {
        let served = Arc::clone(&served);
        async move {
            let mut response = exchange::serve(&served, request).await;
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
    run(serving.as_mut(), |serving| serving.graceful_shutdown(), &connection, Some(LAST_REQUEST)).await;
}

async fn serve_http2<I>(io: RawHeads<I>, connection: Arc<ServedConnection>)
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
    run(Pin::new(&mut serving), |serving| serving.get_mut().get_mut().as_mut().graceful_shutdown(), &connection, None).await;
}

/// Runs a connection to its end; asks it to leave in good order when it is time, and cuts it off when that takes too long.
/// While draining, it may stay until it was without a request for `quiet`.
async fn run<C>(mut serving: Pin<&mut C>, leave: impl FnOnce(Pin<&mut C>), connection: &ServedConnection, quiet: Option<Duration>)
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut drain = connection.worker.drain.clone();
    let ended = {
        let reason = pin!(time_to_leave(connection, &mut drain, quiet));
        let mut reason = Dozing::new(reason);
        poll_fn(|cx| match serving.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => reason.poll(cx).map(|()| None),
        })
        .await
    };
    match ended {
        Some(result) => return report(connection, result),
        None => leave(serving.as_mut()),
    }
    tokio::select! {
        result = serving => report(connection, result),
        () = drain.reached(Phase::Forced) => {}
        () = connection.downstream.overdue() => {}
    }
}

/// Waits for a reason to end the connection: draining, a way in that is gone, or an hour without a
/// request. Whatever is in flight is finished.
async fn time_to_leave(connection: &ServedConnection, drain: &mut Drain, quiet: Option<Duration>) {
    let mut seen = connection.findings.requests();
    loop {
        tokio::select! {
            () = drain.reached(Phase::Draining) => break,
            () = connection.downstream.told_to_leave() => break,
            () = tokio::time::sleep(IDLE) => {}
        }
        let requests = connection.findings.requests();
        if requests == seen {
            return;
        }
        seen = requests;
    }
    let Some(quiet) = quiet else { return };
    loop {
        tokio::time::sleep(quiet).await;
        let requests = connection.findings.requests();
        if requests == seen {
            return;
        }
        seen = requests;
    }
}

fn report(connection: &ServedConnection, result: hyper::Result<()>) {
    let Err(error) = result else { return };
    tracing::debug!(peer = %connection.downstream.peer, %error, "downstream connection ended");
    if error.is_parse() {
        connection.codec_error(&error);
    }
}
