//! Connections from clients to the ports of a gateway.
//!
//! Source: Istio semantics 3.2 to 3.5.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use outrigger_config::model::{
    GatewayListener, GatewayListenerKind, GatewayTlsAction, GatewayTlsChain, ServerTls, ServerTlsMode, Snapshot, SniRoute, TcpRoute,
};

use super::connection::{Captured, Findings, codec_of, plain};
use super::filter_chain;
use super::inspector::{CLIENT_HELLO_LIMIT, FirstBytes, Inspected, Inspector, LookFor};
use super::occasion::Occasion;
use super::socket::Socket;
use super::{Direction, DownstreamIo, DownstreamTls, Transport, Way, tls};
use crate::http::Codec;
use crate::identity::handshake_reason;
use crate::prefixed::Prefixed;
use crate::tcp::{self, Refused, Target};
use crate::telemetry::ResponseFlags;

/// Details of a connection that no server of the port wants, in Envoy's words.
const NO_CHAIN: &str = "filter_chain_not_found";

/// Serves a connection that came in on a gateway port.
pub(super) async fn serve(captured: Captured, port: u16, stream: Socket) {
    let config = captured.worker.config.load_full();
    let Some(listener) = gateway_listener(&config.model, captured.destination) else { return };
    let mut findings = Findings { listener: listener.name.clone().into(), ..Findings::default() };
    let io = |stream| plain((Bytes::new(), stream));
    match &listener.kind {
        GatewayListenerKind::Http(routes) => {
            let table: Arc<str> = routes.name.as_str().into();
            drop(config);
            findings.way = Some(Way::Requests(Arc::clone(&table)));
            let downstream = captured.downstream(Direction::Gateway, findings);
            captured.serve_http(io(stream), downstream, table, Codec::Auto).await;
        }
        GatewayListenerKind::Tcp(route) => {
            let target = route.as_ref().map(|route| Target::route(&config, route));
            findings.way = Some(Way::bytes(listener));
            drop(config);
            to_route(&captured, findings, io(stream), target).await;
        }
        GatewayListenerKind::Tls(_) => {
            drop(config);
            Box::pin(inspect(captured, port, findings, stream)).await;
        }
    }
}

async fn inspect(captured: Captured, port: u16, mut findings: Findings, stream: Socket) {
    let mut inspector = Inspector::new(stream, LookFor::TlsOnly);
    match inspector.inspect(CLIENT_HELLO_LIMIT).await {
        Ok(Inspected::Spoke(FirstBytes::Tls(hello))) => {
            findings.sni = hello.sni;
            let opening = Hello { alpn: hello.alpn, read: inspector.into_parts() };
            by_name(captured, findings, opening).await;
        }
        Ok(Inspected::Spoke(_)) => refuse(&captured, findings, "plaintext_on_a_TLS_port"),
        outcome => tracing::debug!(peer = %captured.peer, port, ?outcome, "closed before a ClientHello"),
    }
}

/// A connection after its ClientHello.
struct Hello {
    /// Protocols offered.
    alpn: Vec<Vec<u8>>,
    /// What was read, and the socket.
    read: (Bytes, Socket),
}

async fn by_name(captured: Captured, mut findings: Findings, hello: Hello) {
    let config = captured.worker.config.load_full();
    let Some((way, chain)) = chain_of(&config.model, captured.destination, findings.sni.as_deref()) else {
        return refuse(&captured, findings, NO_CHAIN);
    };
    findings.way = Some(way);
    match &chain.action {
        GatewayTlsAction::Http { tls, routes } => {
            let (tls, table) = (Arc::clone(tls), Arc::<str>::from(routes.name.as_str()));
            drop(config);
            let Some((io, tls)) = Box::pin(terminate(&captured, &tls, &findings, hello)).await else { return };
            let (codec, way) = (codec_of(&tls), Some(Way::Requests(Arc::clone(&table))));
            let downstream = captured.downstream(Direction::Gateway, Findings { tls: Some(tls), way, ..findings });
            captured.serve_http(io, downstream, table, codec).await;
        }
        GatewayTlsAction::Tcp { tls, route } => {
            let (tls, target) = (Arc::clone(tls), route.as_ref().map(|route| Target::route(&config, route)));
            drop(config);
            let Some((io, tls)) = Box::pin(terminate(&captured, &tls, &findings, hello)).await else { return };
            to_route(&captured, Findings { tls: Some(tls), ..findings }, io, target).await;
        }
        GatewayTlsAction::Passthrough(routes) => {
            let target = passthrough(routes, &findings, &captured).map(|route| Target::route(&config, route));
            drop(config);
            to_route(&captured, findings, plain(hello.read), target).await;
        }
    }
}

/// The gateway listener of an address; one bound to the very address goes before one bound to all.
fn gateway_listener(model: &Snapshot, address: SocketAddr) -> Option<&GatewayListener> {
    let on_port = || model.gateways.iter().filter(|listener| listener.port == address.port());
    let exact = on_port().find(|listener| listener.bind == Some(address.ip()));
    exact.or_else(|| on_port().find(|listener| listener.bind.as_ref().is_none_or(IpAddr::is_unspecified)))
}

/// The server of an address for a name, and the way of bytes to it.
fn chain_of<'a>(model: &'a Snapshot, address: SocketAddr, sni: Option<&str>) -> Option<(Way, &'a GatewayTlsChain)> {
    let listener = gateway_listener(model, address)?;
    let GatewayListenerKind::Tls(chains) = &listener.kind else { return None };
    Some((Way::bytes(listener), filter_chain::gateway(chains, sni)?))
}

fn passthrough<'a>(routes: &'a [SniRoute], findings: &Findings, captured: &Captured) -> Option<&'a TcpRoute> {
    let matching = routes.iter().find(|route| route.matches(findings.sni.as_deref(), captured.destination));
    matching.map(|route| &route.route)
}

/// The server side of the handshake; a failure is logged and counted here.
async fn terminate(
    captured: &Captured,
    settings: &Arc<ServerTls>,
    findings: &Findings,
    hello: Hello,
) -> Option<(DownstreamIo, DownstreamTls)> {
    let outcome = async {
        let config = captured.worker.identity.gateway_config(settings, &hello.alpn).await.map_err(|error| error.to_string())?;
        let mutual = settings.mode == ServerTlsMode::IstioMutual;
        let local = captured.worker.identity.current().filter(|_| mutual).map(|current| current.spiffe_id().to_string());
        let (read, stream) = hello.read;
        let secured = Box::pin(tls::accept(&captured.worker.handshakes, read, stream, config, local)).await;
        secured.map_err(|error| match error.kind() {
            io::ErrorKind::QuotaExceeded => tls::OVERFLOW.to_owned(),
            _ => format!("TLS handshake failed: {}", handshake_reason(&error)),
        })
    };
    match outcome.await {
        Ok((session, tls)) => Some((Prefixed::new(Bytes::new(), Transport::Tls(Box::new(session))), tls)),
        Err(reason) => {
            static OCCASION: Occasion = Occasion::new();
            if let Some(left_out) = OCCASION.take() {
                tracing::info!(peer = %captured.peer, listener = &*findings.listener, sni = findings.sni, left_out, "connection closed: {reason}");
            }
            let findings = Findings { listener: findings.listener.clone(), sni: findings.sni.clone(), ..Findings::default() };
            refuse(captured, findings, &reason.replace(' ', "_"));
            None
        }
    }
}

async fn to_route(captured: &Captured, findings: Findings, io: DownstreamIo, target: Option<Target>) {
    match target {
        Some(target) => {
            let downstream = captured.downstream(Direction::Gateway, findings);
            Box::pin(tcp::serve(&captured.worker, downstream, io, target)).await;
        }
        None => refuse(captured, findings, NO_CHAIN),
    }
}

fn refuse(captured: &Captured, findings: Findings, details: &str) {
    let flags = if details == tls::OVERFLOW { ResponseFlags::OM } else { ResponseFlags::NR };
    let refused = Refused { flags, details: details.to_owned().into(), upstream: None };
    tcp::refuse(&captured.worker, captured.downstream(Direction::Gateway, findings), refused);
}
