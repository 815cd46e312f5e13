//! Inbound filter chains: what happens to a connection for one port of the application.
//!
//! Source: sidecar contract 5.3 (chains per mode and protocol), Istio semantics 5.6.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::{ClusterId, ListenerProtocol, MtlsMode, RouteConfiguration, ServiceRef};

/// The chains behind the capture port 15006.
#[derive(Clone, Debug, Serialize)]
pub struct Inbound {
    /// By container port, for ports that some Service targets or PeerAuthentication names.
    pub by_port: BTreeMap<u16, Arc<InboundChain>>,
    /// For every other port: detection, then InboundPassthroughCluster.
    pub default: Arc<InboundChain>,
}

impl Inbound {
    /// The chain for an original destination port.
    pub fn find(&self, port: u16) -> &Arc<InboundChain> {
        self.by_port.get(&port).unwrap_or(&self.default)
    }
}

/// One inbound port.
#[derive(Clone, Debug, Serialize)]
pub struct InboundChain {
    /// Container port; 0 for the default chain.
    pub port: u16,
    /// Declared protocol of the oldest Service that targets the port.
    pub protocol: ListenerProtocol,
    /// Effective PeerAuthentication mode.
    pub mtls: MtlsMode,
    /// The single catch-all route of HTTP requests (route name `default`).
    pub http: Arc<RouteConfiguration>,
    /// `inbound|<port>||` or InboundPassthroughCluster.
    pub cluster: ClusterId,
    /// The Service the port belongs to, for telemetry.
    pub service: Option<ServiceRef>,
}
