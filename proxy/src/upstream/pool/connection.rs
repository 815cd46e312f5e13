//! One upstream HTTP connection as its users see it.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use outrigger_config::model::{ConnectionPool, Workload};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::connect::ConnectionFacts;
use super::super::host::Host;
use super::super::limits::Permit;

/// An established connection, shared by its driver task and the requests on it.
#[derive(Debug)]
pub struct Connection {
    /// Addresses and TLS session.
    pub facts: ConnectionFacts,
    /// The host at the other end.
    pub host: Arc<Host>,
    /// The peer's workload, from the metadata headers of its first answer.
    pub peer_workload: OnceLock<Arc<Workload>>,
    /// When it was established.
    pub established: Instant,
    /// Requests sent over it.
    pub requests: AtomicU32,
    /// Requests in flight on it.
    pub streams: AtomicU32,
    /// HTTP/2: requests that the peer allows at a time, as far as it has said.
    pub peer_streams: AtomicU32,
    /// The first bytes have come.
    pub heard: Notify,
    lifetime: ConnectionPool,
    permit: Permit,
}

impl Connection {
    /// Counts as an open connection of `host` and of its cluster until dropped.
    pub fn new(facts: ConnectionFacts, host: Arc<Host>, lifetime: ConnectionPool, permit: Permit) -> Arc<Self> {
        host.state.connections.fetch_add(1, Ordering::Relaxed);
        Arc::new(Connection {
            facts,
            host,
            peer_workload: OnceLock::new(),
            established: Instant::now(),
            requests: AtomicU32::new(0),
            streams: AtomicU32::new(0),
            peer_streams: AtomicU32::new(u32::MAX),
            heard: Notify::new(),
            lifetime,
            permit,
        })
    }

    /// Whether another request may be started, by the cluster's limits on age and number of requests.
    pub fn has_life_left(&self) -> bool {
        let most = self.lifetime.max_requests_per_connection;
        let used_up = most != 0 && self.requests.load(Ordering::Relaxed) >= most;
        let too_old = self.lifetime.max_connection_duration.is_some_and(|most| self.established.elapsed() >= most);
        !used_up && !too_old && !self.host.is_removed()
    }

    /// Whether it may stay open without a request since `idle_since`.
    pub fn may_stay(&self, idle_since: Instant, now: Instant) -> bool {
        let idle = now.saturating_duration_since(idle_since);
        self.lifetime.idle_timeout.is_none_or(|limit| idle < limit) && self.has_life_left()
    }

    /// Tells a request that waits for the cluster's connections that one has room.
    pub fn signal(&self) {
        if self.lifetime.max_connections != u32::MAX {
            self.permit.signal();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.host.state.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells when `io` is first heard from.
#[derive(Debug)]
pub struct Overheard<I> {
    io: I,
    connection: Arc<Connection>,
    heard: bool,
}

impl<I> Overheard<I> {
    /// Tells `connection`.
    pub fn new(io: I, connection: Arc<Connection>) -> Self {
        Overheard { io, connection, heard: false }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Overheard<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_read(cx, buf);
        if !this.heard && result.is_ready() {
            this.heard = true;
            this.connection.heard.notify_one();
        }
        result
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Overheard<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
