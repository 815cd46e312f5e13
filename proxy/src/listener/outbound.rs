//! Connections of the local application to the mesh and beyond it.
//!
//! Source: Istio semantics 4.4 (unknown destinations), 5.2 and 5.3 (listeners and detection).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outrigger_config::model::{Listener, ListenerProtocol, Snapshot};

use super::connection::{Captured, Findings, plain};
use super::filter_chain::{self, OutboundChain};
use super::first_bytes::{IDLE, Opening, open};
use super::http_inspector::HttpVersion;
use super::inspector::{FirstBytes, Inspector, LookFor};
use super::socket::Socket;
use super::{Direction, Downstream, DownstreamIo};
use crate::snapshot::Config;
use crate::tcp::{self, Target, Upstream};

/// Serves a captured outbound connection until its end.
pub(super) async fn serve(captured: Captured, stream: Socket) {
    let config = captured.worker.config.load_full();
    let listener = config.model.outbound.find(captured.destination).cloned();
    let target = tcp_target(&config, listener.as_deref());
    let Some(listener) = listener.filter(|listener| listener.protocol.sniffs()) else {
        drop(config);
        let downstream = facts(&captured, None);
        return Box::pin(tcp::serve(&captured.worker, downstream, plain((Bytes::new(), stream)), target)).await;
    };
    let look_for = if listener.protocol == ListenerProtocol::Tls { LookFor::TlsOnly } else { LookFor::Http };
    let mut inspector = Inspector::new(stream, look_for);
    let (silence, dials) = patience(&listener, &config.model);
    drop((config, listener));
    let dial = dials.then(|| Box::pin(tcp::connect(&captured.worker, target, captured.client())));
    let opening = Box::pin(open(&mut inspector, silence, dial)).await;
    opened(captured, opening, plain(inspector.into_parts())).await;
}

/// How long a client may be silent, and whether the upstream is dialled after that. Clients of declared HTTP and TLS ports
/// speak first by definition; a zero setting is Istio's "wait without limit".
fn patience(listener: &Listener, model: &Snapshot) -> (Duration, bool) {
    let timeout = model.mesh.protocol_detection_timeout;
    let dials = listener.protocol == ListenerProtocol::Auto && !timeout.is_zero();
    (if dials { timeout } else { IDLE }, dials)
}

async fn opened(captured: Captured, opening: Opening, io: DownstreamIo) {
    match opening {
        Opening::Client(first, dialled) => client_spoke(captured, &first, dialled, io).await,
        Opening::Server(upstream) => Box::pin(tcp::forward(&captured.worker, facts(&captured, None), io, upstream)).await,
        Opening::Unreachable(refused) => tcp::refuse(&captured.worker, facts(&captured, None), refused),
        Opening::Over(reason) => {
            tracing::debug!(peer = %captured.peer, destination = %captured.destination, ?reason, "closed before a request");
        }
    }
}

async fn client_spoke(captured: Captured, first: &FirstBytes, dialled: Option<Upstream>, io: DownstreamIo) {
    let sni = match first {
        FirstBytes::Tls(hello) => hello.sni.clone(),
        _ => None,
    };
    let downstream = facts(&captured, sni);
    match decide(&captured, first) {
        Decision::Http(table, version) => {
            drop(dialled);
            captured.serve_http(io, downstream, table, version.into()).await;
        }
        Decision::Tcp(target) => match dialled.filter(|upstream| upstream.serves(&target)) {
            Some(upstream) => Box::pin(tcp::forward(&captured.worker, downstream, io, upstream)).await,
            None => Box::pin(tcp::serve(&captured.worker, downstream, io, target)).await,
        },
    }
}

/// What the configuration of this moment says about a connection; holds nothing of it.
enum Decision {
    /// HTTP by the route table of this name.
    Http(Arc<str>, HttpVersion),
    /// Bytes.
    Tcp(Target),
}

fn decide(captured: &Captured, first: &FirstBytes) -> Decision {
    let config = captured.worker.config.load();
    let listener = config.model.outbound.find(captured.destination).map(Arc::as_ref);
    let chain = listener.map_or(OutboundChain::Unknown, |listener| filter_chain::outbound(listener, first, captured.destination));
    match chain {
        OutboundChain::Http(table, version) => Decision::Http(table.name.as_str().into(), version),
        OutboundChain::Tcp(route) => Decision::Tcp(Target::route(&config, route)),
        OutboundChain::Unknown => Decision::Tcp(Target::cluster(&config, config.model.outbound.unknown)),
    }
}

/// Where bytes go that are neither HTTP nor TLS.
fn tcp_target(config: &Config, listener: Option<&Listener>) -> Target {
    match listener.map(filter_chain::outbound_tcp) {
        Some(OutboundChain::Tcp(route)) => Target::route(config, route),
        _ => Target::cluster(config, config.model.outbound.unknown),
    }
}

fn facts(captured: &Captured, sni: Option<String>) -> Arc<Downstream> {
    let config = captured.worker.config.load();
    let listener = config.model.outbound.find(captured.destination);
    let name = listener.map_or("virtualOutbound".into(), |listener| listener.name.clone().into());
    captured.downstream(Direction::Outbound, Findings { listener: name, sni, ..Findings::default() })
}
