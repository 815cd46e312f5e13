//! Connections of the local application to the mesh and beyond it.
//!
//! Source: Istio semantics 4.4 (unknown destinations), 5.2 and 5.3 (listeners and detection).

use std::sync::Arc;
use std::time::Duration;

use outrigger_config::model::{Listener, ListenerProtocol, Snapshot};
use tokio::net::TcpStream;

use super::connection::{Captured, Findings, plain};
use super::filter_chain::{self, OutboundChain};
use super::first_bytes::{IDLE, Opening, open};
use super::inspector::{FirstBytes, Inspector, LookFor};
use super::{Direction, Downstream, DownstreamIo};
use crate::snapshot::Config;
use crate::tcp::{self, Target, Upstream};

/// Serves a captured outbound connection until its end.
pub(super) async fn serve(captured: Captured, stream: TcpStream) {
    let config = captured.worker.config.load_full();
    let listener = config.model.outbound.find(captured.destination).filter(|listener| listener.protocol.sniffs()).cloned();
    let Some(listener) = listener else {
        return without_inspection(captured, &config, stream).await;
    };
    let look_for = if listener.protocol == ListenerProtocol::Tls { LookFor::TlsOnly } else { LookFor::Http };
    let mut inspector = Inspector::new(stream, look_for);
    let (silence, dials) = patience(&listener, &config.model);
    let silent_target = tcp_target(&config, Some(&listener));
    drop((config, listener));
    let dial = dials.then(|| tcp::connect(&captured.worker, silent_target, captured.destination));
    let opening = open(&mut inspector, silence, dial).await;
    opened(captured, opening, plain(inspector.into_parts())).await;
}

/// How long a client may be silent, and whether the upstream is dialled after that. Clients of declared HTTP and TLS ports
/// speak first by definition; a zero setting is Istio's "wait without limit".
fn patience(listener: &Listener, model: &Snapshot) -> (Duration, bool) {
    let timeout = model.mesh.protocol_detection_timeout;
    let dials = listener.protocol == ListenerProtocol::Auto && !timeout.is_zero();
    (if dials { timeout } else { IDLE }, dials)
}

async fn without_inspection(captured: Captured, config: &Config, stream: TcpStream) {
    let listener = config.model.outbound.find(captured.destination);
    let downstream = facts(&captured, listener.map(Arc::as_ref), None);
    let target = tcp_target(config, listener.map(Arc::as_ref));
    tcp::serve(&captured.worker, downstream, plain((bytes::Bytes::new(), stream)), target).await;
}

async fn opened(captured: Captured, opening: Opening, io: DownstreamIo) {
    let config = captured.worker.config.load_full();
    let listener = config.model.outbound.find(captured.destination).cloned();
    let listener = listener.as_deref();
    match opening {
        Opening::Client(first, dialled) => client_spoke(captured, config, &first, dialled, io).await,
        Opening::Server(upstream) => {
            let downstream = facts(&captured, listener, None);
            tcp::forward(&captured.worker, downstream, io, upstream).await;
        }
        Opening::Unreachable(refused) => tcp::refuse(&captured.worker, facts(&captured, listener, None), refused),
        Opening::Over(reason) => {
            tracing::debug!(peer = %captured.peer, destination = %captured.destination, ?reason, "closed before a request");
        }
    }
}

async fn client_spoke(captured: Captured, config: Arc<Config>, first: &FirstBytes, dialled: Option<Upstream>, io: DownstreamIo) {
    let listener = config.model.outbound.find(captured.destination).cloned();
    let downstream = facts(&captured, listener.as_deref(), sni(first));
    let chain =
        listener.as_deref().map_or(OutboundChain::Unknown, |listener| filter_chain::outbound(listener, first, captured.destination));
    let target = match chain {
        OutboundChain::Http(version) => {
            let table = listener.as_ref().and_then(|listener| listener.http.as_ref()).map(|table| table.name.clone()).unwrap_or_default();
            drop((config, listener, dialled));
            return captured.serve_http(io, downstream, &table, version.into()).await;
        }
        OutboundChain::Tcp(route) => Target::route(&config, route),
        OutboundChain::Unknown => Target::cluster(&config, config.model.outbound.unknown),
    };
    match dialled.filter(|upstream| upstream.serves(&target)) {
        Some(upstream) => tcp::forward(&captured.worker, downstream, io, upstream).await,
        None => tcp::serve(&captured.worker, downstream, io, target).await,
    }
}

/// Where bytes go that are neither HTTP nor TLS.
fn tcp_target(config: &Config, listener: Option<&Listener>) -> Target {
    match listener.map(filter_chain::outbound_tcp) {
        Some(OutboundChain::Tcp(route)) => Target::route(config, route),
        _ => Target::cluster(config, config.model.outbound.unknown),
    }
}

fn facts(captured: &Captured, listener: Option<&Listener>, sni: Option<String>) -> Arc<Downstream> {
    let name = listener.map_or("virtualOutbound", |listener| listener.name.as_str()).to_owned();
    captured.downstream(Direction::Outbound, Findings { listener: name, sni, ..Findings::default() })
}

fn sni(first: &FirstBytes) -> Option<String> {
    match first {
        FirstBytes::Tls(hello) => hello.sni.clone(),
        _ => None,
    }
}
