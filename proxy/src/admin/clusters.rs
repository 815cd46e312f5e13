//! `/clusters`: what is known of every endpoint, in Envoy's text lines or JSON.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::envoy_json;
use crate::runtime::Process;
use crate::snapshot::Config;
use crate::upstream::{ClusterState, Host};

/// `GET /clusters`.
pub async fn clusters(State(process): State<Arc<Process>>, RawQuery(query): RawQuery) -> Response {
    let config = process.config.load_full();
    match query.is_some_and(|query| query.contains("format=json")) {
        true => Json(as_json(&config)).into_response(),
        false => as_text(&config).into_response(),
    }
}

fn as_text(config: &Config) -> String {
    let mut text = String::new();
    for cluster in config.clusters() {
        let name = &cluster.name;
        let pool = &cluster.model.connection_pool;
        let _ = writeln!(text, "{name}::observability_name::{name}");
        let _ = writeln!(text, "{name}::default_priority::max_connections::{}", pool.max_connections);
        let _ = writeln!(text, "{name}::default_priority::max_pending_requests::{}", pool.max_pending_requests);
        let _ = writeln!(text, "{name}::default_priority::max_requests::{}", pool.max_requests);
        let _ = writeln!(text, "{name}::default_priority::max_retries::{}", pool.max_retries);
        let _ = writeln!(text, "{name}::added_via_api::true");
        cluster.hosts().iter().for_each(|host| host_lines(&mut text, name, host));
    }
    text
}

fn host_lines(text: &mut String, cluster: &str, host: &Host) {
    let address = host.address();
    let mut line = |key: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "{cluster}::{address}::{key}::{value}");
    };
    for (key, value) in counters(host) {
        line(key, &value);
    }
    line("hostname", &host.endpoint.pod.as_deref().unwrap_or(""));
    line("health_flags", &"healthy");
    line("weight", &host.endpoint.weight);
    line("region", &host.endpoint.locality.split('/').next().unwrap_or(""));
    line("zone", &host.endpoint.locality.split('/').nth(1).unwrap_or(""));
    line("sub_zone", &host.endpoint.locality.split('/').nth(2).unwrap_or(""));
    line("canary", &false);
    line("priority", &0);
}

/// Envoy's per-host statistics; `rq_success` is what did not fail, as Envoy's is of what completed.
fn counters(host: &Host) -> [(&'static str, u64); 6] {
    let state = &host.state;
    let (requests, errors) = (state.requests.load(Ordering::Relaxed), state.errors.load(Ordering::Relaxed));
    let active = u64::from(state.active.load(Ordering::Relaxed));
    [
        ("cx_active", u64::from(state.connections.load(Ordering::Relaxed))),
        ("cx_connect_fail", state.connect_failures.load(Ordering::Relaxed)),
        ("rq_active", active),
        ("rq_error", errors),
        ("rq_success", requests.saturating_sub(errors).saturating_sub(active)),
        ("rq_total", requests),
    ]
}

fn as_json(config: &Config) -> Value {
    json!({ "cluster_statuses": config.clusters().map(|cluster| cluster_json(&cluster)).collect::<Vec<_>>() })
}

fn cluster_json(cluster: &ClusterState) -> Value {
    json!({
        "name": &*cluster.name,
        "added_via_api": true,
        "observability_name": &*cluster.name,
        "host_statuses": cluster.hosts().iter().map(|host| host_json(host)).collect::<Vec<_>>(),
    })
}

fn host_json(host: &Host) -> Value {
    let stats = counters(host).map(|(name, value)| {
        let kind = if name.ends_with("_active") { "GAUGE" } else { "COUNTER" };
        json!({ "name": name, "value": value.to_string(), "type": kind })
    });
    json!({
        "address": envoy_json::address(host.address()),
        "hostname": host.endpoint.pod,
        "stats": stats,
        "health_status": { "eds_health_status": "HEALTHY" },
        "weight": host.endpoint.weight,
        "locality": {},
    })
}
