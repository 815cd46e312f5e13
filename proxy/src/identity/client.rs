//! Client side of TLS: mesh mTLS to a peer whose identity is known, and TLS origination to servers outside the mesh.
//!
//! The caller bounds the time: connect time-outs cover TCP and TLS together (Envoy's `connect_timeout`).

use std::sync::Arc;

use outrigger_config::model::TlsOrigination;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion};
use rustls_pki_types::{DnsName, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::certificate::CertificateFacts;
use super::{Identity, Session, TlsError};

/// What a mesh client offers as ALPN (sidecar contract 5.1). `istio-peer-exchange` is left out: its TCP metadata exchange
/// is not spoken, and offering it would promise that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MeshAlpn {
    /// HTTP/1.1 requests: `istio-http/1.1`, `istio`, `http/1.1`.
    Http1,
    /// HTTP/2 requests: `istio-h2`, `istio`, `h2`.
    Http2,
    /// Opaque bytes: `istio`.
    Tcp,
}

impl MeshAlpn {
    /// The list, best first.
    pub fn protocols(self) -> Vec<Vec<u8>> {
        let list: &[&[u8]] = match self {
            MeshAlpn::Http1 => &[b"istio-http/1.1", b"istio", b"http/1.1"],
            MeshAlpn::Http2 => &[b"istio-h2", b"istio", b"h2"],
            MeshAlpn::Tcp => &[b"istio"],
        };
        list.iter().map(|protocol| protocol.to_vec()).collect()
    }
}

/// The other end of a mesh mTLS connection.
#[derive(Clone, Copy, Debug)]
pub struct MeshTarget<'a> {
    /// Name in the ClientHello, `outbound_.80_.v1_.host`.
    pub sni: &'a str,
    /// Accepted SPIFFE URIs (or DNS SANs, from a DestinationRule); empty = any identity of the trust domains.
    pub expected: &'a [&'a str],
    /// What is spoken inside.
    pub alpn: MeshAlpn,
}

/// What an upstream TLS session proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// First SPIFFE URI of the peer's certificate.
    pub identity: Option<Arc<str>>,
    /// Our own SPIFFE URI, when mesh mTLS was spoken.
    pub local_identity: Option<Arc<str>>,
    /// Negotiated ALPN.
    pub alpn: Option<Vec<u8>>,
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
}

/// Our end of a session as its client.
pub type ClientSession<IO> = Session<IO, ClientConnection>;

/// Handshakes as a mesh client and verifies who answers before a byte of payload is sent.
///
/// # Errors
/// No workload certificate, or the handshake's reason: wrong root, wrong identity, expired, refused by the peer.
pub async fn connect<IO>(identity: &Identity, io: IO, target: MeshTarget<'_>) -> Result<(ClientSession<IO>, PeerInfo), TlsError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let generation = identity.require()?;
    let config = generation.client_config(target.alpn, target.expected);
    handshake(io, config, target.sni, Some(Arc::clone(generation.spiffe_id()))).await
}

/// Handshakes with a server outside the mesh's mTLS (DestinationRule `SIMPLE` and `MUTUAL`). `dialled` is the name the
/// request is for: the SNI and the name verified when the configuration gives none.
///
/// # Errors
/// Key material that cannot be used, or the handshake's reason.
pub async fn originate<IO>(
    identity: &Identity,
    io: IO,
    origination: &Arc<TlsOrigination>,
    dialled: &str,
    alpn: &[&[u8]],
) -> Result<(ClientSession<IO>, PeerInfo), TlsError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let config = identity.origination_config(origination, alpn).await?;
    handshake(io, config, origination.sni.as_deref().unwrap_or(dialled), None).await
}

async fn handshake<IO>(
    io: IO,
    config: Arc<ClientConfig>,
    sni: &str,
    local: Option<Arc<str>>,
) -> Result<(ClientSession<IO>, PeerInfo), TlsError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let (config, name) = server_name(config, sni)?;
    let stream = TlsConnector::from(config).connect(name, io).await?;
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates().and_then(|chain| chain.first());
    let info = PeerInfo {
        identity: leaf.and_then(|leaf| CertificateFacts::of(leaf).spiffe_id().map(Into::into)),
        local_identity: local,
        alpn: session.alpn_protocol().map(<[u8]>::to_vec),
        version: version_name(session.protocol_version()),
    };
    Ok((Session::new(stream.into_inner()), info))
}

/// The name for rustls. One that cannot stand in a ClientHello (a wildcard ServiceEntry host) is not sent at all; it is
/// never the name verified in mesh mTLS.
pub(super) fn server_name(config: Arc<ClientConfig>, sni: &str) -> Result<(Arc<ClientConfig>, ServerName<'static>), TlsError> {
    if let Ok(name) = ServerName::try_from(sni.trim_end_matches('.')) {
        return Ok((config, name.to_owned()));
    }
    let nameless = DnsName::try_from("invalid.invalid").map_err(|error| TlsError::Configuration(error.to_string()))?;
    let mut config = ClientConfig::clone(&config);
    config.enable_sni = false;
    Ok((Arc::new(config), ServerName::DnsName(nameless)))
}

/// The version as Envoy's logs write it.
pub fn version_name(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "unknown",
    }
}
