//! What a run found: counts, latency, errors, and the answers in order.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    answer::{Answer, Cause},
    histogram::Hdr,
};

/// The version of the JSON that a [`Report`] serialises to; it rises when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// The outcome of a run. Serialised, it is what `outrigger load -o json` prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    #[serde(default)]
    pub schema: u32,
    /// The plan's URL; of several the first.
    pub url: String,
    /// Requests that were due, those without an answer included.
    pub requests: u64,
    /// From the first request to the last answer, or to the end of the schedule if that is later.
    pub seconds: f64,
    /// Complete answers per second.
    pub rate: f64,
    /// How the run was made.
    #[serde(default)]
    pub run: Facts,
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
    /// Complete answers with a status of 400 or above, or a gRPC status other than 0.
    #[serde(default)]
    pub refused: u64,
    /// The first few errors of each cause in full.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub error_examples: Vec<String>,
    /// Of complete answers, from when each request was due.
    pub latency: Latency,
    /// Of complete answers, from when each request was sent.
    #[serde(default)]
    pub service: Latency,
    /// The distributions behind `latency` and `service`.
    #[serde(default)]
    pub histograms: Histograms,
    /// Times by HTTP status, by cause of error, by URL, and by value of each property.
    #[serde(default)]
    pub breakdown: Breakdown,
    /// The run over time.
    #[serde(default)]
    pub series: Series,
    /// The stages of a schedule with several rates, one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageReport>,
    /// Connections made and used.
    #[serde(default)]
    pub connections: Connections,
    /// Bytes moved.
    #[serde(default)]
    pub bytes: Bytes,
    /// What the generator itself cost, and whether it was the limit.
    #[serde(default)]
    pub generator: Generator,
    /// How evenly the answers took turns, where the run kept their order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<Turns>,
    /// The shares demanded of the answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Expected>,
    /// What was demanded of the run, and whether it held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// All answers by [`Answer::index`], if the plan keeps them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<Answer>,
}

/// How a run was made: what its samples do not say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// When the measured part began, in seconds since 1970.
    pub started: f64,
    /// The protocol spoken, such as `HTTP/1.1`.
    pub protocol: String,
    /// Requests per second asked for on average; none in a closed loop.
    pub asked_rate: Option<f64>,
    /// Requests in flight at most.
    pub concurrency: u64,
    /// Threads of the generator.
    pub threads: u64,
    /// Seconds before the measured part that are not in any figure.
    pub warm_up_seconds: f64,
    /// User and system CPU seconds of the generator in the measured part.
    pub cpu_seconds: f64,
    /// Whether a signal ended the run early.
    pub interrupted: bool,
    /// Whether the run ended early because nothing at all was answered for two timeouts.
    pub gave_up: bool,
    /// Requests in flight when a signal ended the run that were not answered in the time left to them; they are in no count.
    pub abandoned: u64,
    /// The properties counted, as given to `--count-by`.
    pub count_by: Vec<String>,
    /// How many runs were merged into this report; 0 or 1 for a single one.
    pub merged: u64,
}

/// Corrected and raw distribution of the same answers, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histograms {
    /// From when each request was due.
    pub latency: Hdr,
    /// From when each request was sent.
    pub service: Hdr,
}

/// Requests that have something in common.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// How many.
    pub requests: u64,
    /// From when each was due.
    pub latency: Latency,
    /// From when each was sent.
    pub service: Latency,
    /// The distributions behind these.
    pub histograms: Histograms,
}

/// The run taken apart. Only what occurred is listed, and every URL; of each property the first 64 values met have times.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Breakdown {
    /// Complete answers by HTTP status; `-` for protocols without.
    pub status: BTreeMap<String, Group>,
    /// Complete answers by `grpc-status`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub grpc_status: BTreeMap<String, Group>,
    /// Failed requests by cause, with the time until they failed.
    pub error: BTreeMap<Cause, Group>,
    /// Complete answers by URL; every URL is listed.
    pub url: BTreeMap<String, Group>,
    /// Complete answers by property (`version`, `pod`, and those of `--count-by`) and its value.
    pub answer: BTreeMap<String, BTreeMap<String, Group>>,
}

/// The run over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Series {
    /// The length of a slice in milliseconds.
    pub slice_ms: u64,
    /// Those in which a request ended, ascending.
    pub slices: Vec<Slice>,
}

/// What ended in one slice of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slice {
    /// Its beginning, in milliseconds since the run's.
    pub at_ms: u64,
    /// Requests that ended, those without an answer included.
    pub requests: u64,
    /// Those without a complete answer.
    pub errors: u64,
    /// Those answered with a status of 400 or above, or a gRPC status other than 0.
    pub refused: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Corrected latency in microseconds, within 0.8 %.
    pub p50_us: f64,
    /// Likewise.
    pub p90_us: f64,
    /// Likewise.
    pub p99_us: f64,
    /// Likewise.
    pub max_us: f64,
    /// The distribution behind these.
    pub latency: Hdr,
    /// Answers by property and value.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Slice {
    /// Adds what ended in another slice. [`Slice::summarise`] has to follow.
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.refused += other.refused;
        self.bytes_in += other.bytes_in;
        self.latency.add(&other.latency);
        for (property, values) in &other.answers {
            let mine = self.answers.entry(property.clone()).or_default();
            for (value, count) in values {
                *mine.entry(value.clone()).or_default() += count;
            }
        }
    }

    /// Works the percentiles out of the distribution.
    pub(crate) fn summarise(&mut self) {
        let Latency { p50_us, p90_us, p99_us, max_us, .. } = Latency::from(&self.latency);
        (self.p50_us, self.p90_us, self.p99_us, self.max_us) = (p50_us, p90_us, p99_us, max_us);
    }
}

/// One stage of a schedule with several rates, and what became of the requests that were due in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StageReport {
    /// When it began, in seconds since the run's begin.
    pub at_seconds: f64,
    /// How long it was to last.
    pub seconds: f64,
    /// Requests per second asked for at its begin.
    pub from_rate: f64,
    /// Likewise at its end.
    pub to_rate: f64,
    /// Answers per second that came while it lasted.
    pub rate: f64,
    /// Requests that were due in it, those without an answer included.
    pub requests: u64,
    /// Those without a complete answer.
    pub errors: u64,
    /// Those answered with a status of 400 or above, or a gRPC status other than 0.
    pub refused: u64,
    /// Of their answers, from when each request was due.
    pub latency: Latency,
    /// The distribution behind it.
    pub histogram: Hdr,
}

impl StageReport {
    /// The rate asked for so many seconds after the run's begin, if that is within the stage.
    pub(crate) fn asked(&self, at: f64) -> Option<f64> {
        let part = (at - self.at_seconds) / self.seconds;
        (0.0..1.0).contains(&part).then(|| self.from_rate + (self.to_rate - self.from_rate) * part)
    }
}

/// Connections made and used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connections {
    /// Made for a request of this run.
    pub opened: u64,
    /// Requests over a connection that had carried one before.
    pub reused: u64,
    /// Time to make one, TCP and TLS together.
    pub connect: Latency,
    /// The distribution behind it.
    pub histogram: Hdr,
}

/// Bytes moved: of whole messages, with HTTP/2 and gRPC of whole frames, those of the connection included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bytes {
    /// To the server.
    pub sent: u64,
    /// From the server.
    pub received: u64,
}

/// What the generator itself cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Generator {
    /// CPU microseconds per request.
    pub cpu_us_per_request: f64,
    /// The share of its threads' time it was busy, 0 to 1.
    pub busy: f64,
    /// How long requests waited for the generator although they were due and a connection was free.
    pub lag: Latency,
    /// The distribution behind it.
    pub histogram: Hdr,
    /// Why the figures may say more about the generator than about the server, if so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
}

/// How evenly answers took turns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turns {
    /// The property whose values take turns.
    pub property: String,
    /// Per set of values that should take turns (a version's pods, or all values of the property), how they did.
    pub sets: Vec<TurnSet>,
}

/// Values that should take turns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnSet {
    /// The version they share, if that is what makes the set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Answers of each.
    pub counts: BTreeMap<String, u64>,
    /// The greatest difference between two of them within any window of consecutive requests, in the order of sending.
    /// None when that order is not known, or there are too many values to look at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_window: Option<u64>,
}

/// The shares that answers should have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// The property: `version`, or one of `--count-by`.
    pub property: String,
    /// The share of each value, 0 to 1.
    pub shares: BTreeMap<String, f64>,
}

/// Something demanded of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What is looked at, such as `v1` or `p99`.
    pub name: String,
    /// What was demanded.
    pub want: String,
    /// What was found.
    pub got: String,
    /// Whether it holds.
    pub ok: bool,
    /// The option that demanded it, such as `--slo`.
    pub by: String,
}

/// One pod's share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodCount {
    /// The version it claims to be.
    pub version: String,
    /// Its answers.
    pub requests: u64,
}

/// A distribution in microseconds; all zero when it is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are the statistics")]
pub struct Latency {
    pub min_us: f64,
    pub mean_us: f64,
    pub stdev_us: f64,
    pub p50_us: f64,
    pub p75_us: f64,
    pub p90_us: f64,
    pub p95_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub p9999_us: f64,
    pub max_us: f64,
}

impl Latency {
    /// What people read of a distribution, ascending, with names.
    pub fn named(&self) -> [(&'static str, f64); 10] {
        [
            ("min", self.min_us),
            ("mean", self.mean_us),
            ("p50", self.p50_us),
            ("p75", self.p75_us),
            ("p90", self.p90_us),
            ("p95", self.p95_us),
            ("p99", self.p99_us),
            ("p99.9", self.p999_us),
            ("p99.99", self.p9999_us),
            ("max", self.max_us),
        ]
    }
}

impl From<&Hdr> for Latency {
    fn from(hdr: &Hdr) -> Self {
        let us = |ns: u64| ns as f64 / 1000.0;
        let tenth = |us: f64| (us * 10.0).round() / 10.0;
        Self {
            min_us: us(hdr.min()),
            mean_us: tenth(hdr.mean() / 1000.0),
            stdev_us: tenth(hdr.stdev() / 1000.0),
            p50_us: us(hdr.at(0.5)),
            p75_us: us(hdr.at(0.75)),
            p90_us: us(hdr.at(0.9)),
            p95_us: us(hdr.at(0.95)),
            p99_us: us(hdr.at(0.99)),
            p999_us: us(hdr.at(0.999)),
            p9999_us: us(hdr.at(0.9999)),
            max_us: us(hdr.max()),
        }
    }
}

impl Report {
    /// Requests without a complete answer.
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Requests without a complete answer, with a status of 400 or above, or with a gRPC status other than 0.
    pub fn failed(&self) -> u64 {
        self.error_count() + self.refused
    }

    /// Requests without a complete answer, or with an HTTP status of 400 or above.
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

/// That runs which are taken together did not have the same target, if so: the figures then hold for no single one.
pub fn several_targets<'a>(runs: impl Iterator<Item = &'a Report>) -> Option<String> {
    let urls: BTreeSet<&str> = runs.map(|report| report.url.as_str()).collect();
    (urls.len() > 1).then(|| format!("the runs had different targets: {}", Vec::from_iter(urls).join(", ")))
}
