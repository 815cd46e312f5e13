//! Which Kubernetes the pods will meet: the oldest kubelet of all nodes, for whether a proxy can be a native sidecar (contract 3.6).

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use kube::Client;
use serde::Deserialize;

use super::request::{Failure, Pauses, bounded};
use crate::cluster::{Cluster, KubernetesVersion};
use crate::webhook::{Part, State};

/// Nodes come and go, their versions seldom change.
const PERIOD: Duration = Duration::from_secs(300);
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

/// Keeps the state's knowledge of the cluster up to date, for ever. Where nodes may not be listed, the API server's own version counts; where
/// nothing can be learnt, what was known before. Reviews need not wait for the first answer longer than `patience`.
pub async fn keep(client: Client, patience: Duration, state: Arc<State>) {
    let give_up = async {
        tokio::time::sleep(patience).await;
        state.await_cluster(false);
    };
    tokio::join!(learn(&client, &state), give_up);
}

async fn learn(client: &Client, state: &State) {
    let mut pauses = Pauses::default();
    loop {
        let pause = match ask(client).await {
            Ok((version, origin)) => {
                pauses.reset();
                state.know(Cluster { kubernetes: Some(version), ..Cluster::default() });
                state.settled(Part::Nodes, format!("Kubernetes {version}, according to {origin}"));
                PERIOD
            }
            Err(failure) => {
                let consequence = match state.cluster().kubernetes {
                    Some(version) => format!("{version} still counts"),
                    None => "no proxy becomes a native sidecar unless asked for".to_owned(),
                };
                state.trouble(Part::Nodes, format!("cannot learn Kubernetes' version: {failure}; {consequence}"));
                pauses.lengthen()
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// The version that counts, and whose it is.
async fn ask(client: &Client) -> Result<(KubernetesVersion, &'static str), Failure> {
    match oldest_kubelet(client).await {
        Ok(Some(version)) => Ok((version, "the oldest kubelet")),
        Ok(None) => api_server(client).await.map(|version| (version, "the API server; there are no nodes yet")),
        Err(Failure::Forbidden(problem)) => {
            tracing::debug!(target: "injector", "nodes cannot be listed: {problem}");
            api_server(client).await.map(|version| (version, "the API server; nodes may not be listed"))
        }
        Err(failure) => Err(failure),
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
