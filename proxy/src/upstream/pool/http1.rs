//! HTTP/1 connections of one key: a stack of idle ones, and dialling when it is empty.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::connection::Connection;
use super::lease::Lease;
use super::sweep::Sweeper;
use super::{MAX_DIALS, Shard, Want, dial, lock, pending};
use crate::error::Error;
use crate::runtime::clock;
use crate::upstream::http1::Wire;
use crate::upstream::limits::{Permit, Resource};

/// Idle HTTP/1 connections.
#[derive(Debug)]
pub struct Stack {
    idle: Mutex<Vec<Idle>>,
    dialing: AtomicUsize,
    /// Signalled when a dial ends or, while somebody waits, a connection becomes idle.
    changed: Notify,
    waiting: AtomicUsize,
    sweeper: Sweeper,
}

#[derive(Debug)]
struct Idle {
    wire: Box<Wire>,
    connection: Arc<Connection>,
    since: Instant,
}

impl Stack {
    /// An empty stack of `shard`.
    pub fn new(shard: &Shard) -> Self {
        Stack {
            idle: Mutex::default(),
            dialing: AtomicUsize::new(0),
            changed: Notify::new(),
            waiting: AtomicUsize::new(0),
            sweeper: shard.sweeper(),
        }
    }

    /// The idle connection used last, else a new one.
    pub async fn checkout(self: Arc<Self>, shard: &Shard, want: Want<'_>) -> Result<Lease, Error> {
        if let Some(idle) = self.reuse(&want).await {
            return Ok(self.lease(idle));
        }
        let waiting = pending(&want)?;
        // Boxed: waiting and dialling are large futures that a request on a warm pool never needs.
        let lease = Box::pin(self.wait(shard, want)).await;
        drop(waiting);
        lease
    }

    /// Waits for permission to dial or for a connection that becomes idle, whichever comes first.
    async fn wait(self: Arc<Self>, shard: &Shard, want: Want<'_>) -> Result<Lease, Error> {
        // Counted before the look below, whose lock makes it known to whoever comes too late for that look.
        let _waiting = Held::one(&self.waiting);
        loop {
            let released = want.cluster.limits.released.notified();
            let changed = self.changed.notified();
            if let Some(idle) = self.reuse(&want).await {
                return Ok(Self::lease(Arc::clone(&self), idle));
            }
            if let Some(permit) = self.may_dial(&want) {
                return Arc::clone(&self).dial(want, permit).await;
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

    async fn dial(self: Arc<Self>, want: Want<'_>, permit: Permit) -> Result<Lease, Error> {
        let dialing = Dialing::start(&self);
        let (connected, permit) = dial(want, permit).await?;
        let connection =
            Connection::new(connected.facts, Arc::clone(want.host), Arc::clone(&want.cluster.model.connection_pool), permit, None);
        drop(dialing);
        connection.requests.fetch_add(1, Ordering::Relaxed);
        Ok(Lease::http1(Wire::new(connected.io), connection, false, self))
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
            let mut idle = self.pop()?;
            if !want.careful {
                return Some(idle);
            }
            tokio::task::yield_now().await;
            if idle.wire.is_alive() {
                return Some(idle);
            }
        }
    }

    /// The idle connection used last that is still good; dead ones are dropped on the way.
    fn pop(&self) -> Option<Idle> {
        let mut idle = lock(&self.idle);
        while let Some(mut candidate) = idle.pop() {
            if candidate.wire.is_alive() && candidate.connection.has_life_left() {
                return Some(candidate);
            }
        }
        None
    }

    fn lease(self: Arc<Self>, idle: Idle) -> Lease {
        idle.connection.requests.fetch_add(1, Ordering::Relaxed);
        Lease::http1(idle.wire, idle.connection, true, self)
    }

    /// Takes a connection back whose last exchange is over.
    pub fn put(&self, wire: Box<Wire>, connection: Arc<Connection>) {
        let limited = connection.is_limited().then(|| Arc::clone(&connection));
        lock(&self.idle).push(Idle { wire, connection, since: clock::now() });
        // Not before the push: a waiter of another host on another thread would find nothing to evict, and sleep on.
        if let Some(connection) = limited {
            connection.signal();
        }
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.changed.notify_one();
        }
        self.sweeper.start();
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
        idle.retain_mut(|idle| idle.wire.is_alive() && keep(&idle.connection, idle.since));
        idle.is_empty()
    }
}

/// Counts one for as long as it lives.
struct Held<'a>(&'a AtomicUsize);

impl<'a> Held<'a> {
    fn one(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Held(count)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
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
