//! `/stats`: Envoy's statistics by Envoy's names, and the exposition for Prometheus.
//!
//! One list of statistics feeds every form. In text a cluster's statistic is `cluster.NAME.upstream_rq_total`; for
//! Prometheus it is `envoy_cluster_upstream_rq_total{cluster_name="NAME"}`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use outrigger_config::diagnostic::Severity;
use outrigger_config::matcher::FullRegex;
use serde_json::json;

use super::{certs, server_info};
use crate::listener::Handshakes;
use crate::runtime::{Process, panics};
use crate::telemetry::ClusterTotals;
use crate::telemetry::encode::{CONTENT_TYPE, Exposition, Kind, push_label};
use crate::upstream::Resource;

/// One statistic.
struct Stat {
    /// `cluster`, `server`, ...
    scope: &'static str,
    /// Cluster name, for statistics of one.
    cluster: Option<Arc<str>>,
    name: &'static str,
    /// Further label and value: `envoy_response_code_class`.
    tag: Option<(&'static str, &'static str)>,
    kind: Kind,
    value: u64,
}

/// `GET /stats`.
pub async fn stats(State(process): State<Arc<Process>>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let value_of =
        |name: &str| query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value);
    if value_of("format") == Some("prometheus") {
        return exposition(&process);
    }
    let filter = match value_of("filter").map(|filter| FullRegex::new(&format!("(?s).*(?:{}).*", decode(filter)))).transpose() {
        Ok(filter) => filter,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("filter is not a regular expression: {error}\n")).into_response(),
    };
    let used_only = query.split('&').any(|part| part == "usedonly");
    let mut named: Vec<(String, u64)> = all(&process).iter().map(|stat| (stat.text_name(), stat.value)).collect();
    named.retain(|(name, value)| filter.as_ref().is_none_or(|filter| filter.is_match(name.as_bytes())) && (!used_only || *value > 0));
    named.sort();
    if value_of("format") == Some("json") {
        let stats: Vec<_> = named.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        return Json(json!({ "stats": stats })).into_response();
    }
    named.iter().map(|(name, value)| format!("{name}: {value}\n")).collect::<String>().into_response()
}

/// `GET /stats/prometheus`.
pub async fn stats_prometheus(State(process): State<Arc<Process>>) -> Response {
    exposition(&process)
}

fn exposition(process: &Process) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], prometheus(process)).into_response()
}

/// Everything this process counts, as Prometheus reads it.
pub fn prometheus(process: &Process) -> String {
    let mut out = Exposition::default();
    process.telemetry.write_istio(&mut out);
    let mut families: BTreeMap<String, Vec<Stat>> = BTreeMap::new();
    for stat in all(process) {
        families.entry(stat.family()).or_default().push(stat);
    }
    for (family, stats) in &families {
        if let Some(first) = stats.first() {
            out.family(family, first.kind, &format!("Envoy's {}.{}.", first.scope, first.name));
        }
        stats.iter().for_each(|stat| out.sample(family, &stat.labels(), stat.value));
    }
    configuration(process, &mut out);
    losses(process, &mut out);
    handshakes(process, &mut out);
    series(process, &mut out);
    out.finish()
}

/// The configuration and the certificate in force. Envoy has no names for these and what follows.
fn configuration(process: &Process, out: &mut Exposition) {
    let report = process.discovery.report();
    let age = report.published_at.map_or(0.0, |at| Instant::now().duration_since(at).as_secs_f64());
    out.single("outrigger_config_age_seconds", Kind::Gauge, "Time since the configuration in force was published.", age);
    out.single("outrigger_config_objects", Kind::Gauge, "Objects in force.", report.objects);
    out.single(
        "outrigger_config_resource_version",
        Kind::Gauge,
        "Highest resourceVersion when the source was last read and in force as a whole, no file pending; 0 when no object has one.",
        report.resource_version,
    );
    out.single(
        "outrigger_config_source_failed",
        Kind::Gauge,
        "1 while the configuration source cannot be read in full.",
        u8::from(report.last_error.is_some()),
    );
    out.single("outrigger_config_update_seconds", Kind::Gauge, "Time the last update took.", report.last_duration.as_secs_f64());
    out.family("outrigger_config_diagnostics", Kind::Gauge, "Diagnostics of the configuration in force.");
    for severity in [Severity::Error, Severity::Warning, Severity::Info] {
        let count = report.diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count();
        out.sample("outrigger_config_diagnostics", &format!("severity=\"{severity}\""), count);
    }
    let status = process.identity.status();
    if let Some(expires) = status.expires_at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()) {
        out.single(
            "outrigger_certificate_expiry_timestamp_seconds",
            Kind::Gauge,
            "When the workload certificate expires.",
            expires.as_secs(),
        );
    }
}

/// What was lost.
fn losses(process: &Process, out: &mut Exposition) {
    out.single("outrigger_access_log_dropped_total", Kind::Counter, "Access log lines dropped.", process.access_log.dropped());
    out.single("outrigger_panics_total", Kind::Counter, "Tasks ended by a panic.", panics());
}

fn handshakes(process: &Process, out: &mut Exposition) {
    let handshakes = || process.workers.iter().map(|worker| &worker.handshakes);
    let (active, refused): (usize, u64) = (handshakes().map(Handshakes::active).sum(), handshakes().map(Handshakes::refused).sum());
    out.single("outrigger_tls_handshakes_active", Kind::Gauge, "TLS handshakes with clients in progress.", active);
    out.single(
        "outrigger_tls_handshake_overflow_total",
        Kind::Counter,
        "Connections closed because their worker had too many TLS handshakes in progress.",
        refused,
    );
}

fn series(process: &Process, out: &mut Exposition) {
    out.single(
        "outrigger_series_labelled_total",
        Kind::Counter,
        "Times that metric labels were computed; never once per request.",
        process.telemetry.labelled(),
    );
    out.single(
        "outrigger_series_overflow_total",
        Kind::Counter,
        "Exchanges counted under unknown labels because there were too many series.",
        process.telemetry.overflowed(),
    );
}

fn all(process: &Process) -> Vec<Stat> {
    let mut stats = server(process);
    clusters(process, &mut stats);
    stats
}

fn server(process: &Process) -> Vec<Stat> {
    let report = process.discovery.report();
    let live = process.lifecycle.state() == "LIVE";
    let expires = certs::days_left(process.identity.status().expires_at);
    let (writes, failed) = process.access_log.writes();
    let config = process.config.load();
    let listeners = super::listeners::all(&config, &process.settings.ports).len() as u64;
    let stat = |scope, name, kind, value| Stat { scope, cluster: None, name, tag: None, kind, value };
    vec![
        stat("server", "live", Kind::Gauge, u64::from(live)),
        stat(
            "server",
            "state",
            Kind::Gauge,
            if live {
                0
            } else if process.lifecycle.are_workers_started() {
                1
            } else {
                2
            },
        ),
        stat("server", "uptime", Kind::Gauge, process.started.elapsed().as_secs()),
        stat("server", "concurrency", Kind::Gauge, process.workers.len() as u64),
        stat("server", "total_connections", Kind::Gauge, process.connections() as u64),
        stat("server", "memory_physical_size", Kind::Gauge, server_info::resident_bytes()),
        stat("server", "days_until_first_cert_expiring", Kind::Gauge, expires),
        stat("listener_manager", "workers_started", Kind::Gauge, u64::from(process.lifecycle.are_workers_started())),
        stat("listener_manager", "total_listeners_active", Kind::Gauge, listeners),
        stat("listener_manager", "lds.update_success", Kind::Counter, report.updates),
        stat("cluster_manager", "cds.update_success", Kind::Counter, report.updates),
        stat("cluster_manager", "cds.update_rejected", Kind::Counter, report.rejected),
        stat("cluster_manager", "cds.version", Kind::Gauge, report.generation),
        stat("cluster_manager", "active_clusters", Kind::Gauge, config.model.clusters.len() as u64),
        stat("filesystem", "write_completed", Kind::Counter, writes),
        stat("filesystem", "write_failed", Kind::Counter, failed),
    ]
}

fn clusters(process: &Process, stats: &mut Vec<Stat>) {
    let config = process.config.load();
    for cluster in config.clusters() {
        let hosts = cluster.hosts();
        let connections = hosts.iter().map(|host| u64::from(host.state.connections.load(std::sync::atomic::Ordering::Relaxed))).sum();
        let active = u64::from(cluster.limits.active(Resource::Requests));
        let name = Some(Arc::clone(&cluster.name));
        let mut stat =
            |name_of, kind, value| stats.push(Stat { scope: "cluster", cluster: name.clone(), name: name_of, tag: None, kind, value });
        stat("membership_total", Kind::Gauge, hosts.len() as u64);
        stat("membership_healthy", Kind::Gauge, hosts.len() as u64);
        stat("upstream_cx_active", Kind::Gauge, connections);
        stat("upstream_cx_total", Kind::Counter, cluster.limits.connections());
        stat("upstream_rq_active", Kind::Gauge, active);
        stat("upstream_rq_pending_overflow", Kind::Counter, cluster.limits.overflows());
    }
    for (name, totals) in process.telemetry.clusters() {
        cluster_totals(&name, &totals, stats);
    }
}

fn cluster_totals(cluster: &Arc<str>, totals: &ClusterTotals, stats: &mut Vec<Stat>) {
    const CLASSES: [&str; 5] = ["1", "2", "3", "4", "5"];
    let mut stat =
        |name, tag, value| stats.push(Stat { scope: "cluster", cluster: Some(Arc::clone(cluster)), name, tag, kind: Kind::Counter, value });
    stat("upstream_rq_total", None, totals.rq_total);
    stat("upstream_rq_retry", None, totals.rq_retry);
    stat("upstream_rq_timeout", None, totals.rq_timeout);
    stat("upstream_cx_tx_bytes_total", None, totals.tx_bytes);
    stat("upstream_cx_rx_bytes_total", None, totals.rx_bytes);
    for (class, value) in CLASSES.into_iter().zip(totals.rq_xx).filter(|(_, value)| *value > 0) {
        stat("upstream_rq_xx", Some(("envoy_response_code_class", class)), value);
    }
}

impl Stat {
    /// `cluster.NAME.upstream_rq_2xx`.
    fn text_name(&self) -> String {
        let mut text = self.scope.to_owned();
        if let Some(cluster) = &self.cluster {
            let _ = write!(text, ".{cluster}");
        }
        match self.tag {
            Some((_, class)) => {
                let _ = write!(text, ".{}", self.name.replace("_xx", &format!("_{class}xx")));
            }
            None => {
                let _ = write!(text, ".{}", self.name);
            }
        }
        text
    }

    /// `envoy_cluster_upstream_rq_xx`.
    fn family(&self) -> String {
        format!("envoy_{}_{}", self.scope, self.name.replace('.', "_"))
    }

    fn labels(&self) -> String {
        let mut labels = String::new();
        if let Some(cluster) = &self.cluster {
            push_label(&mut labels, "cluster_name", cluster);
        }
        if let Some((name, value)) = self.tag {
            push_label(&mut labels, name, value);
        }
        labels
    }
}

/// Undoes percent encoding; a `+` is a plus sign here, for filters are regular expressions.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, code) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_statistic_has_a_text_name_and_a_prometheus_name() {
        let stat = Stat {
            scope: "cluster",
            cluster: Some("outbound|80||web".into()),
            name: "upstream_rq_xx",
            tag: Some(("envoy_response_code_class", "5")),
            kind: Kind::Counter,
            value: 3,
        };
        assert_eq!(stat.text_name(), "cluster.outbound|80||web.upstream_rq_5xx");
        assert_eq!(stat.family(), "envoy_cluster_upstream_rq_xx");
        assert_eq!(stat.labels(), "cluster_name=\"outbound|80||web\",envoy_response_code_class=\"5\"");
    }

    #[test]
    fn filters_are_percent_decoded() {
        for (text, decoded) in [("a%7Cb", "a|b"), ("100%", "100%"), ("%zz+", "%zz+"), ("%C3%A9", "é")] {
            assert_eq!(decode(text), decoded);
        }
    }
}
