//! One address that can serve a cluster's requests.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;

use super::Workload;

/// A ready endpoint. Not-ready and terminating ones never reach the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// Address and target port; the identity under which the proxy keeps state for the endpoint within a cluster.
    pub address: SocketAddr,
    /// Load-balancing weight, at least 1.
    pub weight: u32,
    /// `region/zone/subzone`, empty when unknown.
    pub locality: String,
    /// Whether auto mTLS applies: label `security.istio.io/tlsMode: istio` and the server's PeerAuthentication for the
    /// port is not DISABLE (sidecar contract 5.2).
    pub mtls: bool,
    /// SPIFFE URI the endpoint's certificate must carry, when the pod behind it is known.
    pub identity: Option<String>,
    /// The workload behind the address, when known: labels for telemetry when the peer sends no metadata.
    pub workload: Option<Arc<Workload>>,
    /// Name of the pod behind the address, when known.
    pub pod: Option<String>,
}
