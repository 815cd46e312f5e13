//! Serves the HTTP/1 and HTTP/2 requests of one downstream connection.
//!
//! Settings are Istio's (Istio semantics 8.1): 60 KiB and 100 header fields per head (431 beyond), HTTP/1.0 accepted,
//! `100 Continue` passed through, one hundred HTTP/2 streams with windows of 256 KiB under a connection window of 1 MiB.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use outrigger_config::model::RouteConfiguration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::raw_head::{Findings, RawHeads};
use super::{serve_http1, serve_http2};
use crate::drain::Phase;
use crate::listener::summons::IDLE;
use crate::listener::{Downstream, Watch};
use crate::runtime::Worker;
use crate::snapshot::Config;

/// Fields of a request head: hyper's own limit while it parses HTTP/1; HTTP/2 leaves it to [`crate::router::arrival`].
pub(crate) const MAX_HEADERS: usize = 100;
/// What an HTTP/2 client sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a draining HTTP/1 connection waits for another request, which is answered with `connection: close`. To close it
/// at once would lose a request that is on its way: HTTP/1 has no GOAWAY, and hyper closes a connection without a request
/// in hand when told to shut down.
pub(super) const LAST_REQUEST: Duration = Duration::from_millis(500);

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
}

/// Serves a connection until its end. `table` names the route configuration; it is looked up again whenever the
/// configuration changes, so that long-lived connections follow.
pub async fn serve<I>(mut io: I, downstream: Arc<Downstream>, table: Arc<str>, codec: Codec, worker: Arc<Worker>)
where
    I: AsyncRead + AsyncWrite + Watch + Unpin + Send + 'static,
{
    let (codec, early) = match codec {
        Codec::Auto => tokio::select! {
            // Most clients have spoken by now: then nothing is waited for.
            biased;
            found = sniff(&mut io) => match found {
                Ok(found) => found,
                Err(_) => return,
            },
            () = enough_silence(&worker) => return,
        },
        known => (known, Bytes::new()),
    };
    let connection = ServedConnection::new(downstream, table, worker);
    match codec {
        Codec::Http2 => Box::pin(serve_http2::serve(RawHeads::http2(io, early), connection)).await,
        Codec::Http1 | Codec::Auto => {
            let io = RawHeads::http1(io, early, Arc::clone(&connection.findings), connection.downstream.direction);
            Box::pin(serve_http1::serve(io, connection)).await;
        }
    }
}

/// How long a client may be connected without a byte: the idle limit, and no longer than for a last request when draining.
async fn enough_silence(worker: &Worker) {
    let (mut since, mut drains) = (None, false);
    let due = |period: u32| {
        drains = worker.drain.phase() >= Phase::Draining;
        drains || period.wrapping_sub(*since.get_or_insert(period)) >= IDLE
    };
    worker.summons.until(&worker.config, &worker.drain, due).await;
    if drains {
        tokio::time::sleep(LAST_REQUEST).await;
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
