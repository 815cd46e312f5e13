//! Distributions of times, and requests that share one.

use serde::{Deserialize, Serialize};

use crate::histogram::Hdr;

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
