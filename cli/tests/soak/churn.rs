//! Endpoints that come and go: a Service without selector whose EndpointSlice is written again and again.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::sync::watch;

use crate::bed::{Bed, replace};

/// Where its endpoints are asked.
pub const URL: &str = "http://churned/";
/// Time between two changes.
const EVERY: Duration = Duration::from_millis(400);

/// The Service.
pub fn service() -> String {
    "apiVersion: v1
kind: Service
metadata: {name: churned, namespace: shop}
spec: {ports: [{name: http, port: 80, targetPort: 8080}]}
---
"
    .to_owned()
}

/// Writes the slice of a turn: both servers, one, both, the other.
pub fn write(bed: &Bed, turn: usize) -> Result<()> {
    let mut servers = bed.testbed.pods_labelled("app", "server");
    servers.sort_by(|one, other| one.name.cmp(&other.name));
    ensure!(servers.len() == 2, "{} servers", servers.len());
    let present = servers.iter().enumerate().filter(|(number, _)| turn.is_multiple_of(2) || turn / 2 % 2 == *number);
    let endpoints = present.map(|(_, pod)| {
        let address = pod.addresses.first().map(ToString::to_string).unwrap_or_default();
        let name = &pod.name;
        format!("- {{addresses: ['{address}'], conditions: {{ready: true}}, targetRef: {{kind: Pod, name: {name}, namespace: shop}}}}\n")
    });
    let text = format!(
        "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: churned-1, namespace: shop, labels: {{kubernetes.io/service-name: churned}}}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints:
{}",
        endpoints.collect::<String>()
    );
    replace(&bed.path("churned.yaml"), &text)
}

/// Writes turn after turn until told to stop; the last one holds both servers.
pub async fn endpoints(bed: &Bed, mut stopped: watch::Receiver<bool>) -> Result<()> {
    let mut turn = 0;
    while tokio::time::timeout(EVERY, stopped.wait_for(|stop| *stop)).await.is_err() {
        turn += 1;
        write(bed, turn)?;
    }
    write(bed, 0)
}
