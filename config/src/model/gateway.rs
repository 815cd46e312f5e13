//! Gateway listeners: the ports that Gateway objects open on a router.
//!
//! Source: Istio semantics 3.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use super::{RouteConfiguration, ServerTls, SniRoute, TcpRoute};

/// One bound port of a gateway, merged from all Gateways that select it.
#[derive(Clone, Debug, Serialize)]
pub struct GatewayListener {
    /// `0.0.0.0_8080`.
    pub name: String,
    /// Address to bind; `None` = all, IPv4 and IPv6.
    pub bind: Option<IpAddr>,
    /// Port to bind (the Service's target port, else the Gateway's number).
    pub port: u16,
    /// What is served there.
    pub kind: GatewayListenerKind,
}

/// The protocol family of a gateway port; families never mix on one port.
#[derive(Clone, Debug, Serialize)]
pub enum GatewayListenerKind {
    /// Plaintext HTTP/1.1 and HTTP/2 by prior knowledge.
    Http(Arc<RouteConfiguration>),
    /// TLS; the chain is chosen by SNI: exact name, then the longest wildcard, then `*`.
    Tls(Vec<GatewayTlsChain>),
    /// Plaintext TCP; `None` when no VirtualService gives a route: connections are closed.
    Tcp(Option<TcpRoute>),
}

/// One Gateway server on a TLS port.
#[derive(Clone, Debug, Serialize)]
pub struct GatewayTlsChain {
    /// Host names served, lower case; `*` = any, also without SNI.
    pub sni_hosts: Vec<String>,
    /// What is done with the connection.
    pub action: GatewayTlsAction,
}

/// Terminate or pass through.
#[derive(Clone, Debug, Serialize)]
pub enum GatewayTlsAction {
    /// HTTPS: terminate, then route requests.
    Http {
        /// Server side of the handshake.
        tls: Arc<ServerTls>,
        /// Routes of this server only.
        routes: Arc<RouteConfiguration>,
    },
    /// TLS terminated, bytes forwarded by `tcp` routes.
    Tcp {
        /// Server side of the handshake.
        tls: Arc<ServerTls>,
        /// `None`: connections are closed after the handshake.
        route: Option<TcpRoute>,
    },
    /// PASSTHROUGH: `tls` routes by SNI, bytes untouched; no match closes the connection.
    Passthrough(Vec<SniRoute>),
}

impl GatewayListenerKind {
    /// The HTTP route configurations served on the port.
    pub fn route_configurations(&self) -> Vec<&Arc<RouteConfiguration>> {
        match self {
            GatewayListenerKind::Http(routes) => vec![routes],
            GatewayListenerKind::Tcp(_) => Vec::new(),
            GatewayListenerKind::Tls(chains) => chains.iter().filter_map(GatewayTlsChain::routes).collect(),
        }
    }

    /// The TCP and SNI routes of the port.
    pub fn tcp_routes(&self) -> Vec<&TcpRoute> {
        match self {
            GatewayListenerKind::Http(_) => Vec::new(),
            GatewayListenerKind::Tcp(route) => route.iter().collect(),
            GatewayListenerKind::Tls(chains) => chains.iter().flat_map(GatewayTlsChain::tcp_routes).collect(),
        }
    }
}

impl GatewayTlsChain {
    /// The HTTP routes behind the chain, when it terminates TLS for HTTP.
    pub fn routes(&self) -> Option<&Arc<RouteConfiguration>> {
        match &self.action {
            GatewayTlsAction::Http { routes, .. } => Some(routes),
            _ => None,
        }
    }

    /// The routes of connections behind the chain.
    fn tcp_routes(&self) -> Vec<&TcpRoute> {
        match &self.action {
            GatewayTlsAction::Http { .. } => Vec::new(),
            GatewayTlsAction::Tcp { route, .. } => route.iter().collect(),
            GatewayTlsAction::Passthrough(routes) => routes.iter().map(|sni| &sni.route).collect(),
        }
    }
}
