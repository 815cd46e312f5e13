//! Upstream HTTP connections, one shard per worker.
//!
//! HTTP/1 connections wait in a stack per key, last in first out, so that the rest may expire; HTTP/2 connections are
//! filled up to their stream limit before another is dialled. Keys are compared by value. A cluster whose number of
//! connections is limited has one pool for all workers instead: a limit of 1 could otherwise leave the only connection
//! idle at one worker while another worker's requests wait for it.

mod connection;
mod http1;
mod http2;
mod key;
mod lease;
mod sweep;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use connection::Connection;
pub use http2::{MAX_HEADER_LIST, MAX_SEND_BUFFER, RESETS_REMEMBERED, STREAM_WINDOW};
pub use key::Key;
pub use lease::Lease;

use super::cluster::ClusterState;
use super::connect::{Connected, Dial, Protocol, connect};
use super::host::Host;
use super::limits::{Permit, Resource};
use crate::error::{Error, Failure};
use crate::identity::Identity;
use http1::Stack;
use http2::Bundle;

/// Dials in progress at once per key and shard. A burst on an empty pool waits for these, or for a connection that
/// becomes idle, instead of opening a connection per request.
const MAX_DIALS: usize = 64;

/// The connections of one worker, or of a connection-limited cluster.
#[derive(Clone, Debug, Default)]
pub struct Shard(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    http1: Mutex<HashMap<Key, Arc<Stack>, foldhash::fast::RandomState>>,
    http2: Mutex<HashMap<Key, Arc<Bundle>, foldhash::fast::RandomState>>,
    sweeping: Arc<AtomicBool>,
}

/// What a request asks of the pool.
#[derive(Clone, Copy, Debug)]
pub struct Want<'a> {
    /// For limits and transport security.
    pub cluster: &'a Arc<ClusterState>,
    /// Where to.
    pub host: &'a Arc<Host>,
    /// HTTP/1 or HTTP/2.
    pub protocol: Protocol,
    /// As in [`Dial::server_name`].
    pub server_name: Option<&'a str>,
    /// The workload's certificate.
    pub identity: &'a Identity,
    /// A connection that no request was sent over yet: the retry of a request that failed on a reused one. Over HTTP/2 one that is
    /// open serves, too, when the cluster may have no other.
    pub fresh: bool,
    /// The request must not be sent twice: look closely before a connection is reused.
    pub careful: bool,
    /// As in [`Dial::source`].
    pub source: Option<IpAddr>,
}

impl Want<'_> {
    fn is_limited(&self) -> bool {
        self.cluster.model.connection_pool.max_connections != u32::MAX
    }
}

impl Shard {
    /// A connection to send one request over.
    ///
    /// # Errors
    /// Overflow of the cluster's limits, or whatever [`connect`] says.
    pub async fn checkout(&self, want: Want<'_>) -> Result<Lease, Error> {
        let shard = if want.is_limited() { want.cluster.limits.shared_pool() } else { self };
        let key = Key::new(&want);
        match want.protocol {
            Protocol::Http2 => shard.bundle(key).checkout(shard, want).await,
            Protocol::Http1 | Protocol::Tcp => shard.stack(key).checkout(shard, want).await,
        }
    }

    fn stack(&self, key: Key) -> Arc<Stack> {
        Arc::clone(lock(&self.0.http1).entry(key).or_insert_with(|| Arc::new(Stack::new(self))))
    }

    fn bundle(&self, key: Key) -> Arc<Bundle> {
        Arc::clone(lock(&self.0.http2).entry(key).or_default())
    }
}

/// A request that has no connection yet holds a pending token.
fn pending(want: &Want<'_>) -> Result<Permit, Error> {
    want.cluster.acquire(Resource::Pending).ok_or_else(|| Error::unsent(Failure::Overflow))
}

/// Dials for `want`; boxed, because a TLS handshake is a large future that most requests never need.
async fn dial(want: Want<'_>, permit: Permit) -> Result<(Connected, Permit), Error> {
    let Want { cluster, host, protocol, server_name, identity, source, .. } = want;
    let dial = Dial { cluster, host, protocol, server_name, identity, source };
    let connected = Box::pin(connect(dial)).await?;
    Ok((connected, permit))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
