//! Which Kubernetes the pods will meet: the oldest kubelet of all nodes, for whether a proxy can be a native sidecar (contract 3.6).

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use kube::Client;
use serde::Deserialize;

use super::request::{Failure, bounded};
use crate::cluster::{Cluster, KubernetesVersion};
use crate::webhook::{Part, State};

/// Nodes come and go, their versions seldom change.
const PERIOD: Duration = Duration::from_secs(300);
/// After a failure.
const RETRY: Duration = Duration::from_secs(10);
/// Nodes asked for at a time; a node's status takes tens of kilobytes.
const PAGE: usize = 100;

#[derive(Deserialize)]
struct Nodes {
    metadata: ListMetadata,
    items: Vec<Node>,
}

#[derive(Deserialize)]
struct ListMetadata {
    #[serde(default, rename = "continue")]
    rest: String,
}

/// Of a node only this; the rest is skipped while reading.
#[derive(Deserialize)]
struct Node {
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    node_info: NodeInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeInfo {
    kubelet_version: String,
}

/// Keeps the state's knowledge of the cluster up to date, for ever. Where nodes may not be listed, the API server's own version counts.
pub async fn keep(client: Client, state: Arc<State>) {
    loop {
        let found = match oldest_kubelet(&client).await {
            Ok(Some(version)) => Ok((version, "the oldest kubelet")),
            Ok(None) => api_server(&client).await.map(|version| (version, "the API server; there are no nodes yet")),
            Err(Failure::Other(problem)) => {
                tracing::debug!(target: "injector", "nodes cannot be listed: {problem}");
                api_server(&client).await.map(|version| (version, "the API server; nodes may not be listed"))
            }
            Err(failure) => Err(failure),
        };
        let pause = match found {
            Ok((version, origin)) => {
                state.know(Cluster { kubernetes: Some(version), ..Cluster::default() });
                state.settled(Part::Nodes, format!("Kubernetes {version}, according to {origin}"));
                PERIOD
            }
            Err(failure) => {
                state.trouble(Part::Nodes, format!("cannot learn Kubernetes' version: {failure}"));
                RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn oldest_kubelet(client: &Client) -> Result<Option<KubernetesVersion>, Failure> {
    let (mut oldest, mut rest) = (None, String::new());
    loop {
        let path = format!("/api/v1/nodes?limit={PAGE}&continue={rest}");
        let request = Request::get(path).body(Vec::new()).map_err(|error| Failure::Other(error.to_string()))?;
        let page: Nodes = bounded(client.request(request)).await?;
        let versions = page.items.iter().filter_map(|node| node.status.node_info.kubelet_version.parse().ok());
        oldest = versions.chain(oldest).min();
        // The token is base64 for URLs.
        rest = page.metadata.rest;
        if rest.is_empty() {
            return Ok(oldest);
        }
    }
}

async fn api_server(client: &Client) -> Result<KubernetesVersion, Failure> {
    let version = bounded(client.apiserver_version()).await?;
    version.git_version.parse().map_err(Failure::Other)
}
