//! The method for single runs: their slices resampled in blocks of neighbours, a bootstrap.

use super::{METRICS, Metric, What, of_run, quotient, verdict};
use crate::{
    histogram::{BUCKETS, bucket, middle},
    report::{Report, Series, Slice},
};

/// Resamples of a bootstrap.
const RESAMPLES: usize = 999;
/// Fewer slices than this cannot be resampled.
const FEWEST_SLICES: usize = 8;
/// A run with more than this is none that was recorded here, and tells nothing.
const MOST_SLICES: u64 = 100_000;
/// Requests beyond a percentile that it takes for an interval of it.
const FEWEST_BEYOND: f64 = 20.0;

/// A slice's length in seconds, requests with and without an answer, and filled buckets.
struct Observed {
    seconds: f64,
    answers: u64,
    unanswered: u64,
    counts: Vec<(usize, u64)>,
}

/// One verdict per metric.
pub(super) fn by_slices(a: &[(String, Report)], b: &[(String, Report)]) -> Vec<Metric> {
    let (slices_a, slices_b) = (observed(a), observed(b));
    let lasting = |slices: &[Observed]| slices.iter().filter(|slice| slice.seconds > 0.0).count();
    let enough = lasting(&slices_a) >= FEWEST_SLICES && lasting(&slices_b) >= FEWEST_SLICES;
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut pair = || (Pool::of(resampled(&slices_a, &mut random)), Pool::of(resampled(&slices_b, &mut random)));
    let pairs: Vec<(Pool, Pool)> = if enough { (0..RESAMPLES).map(|_| pair()).collect() } else { Vec::new() };
    // A percentile needs requests beyond it to be resampled.
    let beyond = |what, slices: &[Observed]| match what {
        What::Quantile(quantile) => slices.iter().map(|slice| slice.answers + slice.unanswered).sum::<u64>() as f64 * (1.0 - quantile),
        _ => f64::INFINITY,
    };
    let point = |what, runs: &[(String, Report)], slices: &[Observed]| match runs {
        [(_, only)] => of_run(what, only),
        _ => Pool::of(slices.iter()).value(what),
    };
    let metric = |(name, what)| {
        let mut ratios: Vec<f64> = pairs.iter().map(|(a, b)| quotient(a.value(what), b.value(what))).collect();
        ratios.sort_by(f64::total_cmp);
        let at = |part: f64| ratios.get((part * RESAMPLES as f64) as usize).copied();
        let told = [&slices_a, &slices_b].into_iter().all(|slices| beyond(what, slices) >= FEWEST_BEYOND);
        let interval = at(0.025).zip(at(0.975)).filter(|_| told);
        verdict(name, what, (point(what, a, &slices_a), point(what, b, &slices_b)), interval)
    };
    METRICS.into_iter().map(metric).collect()
}

/// The slices of all runs of a side, without each run's first and last, which are cut by its beginning and end. A report lists
/// only those in which a request ended; the time between them and after them went by all the same, as in a stall, and so is
/// observed as empty. What was given up after the run's end is no time of it, but requests without an answer.
fn observed(runs: &[(String, Report)]) -> Vec<Observed> {
    runs.iter().flat_map(|(_, report)| of_series(&report.series, report.seconds)).collect()
}

fn of_series(series: &Series, seconds: f64) -> Vec<Observed> {
    let place = |slice: &Slice| slice.at_ms.checked_div(series.slice_ms);
    let end = match seconds > 0.0 {
        true => ((seconds * 1000.0) as u64).checked_div(series.slice_ms),
        // A report that does not say how long it took.
        false => series.slices.last().and_then(place),
    };
    let empty = |seconds| Observed { seconds, answers: 0, unanswered: 0, counts: Vec::new() };
    let end = end.filter(|end| *end <= MOST_SLICES).unwrap_or_default();
    let mut all: Vec<Observed> = (0..end).map(|_| empty(series.slice_ms as f64 / 1000.0)).collect();
    for slice in &series.slices {
        if let Some(observed) = place(slice).and_then(|place| all.get_mut(usize::try_from(place).ok()?)) {
            observed.answers = slice.requests.saturating_sub(slice.errors);
            observed.unanswered = slice.errors;
            observed.counts = slice.latency.counts().map(|(ns, count)| (bucket(ns), count)).collect();
        }
    }
    all.drain(..all.len().min(1));
    let given_up = series.slices.iter().filter(|slice| seconds > 0.0 && slice.at_ms as f64 >= seconds * 1000.0);
    all.extend(given_up.map(|slice| Observed { unanswered: slice.errors, ..empty(0.0) }));
    all
}

/// As many slices as there are, in blocks of neighbours: what lasts longer than a slice must not look like chance.
fn resampled<'a>(slices: &'a [Observed], random: &mut Random) -> impl Iterator<Item = &'a Observed> {
    let block = (slices.len() as f64).sqrt().round().max(1.0) as usize;
    let blocks = slices.len().div_ceil(block);
    let starts: Vec<usize> = (0..blocks).map(|_| random.below(slices.len())).collect();
    let indexes = starts.into_iter().flat_map(move |start| start..start + block);
    indexes.filter_map(|index| slices.get(index % slices.len())).take(slices.len())
}

/// Several slices together: filled buckets, ascending.
struct Pool {
    seconds: f64,
    answers: u64,
    unanswered: u64,
    counts: Vec<(usize, u64)>,
}

impl Pool {
    fn of<'a>(slices: impl Iterator<Item = &'a Observed>) -> Self {
        let mut pool = Self { seconds: 0.0, answers: 0, unanswered: 0, counts: Vec::new() };
        let mut sums = vec![0; BUCKETS];
        for slice in slices {
            pool.seconds += slice.seconds;
            pool.answers += slice.answers;
            pool.unanswered += slice.unanswered;
            for (bucket, count) in &slice.counts {
                if let Some(sum) = sums.get_mut(*bucket) {
                    *sum += count;
                }
            }
        }
        pool.counts = sums.into_iter().enumerate().filter(|(_, count)| *count > 0).collect();
        pool
    }

    /// Latencies are in microseconds.
    fn value(&self, what: What) -> f64 {
        match what {
            What::Rate => self.answers as f64 / self.seconds,
            What::Mean => {
                let sum: f64 = self.counts.iter().map(|(bucket, count)| middle(*bucket) as f64 * *count as f64).sum();
                sum / self.answers as f64 / 1000.0
            }
            What::Quantile(quantile) => self.quantile(quantile) / 1000.0,
        }
    }

    /// Between the buckets' middles in proportion, so that a small shift shows although buckets are coarse. Infinite among the
    /// requests without an answer.
    fn quantile(&self, quantile: f64) -> f64 {
        let all = self.counts.iter().map(|(_, count)| count).sum::<u64>() + self.unanswered;
        let rank = all as f64 * quantile;
        let mut below = 0.0;
        for (bucket, count) in &self.counts {
            let reached = below + *count as f64;
            if reached >= rank {
                let width = middle(bucket + 1) as f64 - middle(*bucket) as f64;
                return middle(*bucket) as f64 + width * ((rank - below) / *count as f64 - 0.5);
            }
            below = reached;
        }
        if all > 0 { f64::INFINITY } else { f64::NAN }
    }
}

/// SplitMix64: the same numbers every time, so that a comparison can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resample_has_as_many_slices_in_blocks_of_neighbours() {
        let slices: Vec<Observed> = (0..100).map(|i| Observed { seconds: 1.0, answers: i, unanswered: 0, counts: Vec::new() }).collect();
        let drawn: Vec<u64> = resampled(&slices, &mut Random(1)).map(|slice| slice.answers).collect();
        assert_eq!(drawn.len(), 100);
        assert!(drawn.windows(2).filter(|pair| pair[1] == (pair[0] + 1) % 100).count() >= 90, "{drawn:?}");
    }

    #[test]
    fn a_slice_in_which_nothing_ended_is_time_that_went_by() {
        let slice = |at_ms| Slice { at_ms, requests: 5, errors: 1, ..Slice::default() };
        let series = Series { slice_ms: 100, slices: [100, 200, 500, 600].map(slice).to_vec() };
        let answers = |series: &Series, seconds| of_series(series, seconds).iter().map(|slice| slice.answers).collect::<Vec<_>>();
        assert_eq!(answers(&series, 0.65), [4, 4, 0, 0, 4], "neither the first nor the last, which the end cuts");
        assert_eq!(answers(&series, 0.7), [4, 4, 0, 0, 4, 4], "the last is whole");
        assert_eq!(answers(&series, 0.95), [4, 4, 0, 0, 4, 4, 0, 0], "nothing ended any more");
        assert_eq!(answers(&series, f64::NAN), answers(&series, 0.0), "of a run that does not say how long it took");
        let far = Series { slice_ms: 1, slices: vec![slice(u64::MAX)] };
        for (nonsense, seconds) in [(Series { slice_ms: 0, ..series.clone() }, 0.7), (far, 0.0), (Series::default(), 0.7)] {
            assert!(answers(&nonsense, seconds).is_empty(), "{nonsense:?}");
        }
        assert!(answers(&series, f64::INFINITY).is_empty());
    }

    #[test]
    fn what_is_given_up_after_the_end_is_unanswered_and_no_time() {
        let slice = |at_ms| Slice { at_ms, requests: 5, errors: 1, ..Slice::default() };
        let series = Series { slice_ms: 100, slices: [0, 100, 200, 300, 40_000].map(slice).to_vec() };
        let slices = of_series(&series, 0.35);
        let told: Vec<_> = slices.iter().map(|slice| (slice.seconds, slice.answers, slice.unanswered)).collect();
        assert_eq!(told, [(0.1, 4, 1), (0.1, 4, 1), (0.0, 0, 1)], "the slice at 300 ms is cut by the end");
    }

    #[test]
    fn a_quantile_lies_between_the_buckets_around_it() {
        let counts = (1..=1000u64).map(|ms| (bucket(ms * 1_000_000), 1)).collect();
        let pool = Pool::of([Observed { seconds: 1.0, answers: 1000, unanswered: 0, counts }].iter());
        for quantile in [0.1, 0.5, 0.99] {
            let got = pool.quantile(quantile);
            assert!((got / 1e9 - quantile).abs() < 0.01 * quantile, "{quantile}: {got}");
        }
    }

    #[test]
    fn a_request_without_an_answer_is_infinitely_late() {
        let slice = Observed { seconds: 1.0, answers: 90, unanswered: 10, counts: vec![(bucket(1_000_000), 90)] };
        let pool = Pool::of([slice].iter());
        assert!(pool.quantile(0.89).is_finite() && pool.quantile(0.91).is_infinite());
    }
}
