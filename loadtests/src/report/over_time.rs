//! The run over time: in slices of one width, and in the stages of its schedule.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Latency;
use crate::histogram::Hdr;

/// The run over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Series {
    /// The length of a slice in milliseconds.
    pub slice_ms: u64,
    /// Those in which a request ended, or was due and never sent, ascending.
    pub slices: Vec<Slice>,
}

/// What ended in one slice of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slice {
    /// Its beginning, in milliseconds since the run's.
    pub at_ms: u64,
    /// Requests that ended, those without an answer included; of those that were never sent, the ones due in it.
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
    /// How long it did: less in a run that ended early, more in several runs merged. Reports made before this was kept have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasted_seconds: Option<f64>,
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
        (0.0..1.0).contains(&part).then_some(self.from_rate + (self.to_rate - self.from_rate) * part)
    }
}
