//! Server side of TLS: the handshake with its time limit, and what it proved about the peer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{DownstreamTls, Prefixed};
use crate::identity::CertificateFacts;
use crate::identity::certificate::fingerprint;
use crate::identity::client::version_name;

/// Time for a downstream handshake; Istio sets the same.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(15);

/// Handshakes over a connection whose ClientHello has been read already. `local` is our own identity when this is mesh
/// mTLS.
///
/// # Errors
/// The handshake's reason, or `TimedOut` after [`HANDSHAKE_LIMIT`].
pub async fn accept(
    hello: Bytes,
    stream: TcpStream,
    config: Arc<ServerConfig>,
    local: Option<String>,
) -> io::Result<(TlsStream<Prefixed<TcpStream>>, DownstreamTls)> {
    let handshake = TlsAcceptor::from(config).accept(Prefixed::new(hello, stream));
    let session = timeout(HANDSHAKE_LIMIT, handshake)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake was not finished in 15 s"))??;
    let facts = describe(&session, local);
    Ok((session, facts))
}

fn describe(session: &TlsStream<Prefixed<TcpStream>>, local_identity: Option<String>) -> DownstreamTls {
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
