//! One connection from its arrival to its end: accepted -> captured -> inspected -> secured -> served.
//!
//! Each step consumes what the step before it made, so that a connection can be neither served twice nor forgotten
//! half-way. Configuration is looked up when a decision is due, never held while waiting for a peer.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use bytes::Bytes;
use outrigger_config::model::ServiceRef;
use tokio::net::TcpStream;

use super::dispatch::Accepted;
use super::entrance::EntranceKind;
use super::live::Place;
use super::occasion::Occasion;
use super::original_dst::{self, canonical};
use super::{Direction, Downstream, DownstreamIo, DownstreamTls, Transport, gateway, inbound, outbound};
use crate::http::{self, Codec};
use crate::prefixed::Prefixed;
use crate::runtime::Worker;
use crate::tcp::Client;
use crate::telemetry::ConnectionScope;

/// A connection whose destination is known.
#[derive(Debug)]
pub struct Captured {
    /// Who serves it.
    pub worker: Arc<Worker>,
    /// Peer address.
    pub peer: SocketAddr,
    /// Where the client wanted to go: the original destination, at gateways our own address.
    pub destination: SocketAddr,
    /// When it was accepted.
    pub accepted_at: SystemTime,
    /// As in [`Downstream::source`].
    pub source: Option<IpAddr>,
}

/// Serves an accepted connection until its end; it has its place for as long.
pub(super) async fn serve(worker: Arc<Worker>, accepted: Accepted, place: Place) {
    let Accepted { stream, peer, accepted_at, entrance, guard } = accepted;
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let destination = match entrance.kind {
        EntranceKind::Gateway => stream.local_addr().map(canonical).map_err(Into::into),
        EntranceKind::Outbound | EntranceKind::Inbound => {
            let config = worker.config.load();
            let recover = if entrance.transparent { original_dst::recover_transparent } else { original_dst::recover };
            recover(&stream, &entrance.own_ports, &config.model.node.ip_addresses)
        }
    };
    match destination {
        Ok(destination) => {
            let peer = canonical(peer);
            let captured = Captured { worker, peer, destination, accepted_at, source: entrance.transparent.then_some(peer.ip()) };
            serve_captured(entrance.kind, entrance.port, captured, stream).await;
        }
        Err(error) => {
            static OCCASION: Occasion = Occasion::new();
            if let Some(left_out) = OCCASION.take() {
                tracing::warn!(%peer, port = entrance.port, left_out, "connection closed: {error}");
            }
        }
    }
    drop((guard, place));
}

/// Serves a connection whose destination is known until its end. `port` is the one it came in on.
///
/// A future is as large as the largest of its stages. So each stage that is over before the long part of a connection's life,
/// and that part itself, is boxed where it begins: an idle connection keeps what its own last stage needs, a quarter of what all
/// need together.
pub async fn serve_captured(kind: EntranceKind, port: u16, captured: Captured, stream: TcpStream) {
    match kind {
        EntranceKind::Outbound => Box::pin(outbound::serve(captured, stream)).await,
        EntranceKind::Inbound => Box::pin(inbound::serve(captured, stream)).await,
        EntranceKind::Gateway => Box::pin(gateway::serve(captured, port, stream)).await,
    }
}

/// What the steps found out, on the way to a [`Downstream`].
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub listener: Cow<'static, str>,
    pub tls: Option<DownstreamTls>,
    pub sni: Option<String>,
    pub service: Option<ServiceRef>,
}

impl Captured {
    /// For those who connect on its behalf.
    pub(super) fn client(&self) -> Client {
        Client { destination: self.destination, source: self.source }
    }

    /// The facts for whoever serves the connection.
    pub(super) fn downstream(&self, direction: Direction, findings: Findings) -> Arc<Downstream> {
        let door = self.worker.config.enter(direction, self.destination, findings.tls.is_some());
        Arc::new(Downstream {
            door,
            direction,
            listener: findings.listener,
            peer: self.peer,
            destination: self.destination,
            source: self.source,
            accepted_at: self.accepted_at,
            tls: findings.tls,
            sni: findings.sni,
            service: findings.service,
            peer_workload: OnceLock::new(),
            scope: ConnectionScope::default(),
            client_text: Default::default(),
        })
    }

    /// Hands the connection to the HTTP connection manager.
    pub(super) async fn serve_http(self, io: DownstreamIo, downstream: Arc<Downstream>, table: Arc<str>, codec: Codec) {
        Box::pin(http::serve(io, downstream, table, codec, self.worker)).await;
    }
}

/// A plaintext connection with the bytes that were read from it in front.
pub(super) fn plain((read, stream): (Bytes, TcpStream)) -> DownstreamIo {
    Prefixed::new(read, Transport::Plain(stream))
}

/// The codec that a TLS session agreed on; without ALPN the bytes inside decide.
pub(super) fn codec_of(tls: &DownstreamTls) -> Codec {
    match tls.alpn.as_deref() {
        Some(b"h2") => Codec::Http2,
        Some(b"http/1.1" | b"http/1.0") => Codec::Http1,
        _ => Codec::Auto,
    }
}
