//! One upstream HTTP connection as its users see it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use outrigger_config::model::{ConnectionPool, Workload};
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
    /// HTTP/2: requests in flight on it.
    pub streams: AtomicU32,
    /// HTTP/2: requests that the peer allows at a time, as far as it has said.
    pub peer_streams: AtomicU32,
    /// HTTP/2: signalled when a request that waits for this or another connection to the host may find room.
    room: Option<Arc<Notify>>,
    lifetime: Arc<ConnectionPool>,
    permit: Permit,
}

impl Connection {
    /// Counts as an open connection of `host` and of its cluster until dropped.
    pub fn new(
        facts: ConnectionFacts,
        host: Arc<Host>,
        lifetime: Arc<ConnectionPool>,
        permit: Permit,
        room: Option<Arc<Notify>>,
    ) -> Arc<Self> {
        host.state.connections.fetch_add(1, Ordering::Relaxed);
        Arc::new(Connection {
            facts,
            host,
            peer_workload: OnceLock::new(),
            established: Instant::now(),
            requests: AtomicU32::new(0),
            streams: AtomicU32::new(0),
            peer_streams: AtomicU32::new(u32::MAX),
            room,
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

    /// Whether the cluster may have so many connections and no more, so that requests may be waiting for one.
    pub fn is_limited(&self) -> bool {
        self.lifetime.max_connections != u32::MAX
    }

    /// Tells requests that wait for the cluster's connections that one has room: one that goes to the same host, and one that may
    /// go to another, for which an idle connection is closed. The latter alone would not do, since its signal may wake a request
    /// that can make nothing of a connection to this host.
    pub fn signal(&self) {
        if self.is_limited() {
            self.permit.signal();
            self.room.iter().for_each(|room| room.notify_one());
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.host.state.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
