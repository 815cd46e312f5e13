//! Interception mode TPROXY as the injector and the init step set it up.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use crate::bed::{Bed, Turn, bounded};
use crate::manifest::{self, App};

#[test]
fn under_tproxy_the_application_sees_the_pod_that_calls_it_through_mutual_tls() {
    bounded(Turn::Shared, 90, async {
        let server = App::new("shop", "server").annotation("sidecar.istio.io/interceptionMode", "TPROXY");
        let service = manifest::service("shop", "server", "server", "{name: http, port: 80, targetPort: 8080}", "");
        let all = manifest::meshed("shop") + &App::new("shop", "client").yaml() + &server.yaml() + &service;
        let bed = Bed::start("tproxy", &[("all.yaml", all)]).await?;
        let service = SocketAddr::new(bed.service("server")?, 80);
        let seen = seen(&bed, "client", service).await?;
        let client = bed.address("client")?.to_string();
        ensure!(seen["client"].as_str().is_some_and(|peer| peer.starts_with(&format!("{client}:"))), "{client}: {seen}");
        ensure!(seen["headers"]["x-forwarded-client-cert"].is_string(), "mutual TLS: {seen}");
        // Its own Service leads the server to itself, through both sides of its proxy.
        let seen = self::seen(&bed, "server", service).await?;
        let server = bed.address("server")?.to_string();
        ensure!(seen["client"].as_str().is_some_and(|peer| peer.starts_with(&format!("{server}:"))), "{server}: {seen}");
        bed.end().await
    });
}

/// What the application saw of a request.
async fn seen(bed: &Bed, from: &str, service: SocketAddr) -> Result<serde_json::Value> {
    let answer = bed.testbed.http_get(from, service, "/headers").await?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    serde_json::from_str(&text)
        .with_context(|| format!("status {}: {text}; the proxy said: {}", answer.status, bed.proxy_log("server").unwrap_or_default()))
}
