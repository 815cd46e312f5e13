//! Clusters: what a route points at, one for each (service, port, subset).
//!
//! Source: Istio semantics 2 (DestinationRule) and 5.1 (protocol of the upstream).

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{Endpoint, UpstreamTls};

/// Position of a cluster in [`super::Snapshot::clusters`]; valid within one snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ClusterId(pub u32);

/// A named group of endpoints with one policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cluster {
    /// Istio's name: `outbound|80|v1|svc.ns.svc.cluster.local`, `inbound|8080||`, `PassthroughCluster`, ...
    /// The key under which the proxy carries pools, cursors and statistics over from snapshot to snapshot.
    pub name: String,
    /// Where endpoints come from.
    pub discovery: Discovery,
    /// How an endpoint is chosen.
    pub lb_policy: LbPolicy,
    /// Ready endpoints in a stable order (by address). Shared with the proxy's hosts and with the clusters of other subsets.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// HTTP version spoken to the endpoints.
    pub protocol: UpstreamProtocol,
    /// Time allowed for TCP connect plus TLS handshake. Default 10 s.
    pub connect_timeout: Duration,
    /// Limits and lifetimes of connections; shared by the clusters that have the same.
    pub connection_pool: Arc<ConnectionPool>,
    /// Transport security towards the endpoints.
    pub tls: UpstreamTls,
    /// The service behind the cluster, for metric labels; none for passthrough and inbound without a Service.
    pub service: Option<Arc<ServiceRef>>,
    /// Port of the service (not the target port); 0 for passthrough.
    pub port: u16,
    /// Subset name, empty for the service itself.
    pub subset: String,
    /// True for endpoints outside the mesh (MESH_EXTERNAL): no peer metadata is sent there.
    pub external: bool,
}

/// Where a cluster's endpoints come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Discovery {
    /// The list in [`Cluster::endpoints`] (Envoy's EDS and STATIC).
    Endpoints,
    /// The original destination of the downstream connection, port optionally replaced (ORIGINAL_DST; also
    /// PassthroughCluster, headless services and ServiceEntry resolution NONE).
    OriginalDst {
        /// Replaces the port of the original destination (ServiceEntry targetPort).
        port: Option<u16>,
    },
    /// Names resolved by the proxy; all addresses returned are balanced (STRICT_DNS).
    StrictDns(Vec<DnsTarget>),
    /// The application of this pod: the original destination, from source 127.0.0.6 / ::6.
    Inbound,
    /// Accepts and closes (BlackHoleCluster).
    BlackHole,
}

/// A name to resolve for a STRICT_DNS cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DnsTarget {
    /// Host name, or an address written as text.
    pub host: String,
    /// Port of the resulting endpoints.
    pub port: u16,
    /// Weight of each resulting endpoint.
    pub weight: u32,
}

/// `trafficPolicy.loadBalancer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum LbPolicy {
    /// Istio's default: the better of two random endpoints by active requests.
    #[default]
    LeastRequest,
    /// One cursor shared by all workers over a smooth weighted schedule.
    RoundRobin,
    /// Uniform (weighted) random.
    Random,
    /// No choice: the original destination.
    Passthrough,
}

/// HTTP version towards the endpoints (Istio semantics 5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, prior knowledge or ALPN.
    Http2,
    /// The version the client used (auto-detected ports, `useClientProtocol`).
    UseDownstream,
    /// Opaque bytes.
    Tcp,
}

/// `trafficPolicy.connectionPool`, per cluster and shared by all workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectionPool {
    /// Upstream connections; `u32::MAX` = unlimited.
    pub max_connections: u32,
    /// Requests waiting for a connection.
    pub max_pending_requests: u32,
    /// Active requests, whatever the HTTP version.
    pub max_requests: u32,
    /// Concurrent retries.
    pub max_retries: u32,
    /// Requests per connection, 0 = unlimited, 1 = no keep-alive.
    pub max_requests_per_connection: u32,
    /// Concurrent streams on one HTTP/2 connection.
    pub max_concurrent_streams: u32,
    /// Idle time after which an upstream connection closes; `None` = never. Default 1 h.
    pub idle_timeout: Option<Duration>,
    /// SO_KEEPALIVE settings, when asked for.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Longest life of a connection.
    pub max_connection_duration: Option<Duration>,
}

impl Default for ConnectionPool {
    fn default() -> Self {
        ConnectionPool {
            max_connections: u32::MAX,
            max_pending_requests: u32::MAX,
            max_requests: u32::MAX,
            max_retries: u32::MAX,
            max_requests_per_connection: 0,
            max_concurrent_streams: 100,
            idle_timeout: Some(Duration::from_secs(3600)),
            tcp_keepalive: None,
            max_connection_duration: None,
        }
    }
}

/// `tcpKeepalive`; absent fields leave the operating system's value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TcpKeepalive {
    /// Probes before the connection counts as dead.
    pub probes: Option<u32>,
    /// Idle time before the first probe.
    pub time: Option<Duration>,
    /// Time between probes.
    pub interval: Option<Duration>,
}

/// The service a cluster or an inbound port belongs to, as metric labels name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ServiceRef {
    /// FQDN, or the ServiceEntry host.
    pub host: String,
    /// Short name.
    pub name: String,
    /// Namespace of the Service or ServiceEntry.
    pub namespace: String,
}
