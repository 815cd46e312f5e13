//! HTTP/1 connections of one key: a stack of idle ones, and dialling when it is empty.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::connection::{Connection, Counted};
use super::lease::Lease;
use super::{MAX_DIALS, Shard, Want, dial, lock, pending};
use crate::error::{Error, Failure};
use crate::http::body::RequestBody;
use crate::upstream::connect::Connected;
use crate::upstream::limits::{Permit, Resource};

/// Upstream heads beyond this size are a protocol error (Istio semantics 8.1).
const MAX_HEAD: usize = 60 * 1024;
/// Header fields beyond this number likewise.
const MAX_HEADERS: usize = 100;
/// Read buffer. hyper's default maximum of 400 KiB would let one slow client pin that much per connection.
const MAX_BUFFER: usize = 128 * 1024;

/// Idle HTTP/1 connections.
#[derive(Debug, Default)]
pub struct Stack {
    idle: Mutex<Vec<Idle>>,
    dialing: AtomicUsize,
    /// Signalled when a dial ends or a connection becomes idle.
    changed: Notify,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<RequestBody>,
    connection: Arc<Connection>,
    since: Instant,
}

impl Stack {
    /// The idle connection used last, else a new one.
    pub async fn checkout(self: Arc<Self>, shard: &Shard, want: Want<'_>) -> Result<Lease, Error> {
        if let Some(idle) = self.reuse(&want).await {
            return Ok(self.lease(shard, idle));
        }
        let waiting = pending(&want)?;
        // Boxed: waiting and dialling are large futures that a request on a warm pool never needs.
        let lease = Box::pin(self.wait(shard, want)).await;
        drop(waiting);
        lease
    }

    /// Waits for permission to dial or for a connection that becomes idle, whichever comes first.
    async fn wait(self: Arc<Self>, shard: &Shard, want: Want<'_>) -> Result<Lease, Error> {
        loop {
            let released = want.cluster.limits.released.notified();
            let changed = self.changed.notified();
            if let Some(idle) = self.reuse(&want).await {
                return Ok(Arc::clone(&self).lease(shard, idle));
            }
            if let Some(permit) = self.may_dial(&want) {
                return Arc::clone(&self).dial(shard, want, permit).await;
            }
            if want.is_limited() {
                shard.0.evict_one();
            }
            tokio::select! {
                () = released => {}
                () = changed => {}
            }
        }
    }

    fn may_dial(&self, want: &Want<'_>) -> Option<Permit> {
        if self.dialing.load(Ordering::Relaxed) >= MAX_DIALS {
            return None;
        }
        want.cluster.acquire(Resource::Connections)
    }

    async fn dial(self: Arc<Self>, shard: &Shard, want: Want<'_>, permit: Permit) -> Result<Lease, Error> {
        let dialing = Dialing::start(&self);
        let (connected, permit) = dial(want, permit).await?;
        let (sender, connection) = establish(connected, &want, permit).await?;
        drop(dialing);
        connection.requests.fetch_add(1, Ordering::Relaxed);
        Ok(Lease::http1(sender, connection, false, shard.clone(), self))
    }

    /// An idle connection, if the request may use one.
    ///
    /// A request that cannot be sent twice first lets the runtime look at its sockets: a connection that the server closed
    /// meanwhile is then known to be dead, and the request is not wasted on it.
    async fn reuse(&self, want: &Want<'_>) -> Option<Idle> {
        if want.fresh {
            return None;
        }
        loop {
            let idle = self.pop()?;
            if !want.careful {
                return Some(idle);
            }
            tokio::task::yield_now().await;
            if idle.sender.is_ready() {
                return Some(idle);
            }
        }
    }

    /// The idle connection used last that is still good; dead ones are dropped on the way.
    fn pop(&self) -> Option<Idle> {
        let mut idle = lock(&self.idle);
        while let Some(candidate) = idle.pop() {
            if candidate.sender.is_ready() && candidate.connection.has_life_left() {
                return Some(candidate);
            }
        }
        None
    }

    fn lease(self: Arc<Self>, shard: &Shard, idle: Idle) -> Lease {
        idle.connection.requests.fetch_add(1, Ordering::Relaxed);
        Lease::http1(idle.sender, idle.connection, true, shard.clone(), self)
    }

    /// Takes a connection back whose last exchange is over.
    pub fn put(&self, sender: SendRequest<RequestBody>, connection: Arc<Connection>) {
        let signalled = Arc::clone(&connection);
        lock(&self.idle).push(Idle { sender, connection, since: Instant::now() });
        // Not before the push: a waiter of another host on another thread would find nothing to evict, and sleep on.
        signalled.signal();
        self.changed.notify_one();
    }

    /// Closes the connection that has been idle longest; false when there is none.
    pub fn evict_oldest(&self) -> bool {
        let mut idle = lock(&self.idle);
        let any = !idle.is_empty();
        if any {
            idle.remove(0);
        }
        any
    }

    /// Drops dead connections and those that `keep` does not want; true when none is left.
    pub fn sweep(&self, mut keep: impl FnMut(&Connection, Instant) -> bool) -> bool {
        let mut idle = lock(&self.idle);
        idle.retain(|idle| !idle.sender.is_closed() && keep(&idle.connection, idle.since));
        idle.is_empty()
    }
}

async fn establish(connected: Connected, want: &Want<'_>, permit: Permit) -> Result<(SendRequest<RequestBody>, Arc<Connection>), Error> {
    let connection = Connection::new(connected.facts, Arc::clone(want.host), want.cluster.model.connection_pool.clone(), permit);
    let io = TokioIo::new(Counted::new(connected.io, Arc::clone(&connection)));
    let handshake = hyper::client::conn::http1::Builder::new()
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_BUFFER)
        .handshake(io)
        .await;
    let (sender, driver) = handshake.map_err(|error| Error::unsent(Failure::ConnectFailure).with_transport(error.to_string()))?;
    let held = Arc::clone(&connection);
    tokio::spawn(async move {
        if let Err(error) = driver.with_upgrades().await {
            tracing::debug!(upstream = %held.facts.address, %error, "upstream connection ended");
        }
        drop(held);
    });
    Ok((sender, connection))
}

/// Counts a dial for as long as it lives.
struct Dialing<'a>(&'a Stack);

impl<'a> Dialing<'a> {
    fn start(stack: &'a Stack) -> Self {
        stack.dialing.fetch_add(1, Ordering::Relaxed);
        Dialing(stack)
    }
}

impl Drop for Dialing<'_> {
    fn drop(&mut self) {
        self.0.dialing.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_one();
    }
}
