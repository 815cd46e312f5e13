//! ROUND_ROBIN: one cursor, shared by all workers, over a smooth weighted order.
//!
//! With equal weights the order is the list itself, so any `k * n` consecutive draws give every host exactly `k`. With
//! different weights the order is nginx's smooth one: it holds every host as often as its weight says and never runs one
//! host twice in a row when that can be avoided.

use std::sync::Arc;

use super::super::host::Host;
use super::HostSet;

/// Longest precomputed order. Weights whose reduced sum is larger are scaled down to it, none below 1.
const MAX_SCHEDULE: u64 = 4096;

impl HostSet {
    /// The host at a cursor position.
    pub fn round_robin(&self, cursor: u64) -> Option<&Arc<Host>> {
        let modulo = |length: usize| if length == 0 { 0 } else { (cursor % length as u64) as usize };
        match self.schedule.get(modulo(self.schedule.len())) {
            Some(position) => self.hosts.get(usize::from(*position)),
            None => self.hosts.get(modulo(self.hosts.len())),
        }
    }
}

/// Positions of `weights` in smooth weighted order, over one full period.
pub(super) fn smooth_schedule(weights: &[u32]) -> Box<[u16]> {
    let weights = scaled(weights);
    let total: i64 = weights.iter().sum();
    let mut current = vec![0i64; weights.len()];
    let mut next = || {
        for (value, weight) in current.iter_mut().zip(&weights) {
            *value += weight;
        }
        // The first of the largest, so that equal weights keep their order.
        let best = (0..current.len()).rev().max_by_key(|position| current[*position]).unwrap_or(0);
        current[best] -= total;
        best as u16
    };
    (0..total).map(|_| next()).collect()
}

fn scaled(weights: &[u32]) -> Vec<i64> {
    let divisor = weights.iter().fold(0, |a, b| gcd(a, u64::from(*b))).max(1);
    let total: u64 = weights.iter().map(|weight| u64::from(*weight) / divisor).sum();
    let scale = |weight: u64| if total <= MAX_SCHEDULE { weight } else { (weight * MAX_SCHEDULE / total).max(1) };
    weights.iter().map(|weight| scale(u64::from(*weight) / divisor) as i64).collect()
}

/// Greatest common divisor; `gcd(0, n) = n`.
pub(crate) fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
