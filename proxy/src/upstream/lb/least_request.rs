//! LEAST_REQUEST, Istio's default: the better of two random hosts by active requests.
//!
//! The counters are shared by all workers, unlike Envoy's. With different weights both candidates are drawn by weight and
//! compared by active requests per weight; the first drawn wins a tie, so that without load the shares are the weights.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::host::Host;
use super::HostSet;
use super::random::below;

impl HostSet {
    /// The host for two uniformly distributed numbers.
    pub fn least_request(&self, first: u64, second: u64) -> Option<&Arc<Host>> {
        let one = self.position(first);
        let candidate = self.hosts.get(one)?;
        if self.hosts.len() == 1 {
            return Some(candidate);
        }
        let other = self.hosts.get(self.other_position(one, second))?;
        Some(if load(other) < load(candidate) { other } else { candidate })
    }

    /// A second position; never `one` while weights are equal.
    fn other_position(&self, one: usize, random: u64) -> usize {
        if !self.cumulative.is_empty() {
            return self.position(random);
        }
        let other = below(random, self.hosts.len() as u64 - 1) as usize;
        if other >= one { other + 1 } else { other }
    }
}

/// Active requests per unit of weight, in 2^-16 steps.
fn load(host: &Host) -> u64 {
    (u64::from(host.state.active.load(Ordering::Relaxed)) << 16) / u64::from(host.endpoint.weight.max(1))
}
