//! Whether one side's runs are faster than the other's, with a 95 % interval for the ratio.
//!
//! With two or more runs per side a run is one observation: the interval is Welch's, on logarithms, so that it covers what
//! differs from run to run. With a single run on a side the slices of each run are resampled in blocks of neighbours
//! (a bootstrap), which covers only what varied within these runs; the result says so.
//!
//! Failures are compared apart, as shares of all requests, because fast refusals make every other metric look good. A request
//! that was never answered counts as infinitely late in the percentiles.

mod interval;
mod slices;
mod text;

use std::collections::BTreeSet;

use serde::Serialize;

use self::interval::{mean, shares, welch};
pub use self::text::render;
use crate::{
    histogram::Hdr,
    report::{Facts, Report, SCHEMA, mixed_schemas, several_targets},
};

/// Ratios closer to 1 than this are no difference: it is the precision of the histograms.
const RESOLUTION: f64 = 0.002;
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
    /// Whether one side fails more.
    pub failed: Failed,
    /// One verdict per metric of speed.
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
    /// Requests of all of them.
    pub requests: u64,
    /// Complete answers.
    pub answers: u64,
    /// Requests without an answer, or refused.
    pub failed: u64,
}

/// The shares of requests that failed, 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failed {
    /// The first side's.
    pub a: f64,
    /// The second's.
    pub b: f64,
    /// `b - a`.
    pub difference: f64,
    /// The lower end of the difference's 95 % interval, requests taken as independent of each other.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// What that means for `b`.
    pub verdict: Verdict,
}

/// One metric of both sides. In JSON a number that is not finite is `null`: a percentile among requests that were never
/// answered, or an end of an interval that has none.
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
    /// Fewer of its requests failed.
    FailsLess,
    /// More of its requests failed.
    FailsMore,
    /// The interval holds what equal sides have.
    NoSignificantDifference,
    /// There is too little data for an interval.
    Unknown,
}

impl Verdict {
    fn words(self) -> &'static str {
        match self {
            Self::Faster => "B is faster",
            Self::Slower => "B is slower",
            Self::FailsLess => "B fails less",
            Self::FailsMore => "B fails more",
            Self::NoSignificantDifference => "no significant difference",
            Self::Unknown => "too little data",
        }
    }

    /// Whether it speaks for the second side, or against it; `None` when it does neither.
    fn is_good(self) -> Option<bool> {
        match self {
            Self::Faster | Self::FailsLess => Some(true),
            Self::Slower | Self::FailsMore => Some(false),
            Self::NoSignificantDifference | Self::Unknown => None,
        }
    }
}

impl Comparison {
    /// Whether the second side is slower in any metric, or fails more.
    pub fn is_worse(&self) -> bool {
        let verdicts = self.metrics.iter().map(|metric| metric.verdict).chain([self.failed.verdict]);
        verdicts.into_iter().any(|verdict| verdict.is_good() == Some(false))
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
        Method::Slices => slices::by_slices(a, b),
    };
    let (side_a, side_b) = (side(a), side(b));
    let failed = failed(&side_a, &side_b);
    let cautions = cautions(method, a, b, failed.verdict);
    Comparison { schema: SCHEMA, method, a: side_a, b: side_b, failed, metrics, cautions }
}

fn side(runs: &[(String, Report)]) -> Side {
    Side {
        runs: runs.iter().map(|(name, _)| name.clone()).collect(),
        requests: runs.iter().map(|(_, report)| report.requests).sum(),
        answers: runs.iter().map(|(_, report)| report.histograms.latency.count()).sum(),
        failed: runs.iter().map(|(_, report)| report.failed()).sum(),
    }
}

fn failed(a: &Side, b: &Side) -> Failed {
    let share = |side: &Side| side.failed as f64 / side.requests as f64;
    let interval = shares((a.failed, a.requests), (b.failed, b.requests));
    let verdict = match interval {
        None => Verdict::Unknown,
        Some((low, _)) if low > 0.0 => Verdict::FailsMore,
        Some((_, high)) if high < 0.0 => Verdict::FailsLess,
        Some(_) => Verdict::NoSignificantDifference,
    };
    let (low, high) = interval.unwrap_or((f64::NAN, f64::NAN));
    Failed { a: share(a), b: share(b), difference: share(b) - share(a), low, high, verdict }
}

fn cautions(method: Method, a: &[(String, Report)], b: &[(String, Report)], failed: Verdict) -> Vec<String> {
    let mut cautions = Vec::new();
    if method == Method::Slices {
        cautions.push(
            "a side has a single run: the intervals do not cover what differs from run to run; give several per side, made in turns"
                .to_owned(),
        );
    }
    if failed.is_good().is_some() {
        cautions.push("one side fails more: refusals are answers too, and their times are in the other figures".to_owned());
    }
    // That the two sides have different targets may be what is compared; within a side it spoils the figures.
    let within = |name, runs: &[(String, Report)]| Some(format!("{name}: {}", several_targets(runs.iter().map(|(_, report)| report))?));
    cautions.extend([within("A", a), within("B", b)].into_iter().flatten());
    cautions.extend(mixed_schemas(a.iter().chain(b).map(|(_, report)| report)));
    let asked = |runs: &[(String, Report)]| runs.iter().filter_map(|(_, report)| report.run.asked_rate).collect::<Vec<_>>();
    let (of_a, of_b) = (asked(a), asked(b));
    if of_a.iter().chain(&of_b).any(|rate| Some(rate) != of_a.first())
        || of_a.len() != a.len() && !of_a.is_empty()
        || of_b.len() != b.len() && !of_b.is_empty()
    {
        cautions.push("the runs were not asked for the same rate: their latencies say little about each other".to_owned());
    }
    cautions.extend(unlike(a, b));
    let limited = a.iter().chain(b).filter(|(_, report)| !report.generator.limits.is_empty());
    cautions.extend(limited.map(|(name, _)| format!("{name}: the generator was the limit")));
    cautions
}

/// Differences in how the runs were made that explain differences in what they found, and runs that are no whole ones.
fn unlike(a: &[(String, Report)], b: &[(String, Report)]) -> Vec<String> {
    let runs = || a.iter().chain(b).map(|(_, report)| &report.run);
    let several = |of: &dyn Fn(&Facts) -> String| runs().map(of).collect::<BTreeSet<_>>();
    let mut unlike = Vec::new();
    let connections = several(&|run| run.concurrency.to_string());
    if connections.len() > 1 && runs().any(|run| run.asked_rate.is_none()) {
        let list = connections.into_iter().collect::<Vec<_>>().join(" and ");
        unlike.push(format!("the runs had {list} connections: without a rate, times and rates follow from that"));
    }
    let protocols = several(&|run| run.protocol.clone());
    if protocols.len() > 1 {
        unlike.push(format!("the runs spoke {}", protocols.into_iter().collect::<Vec<_>>().join(" and ")));
    }
    let cut = a.iter().chain(b).filter(|(_, report)| report.run.interrupted || report.run.gave_up);
    unlike.extend(cut.map(|(name, _)| format!("{name}: the run ended early")));
    unlike
}

fn by_runs(name: &str, what: What, a: &[(String, Report)], b: &[(String, Report)]) -> Metric {
    let values = |runs: &[(String, Report)]| runs.iter().map(|(_, report)| of_run(what, report)).collect::<Vec<_>>();
    let logs = |values: &[f64]| values.iter().map(|value| value.ln()).collect::<Vec<_>>();
    let (values_a, values_b) = (values(a), values(b));
    let (logs_a, logs_b) = (logs(&values_a), logs(&values_b));
    let all = |values: &[f64], of: fn(f64) -> bool| values.iter().all(|value| of(*value));
    let interval = match (all(&values_a, f64::is_infinite), all(&values_b, f64::is_infinite)) {
        (true, true) => Some((1.0, 1.0)),
        (true, false) if all(&values_b, f64::is_finite) => Some((0.0, 0.0)),
        (false, true) if all(&values_a, f64::is_finite) => Some((f64::INFINITY, f64::INFINITY)),
        _ => welch(&logs_a, &logs_b).map(|(low, high)| (low.exp(), high.exp())),
    };
    verdict(name, what, (mean(&logs_a).exp(), mean(&logs_b).exp()), interval)
}

fn of_run(what: What, report: &Report) -> f64 {
    let latency: &Hdr = &report.histograms.latency;
    match what {
        What::Rate => report.rate,
        What::Mean if latency.count() == 0 => f64::NAN,
        What::Mean => latency.mean() / 1000.0,
        What::Quantile(quantile) => {
            // What a signal left without an answer had none in its time either.
            let all = latency.count() + report.error_count() + report.run.abandoned;
            let among_answers = quantile * all as f64 / latency.count() as f64;
            if all == 0 {
                f64::NAN
            } else if among_answers > 1.0 {
                f64::INFINITY
            } else {
                latency.at(among_answers) as f64 / 1000.0
            }
        }
    }
}

/// `b / a`; two that are both infinite are alike.
fn quotient(a: f64, b: f64) -> f64 {
    if a.is_infinite() && b.is_infinite() { 1.0 } else { b / a }
}

fn verdict(name: &str, what: What, (a, b): (f64, f64), interval: Option<(f64, f64)>) -> Metric {
    let (low, high) = interval.filter(|(low, high)| !low.is_nan() && !high.is_nan()).unwrap_or((f64::NAN, f64::NAN));
    let ratio = quotient(a, b);
    let alike = |ratio: f64| (ratio - 1.0).abs() <= RESOLUTION;
    let verdict = if low.is_nan() {
        Verdict::Unknown
    } else if low <= 1.0 + RESOLUTION && high >= 1.0 - RESOLUTION {
        // An interval that misses the figures it is of has not seen what decided them.
        if (low..=high).contains(&ratio) || alike(ratio) { Verdict::NoSignificantDifference } else { Verdict::Unknown }
    } else if (low > 1.0) == matches!(what, What::Rate) {
        Verdict::Faster
    } else {
        Verdict::Slower
    };
    Metric { name: name.to_owned(), a, b, ratio, low, high, verdict }
}
