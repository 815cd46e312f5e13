//! Reaching the target of a connection: pick an endpoint, dial it, try another when that fails.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;

use super::Target;
use crate::error::{Error, Failure};
use crate::prefixed::Prefixed;
use crate::runtime::Worker;
use crate::telemetry::{ResponseFlags, UpstreamFacts};
use crate::upstream::connect::{self, ConnectionFacts, Dial, Protocol, UpstreamIo};
use crate::upstream::{ClusterState, Host, Permit, PickContext, PickError, Picked, Resource};

/// Endpoints tried before a client is turned away. Nothing has been sent, so trying another is always safe; Envoy's own
/// default is one, which turns every endpoint that restarts into failed connections.
const ATTEMPTS: usize = 3;

/// Why a connection got nowhere.
#[derive(Debug)]
pub struct Refused {
    /// For the log and the metrics.
    pub flags: ResponseFlags,
    /// Connection termination details, without spaces.
    pub details: Cow<'static, str>,
    /// The endpoint last tried.
    pub upstream: Option<UpstreamFacts>,
}

impl Refused {
    fn early(flags: ResponseFlags, details: &'static str, upstream: Option<UpstreamFacts>) -> Self {
        Refused { flags, details: Cow::Borrowed(details), upstream }
    }
}

/// An established connection to a target; counts as active there until dropped.
#[derive(Debug)]
pub struct Upstream {
    io: UpstreamIo,
    heard: BytesMut,
    cluster: Arc<ClusterState>,
    facts: UpstreamFacts,
    hold: Hold,
}

/// What an upstream connection occupies until it ends: a place at its endpoint and one in the cluster's limit.
pub type Hold = (Picked, Option<Permit>);

impl Upstream {
    /// Whether this is a connection to the target's cluster.
    pub fn serves(&self, target: &Target) -> bool {
        matches!(target, Target::Cluster(cluster) if Arc::ptr_eq(cluster, &self.cluster))
    }

    /// Waits until the server has said something or closed; what it said is kept. Dropping the future loses nothing.
    pub async fn hear(&mut self) {
        let _ = self.io.read_buf(&mut self.heard).await;
    }

    /// Idle time-out and longest life of the connection.
    pub(super) fn limits(&self) -> (Option<Duration>, Option<Duration>) {
        let pool = &self.cluster.model.connection_pool;
        (pool.idle_timeout, pool.max_connection_duration)
    }

    /// The bytes, the facts, and what must live as long as the connection.
    pub(super) fn into_parts(self) -> (Prefixed<UpstreamIo>, UpstreamFacts, Hold) {
        let heard: Bytes = self.heard.freeze();
        (Prefixed::new(heard, self.io), self.facts, self.hold)
    }
}

/// Whom a connection is made for.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// What the client dialled.
    pub destination: SocketAddr,
    /// As in [`Downstream::source`](crate::listener::Downstream::source).
    pub source: Option<IpAddr>,
}

/// Connects to a target on behalf of a client.
///
/// # Errors
/// Unknown cluster (NC), nobody to connect to (UH), limit reached (UO), or all attempts failed (UF, URX).
pub async fn connect(worker: &Worker, target: Target, client: Client) -> Result<Upstream, Refused> {
    let cluster = match target {
        Target::Cluster(cluster) => cluster,
        Target::Missing(name) => {
            tracing::debug!(cluster = name, "the route names a cluster that does not exist");
            return Err(Refused::early(ResponseFlags::NC, "cluster_not_found", None));
        }
    };
    let bare = || Some(cluster_facts(&cluster));
    let Some(permit) = cluster.acquire(Resource::Connections) else {
        return Err(Refused::early(ResponseFlags::UO, "overflow", bare()));
    };
    let mut permit = Some(permit);
    let mut tried: Vec<SocketAddr> = Vec::new();
    let mut last = None;
    while tried.len() < ATTEMPTS {
        let picked = match cluster.pick(PickContext { destination: client.destination, tried: &tried, localities: &[] }) {
            Ok(picked) => picked,
            Err(PickError::BlackHole) => return Err(Refused::early(ResponseFlags::UH, "black_hole", bare())),
            Err(PickError::NoHealthyUpstream) => {
                return Err(last.unwrap_or_else(|| Refused::early(ResponseFlags::UH, "no_healthy_upstream", bare())));
            }
        };
        if tried.contains(&picked.address()) {
            break;
        }
        tried.push(picked.address());
        match dial(worker, &cluster, &picked, client.source).await {
            Ok((io, facts)) => {
                return Ok(Upstream { io, heard: BytesMut::new(), cluster, facts, hold: (picked, permit.take()) });
            }
            Err(error) => last = Some(refused(&cluster, &picked, &error)),
        }
    }
    Err(last.unwrap_or_else(|| Refused::early(ResponseFlags::UH, "no_healthy_upstream", bare())))
}

async fn dial(
    worker: &Worker,
    cluster: &Arc<ClusterState>,
    host: &Picked,
    source: Option<IpAddr>,
) -> Result<(UpstreamIo, UpstreamFacts), Error> {
    let server_name = cluster.service.as_ref().map(|service| service.host.as_str());
    let dial = Dial { cluster, host, protocol: Protocol::Tcp, server_name, identity: &worker.identity, source };
    let connected = connect::connect(dial).await?;
    let facts = endpoint_facts(cluster, host, Some(&connected.facts));
    Ok((connected.io, facts))
}

fn refused(cluster: &Arc<ClusterState>, host: &Picked, error: &Error) -> Refused {
    let mut flags = error.flags();
    if matches!(error.failure, Failure::ConnectFailure | Failure::ConnectTimeout | Failure::LocalConnectFailure) {
        flags.insert(ResponseFlags::URX);
    }
    let mut facts = endpoint_facts(cluster, host, None);
    facts.transport_failure.clone_from(&error.transport);
    Refused { flags, details: error.reason().replace(' ', "_").into(), upstream: Some(facts) }
}

fn cluster_facts(cluster: &ClusterState) -> UpstreamFacts {
    UpstreamFacts::of_cluster(Arc::clone(&cluster.name), cluster.service.clone())
}

fn endpoint_facts(cluster: &ClusterState, host: &Host, connection: Option<&ConnectionFacts>) -> UpstreamFacts {
    UpstreamFacts {
        address: Some(host.address()),
        local: connection.and_then(|facts| facts.local),
        workload: host.endpoint.workload.clone(),
        peer_identity: connection.and_then(|facts| facts.peer_identity().cloned()),
        local_identity: connection.and_then(|facts| facts.local_identity().cloned()),
        ..cluster_facts(cluster)
    }
}
