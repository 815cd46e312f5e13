//! Distributions of durations: exact HDR histograms for the totals, coarse ones for what changes every second.
//!
//! All values are nanoseconds. [`Hdr`] keeps three significant digits from 131 microseconds up and steps of 64 ns below,
//! grows with the greatest value seen, and takes anything above an hour as an hour. [`Coarse`] keeps 64 steps per
//! doubling (values are off by at most 0.8 %) in a fixed 17 KiB, which a reader in another thread can afford to copy.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer, V2DeflateSerializer},
};
use serde::{Deserialize, Serialize, de::Error};

/// The longest duration told apart.
pub const MAX_NS: u64 = 3_600_000_000_000;
/// The shortest difference told apart.
const UNIT_NS: u64 = 64;
/// Histograms start with room up to here, so that a quiet run never resizes one.
const FIRST_MAX_NS: u64 = 16_000_000;

/// A histogram of three significant digits. Serialised it is the text HdrHistogram's tools call V2 with DEFLATE, in
/// base64.
#[derive(Clone)]
pub struct Hdr(Histogram<u64>);

/// Equal when the same durations were counted as often.
impl PartialEq for Hdr {
    fn eq(&self, other: &Self) -> bool {
        self.counts().eq(other.counts())
    }
}

impl fmt::Debug for Hdr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hdr({} from {} to {} ns)", self.count(), self.min(), self.max())
    }
}

impl Default for Hdr {
    fn default() -> Self {
        Self::with_digits(3)
    }
}

impl Hdr {
    /// One of two digits, for what was coarse before.
    pub(crate) fn coarse() -> Self {
        Self::with_digits(2)
    }

    fn with_digits(digits: u8) -> Self {
        let made = Histogram::new_with_bounds(UNIT_NS, FIRST_MAX_NS, digits);
        let mut histogram = made.unwrap_or_else(|error| unreachable!("the bounds are constants: {error}"));
        histogram.auto(true);
        Self(histogram)
    }

    /// Counts one duration.
    pub fn record(&mut self, ns: u64) {
        self.record_n(ns, 1);
    }

    /// Counts the same duration several times.
    pub fn record_n(&mut self, ns: u64, times: u64) {
        // Within the hour a growing histogram refuses nothing.
        let _recorded = self.0.record_n(ns.min(MAX_NS), times);
    }

    /// The least duration that is not told apart from this one. Histograms differ in it by their digits alone.
    pub(crate) fn least_alike(&self, ns: u64) -> u64 {
        self.0.lowest_equivalent(ns.min(MAX_NS))
    }

    /// Adds another one's counts, without loss.
    pub fn add(&mut self, other: &Self) {
        if other.count() > 0 {
            let _within_the_hour = self.0.add(&other.0);
        }
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The value that the fraction `quantile` (0 to 1) of all durations does not exceed; 0 when there are none.
    pub fn at(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile).min(self.max())
    }

    /// The least duration; 0 when there are none.
    pub fn min(&self) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.min() }
    }

    /// The greatest duration, rounded up within its precision.
    pub fn max(&self) -> u64 {
        self.0.max()
    }

    /// The mean in nanoseconds.
    pub fn mean(&self) -> f64 {
        self.0.mean()
    }

    /// The standard deviation in nanoseconds.
    pub fn stdev(&self) -> f64 {
        self.0.stdev()
    }

    /// The share of durations that do not exceed `ns`, 0 to 1.
    pub fn share_within(&self, ns: u64) -> f64 {
        self.0.quantile_below(ns)
    }

    /// Every distinct duration, ascending, with how often it was counted.
    pub fn counts(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_since_last_iteration()))
    }
}

impl Serialize for Hdr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&self.0, &mut bytes).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Hdr {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64_STANDARD.decode(text).map_err(|error| D::Error::custom(format!("not base64: {error}")))?;
        let mut histogram: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| D::Error::custom(format!("no HDR histogram: {error}")))?;
        histogram.auto(true);
        Ok(Self(histogram))
    }
}

/// Doublings above 1 ns that are told apart, up to [`MAX_NS`].
const DOUBLINGS: usize = 36;
/// Steps per doubling.
const STEPS: usize = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Buckets of a [`Coarse`] histogram.
pub(crate) const BUCKETS: usize = (DOUBLINGS + 1) * STEPS;

/// The coarse bucket of a duration.
pub(crate) fn bucket(ns: u64) -> usize {
    let ns = ns.min(MAX_NS);
    if ns < STEPS as u64 {
        return ns as usize;
    }
    let shift = ns.ilog2() - STEP_BITS;
    (shift as usize + 1) * STEPS + ((ns >> shift) as usize - STEPS)
}

/// The middle of a bucket.
pub(crate) fn middle(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let shift = bucket / STEPS - 1;
    let low = ((bucket % STEPS + STEPS) as u64) << shift;
    low + ((1u64 << shift) >> 1)
}

/// A coarse histogram.
#[derive(Clone)]
pub(crate) struct Coarse {
    counts: Box<[u32; BUCKETS]>,
}

impl Default for Coarse {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]) }
    }
}

impl Coarse {
    pub(crate) fn record(&mut self, bucket: usize) {
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
    }

    /// Its filled buckets; it is empty afterwards.
    pub(crate) fn take(&mut self) -> Vec<(u16, u32)> {
        let filled = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let taken = filled.map(|(bucket, count)| (bucket as u16, *count)).collect();
        self.counts.fill(0);
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_percentiles_are_within_three_digits() {
        let mut hdr = Hdr::default();
        (1..=100_000u64).for_each(|i| hdr.record(i * 1_000));
        for (quantile, want) in [(0.5, 50_000_000.0), (0.99, 99_000_000.0), (0.999, 99_900_000.0), (0.9999, 99_990_000.0)] {
            let got = hdr.at(quantile) as f64;
            assert!((got - want).abs() / want < 0.001, "{quantile}: {got}");
        }
        assert_eq!(hdr.count(), 100_000);
        assert!((hdr.share_within(25_000_000) - 0.25).abs() < 0.001);
    }

    #[test]
    fn an_empty_one_is_all_zero_and_an_endless_duration_is_an_hour() {
        let mut hdr = Hdr::default();
        assert_eq!((hdr.min(), hdr.max(), hdr.at(0.99)), (0, 0, 0));
        hdr.record(u64::MAX);
        assert!(hdr.max() >= MAX_NS && hdr.max() < MAX_NS / 1000 * 1001, "{}", hdr.max());
    }

    #[test]
    fn text_that_is_no_histogram_is_refused() {
        for text in ["\"\"", "\"%\"", "\"AAAA\"", "7"] {
            assert!(serde_json::from_str::<Hdr>(text).is_err(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn adding_equals_recording_in_one_and_survives_the_text(a in durations(), b in durations()) {
            let one_of = |values: &[u64]| values.iter().fold(Hdr::default(), |mut hdr, ns| { hdr.record(*ns); hdr });
            let mut sum = one_of(&a);
            sum.add(&one_of(&b));
            let text = serde_json::to_string(&sum)?;
            let again: Hdr = serde_json::from_str(&text)?;
            let together = one_of(&[a, b].concat());
            prop_assert_eq!(&sum, &together);
            prop_assert_eq!((sum.min(), sum.max()), (together.min(), together.max()));
            prop_assert_eq!(&again, &together);
            prop_assert_eq!((again.min(), again.max()), (together.min(), together.max()));
        }

        #[test]
        fn a_coarse_bucket_holds_its_value_within_one_percent(ns in 0..MAX_NS) {
            let middle = middle(bucket(ns));
            prop_assert!(bucket(ns) < BUCKETS);
            prop_assert!(middle.abs_diff(ns) as f64 <= ns as f64 * 0.008 + 0.5, "{} for {}", middle, ns);
        }

        #[test]
        fn coarse_buckets_ascend(ns in 0..MAX_NS) {
            prop_assert!(bucket(ns) <= bucket(ns + 1));
            prop_assert_eq!(bucket(middle(bucket(ns))), bucket(ns));
        }
    }

    fn durations() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(prop_oneof![0..1_000_000u64, 0..MAX_NS], 0..200)
    }
}
