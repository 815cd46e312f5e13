//! What a running recorder shows to others: counters that one thread writes and any thread reads.
//!
//! The writer is alone, so a relaxed load and store do without a locked instruction. A reader may see a request counted
//! whose latency is not there yet; that is good enough for a progress line, and reports are not made from this.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::histogram::{BUCKETS, middle};

/// The counters of one thread.
#[derive(Debug)]
pub struct Live {
    requests: AtomicU64,
    errors: AtomicU64,
    refused: AtomicU64,
    latency: Box<[AtomicU32]>,
}

impl Default for Live {
    fn default() -> Self {
        let latency = (0..BUCKETS).map(|_| AtomicU32::new(0)).collect();
        Self { requests: AtomicU64::default(), errors: AtomicU64::default(), refused: AtomicU64::default(), latency }
    }
}

/// What became of one request, for the counters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// Answered with a status of 400 or above, or a gRPC status other than 0.
    Refused,
    Lost,
}

impl Live {
    pub(crate) fn count(&self, fate: Fate, bucket: usize) {
        raise(&self.requests, 1);
        match fate {
            Fate::Answered => {}
            Fate::Refused => raise(&self.refused, 1),
            Fate::Lost => return raise(&self.errors, 1),
        }
        if let Some(counter) = self.latency.get(bucket) {
            counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }

    /// Counts requests without a complete answer.
    pub(crate) fn lost(&self, requests: u64) {
        raise(&self.requests, requests);
        raise(&self.errors, requests);
    }
}

fn raise(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed) + by, Relaxed);
}

/// The sum of several threads' counters at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Requests that ended.
    pub requests: u64,
    /// Those without a complete answer.
    pub errors: u64,
    /// Those answered with a status of 400 or above, or a gRPC status other than 0.
    pub refused: u64,
    latency: Vec<u32>,
}

impl Snapshot {
    /// Reads the counters of all threads.
    pub fn of<'a>(lives: impl Iterator<Item = &'a Live>) -> Self {
        let mut sum = Self { requests: 0, errors: 0, refused: 0, latency: vec![0; BUCKETS] };
        for live in lives {
            sum.requests += live.requests.load(Relaxed);
            sum.errors += live.errors.load(Relaxed);
            sum.refused += live.refused.load(Relaxed);
            for (total, counter) in sum.latency.iter_mut().zip(&live.latency) {
                *total = total.wrapping_add(counter.load(Relaxed));
            }
        }
        sum
    }

    /// What happened between an earlier snapshot of the same threads and this one.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            errors: self.errors.saturating_sub(earlier.errors),
            refused: self.refused.saturating_sub(earlier.refused),
            latency: self.latency.iter().zip(&earlier.latency).map(|(now, then)| now.wrapping_sub(*then)).collect(),
        }
    }

    /// The corrected latency in nanoseconds that the fraction `quantile` of the answers does not exceed, within 0.8 %;
    /// `None` without answers.
    pub fn latency(&self, quantile: f64) -> Option<u64> {
        let total: u64 = self.latency.iter().map(|count| u64::from(*count)).sum();
        let rank = ((total as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        let reached = self.latency.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        });
        reached.map(middle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::bucket;

    #[test]
    fn snapshots_sum_threads_and_differ_by_what_came_between() {
        let lives = [Live::default(), Live::default()];
        lives[0].count(Fate::Answered, bucket(1_000_000));
        let earlier = Snapshot::of(lives.iter());
        lives[1].count(Fate::Refused, bucket(3_000_000));
        lives[0].count(Fate::Lost, bucket(9_000_000));
        let all = Snapshot::of(lives.iter());
        assert_eq!((all.requests, all.errors, all.refused), (3, 1, 1));
        let between = all.since(&earlier);
        assert_eq!((between.requests, between.errors, between.refused), (2, 1, 1));
        let is = |latency: Option<u64>, ns: u64| latency.is_some_and(|latency| latency.abs_diff(ns) <= ns / 100);
        assert!(is(between.latency(0.5), 3_000_000), "{:?}", between.latency(0.5));
        assert!(is(all.latency(0.5), 1_000_000), "{:?}", all.latency(0.5));
        assert_eq!(all.since(&all).latency(0.99), None);
    }
}
