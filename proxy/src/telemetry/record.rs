//! The facts of a finished exchange, as the router and the TCP proxy hand them to telemetry.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Version};
use outrigger_config::model::{ServiceRef, Workload};

use super::ResponseFlags;
use super::access_log::CapturedHeaders;
use crate::listener::Downstream;

/// One finished HTTP exchange.
#[derive(Debug)]
pub struct HttpRecord {
    /// The connection it came in on.
    pub downstream: Arc<Downstream>,
    /// When the request head was complete; known only when the log is on.
    pub start: SystemTime,
    /// From then until the last byte of the response (or its failure).
    pub duration: Duration,
    /// Method as received.
    pub method: Method,
    /// Path with query as the client sent it (`x-envoy-original-path` semantics).
    pub path: PathAndQuery,
    /// Protocol version of the downstream.
    pub version: Version,
    /// Host as received.
    pub authority: HeaderValue,
    /// Status sent; 0 when no response went out.
    pub status: u16,
    /// `grpc-status` of the response, head or trailers.
    pub grpc_status: Option<u16>,
    /// Whether the request's content type was application/grpc.
    pub is_grpc: bool,
    /// What went wrong.
    pub flags: ResponseFlags,
    /// Response code details: `via_upstream`, `route_not_found`, ...
    pub details: Cow<'static, str>,
    /// Request body bytes received from the client.
    pub bytes_received: u64,
    /// Response body bytes sent to the client.
    pub bytes_sent: u64,
    /// Approximate bytes of the request head, for `istio_request_bytes`.
    pub request_head_bytes: u64,
    /// Approximate bytes of the response head, for `istio_response_bytes`.
    pub response_head_bytes: u64,
    /// Name of the route taken, empty when none matched.
    pub route_name: Arc<str>,
    /// Number this proxy gave to the routing decision, counting up from 1; 0 when no split was drawn.
    pub decision: u64,
    /// The upstream side of the last attempt, when there was one.
    pub upstream: Option<UpstreamFacts>,
    /// Attempts made (1 = no retry), 0 when nothing was sent upstream.
    pub attempts: u32,
    /// Header values the access-log format asks for, captured while they were at hand; `None` when the log is off.
    pub captured: Option<CapturedHeaders>,
}

/// The upstream side of an exchange or connection.
#[derive(Clone, Debug)]
pub struct UpstreamFacts {
    /// Cluster name.
    pub cluster: Arc<str>,
    /// Service behind the cluster, for labels. Shared, like the other `Arc`s here, by all exchanges of the cluster: labels
    /// are resolved once per pointer, so a fresh `Arc` per request would cost a lookup by text.
    pub service: Option<Arc<ServiceRef>>,
    /// Endpoint address.
    pub address: Option<SocketAddr>,
    /// Our own address of the upstream connection.
    pub local: Option<SocketAddr>,
    /// The workload: the peer's metadata when it sent any, else what the endpoint tells.
    pub workload: Option<Arc<Workload>>,
    /// URI SAN of the peer on the upstream TLS session.
    pub peer_identity: Option<Arc<str>>,
    /// Our own URI SAN on that session.
    pub local_identity: Option<Arc<str>>,
    /// Why the transport failed, for `UPSTREAM_TRANSPORT_FAILURE_REASON`.
    pub transport_failure: Option<String>,
    /// Time until the response head, for `x-envoy-upstream-service-time`.
    pub service_time: Option<Duration>,
}

impl UpstreamFacts {
    /// What is known before a host is chosen.
    #[must_use]
    pub fn of_cluster(cluster: Arc<str>, service: Option<Arc<ServiceRef>>) -> Self {
        Self {
            cluster,
            service,
            address: None,
            local: None,
            workload: None,
            peer_identity: None,
            local_identity: None,
            transport_failure: None,
            service_time: None,
        }
    }
}

/// One finished TCP connection.
#[derive(Debug)]
pub struct TcpRecord {
    /// The connection.
    pub downstream: Arc<Downstream>,
    /// Length of its life.
    pub duration: Duration,
    /// What went wrong.
    pub flags: ResponseFlags,
    /// Bytes received from the client.
    pub bytes_received: u64,
    /// Bytes sent to the client.
    pub bytes_sent: u64,
    /// Why the connection ended, `-` when normal.
    pub termination_details: Cow<'static, str>,
    /// The upstream side.
    pub upstream: Option<UpstreamFacts>,
}
