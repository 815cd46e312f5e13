//! The admin server on port 15000: Envoy's pages, with Envoy's names and shapes where istioctl and people read them.
//!
//! Loopback only. Everything is read from [`Process`] and the configuration in force; nothing is computed for it on the
//! request path. Private keys appear nowhere: the model shows only where they came from.

mod certs;
mod clusters;
mod config_dump;
mod control;
mod envoy_json;
mod listeners;
mod server;
mod server_info;
mod stats;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::routing::{get, post};

use crate::runtime::Process;

pub use server::{Peer, Server};
pub use server_info::resident_bytes;
pub use stats::prometheus;

/// Binds the admin port.
///
/// # Errors
/// The port is taken.
pub fn bind(process: &Arc<Process>) -> anyhow::Result<Server> {
    let loopback = loopback(&process.settings.node.ip_addresses);
    Server::bind(&[loopback], process.settings.ports.admin, router(Arc::clone(process))).context("admin port")
}

/// `::1` in a pod that has IPv6 addresses only.
fn loopback(addresses: &[IpAddr]) -> IpAddr {
    match addresses.first() {
        Some(IpAddr::V6(_)) if addresses.iter().all(IpAddr::is_ipv6) => Ipv6Addr::LOCALHOST.into(),
        _ => Ipv4Addr::LOCALHOST.into(),
    }
}

const PAGES: &[(&str, &str)] = &[
    ("/certs", "certificates in use (JSON)"),
    ("/clusters", "upstream clusters and their endpoints; ?format=json"),
    ("/config_dump", "configuration in force (JSON); ?include_eds, ?mask=FIELD,FIELD"),
    ("/drain_listeners", "start draining and go on running (POST)"),
    ("/healthcheck/fail", "fail readiness (POST)"),
    ("/healthcheck/ok", "take that back (POST)"),
    ("/help", "this page"),
    ("/listeners", "listeners; ?format=json"),
    ("/logging", "log levels; ?level=LEVEL, ?COMPONENT=LEVEL (POST)"),
    ("/memory", "memory in use (JSON)"),
    ("/quitquitquit", "end the process (POST)"),
    ("/ready", "LIVE, or 503 with the reasons"),
    ("/reopen_logs", "open the access log anew (POST)"),
    ("/runtime", "runtime flags: none (JSON)"),
    ("/server_info", "version, state, uptime, node (JSON)"),
    ("/stats", "statistics; ?filter=REGEX, ?format=json|prometheus, ?usedonly"),
    ("/stats/prometheus", "statistics for Prometheus"),
];

fn router(process: Arc<Process>) -> Router {
    Router::new()
        .route("/", get(help))
        .route("/help", get(help))
        .route("/certs", get(certs::certs))
        .route("/clusters", get(clusters::clusters))
        .route("/config_dump", get(config_dump::config_dump))
        .route("/listeners", get(listeners::listeners))
        .route("/logging", get(control::show_logging).post(control::change_logging))
        .route("/memory", get(server_info::memory))
        .route("/ready", get(server_info::ready))
        .route("/runtime", get(server_info::runtime))
        .route("/server_info", get(server_info::server_info))
        .route("/stats", get(stats::stats))
        .route("/stats/prometheus", get(stats::stats_prometheus))
        .route("/drain_listeners", post(control::drain))
        .route("/healthcheck/fail", post(control::fail_health_check))
        .route("/healthcheck/ok", post(control::pass_health_check))
        .route("/quitquitquit", post(control::quit))
        .route("/reopen_logs", post(control::reopen_logs))
        .with_state(process)
}

async fn help() -> String {
    let lines = PAGES.iter().map(|(path, text)| format!("  {path:<18}  {text}\n"));
    format!("admin commands are:\n{}", lines.collect::<String>())
}
