//! An injector in a cluster, and waiting for what it does.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use outrigger_injector::control::{Args, Injector, Times, authority, lease};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::api_server::ApiServer;
use super::caller::{Caller, pod};

pub const SECRET: &str = "/api/v1/namespaces/mesh/secrets/outrigger-injector-ca";
pub const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/mesh/leases/outrigger-injector";
pub const CONFIG: &str = "/api/v1/namespaces/mesh/configmaps/istio-sidecar-injector";
pub const MESH: &str = "/api/v1/namespaces/mesh/configmaps/istio";
pub const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/istio-sidecar-injector-mesh";
pub const NAME: &str = "outrigger-injector.mesh.svc";

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// The arguments, with free ports.
pub fn args(words: &[&str]) -> Args {
    let ports = ["injector", "--address=127.0.0.1:0", "--metrics-address=127.0.0.1:0", "--namespace=mesh"];
    Line::parse_from(ports.iter().chain(words)).args
}

/// Seconds where the defaults have hours.
pub fn times() -> Times {
    Times {
        lease: lease::Times { duration: Duration::from_secs(1), deadline: Duration::from_millis(800), retry: Duration::from_millis(50) },
        leave: Duration::from_millis(50),
        ..Times::default()
    }
}

pub fn soon(authority: authority::Times) -> Times {
    Times { authority, ..times() }
}

pub fn webhook(name: &str, service: &str, namespace: &str) -> Value {
    json!({
        "name": name,
        "clientConfig": { "service": { "name": service, "namespace": namespace, "path": "/inject", "port": 443 } },
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "unknownToThisVersion": true,
    })
}

/// A cluster as the chart leaves it: configuration, webhooks, nothing about certificates.
pub async fn cluster() -> ApiServer {
    let server = ApiServer::start().await;
    server.put(CONFIG, json!({ "metadata": {}, "data": { "config": "policy: enabled\n", "values": "{}" } }));
    server.put(MESH, json!({ "metadata": {}, "data": { "mesh": "trustDomain: cluster.local\n" } }));
    let webhooks = [
        webhook("namespace.sidecar-injector.istio.io", "outrigger-injector", "mesh"),
        webhook("object.sidecar-injector.istio.io", "outrigger-injector", "mesh"),
        webhook("somebody.else", "other", "mesh"),
    ];
    server.put(WEBHOOKS, json!({ "metadata": {}, "webhooks": webhooks }));
    server
}

pub async fn injector(server: &ApiServer, times: Times) -> Injector {
    Injector::start(&args(&[]), Some(server.client()), times).await.unwrap()
}

/// `caBundle` of the first webhook, if any.
pub fn bundle(server: &ApiServer) -> Option<Vec<u8>> {
    let text = server.get(WEBHOOKS)?["webhooks"][0]["clientConfig"]["caBundle"].as_str()?.to_owned();
    STANDARD.decode(text).ok().filter(|bundle| !bundle.is_empty())
}

/// The certificates that the Secret's authority has had, in order, each once.
pub fn authorities(server: &ApiServer) -> Vec<String> {
    let versions = server.history(SECRET);
    let mut found: Vec<String> = versions.iter().filter_map(|secret| secret["data"]["ca.crt"].as_str().map(str::to_owned)).collect();
    found.dedup();
    found
}

/// A review by an API server that has just read `caBundle`.
pub async fn review_as_api_server(server: &ApiServer, injector: &Injector) -> Result<Value, String> {
    let bundle = bundle(server).ok_or("no caBundle yet")?;
    Caller::connect(injector.address, NAME, &bundle).await?.review(&pod()).await
}

/// Long enough for a machine that builds something else meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits up to thirty seconds.
pub async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a review through `caBundle` succeeds.
pub async fn serves(server: &ApiServer, injector: &Injector) {
    let end = Instant::now() + PATIENCE;
    loop {
        match review_as_api_server(server, injector).await {
            Ok(answer) if answer["allowed"] == true => return,
            outcome => assert!(Instant::now() < end, "no review within {PATIENCE:?}: {outcome:?}\n{}", injector.state.readiness().1),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the page says this.
pub async fn page_says(injector: &Injector, what: &str) -> String {
    eventually(&format!("the page says {what}"), async || Some(injector.state.readiness().1).filter(|page| page.contains(what))).await
}
