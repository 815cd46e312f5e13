//! Serves the HTTP/1 and HTTP/2 requests of one downstream connection.
//!
//! Settings are Istio's (Istio semantics 8.1): 60 KiB and 100 header fields per head (431 beyond), HTTP/1.0 accepted,
//! `100 Continue` passed through, one hundred HTTP/2 streams with windows of 256 KiB under a connection window of 1 MiB.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::routing::{LastRouting, Routing};
use super::{http1, serve_http2};
use crate::listener::{Downstream, DownstreamIo, Stay};
use crate::runtime::{Worker, boxed};

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
    /// Requests so far; HTTP/2 only.
    pub requests: AtomicU64,
    routing: LastRouting,
    stranded: AtomicBool,
}

impl ServedConnection {
    fn new(downstream: Arc<Downstream>, table: Arc<str>, worker: Arc<Worker>) -> Arc<Self> {
        let (requests, stranded) = (AtomicU64::new(0), AtomicBool::new(false));
        Arc::new(ServedConnection { downstream, worker, requests, routing: LastRouting::new(table), stranded })
    }

    /// How long it may stay, for the one who serves it.
    pub(super) fn stay(&self) -> Stay {
        Stay::new(&self.worker.residents, &self.downstream)
    }

    /// The configuration in force, for the whole of one exchange.
    pub fn routing(&self) -> Arc<Routing> {
        self.routing.current(&self.worker.config, &self.worker.routings)
    }

    /// Notes that there is no route table for its requests any more: it leaves with the answer that says so, since a new
    /// connection may be served otherwise.
    pub fn strand(&self) {
        self.stranded.store(true, Ordering::Relaxed);
    }

    /// Whether a request found no route table.
    pub(super) fn is_stranded(&self) -> bool {
        self.stranded.load(Ordering::Relaxed)
    }
}

/// Serves a connection until its end. `table` names the route configuration; it is looked up again whenever the
/// configuration changes, so that long-lived connections follow.
pub async fn serve(io: DownstreamIo, downstream: Arc<Downstream>, table: Arc<str>, codec: Codec, worker: Arc<Worker>) {
    let connection = ServedConnection::new(downstream, table, worker);
    let io = match codec {
        Codec::Http2 => Some(io),
        Codec::Http1 | Codec::Auto => boxed(|| http1::serve(io, &connection, codec == Codec::Auto)).await,
    };
    if let Some(io) = io {
        boxed(|| serve_http2::serve(io, connection)).await;
    }
}
