//! What a run found: counts, latency, errors, and the answers in order.

mod distribution;
mod over_time;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use self::{
    distribution::{Group, Histograms, Latency},
    over_time::{Series, Slice, StageReport},
    verdict::{Check, Expected, PodCount, TurnSet, Turns},
};
use crate::{
    answer::{Answer, Cause},
    histogram::Hdr,
};

/// The version of the JSON that a [`Report`] serialises to; it rises when a field changes its meaning or goes away. Since 2,
/// bytes of HTTP/2 are those of whole frames, the CPU time per request is told of those that were sent, and the slices have what
/// was not sent where it was due. Reports of 1 can still be read; [`mixed_schemas`] tells where they stand beside newer ones.
pub const SCHEMA: u32 = 2;
/// The oldest that can be read.
pub const OLDEST_SCHEMA: u32 = 1;

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
    /// From the first request to the last answer, or to the end of the schedule, in a closed loop of its time or its last sending,
    /// or to the signal that ended the run if that is later.
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
    /// Requests in flight when a signal ended the run that were not answered in the time left to them; they are in no count, but
    /// objectives on times count them as later than any limit.
    pub abandoned: u64,
    /// The properties counted, as given to `--count-by`.
    pub count_by: Vec<String>,
    /// How many runs were merged into this report; 0 or 1 for a single one.
    pub merged: u64,
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
    /// CPU microseconds per request that was sent.
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

/// That runs which are taken together are told in different versions of the report, if so: some figures then mix meanings.
pub fn mixed_schemas<'a>(mut runs: impl Iterator<Item = &'a Report>) -> Option<String> {
    let first = runs.next()?.schema;
    let differs = runs.any(|report| report.schema != first);
    let what = "bytes of HTTP/2, CPU time per request and when requests that were not sent count";
    differs.then(|| format!("the reports are of different versions, which differ in {what}"))
}

/// That runs which are taken together did not have the same target, if so: the figures then hold for no single one.
pub fn several_targets<'a>(runs: impl Iterator<Item = &'a Report>) -> Option<String> {
    let urls: BTreeSet<&str> = runs.map(|report| report.url.as_str()).collect();
    (urls.len() > 1).then(|| format!("the runs had different targets: {}", Vec::from_iter(urls).join(", ")))
}
