//! Who and how the process is: `/server_info`, `/ready`, `/memory`, `/runtime`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::envoy_json::node;
use crate::runtime::Process;

/// `GET /server_info`.
pub async fn server_info(State(process): State<Arc<Process>>) -> Json<Value> {
    let uptime = format!("{}s", process.started.elapsed().as_secs());
    Json(json!({
        "version": version(),
        "state": process.lifecycle.state(),
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "hot_restart_version": "disabled",
        "command_line_options": {
            "concurrency": process.workers.len(),
            "mode": "Serve",
            "config_paths": process.settings.config,
            "log_level": process.settings.log_level,
        },
        "node": node(&process.settings.node),
    }))
}

/// Name, version and build, in Envoy's form `hash/version/status/build type/TLS library`.
pub fn version() -> String {
    let build = if cfg!(debug_assertions) { "DEBUG" } else { "RELEASE" };
    format!("outrigger/{}/Clean/{build}/aws-lc", env!("CARGO_PKG_VERSION"))
}

/// `GET /ready`.
pub async fn ready(State(process): State<Arc<Process>>) -> (StatusCode, String) {
    let readiness = process.readiness();
    match readiness.is_ready() {
        true => (StatusCode::OK, "LIVE\n".to_owned()),
        false => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n{}\n", process.lifecycle.state(), readiness.reasons.join("\n"))),
    }
}

/// `GET /memory`. Envoy's fields as far as the kernel knows them.
pub async fn memory() -> Json<Value> {
    let resident = resident_bytes().to_string();
    Json(json!({ "allocated": resident, "heap_size": resident, "total_physical_bytes": resident }))
}

/// Resident memory, 0 when unknown.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0).saturating_mul(1024)
}

/// `GET /runtime`. There are no runtime flags.
pub async fn runtime() -> Json<Value> {
    Json(json!({ "entries": {}, "layers": [] }))
}
