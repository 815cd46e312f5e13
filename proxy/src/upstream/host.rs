//! One endpoint with its run-time state.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use outrigger_config::model::Endpoint;

/// What is known about an endpoint, and what happens at it. Replaced when the endpoint's description changes; the state
/// stays as long as the address does.
#[derive(Debug)]
pub struct Host {
    /// Distinguishes hosts in pool keys; a new number when the address, the identity or the ability to speak mTLS changes.
    pub id: u64,
    /// The description from configuration, or a bare address for original destinations.
    pub endpoint: Arc<Endpoint>,
    /// Counters and life.
    pub state: Arc<HostState>,
}

/// Run-time state of one address within one cluster.
#[derive(Debug, Default)]
pub struct HostState {
    /// Requests (TCP: connections) in flight, over all workers. Read by LEAST_REQUEST.
    pub active: AtomicU32,
    /// Requests (TCP: connections) ever sent.
    pub requests: AtomicU64,
    /// Of these, how many ended without an answer or with a 5xx.
    pub errors: AtomicU64,
    /// Connections that could not be established.
    pub connect_failures: AtomicU64,
    /// Open connections.
    pub connections: AtomicU32,
    /// The endpoint is gone: requests in flight finish, idle connections close.
    pub removed: AtomicBool,
}

impl Host {
    /// A host described by configuration; `previous` is the same address as it was described before.
    pub fn new(endpoint: Arc<Endpoint>, previous: Option<&Host>) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let same = |known: &&Host| known.endpoint.mtls == endpoint.mtls && known.endpoint.identity == endpoint.identity;
        let id = previous.filter(same).map_or_else(|| IDS.fetch_add(1, Ordering::Relaxed), |known| known.id);
        Host { id, endpoint, state: previous.map(|known| Arc::clone(&known.state)).unwrap_or_default() }
    }

    /// A host for an address that no configuration describes.
    pub fn bare(address: SocketAddr) -> Self {
        Host::new(Arc::new(bare_endpoint(address, 1)), None)
    }

    /// Address and port.
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// Whether the endpoint has left the configuration.
    pub fn is_removed(&self) -> bool {
        self.state.removed.load(Ordering::Relaxed)
    }
}

/// An endpoint of which the address is all that is known.
pub(super) fn bare_endpoint(address: SocketAddr, weight: u32) -> Endpoint {
    Endpoint { address, weight: weight.max(1), locality: String::new(), mtls: false, identity: None, workload: None, pod: None }
}

/// A chosen host; counts as an active request there until dropped.
#[derive(Debug)]
pub struct Picked(Arc<Host>);

impl Picked {
    pub(super) fn new(host: Arc<Host>) -> Self {
        host.state.active.fetch_add(1, Ordering::Relaxed);
        host.state.requests.fetch_add(1, Ordering::Relaxed);
        Picked(host)
    }

    /// The host, for keeping beyond the request.
    pub fn host(&self) -> &Arc<Host> {
        &self.0
    }
}

impl Deref for Picked {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.0
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.0.state.active.fetch_sub(1, Ordering::Relaxed);
    }
}
