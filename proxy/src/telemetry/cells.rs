//! Counters and histograms with one writer and any number of readers.
//!
//! Assumption, enforced by [`super::scope::Scopes`] living behind its worker's lock: a cell has one writer at a time.
//! An increment is then a plain load and store, which no other core's increment can lose, and costs a fraction of a
//! locked instruction. Readers (scrapes) see each cell whole, though not all cells of one moment.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Must not race with another `add` of the same cell.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The count now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of Istio's histograms in thousandths of the unit (ms or bytes); the last bucket is +Inf.
pub const BOUNDS: [u64; 19] = [
    500,
    1_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    600_000_000,
    1_800_000_000,
    3_600_000_000,
];

/// Number of buckets, +Inf included.
pub const BUCKETS: usize = BOUNDS.len() + 1;

/// A histogram over [`BOUNDS`].
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    sum: Counter,
}

impl Histogram {
    /// Records a value given in thousandths: microseconds for a histogram in milliseconds, 1000 times the bytes.
    pub fn observe(&self, thousandths: u64) {
        let bucket = BOUNDS.partition_point(|bound| *bound < thousandths);
        if let Some(cell) = self.buckets.get(bucket) {
            cell.add(1);
        }
        self.sum.add(thousandths);
    }

    /// Adds what was recorded so far to `total`.
    pub fn add_to(&self, total: &mut HistogramTotal) {
        for (sum, cell) in total.buckets.iter_mut().zip(&self.buckets) {
            *sum += cell.get();
        }
        total.sum = total.sum.wrapping_add(self.sum.get());
    }
}

/// A histogram summed over workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistogramTotal {
    /// Observations per bucket, not cumulated.
    pub buckets: [u64; BUCKETS],
    /// Sum of all values in thousandths.
    pub sum: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_belongs_to_that_bucket() {
        for (thousandths, bucket) in [(0, 0), (500, 0), (501, 1), (1_000, 1), (5_000, 2), (3_600_000_000, 18), (3_600_000_001, 19)] {
            let histogram = Histogram::default();
            histogram.observe(thousandths);
            let mut total = HistogramTotal::default();
            histogram.add_to(&mut total);
            assert_eq!(total.buckets.iter().position(|n| *n == 1), Some(bucket), "{thousandths}");
            assert_eq!(total.sum, thousandths);
        }
    }

    #[test]
    fn bounds_are_the_contracts_nineteen() {
        let bounds: Vec<String> = BOUNDS.iter().map(|bound| format!("{}", *bound as f64 / 1000.0)).collect();
        assert_eq!(
            bounds.join(", "),
            "0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000"
        );
    }
}
