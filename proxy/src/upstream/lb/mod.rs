//! Choosing a host: pure functions of a host set, a cursor or random numbers, and the shared active-request counters.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use outrigger_config::model::Endpoint;

use super::host::Host;

mod least_request;
mod random;
mod round_robin;

/// The hosts of one cluster with what the policies precompute over them.
#[derive(Debug, Default)]
pub struct HostSet {
    hosts: Vec<Arc<Host>>,
    /// Smooth weighted order for round robin; empty when all weights are equal.
    schedule: Box<[u16]>,
    /// Running sums of weights for weighted draws; empty when all weights are equal.
    cumulative: Box<[u64]>,
}

impl HostSet {
    /// A set for `endpoints` that continues the state of addresses known here; unchanged hosts stay the same object.
    #[must_use]
    pub fn updated(&self, endpoints: &[Arc<Endpoint>]) -> HostSet {
        let known: HashMap<SocketAddr, &Arc<Host>> = self.hosts.iter().map(|host| (host.address(), host)).collect();
        let host = |endpoint: &Arc<Endpoint>| match known.get(&endpoint.address) {
            Some(host) if host.endpoint == *endpoint => Arc::clone(host),
            known => Arc::new(Host::new(Arc::clone(endpoint), known.map(|host| host.as_ref()))),
        };
        Self::of(endpoints.iter().map(host).collect())
    }

    /// The hosts that are in none of `localities`.
    #[must_use]
    pub fn outside(&self, localities: &[&str]) -> HostSet {
        let stays = |host: &&Arc<Host>| !localities.contains(&host.endpoint.locality.as_str());
        Self::of(self.hosts.iter().filter(stays).cloned().collect())
    }

    fn of(hosts: Vec<Arc<Host>>) -> HostSet {
        let weights: Vec<u32> = hosts.iter().map(|host| host.endpoint.weight.max(1)).collect();
        if weights.windows(2).all(|pair| pair[0] == pair[1]) {
            return HostSet { hosts, ..HostSet::default() };
        }
        HostSet { hosts, schedule: round_robin::smooth_schedule(&weights), cumulative: random::cumulative(&weights) }
    }

    /// In the order of configuration.
    pub fn hosts(&self) -> &[Arc<Host>] {
        &self.hosts
    }
}

#[cfg(test)]
mod tests;
