//! Outbound listeners: what happens to a captured connection, by its original destination.
//!
//! Source: Istio semantics 5.3 (which port kind gives which listener) and 4.4 (unknown destinations).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Serialize;

use super::{ClusterId, RouteConfiguration, RouteId};

/// The per-service listeners behind the capture port 15001.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outbound {
    /// Listeners of one address and port: service VIPs, headless TCP pods.
    pub by_address: BTreeMap<SocketAddr, Arc<Listener>>,
    /// Listeners on every address of a port: HTTP ports, services without an address.
    pub by_port: BTreeMap<u16, Arc<Listener>>,
    /// ServiceEntry CIDR addresses, longest prefix first.
    pub by_network: Vec<(IpNet, u16, Arc<Listener>)>,
    /// Where connections go that no listener claims, or whose listener does not want their bytes.
    pub unknown: ClusterId,
}

impl Outbound {
    /// The listener for an original destination: address, then network, then port.
    pub fn find(&self, destination: SocketAddr) -> Option<&Arc<Listener>> {
        let network = || {
            let matches = |(net, port, _): &&(IpNet, u16, Arc<Listener>)| *port == destination.port() && net.contains(&destination.ip());
            self.by_network.iter().find(matches).map(|(_, _, listener)| listener)
        };
        self.by_address.get(&destination).or_else(network).or_else(|| self.by_port.get(&destination.port()))
    }

    /// Every listener. Shared ones may come more than once.
    pub fn listeners(&self) -> impl Iterator<Item = &Arc<Listener>> {
        let by_network = self.by_network.iter().map(|(_, _, listener)| listener);
        self.by_port.values().chain(self.by_address.values()).chain(by_network)
    }
}

/// What a listener expects and what it does with it.
#[derive(Clone, Debug, Serialize)]
pub struct Listener {
    /// Istio's name, `0.0.0.0_80` or `10.96.0.7_3306`.
    pub name: String,
    /// Declared or detected.
    pub protocol: ListenerProtocol,
    /// Routes for HTTP bytes (`Http`, `Auto`).
    pub http: Option<Arc<RouteConfiguration>>,
    /// SNI routes for TLS bytes, in order (`Tls`, `Auto`).
    pub tls: Vec<SniRoute>,
    /// Route for other bytes; `None` = [`Outbound::unknown`].
    pub tcp: Option<TcpRoute>,
}

/// How the first bytes of a connection are judged (Istio semantics 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum ListenerProtocol {
    /// HTTP/1 or HTTP/2 is expected; other bytes are treated as an unknown destination (outbound) or refused (inbound).
    Http,
    /// TLS that is not ours: routed by SNI, bytes untouched.
    Tls,
    /// Opaque; nothing is waited for, so servers may speak first.
    Tcp,
    /// Sniffed.
    Auto,
}

impl ListenerProtocol {
    /// Whether the client's first bytes must be looked at before a decision.
    pub fn sniffs(self) -> bool {
        !matches!(self, ListenerProtocol::Tcp)
    }
}

/// A TLS passthrough route: SNI names to weighted clusters.
#[derive(Clone, Debug, Serialize)]
pub struct SniRoute {
    /// Exact names and `*.suffix` wildcards, lower case; empty = any, also no SNI.
    pub sni_hosts: Vec<String>,
    /// CIDR blocks of the original destination; empty = any.
    pub destination_subnets: Vec<IpNet>,
    /// Where matching connections go.
    pub route: TcpRoute,
}

impl SniRoute {
    /// Whether a ClientHello with this name, towards this destination, takes the route. `sni` must be lower case.
    pub fn matches(&self, sni: Option<&str>, destination: SocketAddr) -> bool {
        let name = self.sni_hosts.is_empty() || sni.is_some_and(|sni| self.sni_hosts.iter().any(|host| host_matches(host, sni)));
        let subnet = self.destination_subnets.is_empty() || self.destination_subnets.iter().any(|net| net.contains(&destination.ip()));
        name && subnet
    }
}

/// Istio's wildcard rule: `*` matches all, `*.foo` matches names that end in `.foo`, anything else is equality.
pub fn host_matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => pattern == host,
    }
}

/// Weighted clusters for connections (VirtualService `tcp` and `tls` routes, or a service's default).
#[derive(Clone, Debug, Serialize)]
pub struct TcpRoute {
    /// Key for run-time state, as [`super::Route::id`].
    pub id: RouteId,
    /// Stable identity, `VirtualService ns/name tcp[0]` or the cluster name.
    pub key: String,
    /// Destinations; weight 0 gets nothing unless it stands alone.
    pub clusters: Vec<TcpDestination>,
}

/// One weighted destination of connections.
#[derive(Clone, Debug, Serialize)]
pub struct TcpDestination {
    /// Name as routed, kept for messages when the cluster does not exist.
    pub name: String,
    /// The cluster, or `None` when unknown: the connection is closed with flag NC.
    pub cluster: Option<ClusterId>,
    /// Relative weight.
    pub weight: u32,
}

/// MeshConfig `pathNormalization.normalization` (Istio semantics 6.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PathNormalization {
    /// Paths are left alone.
    None,
    /// Dot segments, unreserved escapes, backslashes. Istio's default.
    #[default]
    Base,
    /// `Base`, then repeated slashes merged.
    MergeSlashes,
    /// `%2F` and `%5C` decoded first, then `MergeSlashes`.
    DecodeAndMergeSlashes,
}
