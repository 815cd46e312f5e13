//! One connection from its arrival to its end: accepted -> captured -> inspected -> secured -> served.
//!
//! Each step consumes what the step before it made, so that a connection can be neither served twice nor forgotten
//! half-way. Configuration is looked up when a decision is due, never held while waiting for a peer.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use bytes::Bytes;
use outrigger_config::model::ServiceRef;

use super::dispatch::Accepted;
use super::entrance::{Entrance, EntranceKind};
use super::live::Place;
use super::occasion::Occasion;
use super::original_dst::{self, CaptureError, canonical};
use super::socket::Socket;
use super::{Direction, Downstream, DownstreamIo, DownstreamTls, Transport, Way, gateway, inbound, outbound};
use crate::http::{self, Codec};
use crate::prefixed::Prefixed;
use crate::runtime::{Worker, boxed};
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

/// What becomes of a connection from some step on.
pub type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves an accepted connection until its end; it has its place for as long.
///
/// What needs no waiting is done at once, on the worker's runtime: the future is moved several times on its way into a task, and kept
/// there whole.
pub(super) fn serve(worker: Arc<Worker>, accepted: Accepted, place: Place) -> impl Future<Output = ()> + Send + 'static {
    let Accepted { stream, peer, accepted_at, entrance, guard } = accepted;
    let serving = captured(worker, stream, canonical(peer), accepted_at, &entrance)
        .map(|(captured, stream)| serve_captured(entrance.kind, entrance.port, captured, stream));
    async move {
        if let Some(serving) = serving {
            serving.await;
        }
        drop((guard, place));
    }
}

/// Finds out where an accepted connection was going, and closes it when that cannot be followed.
fn captured(
    worker: Arc<Worker>,
    stream: std::net::TcpStream,
    peer: SocketAddr,
    accepted_at: SystemTime,
    entrance: &Entrance,
) -> Option<(Captured, Socket)> {
    match destination(&worker, &stream, peer, entrance) {
        Ok(destination) => {
            let source = entrance.transparent.then_some(peer.ip());
            Some((Captured { worker, peer, destination, accepted_at, source }, Socket::fresh(stream)))
        }
        Err(error) => {
            static OCCASION: Occasion = Occasion::new();
            if let Some(left_out) = OCCASION.take() {
                tracing::warn!(%peer, port = entrance.port, left_out, "connection closed: {error}");
            }
            None
        }
    }
}

fn destination(worker: &Worker, stream: &std::net::TcpStream, peer: SocketAddr, entrance: &Entrance) -> Result<SocketAddr, CaptureError> {
    match entrance.kind {
        EntranceKind::Gateway => match entrance.address() {
            Some(address) => Ok(address),
            None => Ok(canonical(stream.local_addr()?)),
        },
        EntranceKind::Outbound | EntranceKind::Inbound => {
            let config = worker.config.load();
            let recover = if entrance.transparent { original_dst::recover_transparent } else { original_dst::recover };
            recover(stream, peer, &entrance.own_ports, &config.model.node.ip_addresses)
        }
    }
}

/// Serves a connection whose destination is known until its end. `port` is the one it came in on.
///
/// A future is as large as the largest of its stages. So each stage that is over before the long part of a connection's life,
/// and that part itself, is boxed where it begins: an idle connection keeps what its own last stage needs, a quarter of what all
/// need together.
pub fn serve_captured(kind: EntranceKind, port: u16, captured: Captured, stream: Socket) -> Serving {
    match kind {
        EntranceKind::Outbound => boxed(|| outbound::serve(captured, stream)),
        EntranceKind::Inbound => boxed(|| inbound::serve(captured, stream)),
        EntranceKind::Gateway => boxed(|| gateway::serve(captured, port, stream)),
    }
}

/// What the steps found out, on the way to a [`Downstream`].
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub listener: Cow<'static, str>,
    pub tls: Option<DownstreamTls>,
    pub sni: Option<String>,
    pub service: Option<ServiceRef>,
    /// `None` when it cannot be taken away.
    pub way: Option<Way>,
}

impl Captured {
    /// For those who connect on its behalf.
    pub(super) fn client(&self) -> Client {
        Client { destination: self.destination, source: self.source }
    }

    /// The facts for whoever serves the connection.
    pub(super) fn downstream(&self, direction: Direction, findings: Findings) -> Arc<Downstream> {
        let door = findings.way.map(|way| self.worker.config.enter(way));
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
        boxed(|| http::serve(io, downstream, table, codec, self.worker)).await;
    }
}

/// A plaintext connection with the bytes that were read from it in front.
pub(super) fn plain((read, stream): (Bytes, Socket)) -> DownstreamIo {
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
