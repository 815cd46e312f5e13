//! Connections from the mesh to the local application.
//!
//! Source: sidecar contract 4.4, 5.3 and 5.4, Istio semantics 5.6.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use outrigger_config::model::{InboundChain, ListenerProtocol, MtlsMode, Snapshot};

use super::connection::{Captured, Findings, codec_of, plain};
use super::filter_chain::{self, InboundAction, Inner, PLAINTEXT};
use super::first_bytes::{IDLE, Opening, open};
use super::http_inspector::HttpVersion;
use super::inspector::{CLIENT_HELLO_LIMIT, FirstBytes, Inspector, LookFor};
use super::occasion::Occasion;
use super::socket::Socket;
use super::tls_inspector::ClientHello;
use super::{Direction, Downstream, DownstreamIo, Transport, Way, tls};
use crate::http::Codec;
use crate::identity::handshake_reason;
use crate::prefixed::Prefixed;
use crate::tcp::{self, Refused, Target, Upstream};
use crate::telemetry::ResponseFlags;

/// The listener's name in logs and dumps.
const LISTENER: &str = "virtualInbound";

/// Serves a captured inbound connection until its end.
pub(super) async fn serve(captured: Captured, stream: Socket) {
    let Some((chain, timeout)) = chain_of(&captured) else {
        return tracing::warn!(peer = %captured.peer, destination = %captured.destination, "no inbound configuration; closed");
    };
    let target = application(&captured, &chain);
    if !filter_chain::inbound_inspects(chain.mtls, chain.protocol) {
        let downstream = facts(&captured, &chain, Findings::default());
        return Box::pin(tcp::serve(&captured.worker, downstream, plain((bytes::Bytes::new(), stream)), target)).await;
    }
    let http = matches!(chain.protocol, ListenerProtocol::Http | ListenerProtocol::Auto);
    let mut inspector = Inspector::new(stream, if http { LookFor::Http } else { LookFor::TlsOnly });
    let (silence, dials) = patience(&chain, timeout);
    drop(chain);
    let dial = dials.then(|| Box::pin(tcp::connect(&captured.worker, target, captured.client())));
    let opening = Box::pin(open(&mut inspector, silence, dial)).await;
    opened(captured, opening, inspector.into_parts()).await;
}

/// The chain for the connection's port and the mesh's detection time-out; `None` on a proxy without inbound side.
fn chain_of(captured: &Captured) -> Option<(Arc<InboundChain>, Duration)> {
    let config = captured.worker.config.load();
    let model: &Snapshot = &config.model;
    let chain = model.inbound.as_ref()?.find(captured.destination.port());
    Some((Arc::clone(chain), model.mesh.protocol_detection_timeout))
}

/// Least silence on a PERMISSIVE port before the application is dialled. A mesh client sends its ClientHello at once, but
/// a busy machine may take its time over it, and an application that speaks first would answer it in plaintext.
const CLIENT_HELLO_GRACE: Duration = Duration::from_millis(500);

/// How long a client may be silent, and whether the application is dialled after that. Under STRICT nothing is dialled
/// before the handshake.
fn patience(chain: &InboundChain, timeout: Duration) -> (Duration, bool) {
    match (chain.mtls, chain.protocol) {
        (MtlsMode::Strict, _) => (CLIENT_HELLO_LIMIT, false),
        (_, ListenerProtocol::Http) => (IDLE, false),
        _ if timeout.is_zero() => (IDLE, false),
        (MtlsMode::Permissive, _) => (timeout.max(CLIENT_HELLO_GRACE), true),
        (MtlsMode::Disable, _) => (timeout, true),
    }
}

async fn opened(captured: Captured, opening: Opening, read: (bytes::Bytes, Socket)) {
    let Some((chain, _)) = chain_of(&captured) else { return };
    let bare = |captured: &Captured| facts(captured, &chain, Findings::default());
    match opening {
        Opening::Client(first, dialled) => client_spoke(captured, chain, first, dialled, read).await,
        // The policy may have changed while the client was silent.
        Opening::Server(_) if chain.mtls == MtlsMode::Strict => refuse(&captured, &chain, Findings::default(), PLAINTEXT),
        Opening::Server(upstream) => Box::pin(tcp::forward(&captured.worker, bare(&captured), plain(read), upstream)).await,
        Opening::Unreachable(refused) => tcp::refuse(&captured.worker, bare(&captured), refused),
        Opening::Over(reason) => {
            tracing::debug!(peer = %captured.peer, destination = %captured.destination, ?reason, "closed before a request");
        }
    }
}

async fn client_spoke(
    captured: Captured,
    chain: Arc<InboundChain>,
    first: FirstBytes,
    dialled: Option<Upstream>,
    read: (bytes::Bytes, Socket),
) {
    match (filter_chain::inbound(chain.mtls, chain.protocol, &first), first) {
        (InboundAction::MutualTls(inner), FirstBytes::Tls(hello)) => Box::pin(secure(captured, chain, inner, hello, dialled, read)).await,
        (InboundAction::Plain(Inner::Http), first) => {
            let codec = match first {
                FirstBytes::Http(version) => version.into(),
                _ => Codec::Auto,
            };
            let downstream = facts(&captured, &chain, Findings::default());
            captured.serve_http(plain(read), downstream, chain.http.name.as_str().into(), codec).await;
        }
        (InboundAction::Plain(Inner::Tcp), first) => {
            let sni = match first {
                FirstBytes::Tls(hello) => hello.sni,
                _ => None,
            };
            let downstream = facts(&captured, &chain, Findings { sni, ..Findings::default() });
            to_application(&captured, &chain, downstream, plain(read), dialled).await;
        }
        (InboundAction::Refuse(reason), _) => refuse(&captured, &chain, Findings::default(), reason),
        (InboundAction::MutualTls(_), _) => refuse(&captured, &chain, Findings::default(), "TLS expected"),
    }
}

/// Terminates mesh mTLS, then serves what is inside.
async fn secure(
    captured: Captured,
    chain: Arc<InboundChain>,
    inner: Inner,
    hello: ClientHello,
    dialled: Option<Upstream>,
    (read, stream): (bytes::Bytes, Socket),
) {
    let findings = Findings { sni: hello.sni.clone(), ..Findings::default() };
    let generation = match captured.worker.identity.require() {
        Ok(generation) => generation,
        Err(error) => return refuse(&captured, &chain, findings, &error.to_string()),
    };
    let config = match inner {
        Inner::Http => generation.server_config(hello.alpn.iter().map(Vec::as_slice)),
        Inner::Tcp => generation.server_config(std::iter::empty()),
    };
    let local = generation.spiffe_id().to_string();
    let (session, tls) = match Box::pin(tls::accept(&captured.worker.handshakes, read, stream, config, Some(local))).await {
        Ok(secured) => secured,
        Err(error) if error.kind() == io::ErrorKind::QuotaExceeded => return refuse(&captured, &chain, findings, tls::OVERFLOW),
        Err(error) => return refuse(&captured, &chain, findings, &format!("mTLS handshake failed: {}", handshake_reason(&error))),
    };
    let codec = codec_of(&tls);
    let downstream = facts(&captured, &chain, Findings { tls: Some(tls), ..findings });
    let io = Prefixed::new(bytes::Bytes::new(), Transport::Tls(Box::new(session)));
    match inner {
        Inner::Http => captured.serve_http(io, downstream, chain.http.name.as_str().into(), codec).await,
        Inner::Tcp => to_application(&captured, &chain, downstream, io, dialled).await,
    }
}

/// Bytes to the application, over the connection that was dialled while the client was silent if there is one.
async fn to_application(
    captured: &Captured,
    chain: &InboundChain,
    downstream: Arc<Downstream>,
    io: DownstreamIo,
    dialled: Option<Upstream>,
) {
    match dialled {
        Some(upstream) => Box::pin(tcp::forward(&captured.worker, downstream, io, upstream)).await,
        None => Box::pin(tcp::serve(&captured.worker, downstream, io, application(captured, chain))).await,
    }
}

fn application(captured: &Captured, chain: &InboundChain) -> Target {
    Target::cluster(&captured.worker.config.load(), chain.cluster)
}

fn refuse(captured: &Captured, chain: &InboundChain, findings: Findings, reason: &str) {
    static OCCASION: Occasion = Occasion::new();
    if let Some(left_out) = OCCASION.take() {
        tracing::info!(peer = %captured.peer, destination = %captured.destination, left_out, "inbound connection closed: {reason}");
    }
    let flags = if reason == tls::OVERFLOW { ResponseFlags::OM } else { ResponseFlags::NR };
    let refused = Refused { flags, details: reason.replace(' ', "_").into(), upstream: None };
    tcp::refuse(&captured.worker, facts(captured, chain, findings), refused);
}

fn facts(captured: &Captured, chain: &InboundChain, findings: Findings) -> Arc<Downstream> {
    let way = findings.tls.is_none().then(|| Way::Plaintext(captured.destination.port()));
    let findings = Findings { listener: LISTENER.into(), service: chain.service.clone(), way, ..findings };
    captured.downstream(Direction::Inbound, findings)
}

impl From<HttpVersion> for Codec {
    fn from(version: HttpVersion) -> Self {
        match version {
            HttpVersion::Http1 => Codec::Http1,
            HttpVersion::Http2 => Codec::Http2,
        }
    }
}
