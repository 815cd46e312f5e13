//! Whether one side's runs are faster than the other's, with a 95 % interval for the ratio.
//!
//! With two or more runs per side a run is one observation: the interval is Welch's, on logarithms, so that it covers what
//! differs from run to run. With a single run on a side the slices of each run are resampled in blocks of neighbours
//! (a bootstrap), which covers only what varied within these runs; the result says so.

use std::fmt::Write;

use serde::Serialize;

use crate::{
    histogram::{BUCKETS, Hdr, bucket, middle},
    report::Report,
    table::{Paint, aligned, number, time},
};

/// The version of the JSON that a [`Comparison`] serialises to.
pub const SCHEMA: u32 = 1;
/// Resamples of a bootstrap.
const RESAMPLES: usize = 999;
/// Ratios closer to 1 than this are no difference: it is the precision of the histograms.
const RESOLUTION: f64 = 0.002;
/// Fewer slices than this cannot be resampled.
const FEWEST_SLICES: usize = 8;
/// Answers beyond a percentile that it takes for an interval of it.
const FEWEST_BEYOND: f64 = 20.0;

/// Two sides compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: u32,
    /// How the intervals were made: `runs` or `slices`.
    pub method: Method,
    /// The first side, to which the second is compared.
    pub a: Side,
    /// The second side.
    pub b: Side,
    /// One verdict per metric.
    pub metrics: Vec<Metric>,
    /// What to keep in mind about the verdicts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cautions: Vec<String>,
}

/// What the intervals are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Runs are the observations.
    Runs,
    /// Slices of single runs are resampled.
    Slices,
}

/// One side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// The runs, as named by the caller.
    pub runs: Vec<String>,
    /// Complete answers of all of them.
    pub answers: u64,
    /// Requests without an answer, or refused.
    pub failed: u64,
}

/// One metric of both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Metric {
    /// `rate`, `mean`, `p50`, ...
    pub name: String,
    /// Per second, or microseconds; of several runs their geometric mean.
    pub a: f64,
    /// Likewise.
    pub b: f64,
    /// `b / a`.
    pub ratio: f64,
    /// The lower end of the ratio's 95 % interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// What that means for `b`.
    pub verdict: Verdict,
}

/// How the second side does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Better than the first.
    Faster,
    /// Worse than the first.
    Slower,
    /// The interval holds 1.
    NoSignificantDifference,
    /// There is too little data for an interval.
    Unknown,
}

impl Verdict {
    fn words(self) -> &'static str {
        match self {
            Self::Faster => "B is faster",
            Self::Slower => "B is slower",
            Self::NoSignificantDifference => "no significant difference",
            Self::Unknown => "too little data",
        }
    }
}

/// What is compared.
#[derive(Clone, Copy)]
enum What {
    Rate,
    Mean,
    Quantile(f64),
}

const METRICS: [(&str, What); 6] = [
    ("rate", What::Rate),
    ("mean", What::Mean),
    ("p50", What::Quantile(0.5)),
    ("p90", What::Quantile(0.9)),
    ("p99", What::Quantile(0.99)),
    ("p99.9", What::Quantile(0.999)),
];

/// Compares runs, each with a name, by their corrected latency.
pub fn compare(a: &[(String, Report)], b: &[(String, Report)]) -> Comparison {
    let method = if a.len() > 1 && b.len() > 1 { Method::Runs } else { Method::Slices };
    let metrics = match method {
        Method::Runs => METRICS.into_iter().map(|(name, what)| by_runs(name, what, a, b)).collect(),
        Method::Slices => by_slices(a, b),
    };
    Comparison { schema: SCHEMA, method, a: side(a), b: side(b), metrics, cautions: cautions(method, a, b) }
}

fn side(runs: &[(String, Report)]) -> Side {
    Side {
        runs: runs.iter().map(|(name, _)| name.clone()).collect(),
        answers: runs.iter().map(|(_, report)| report.histograms.latency.count()).sum(),
        failed: runs.iter().map(|(_, report)| report.failed()).sum(),
    }
}

fn cautions(method: Method, a: &[(String, Report)], b: &[(String, Report)]) -> Vec<String> {
    let mut cautions = Vec::new();
    if method == Method::Slices {
        cautions.push(
            "a side has a single run: the intervals do not cover what differs from run to run; give several per side, made in turns"
                .to_owned(),
        );
    }
    let asked = |runs: &[(String, Report)]| runs.iter().filter_map(|(_, report)| report.run.asked_rate).collect::<Vec<_>>();
    let (of_a, of_b) = (asked(a), asked(b));
    if of_a.iter().chain(&of_b).any(|rate| Some(rate) != of_a.first())
        || of_a.len() != a.len() && !of_a.is_empty()
        || of_b.len() != b.len() && !of_b.is_empty()
    {
        cautions.push("the runs were not asked for the same rate: their latencies say little about each other".to_owned());
    }
    let limited = a.iter().chain(b).filter(|(_, report)| !report.generator.limits.is_empty());
    cautions.extend(limited.map(|(name, _)| format!("{name}: the generator was the limit")));
    cautions
}

fn by_runs(name: &str, what: What, a: &[(String, Report)], b: &[(String, Report)]) -> Metric {
    let logs = |runs: &[(String, Report)]| runs.iter().map(|(_, report)| of_run(what, report).ln()).collect::<Vec<_>>();
    let (a, b) = (logs(a), logs(b));
    let (mean_a, mean_b) = (mean(&a), mean(&b));
    let interval = welch(&a, &b).map(|(low, high)| (low.exp(), high.exp()));
    verdict(name, what, mean_a.exp(), mean_b.exp(), interval)
}

fn of_run(what: What, report: &Report) -> f64 {
    let latency: &Hdr = &report.histograms.latency;
    match what {
        What::Rate => report.rate,
        What::Mean => latency.mean() / 1000.0,
        What::Quantile(quantile) => latency.at(quantile) as f64 / 1000.0,
    }
}

fn verdict(name: &str, what: What, a: f64, b: f64, interval: Option<(f64, f64)>) -> Metric {
    let ratio = b / a;
    let (low, high) = interval.filter(|(low, high)| low.is_finite() && high.is_finite()).unwrap_or((f64::NAN, f64::NAN));
    let verdict = if low.is_nan() {
        Verdict::Unknown
    } else if low <= 1.0 + RESOLUTION && high >= 1.0 - RESOLUTION {
        Verdict::NoSignificantDifference
    } else if (low > 1.0) == matches!(what, What::Rate) {
        Verdict::Faster
    } else {
        Verdict::Slower
    };
    Metric { name: name.to_owned(), a, b, ratio, low, high, verdict }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Welch's 95 % interval for the mean of `b` less the mean of `a`, each of at least two values.
fn welch(a: &[f64], b: &[f64]) -> Option<(f64, f64)> {
    if a.len() < 2 || b.len() < 2 {
        return None;
    }
    // The squared error of a mean, and its degrees of freedom.
    let error = |values: &[f64]| {
        let (n, mean) = (values.len() as f64, mean(values));
        values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0) / n
    };
    let (error_a, error_b) = (error(a), error(b));
    let sum = error_a + error_b;
    let freedom = sum.powi(2) / (error_a.powi(2) / (a.len() - 1) as f64 + error_b.powi(2) / (b.len() - 1) as f64);
    let reach = if sum > 0.0 { students_t(freedom) * sum.sqrt() } else { 0.0 };
    let difference = mean(b) - mean(a);
    Some((difference - reach, difference + reach))
}

/// The 97.5th percentile of Student's t distribution, rounded up to the next lower tabulated degree of freedom.
fn students_t(freedom: f64) -> f64 {
    const TABLE: [(f64, f64); 18] = [
        (120.0, 1.980),
        (60.0, 2.000),
        (40.0, 2.021),
        (30.0, 2.042),
        (20.0, 2.086),
        (15.0, 2.131),
        (12.0, 2.179),
        (10.0, 2.228),
        (9.0, 2.262),
        (8.0, 2.306),
        (7.0, 2.365),
        (6.0, 2.447),
        (5.0, 2.571),
        (4.0, 2.776),
        (3.0, 3.182),
        (2.5, 3.558),
        (2.0, 4.303),
        (1.5, 6.002),
    ];
    TABLE.into_iter().find(|(least, _)| freedom >= *least).map_or(12.706, |(_, t)| t)
}

/// A slice's length in seconds, answers and filled buckets.
struct Observed {
    seconds: f64,
    answers: u64,
    counts: Vec<(usize, u64)>,
}

fn by_slices(a: &[(String, Report)], b: &[(String, Report)]) -> Vec<Metric> {
    let (slices_a, slices_b) = (observed(a), observed(b));
    let enough = slices_a.len() >= FEWEST_SLICES && slices_b.len() >= FEWEST_SLICES;
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut pair = || (Pool::of(resampled(&slices_a, &mut random)), Pool::of(resampled(&slices_b, &mut random)));
    let pairs: Vec<(Pool, Pool)> = if enough { (0..RESAMPLES).map(|_| pair()).collect() } else { Vec::new() };
    // A percentile needs answers beyond it to be resampled.
    let beyond = |what, slices: &[Observed]| match what {
        What::Quantile(quantile) => slices.iter().map(|slice| slice.answers).sum::<u64>() as f64 * (1.0 - quantile),
        _ => f64::INFINITY,
    };
    let point = |what, runs: &[(String, Report)], slices: &[Observed]| match runs {
        [(_, only)] => of_run(what, only),
        _ => Pool::of(slices.iter()).value(what),
    };
    let metric = |(name, what)| {
        let mut ratios: Vec<f64> = pairs.iter().map(|(a, b)| b.value(what) / a.value(what)).collect();
        ratios.sort_by(f64::total_cmp);
        let at = |part: f64| ratios.get((part * RESAMPLES as f64) as usize).copied();
        let told = [&slices_a, &slices_b].into_iter().all(|slices| beyond(what, slices) >= FEWEST_BEYOND);
        let interval = at(0.025).zip(at(0.975)).filter(|_| told);
        verdict(name, what, point(what, a, &slices_a), point(what, b, &slices_b), interval)
    };
    METRICS.into_iter().map(metric).collect()
}

/// The slices of all runs of a side, without each run's first and last, which are cut by its beginning and end.
fn observed(runs: &[(String, Report)]) -> Vec<Observed> {
    let mut all = Vec::new();
    for (_, report) in runs {
        let slices = &report.series.slices;
        let whole = slices.get(1..slices.len().saturating_sub(1)).unwrap_or_default();
        all.extend(whole.iter().map(|slice| Observed {
            seconds: report.series.slice_ms as f64 / 1000.0,
            answers: slice.requests - slice.errors,
            counts: slice.latency.counts().map(|(ns, count)| (bucket(ns), count)).collect(),
        }));
    }
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
    counts: Vec<(usize, u64)>,
}

impl Pool {
    fn of<'a>(slices: impl Iterator<Item = &'a Observed>) -> Self {
        let mut pool = Self { seconds: 0.0, answers: 0, counts: Vec::new() };
        let mut sums = vec![0; BUCKETS];
        for slice in slices {
            pool.seconds += slice.seconds;
            pool.answers += slice.answers;
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

    /// Between the buckets' middles in proportion, so that a small shift shows although buckets are coarse.
    fn quantile(&self, quantile: f64) -> f64 {
        let rank = self.counts.iter().map(|(_, count)| count).sum::<u64>() as f64 * quantile;
        let mut below = 0.0;
        for (bucket, count) in &self.counts {
            let reached = below + *count as f64;
            if reached >= rank {
                let width = middle(bucket + 1) as f64 - middle(*bucket) as f64;
                return middle(*bucket) as f64 + width * ((rank - below) / *count as f64 - 0.5);
            }
            below = reached;
        }
        f64::NAN
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

/// The comparison as aligned text; ends with a newline.
pub fn render(comparison: &Comparison, paint: Paint) -> String {
    let mut out = String::new();
    for (name, side) in [("A", &comparison.a), ("B", &comparison.b)] {
        // Writing to a String cannot fail.
        let _infallible = writeln!(out, "{name}  {} answers, {} failed: {}", side.answers, side.failed, side.runs.join(", "));
    }
    out.push('\n');
    let rows = comparison.metrics.iter().map(|metric| {
        let show = |value: f64| match metric.name.as_str() {
            "rate" => format!("{}/s", number(value)),
            _ => time(value),
        };
        let interval = if metric.low.is_nan() { String::new() } else { format!("{:.3} to {:.3}", metric.low, metric.high) };
        let (a, b) = (show(metric.a), show(metric.b));
        vec![metric.name.clone(), a, b, format!("{:.3}", metric.ratio), interval, metric.verdict.words().to_owned()]
    });
    let table = aligned("lrrrrl", &["", "A", "B", "B/A", "95 % interval", "verdict"], rows);
    for line in table.lines() {
        let painted = [(Verdict::Faster, true), (Verdict::Slower, false)].into_iter().find_map(|(verdict, good)| {
            let rest = line.strip_suffix(verdict.words())?;
            Some(format!("{rest}{}", if good { paint.good(verdict.words()) } else { paint.bad(verdict.words()) }))
        });
        out.push_str(painted.as_deref().unwrap_or(line));
        out.push('\n');
    }
    let cautions = comparison.cautions.iter().map(|caution| format!("{} {caution}\n", paint.bad("note:")));
    cautions.fold(out + "\n", |out, caution| out + &caution).trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_welchs() {
        // Values and interval of a textbook example computed by hand: means 10 and 12, variances 1, three values each.
        let (low, high) = welch(&[9.0, 10.0, 11.0], &[11.0, 12.0, 13.0]).expect("enough values");
        let reach = 2.776 * (2.0f64 / 3.0).sqrt();
        assert!((low - (2.0 - reach)).abs() < 1e-9 && (high - (2.0 + reach)).abs() < 1e-9, "{low} {high}");
        assert_eq!(welch(&[1.0], &[1.0, 2.0]), None);
        assert_eq!(welch(&[1.0, 1.0], &[2.0, 2.0]), Some((1.0, 1.0)));
    }

    #[test]
    fn the_t_table_never_makes_an_interval_too_narrow() {
        assert_eq!((students_t(4.0), students_t(4.9), students_t(1000.0), students_t(1.0)), (2.776, 2.776, 1.980, 12.706));
    }

    #[test]
    fn a_resample_has_as_many_slices_in_blocks_of_neighbours() {
        let slices: Vec<Observed> = (0..100).map(|i| Observed { seconds: 1.0, answers: i, counts: Vec::new() }).collect();
        let drawn: Vec<u64> = resampled(&slices, &mut Random(1)).map(|slice| slice.answers).collect();
        assert_eq!(drawn.len(), 100);
        assert!(drawn.windows(2).filter(|pair| pair[1] == (pair[0] + 1) % 100).count() >= 90, "{drawn:?}");
    }

    #[test]
    fn a_quantile_lies_between_the_buckets_around_it() {
        let counts = (1..=1000u64).map(|ms| (bucket(ms * 1_000_000), 1)).collect();
        let pool = Pool::of([Observed { seconds: 1.0, answers: 1000, counts }].iter());
        for quantile in [0.1, 0.5, 0.99] {
            let got = pool.quantile(quantile);
            assert!((got / 1e9 - quantile).abs() < 0.01 * quantile, "{quantile}: {got}");
        }
    }
}
