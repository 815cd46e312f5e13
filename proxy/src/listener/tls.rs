//! Server side of TLS: the handshake with its limits, and what it proved about the peer.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rustls::ServerConfig;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::DownstreamTls;
use super::io::ServerSession;
use super::socket::Socket;
use crate::identity::certificate::fingerprint;
use crate::identity::client::version_name;
use crate::identity::{CertificateFacts, Session};
use crate::prefixed::Prefixed;

/// Time for a downstream handshake; Istio sets the same.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(15);

/// Handshakes that a worker has in progress at most, where Envoy knows no limit. One costs tens of kilobytes and, of the
/// processor, as much as a hundred requests; clients that begin them and do not go on would hold both for 15 s each.
const MAX_HANDSHAKES: usize = 1024;
/// Details of a connection beyond it.
pub const OVERFLOW: &str = "tls_handshake_overflow";

/// The handshakes of one worker.
#[derive(Debug)]
pub struct Handshakes {
    limit: usize,
    active: AtomicUsize,
    refused: AtomicU64,
}

impl Default for Handshakes {
    fn default() -> Self {
        Handshakes::limited(MAX_HANDSHAKES)
    }
}

impl Handshakes {
    /// None in progress, and no more than `limit` at a time.
    pub fn limited(limit: usize) -> Self {
        Handshakes { limit, active: AtomicUsize::new(0), refused: AtomicU64::new(0) }
    }

    /// In progress.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// Connections closed because there were too many.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn begin(&self) -> Option<Handshaking<'_>> {
        let handshaking = Handshaking(self);
        if self.active.fetch_add(1, Ordering::Relaxed) < self.limit {
            return Some(handshaking);
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// One in progress.
struct Handshaking<'a>(&'a Handshakes);

impl Drop for Handshaking<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Handshakes over a connection whose ClientHello has been read already. `local` is our own identity when this is mesh
/// mTLS.
///
/// # Errors
/// The handshake's reason, `TimedOut` after [`HANDSHAKE_LIMIT`], or `QuotaExceeded` with [`OVERFLOW`] when the worker has too
/// many in progress.
pub async fn accept(
    handshakes: &Handshakes,
    hello: Bytes,
    stream: Socket,
    config: Arc<ServerConfig>,
    local: Option<String>,
) -> io::Result<(ServerSession, DownstreamTls)> {
    let _handshaking = handshakes.begin().ok_or_else(|| io::Error::new(io::ErrorKind::QuotaExceeded, OVERFLOW))?;
    let handshake = TlsAcceptor::from(config).accept(Prefixed::new(hello, stream));
    let session = timeout(HANDSHAKE_LIMIT, handshake)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake was not finished in 15 s"))??;
    let facts = describe(&session, local);
    Ok((Session::new(session.into_inner()), facts))
}

fn describe(session: &TlsStream<Prefixed<Socket>>, local_identity: Option<String>) -> DownstreamTls {
    let (_, connection) = session.get_ref();
    let leaf = connection.peer_certificates().and_then(|chain| chain.first());
    let facts = leaf.map(CertificateFacts::of).unwrap_or_default();
    DownstreamTls {
        peer_identity: facts.spiffe_id().map(str::to_owned),
        local_identity,
        peer_dns_names: facts.dns_names,
        peer_subject: facts.subject,
        peer_certificate_hash: leaf.map(fingerprint).unwrap_or_default(),
        version: version_name(connection.protocol_version()),
        alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
    }
}
