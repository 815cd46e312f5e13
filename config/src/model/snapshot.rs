//! Everything one proxy serves by, as one immutable value.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{Cluster, ClusterId, FormatPiece, GatewayListener, Inbound, Node, Outbound, PathNormalization, RouteConfiguration, TcpRoute};

/// The compiled configuration of one workload.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// The workload.
    pub node: Arc<Node>,
    /// Mesh-wide settings.
    pub mesh: MeshSettings,
    /// Sidecar: outbound listeners. Empty on a router.
    pub outbound: Outbound,
    /// Sidecar: inbound chains; `None` on a router.
    pub inbound: Option<Inbound>,
    /// Router: listeners by port. Empty on a sidecar.
    pub gateways: Vec<GatewayListener>,
    /// All clusters; [`ClusterId`] is the position.
    pub clusters: Vec<Arc<Cluster>>,
    /// Number of routes; every [`super::RouteId`] is below it.
    pub route_count: u32,
}

impl Snapshot {
    /// The cluster at a position. Positions of another snapshot may yield `None`.
    pub fn cluster(&self, id: ClusterId) -> Option<&Arc<Cluster>> {
        self.clusters.get(id.0 as usize)
    }
}

/// What MeshConfig decides for a proxy (Istio semantics 7.2).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MeshSettings {
    /// Trust domain and its aliases, the own one first; peers of any of them are accepted.
    pub trust_domains: Vec<String>,
    /// How long a captured connection on a sniffed port waits for the client's first bytes before the proxy dials
    /// upstream and lets whichever side speaks decide. Istio waits without limit; our default is 100 ms.
    pub protocol_detection_timeout: Duration,
    /// Access log; `None` = off.
    pub access_log: Option<AccessLogSettings>,
    /// Path normalisation applied before routing.
    pub path_normalization: PathNormalization,
    /// ISTIO_META_HTTP10; we accept HTTP/1.0 by default, so `false` only when asked for.
    pub accept_http10: bool,
    /// Time between the start of draining and the forced end. Default 45 s (`drainDuration`).
    pub drain_duration: Duration,
    /// `terminationDrainDuration`, default 5 s.
    pub termination_drain_duration: Duration,
    /// `concurrency` of the effective ProxyConfig: worker threads, 0 = one per core. Read once, at start.
    pub concurrency: Option<u32>,
}

/// Where and how access logs are written (Istio semantics 7.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessLogSettings {
    /// `/dev/stdout` or a file path.
    pub path: String,
    /// Rendering.
    pub format: AccessLogFormat,
}

/// A parsed access-log format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum AccessLogFormat {
    /// Text; ends in a newline.
    Text(Vec<FormatPiece>),
    /// JSON object: key to format string. A string of exactly one command keeps the command's type.
    Json(Vec<(String, Vec<FormatPiece>)>),
}

impl Snapshot {
    /// Every HTTP route configuration: outbound, inbound and gateway. Shared ones may come more than once.
    pub fn route_configurations(&self) -> impl Iterator<Item = &Arc<RouteConfiguration>> {
        let inbound = self.inbound.iter().flat_map(|inbound| inbound.by_port.values().chain([&inbound.default]));
        let gateways = self.gateways.iter().flat_map(|gateway| gateway.kind.route_configurations());
        self.outbound.listeners().filter_map(|listener| listener.http.as_ref()).chain(inbound.map(|chain| &chain.http)).chain(gateways)
    }

    /// Every route of connections: TCP and SNI, outbound and gateway. Shared ones may come more than once.
    pub fn tcp_routes(&self) -> impl Iterator<Item = &TcpRoute> {
        let outbound = self.outbound.listeners().flat_map(|listener| listener.tls.iter().map(|sni| &sni.route).chain(&listener.tcp));
        outbound.chain(self.gateways.iter().flat_map(|gateway| gateway.kind.tcp_routes()))
    }
}
