//! What a run found: counts, latency, errors, and the answers in order.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{
    answer::{Answer, Cause},
    plan::Plan,
};

/// Examples of errors kept in a report.
const EXAMPLES: usize = 5;

/// The outcome of a run. Serialised, it is what `outrigger load -o json` prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The plan's URL.
    pub url: String,
    /// Requests sent, those without an answer included.
    pub requests: u64,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Complete answers per second.
    pub rate: f64,
    /// Complete answers by HTTP status.
    pub statuses: BTreeMap<u16, u64>,
    /// Complete answers by version.
    pub versions: BTreeMap<String, u64>,
    /// Complete answers by pod.
    pub pods: BTreeMap<String, PodCount>,
    /// Complete answers by `grpc-status`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub grpc_statuses: BTreeMap<String, u64>,
    /// By [`crate::CountBy::name`], the values found; answers without the property count under the empty text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, BTreeMap<String, u64>>,
    /// Requests without a complete answer, by cause.
    pub errors: BTreeMap<Cause, u64>,
    /// The first few errors in full.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub error_examples: Vec<String>,
    /// Of complete answers.
    pub latency: Latency,
    /// All answers by [`Answer::index`], if the plan keeps them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<Answer>,
}

/// One pod's share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodCount {
    /// The version it claims to be.
    pub version: String,
    /// Its answers.
    pub requests: u64,
}

/// Microseconds from sending (or from when the request was due) to the end of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the statistics")]
pub struct Latency {
    pub min_us: u64,
    pub mean_us: f64,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
}

impl Report {
    /// Requests without a complete answer.
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Requests without a complete answer, or with a status of 400 or above.
    pub fn failed_count(&self) -> u64 {
        self.error_count() + self.statuses.range(400..).map(|(_, count)| count).sum::<u64>()
    }

    /// Answers of one version.
    pub fn version(&self, name: &str) -> u64 {
        self.versions.get(name).copied().unwrap_or_default()
    }

    /// Answers with one status.
    pub fn status(&self, code: u16) -> u64 {
        self.statuses.get(&code).copied().unwrap_or_default()
    }

    /// The greatest difference between two of the version's pods that answered at all.
    pub fn spread(&self, version: &str) -> u64 {
        let counts = || self.pods.values().filter(|pod| pod.version == version).map(|pod| pod.requests);
        counts().max().unwrap_or_default() - counts().min().unwrap_or_default()
    }
}

/// Collects answers as they come.
#[derive(Default)]
pub(crate) struct Recorder {
    report: Report,
    latency: Option<Histogram<u64>>,
}

impl Recorder {
    pub(crate) fn add(&mut self, plan: &Plan, answer: Answer) {
        let report = &mut self.report;
        report.requests += 1;
        match &answer.error {
            Some(failure) => {
                *report.errors.entry(failure.cause).or_default() += 1;
                if report.error_examples.len() < EXAMPLES {
                    let example = format!("request {}: {}: {}", answer.index, failure.cause, failure.detail);
                    report.error_examples.push(example);
                }
            }
            None => {
                count(report, plan, &answer);
                self.latency = self.latency.take().or_else(histogram);
                if let Some(latency) = &mut self.latency {
                    latency.saturating_record(answer.latency_us);
                }
            }
        }
        if plan.keep_answers {
            self.report.answers.push(answer);
        }
    }

    pub(crate) fn into_report(self, plan: &Plan, elapsed: Duration) -> Report {
        let mut report = self.report;
        report.url.clone_from(&plan.url);
        report.seconds = elapsed.as_secs_f64();
        let answered = report.requests - report.error_count();
        report.rate = if report.seconds > 0.0 { answered as f64 / report.seconds } else { 0.0 };
        report.latency = self.latency.as_ref().map(summary).unwrap_or_default();
        report.answers.sort_by_key(|answer| answer.index);
        report
    }
}

/// Three digits over an hour fit any answer; a longer one is recorded as the hour. `None` cannot happen: the bounds are
/// constants that the crate accepts.
fn histogram() -> Option<Histogram<u64>> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).ok()
}

fn count(report: &mut Report, plan: &Plan, answer: &Answer) {
    if let Some(status) = answer.status {
        *report.statuses.entry(status).or_default() += 1;
    }
    if let Some(version) = &answer.version {
        *report.versions.entry(version.clone()).or_default() += 1;
    }
    if let Some(pod) = &answer.pod {
        let entry = report.pods.entry(pod.clone()).or_default();
        entry.requests += 1;
        entry.version = answer.version.clone().unwrap_or_default();
    }
    if let Some(status) = &answer.grpc_status {
        *report.grpc_statuses.entry(status.clone()).or_default() += 1;
    }
    for (by, value) in plan.count_by.iter().zip(&answer.values) {
        let group = report.groups.entry(by.name.clone()).or_default();
        *group.entry(value.clone().unwrap_or_default()).or_default() += 1;
    }
}

fn summary(histogram: &Histogram<u64>) -> Latency {
    Latency {
        min_us: histogram.min(),
        mean_us: histogram.mean(),
        p50_us: histogram.value_at_quantile(0.5),
        p90_us: histogram.value_at_quantile(0.9),
        p99_us: histogram.value_at_quantile(0.99),
        max_us: histogram.max(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Failure;

    fn answer(index: u64, pod: &str, version: &str, status: u16) -> Answer {
        let named = |text: &str| Some(text.to_owned());
        Answer { index, latency_us: 100 * (index + 1), status: Some(status), pod: named(pod), version: named(version), ..Answer::default() }
    }

    fn report(answers: Vec<Answer>) -> Report {
        let plan = Plan::new("http://a", 0);
        let mut recorder = Recorder::default();
        answers.into_iter().for_each(|answer| recorder.add(&plan, answer));
        recorder.into_report(&plan, Duration::from_secs(2))
    }

    #[test]
    fn answers_are_counted_and_put_back_into_the_order_of_sending() {
        let report =
            report(vec![answer(1, "b", "v2", 503), answer(0, "a", "v1", 200), answer(2, "c", "v2", 200), answer(3, "c", "v2", 200)]);
        assert_eq!((report.version("v1"), report.version("v2"), report.status(503)), (1, 3, 1));
        assert_eq!(report.spread("v2"), 1);
        assert_eq!(report.failed_count(), 1);
        assert_eq!(report.rate, 2.0);
        assert_eq!(report.answers.iter().map(|answer| answer.index).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!((report.latency.min_us, report.latency.max_us), (100, 400));
    }

    #[test]
    fn an_error_counts_by_cause_and_not_as_an_answer() {
        let mut lost = answer(0, "a", "v1", 200);
        lost.error = Some(Failure::new(Cause::Body, "cut off"));
        let report = report(vec![lost]);
        assert_eq!((report.requests, report.error_count(), report.version("v1")), (1, 1, 0));
        assert_eq!(report.error_examples, ["request 0: body: cut off"]);
    }

    #[test]
    fn a_report_survives_its_json() -> serde_json::Result<()> {
        let report = report(vec![answer(0, "a", "v1", 200)]);
        let again: Report = serde_json::from_str(&serde_json::to_string(&report)?)?;
        assert_eq!(again, report);
        Ok(())
    }
}
