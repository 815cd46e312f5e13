//! The ports a configuration asks the proxy to listen on.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use outrigger_config::model::{ProxyType, Snapshot};

use super::original_dst::canonical;

/// A port the proxy listens on, and what arrives there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entrance {
    /// What arrives.
    pub kind: EntranceKind,
    /// Address to bind; `None` = all, IPv4 and IPv6.
    pub bind: Option<IpAddr>,
    /// Port to bind.
    pub port: u16,
    /// Capture ports of this proxy: a connection captured on its way to one of them at our own address is a loop.
    pub own_ports: Arc<[u16]>,
    /// Connections come by TPROXY: to addresses that are not the socket's, and the application is to see who sent them.
    pub transparent: bool,
}

impl Entrance {
    /// Whether all that arrives comes from this host: the application's own connections, and those to a loopback address.
    pub(super) fn is_local(&self) -> bool {
        self.kind == EntranceKind::Outbound || self.bind.is_some_and(|ip| ip.is_loopback())
    }

    /// Our address in all that arrives, where the socket has one: then no connection needs to be asked for its own. A redirection to
    /// the port changes nothing about that, as it gives the connection the socket's address.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        let ip = self.bind.filter(|ip| !ip.is_unspecified() && !self.transparent)?;
        Some(canonical(SocketAddr::new(ip, self.port)))
    }
}

/// What arrives at an entrance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntranceKind {
    /// Captured connections of the local application.
    Outbound,
    /// Captured connections to the local application.
    Inbound,
    /// Connections to a gateway port.
    Gateway,
}

/// The capture ports of a sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapturePorts {
    /// Default 15001.
    pub outbound: u16,
    /// Default 15006.
    pub inbound: u16,
    /// Interception mode TPROXY: inbound connections keep their addresses. Needs CAP_NET_ADMIN.
    pub transparent: bool,
}

impl Default for CapturePorts {
    fn default() -> Self {
        CapturePorts { outbound: 15001, inbound: 15006, transparent: false }
    }
}

/// The entrances a configuration asks for: two capture ports on a sidecar, the Gateways' ports on a router.
pub fn entrances(model: &Snapshot, ports: CapturePorts) -> Vec<Entrance> {
    let own_ports: Arc<[u16]> = [ports.outbound, ports.inbound].into();
    let entrance = |kind, bind, port| {
        let transparent = ports.transparent && kind == EntranceKind::Inbound;
        Entrance { kind, bind, port, own_ports: Arc::clone(&own_ports), transparent }
    };
    match model.node.proxy_type {
        ProxyType::Sidecar => {
            vec![entrance(EntranceKind::Outbound, None, ports.outbound), entrance(EntranceKind::Inbound, None, ports.inbound)]
        }
        ProxyType::Router => model.gateways.iter().map(|listener| entrance(EntranceKind::Gateway, listener.bind, listener.port)).collect(),
    }
}

#[cfg(test)]
mod tests;
