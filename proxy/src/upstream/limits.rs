//! Circuit breakers: limits of a cluster as tokens that `Drop` gives back.
//!
//! Shared by all workers and exact: a token is taken with one compare-and-swap loop, so a limit of 1 is 1, where Envoy lets
//! every worker have one. The limits themselves come from the configuration of the moment and may change while tokens are
//! out.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use super::pool::Shard;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Upstream connections, `maxConnections`.
    Connections,
    /// Requests that wait for a connection, `http1MaxPendingRequests`.
    Pending,
    /// Requests in flight, `http2MaxRequests` (all HTTP versions).
    Requests,
    /// Retries in flight, `maxRetries`.
    Retries,
}

/// Tokens out of one cluster, and how often there was none left.
#[derive(Debug, Default)]
pub struct Limits {
    active: [AtomicU32; 4],
    overflows: AtomicU64,
    connections: AtomicU64,
    /// Signalled when a connection closes or becomes idle while requests wait.
    pub(super) released: Notify,
    pool: OnceLock<Shard>,
}

impl Limits {
    /// Takes a token if fewer than `max` are out.
    pub fn acquire(self: &Arc<Self>, resource: Resource, max: u32) -> Option<Permit> {
        let counter = &self.active[resource as usize];
        let taken = if max == u32::MAX {
            counter.fetch_add(1, Ordering::Relaxed);
            true
        } else {
            counter.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |active| (active < max).then_some(active + 1)).is_ok()
        };
        if !taken {
            self.overflows.fetch_add(1, Ordering::Relaxed);
        }
        taken.then(|| Permit { limits: Arc::clone(self), resource })
    }

    /// The pool of all workers together, used while connections are limited.
    pub(super) fn shared_pool(&self) -> &Shard {
        self.pool.get_or_init(Shard::default)
    }

    /// Tokens out.
    pub fn active(&self, resource: Resource) -> u32 {
        self.active[resource as usize].load(Ordering::Relaxed)
    }

    /// Counts a connection that is being made.
    pub(super) fn connects(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections begun since the cluster is known, those that could not be established included, as Envoy's
    /// `upstream_cx_total` counts them.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// How often a token was refused.
    pub fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }
}

/// Permission to use a resource; given back on drop.
#[derive(Debug)]
pub struct Permit {
    limits: Arc<Limits>,
    resource: Resource,
}

impl Permit {
    /// Wakes one request that waits for a connection.
    pub(super) fn signal(&self) {
        self.limits.released.notify_one();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limits.active[self.resource as usize].fetch_sub(1, Ordering::AcqRel);
        if self.resource == Resource::Connections {
            self.limits.released.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_and_a_dropped_token_makes_room() {
        let limits = Arc::new(Limits::default());
        let first = limits.acquire(Resource::Pending, 1);
        assert!(first.is_some());
        assert!(limits.acquire(Resource::Pending, 1).is_none());
        assert!(limits.acquire(Resource::Requests, 1).is_some(), "resources are counted apart");
        drop(first);
        assert!(limits.acquire(Resource::Pending, 1).is_some());
        assert_eq!(limits.overflows(), 1);
    }

    #[test]
    fn a_limit_is_exact_across_threads() {
        let limits = Arc::new(Limits::default());
        let take = || (0..100).filter_map(|_| limits.acquire(Resource::Requests, 57)).collect::<Vec<_>>();
        let held: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap())
                .map(|permits| {
                    let n = permits.len();
                    std::mem::forget(permits);
                    n
                })
                .sum()
        });
        assert_eq!(held, 57);
    }
}
