//! Which filter chain a connection takes, decided from facts alone: no I/O, no clock.
//!
//! Sources: sidecar contract 5.3 (inbound, per mode and declared protocol), Istio semantics 4.4 and 5.2 (outbound), 3.5
//! (gateways). One deliberate difference (contract section 8, item 11): ordinary TLS to a port declared HTTP is passed on
//! untouched instead of being reset.

use std::net::SocketAddr;

use outrigger_config::model::{GatewayTlsChain, Listener, ListenerProtocol, MtlsMode, RouteConfiguration, TcpRoute, host_matches};

use super::http_inspector::HttpVersion;
use super::inspector::FirstBytes;
use super::tls_inspector::ClientHello;

/// What an outbound listener does with a connection.
#[derive(Clone, Debug)]
pub enum OutboundChain<'a> {
    /// The listener's route table.
    Http(&'a RouteConfiguration, HttpVersion),
    /// Weighted clusters.
    Tcp(&'a TcpRoute),
    /// `PassthroughCluster` or `BlackHoleCluster`.
    Unknown,
}

/// Chooses for an outbound connection whose first bytes are known. HTTP is parsed only where somebody expects it: on other
/// listeners it is bytes like any others.
pub fn outbound<'a>(listener: &'a Listener, first: &FirstBytes, destination: SocketAddr) -> OutboundChain<'a> {
    let expects_http = matches!(listener.protocol, ListenerProtocol::Http | ListenerProtocol::Auto);
    match (first, &listener.http) {
        (FirstBytes::Http(version), Some(table)) if expects_http => OutboundChain::Http(table, *version),
        (FirstBytes::Tls(hello), _) => outbound_tls(listener, hello, destination),
        _ => outbound_tcp(listener),
    }
}

fn outbound_tls<'a>(listener: &'a Listener, hello: &ClientHello, destination: SocketAddr) -> OutboundChain<'a> {
    let matching = listener.tls.iter().find(|route| route.matches(hello.sni.as_deref(), destination));
    match matching {
        Some(route) => OutboundChain::Tcp(&route.route),
        None => outbound_tcp(listener),
    }
}

/// The chain for bytes that are neither HTTP nor TLS, and for connections on which the server speaks first.
pub fn outbound_tcp(listener: &Listener) -> OutboundChain<'_> {
    listener.tcp.as_ref().map_or(OutboundChain::Unknown, OutboundChain::Tcp)
}

/// Why a connection without TLS is closed.
pub const PLAINTEXT: &str = "plaintext on a port that requires mTLS (PeerAuthentication STRICT)";

/// What an inbound port does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InboundAction {
    /// Terminate mesh mTLS, then serve.
    MutualTls(Inner),
    /// Serve the bytes as they are.
    Plain(Inner),
    /// Close; the reason goes to the log.
    Refuse(&'static str),
}

/// What is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inner {
    /// The HTTP connection manager.
    Http,
    /// Bytes to the application.
    Tcp,
}

/// Whether the client's first bytes decide anything on an inbound port.
pub fn inbound_inspects(mode: MtlsMode, protocol: ListenerProtocol) -> bool {
    mode != MtlsMode::Disable || matches!(protocol, ListenerProtocol::Http | ListenerProtocol::Auto)
}

/// Chooses for an inbound connection whose first bytes are known.
pub fn inbound(mode: MtlsMode, protocol: ListenerProtocol, first: &FirstBytes) -> InboundAction {
    match (mode, first) {
        (MtlsMode::Disable, _) => InboundAction::Plain(plain(protocol, first)),
        (MtlsMode::Strict, FirstBytes::Tls(hello)) => InboundAction::MutualTls(inside_tls(protocol, hello)),
        (MtlsMode::Strict, _) => InboundAction::Refuse(PLAINTEXT),
        (MtlsMode::Permissive, FirstBytes::Tls(hello)) if is_mesh(hello) => InboundAction::MutualTls(inside_tls(protocol, hello)),
        (MtlsMode::Permissive, _) => InboundAction::Plain(plain(protocol, first)),
    }
}

fn plain(protocol: ListenerProtocol, first: &FirstBytes) -> Inner {
    match (protocol, first) {
        (_, FirstBytes::Tls(_)) => Inner::Tcp,
        (ListenerProtocol::Http, _) | (ListenerProtocol::Auto, FirstBytes::Http(_)) => Inner::Http,
        _ => Inner::Tcp,
    }
}

fn inside_tls(protocol: ListenerProtocol, hello: &ClientHello) -> Inner {
    match protocol {
        ListenerProtocol::Http => Inner::Http,
        ListenerProtocol::Auto if offers(hello, &HTTP_ALPNS) => Inner::Http,
        _ => Inner::Tcp,
    }
}

const HTTP_ALPNS: [&[u8]; 3] = [b"istio-http/1.0", b"istio-http/1.1", b"istio-h2"];
const TCP_ALPNS: [&[u8]; 2] = [b"istio-peer-exchange", b"istio"];

/// Whether a ClientHello announces mesh mTLS: any of Istio's ALPN values.
pub fn is_mesh(hello: &ClientHello) -> bool {
    offers(hello, &HTTP_ALPNS) || offers(hello, &TCP_ALPNS)
}

fn offers(hello: &ClientHello, protocols: &[&[u8]]) -> bool {
    hello.alpn.iter().any(|offered| protocols.contains(&offered.as_slice()))
}

/// The server of a TLS gateway port for a name: exact, then the longest wildcard, then `*`, which alone also takes
/// clients that send no name.
pub fn gateway<'a>(chains: &'a [GatewayTlsChain], sni: Option<&str>) -> Option<&'a GatewayTlsChain> {
    let specificity = |pattern: &str| match pattern {
        "*" => Some(0),
        _ if !host_matches(pattern, sni?) => None,
        wildcard if wildcard.starts_with('*') => Some(wildcard.len()),
        _ => Some(usize::MAX),
    };
    let mut best: Option<(usize, &GatewayTlsChain)> = None;
    for chain in chains {
        let fit = chain.sni_hosts.iter().filter_map(|host| specificity(host)).max();
        if let Some(fit) = fit.filter(|fit| best.is_none_or(|(known, _)| *fit > known)) {
            best = Some((fit, chain));
        }
    }
    best.map(|(_, chain)| chain)
}

#[cfg(test)]
mod tests;
