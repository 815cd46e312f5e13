//! The injector's metrics. Where Istio's injector has a counter, this one has the same name.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Part;
use super::admit::Outcome;

/// Content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds; 50 ms is what a review must never exceed.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartLabel {
    part: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: u16,
}

/// All of them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Counter,
    success: Counter,
    failure: Counter,
    skip: Counter,
    time: Histogram,
    rejected: Family<CodeLabel, Counter>,
    problem: Family<PartLabel, Gauge>,
    /// Configurations taken into force.
    pub reloads: Counter,
    /// Configurations that could not be read; the last good one stayed.
    pub reload_failures: Counter,
    /// Open connections to the webhook.
    pub connections: Gauge,
    /// Connections closed because there were too many.
    pub connections_refused: Counter,
    /// TLS handshakes that failed.
    pub handshake_failures: Counter,
    /// When the serving certificate ends, in seconds since 1970.
    pub certificate_expiry: Gauge<i64, AtomicI64>,
    /// Times a `caBundle` was written.
    pub ca_bundle_patches: Counter<u64, AtomicU64>,
    /// 1 on the replica that holds the Lease.
    pub leader: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Counter::default(),
            success: Counter::default(),
            failure: Counter::default(),
            skip: Counter::default(),
            time: Histogram::new(BUCKETS),
            rejected: Family::default(),
            problem: Family::default(),
            reloads: Counter::default(),
            reload_failures: Counter::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            handshake_failures: Counter::default(),
            certificate_expiry: Gauge::default(),
            ca_bundle_patches: Counter::default(),
            leader: Gauge::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("sidecar_injection_requests", "Reviews received", self.requests.clone());
        registry.register("sidecar_injection_success", "Pods injected", self.success.clone());
        registry.register("sidecar_injection_failure", "Pods refused", self.failure.clone());
        registry.register("sidecar_injection_skip", "Pods admitted as they were", self.skip.clone());
        registry.register("sidecar_injection_time_seconds", "Time to answer a review, its body read", self.time.clone());
        let registry = registry.sub_registry_with_prefix("outrigger_injector");
        registry.register("rejected_requests", "Requests that were no review, by HTTP status", self.rejected.clone());
        registry.register("problem", "1 while this part is in trouble; /readyz says which", self.problem.clone());
        registry.register("configuration_reloads", "Configurations taken into force", self.reloads.clone());
        registry.register("configuration_failures", "Configurations that could not be read", self.reload_failures.clone());
        registry.register("connections", "Open connections to the webhook", self.connections.clone());
        registry.register("connections_refused", "Connections closed because there were too many", self.connections_refused.clone());
        registry.register("tls_handshake_failures", "TLS handshakes that failed", self.handshake_failures.clone());
        registry.register("certificate_expiry_timestamp_seconds", "When the serving certificate ends", self.certificate_expiry.clone());
        registry.register("ca_bundle_patches", "Times a caBundle was written", self.ca_bundle_patches.clone());
        registry.register("leader", "1 on the replica that holds the Lease", self.leader.clone());
    }

    /// A review answered.
    pub fn answered(&self, outcome: Outcome, took: Duration) {
        self.requests.inc();
        match outcome {
            Outcome::Injected => &self.success,
            Outcome::Skipped => &self.skip,
            Outcome::Refused => &self.failure,
        }
        .inc();
        self.time.observe(took.as_secs_f64());
    }

    /// A request that was no review.
    pub fn rejected(&self, code: u16) {
        self.rejected.get_or_create(&CodeLabel { code }).inc();
    }

    pub(super) fn trouble(&self, part: Part, is_in_trouble: bool) {
        self.problem.get_or_create(&PartLabel { part: part.as_str() }).set(i64::from(is_in_trouble));
    }

    /// OpenMetrics text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut page = String::new();
        if let Err(error) = text::encode(&mut page, &self.registry) {
            let _ = write!(page, "# {error}");
        }
        page
    }
}
