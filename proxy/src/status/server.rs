//! The three ports and their paths.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use anyhow::Context;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Extension, Router};

use super::probes::Probes;
use super::scrape_targets::ScrapeTargets;
use super::{compression, merge};
use crate::admin::{self, Peer, Server};
use crate::runtime::{Command, Process};
use crate::telemetry::encode::CONTENT_TYPE;

/// What the status server's pages need.
#[derive(Debug)]
pub(super) struct Status {
    pub process: Arc<Process>,
    pub targets: ScrapeTargets,
    pub probes: Probes,
}

/// Binds 15021, 15020 (unless the status port is 0) and 15090.
///
/// # Errors
/// A port that is taken; ISTIO_PROMETHEUS_ANNOTATIONS or ISTIO_KUBE_APP_PROBERS that cannot be used.
pub fn bind(process: &Arc<Process>) -> anyhow::Result<Vec<Server>> {
    let settings = &process.settings;
    let status = Arc::new(Status {
        process: Arc::clone(process),
        targets: ScrapeTargets::parse(settings).context("environment variable ISTIO_PROMETHEUS_ANNOTATIONS")?,
        probes: Probes::parse(settings).context("environment variable ISTIO_KUBE_APP_PROBERS")?,
    });
    let everywhere: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let ports = settings.ports;
    let mut servers = vec![Server::bind(&everywhere, ports.health, health_router(Arc::clone(&status))).context("health port")?];
    if ports.status != 0 {
        servers.push(Server::bind(&everywhere, ports.status, status_router(Arc::clone(&status))).context("status port")?);
    }
    servers.push(Server::bind(&everywhere, ports.prometheus, prometheus_router(status)).context("metrics port")?);
    Ok(servers)
}

fn health_router(status: Arc<Status>) -> Router {
    Router::new().route("/healthz/ready", get(ready)).with_state(status)
}

fn prometheus_router(status: Arc<Status>) -> Router {
    Router::new().route("/stats/prometheus", get(own_metrics)).with_state(status)
}

fn status_router(status: Arc<Status>) -> Router {
    Router::new()
        .route("/healthz/ready", get(ready))
        .route("/stats/prometheus", get(merged_metrics))
        .route("/metrics", get(merged_metrics))
        .route("/quitquitquit", post(quit))
        .route("/drain", post(drain))
        .route("/debug/ndsz", get(name_table))
        .route("/app-health/{container}/{probe}", any(probe))
        .route("/app-lifecycle/{container}/{probe}", any(probe))
        .with_state(status)
}

/// 200 when traffic may come; 503 with the reasons otherwise.
async fn ready(State(status): State<Arc<Status>>) -> (StatusCode, String) {
    let readiness = status.process.readiness();
    match readiness.is_ready() {
        true => (StatusCode::OK, String::new()),
        false => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", readiness.reasons.join("\n"))),
    }
}

async fn own_metrics(State(status): State<Arc<Status>>, headers: HeaderMap) -> Response {
    compression::respond(&headers, HeaderValue::from_static(CONTENT_TYPE), admin::prometheus(&status.process).into_bytes())
}

async fn merged_metrics(State(status): State<Arc<Status>>, Extension(peer): Extension<Peer>, headers: HeaderMap) -> Response {
    if status.process.settings.metrics_localhost_only && !is_local(peer) {
        return forbidden().into_response();
    }
    let merged = merge::metrics(&status, &headers).await;
    compression::respond(&headers, merged.content_type, merged.body)
}

/// The names that DNS capture answers. There is no DNS capture, so there are none.
async fn name_table(Extension(peer): Extension<Peer>) -> Response {
    if !is_local(peer) {
        return forbidden().into_response();
    }
    (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "application/json")], "{}").into_response()
}

async fn quit(State(status): State<Arc<Status>>, Extension(peer): Extension<Peer>) -> (StatusCode, &'static str) {
    ask(&status, peer, Command::Quit)
}

async fn drain(State(status): State<Arc<Status>>, Extension(peer): Extension<Peer>) -> (StatusCode, &'static str) {
    ask(&status, peer, Command::Drain)
}

/// Only the pod itself may end or drain its proxy.
fn ask(status: &Status, peer: Peer, command: Command) -> (StatusCode, &'static str) {
    if !is_local(peer) {
        return forbidden();
    }
    status.process.lifecycle.ask(command);
    (StatusCode::OK, "OK\n")
}

fn forbidden() -> (StatusCode, &'static str) {
    (StatusCode::FORBIDDEN, "Only requests from localhost are allowed\n")
}

fn is_local(peer: Peer) -> bool {
    peer.0.ip().to_canonical().is_loopback()
}

async fn probe(State(status): State<Arc<Status>>, uri: Uri, headers: HeaderMap) -> Response {
    status.probes.answer(&status.process, uri.path(), &headers).await
}
