//! RANDOM: every host with the probability of its weight.

use std::sync::Arc;

use super::super::host::Host;
use super::HostSet;

impl HostSet {
    /// The host for a uniformly distributed number.
    pub fn random(&self, random: u64) -> Option<&Arc<Host>> {
        self.hosts.get(self.position(random))
    }

    /// A position with the probability of its weight; 0 for an empty set.
    pub(super) fn position(&self, random: u64) -> usize {
        match self.cumulative.last() {
            Some(total) => {
                let point = below(random, *total);
                self.cumulative.partition_point(|sum| *sum <= point)
            }
            None => below(random, self.hosts.len() as u64) as usize,
        }
    }
}

/// Maps a uniform 64-bit number to `0..limit` by multiplication (Lemire), whose bias is below 2^-32 for our limits.
pub(super) fn below(random: u64, limit: u64) -> u64 {
    ((u128::from(random) * u128::from(limit)) >> 64) as u64
}

/// Running sums.
pub(super) fn cumulative(weights: &[u32]) -> Box<[u64]> {
    let mut sum = 0;
    weights
        .iter()
        .map(|weight| {
            sum += u64::from(*weight);
            sum
        })
        .collect()
}
