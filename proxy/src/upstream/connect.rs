//! Dialling: TCP with source address and socket options, then TLS as the cluster and the endpoint ask for it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use nix::sys::socket::{setsockopt, sockopt};
use outrigger_config::model::{MeshTls, TcpKeepalive, UpstreamTls};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

use super::cluster::ClusterState;
use super::host::Host;
use super::transparent;
use crate::error::{Error, Failure};
use crate::identity::client::{self, ClientSession, MeshAlpn, MeshTarget, PeerInfo};
use crate::identity::{Identity, TlsError};
use crate::runtime::stay_on_this_host;

/// What is spoken over a connection; decides ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Opaque bytes.
    Tcp,
}

/// A connection to make.
#[derive(Clone, Copy, Debug)]
pub struct Dial<'a> {
    /// For time-out, source address, keep-alive and transport security.
    pub cluster: &'a ClusterState,
    /// Where to.
    pub host: &'a Host,
    /// What will be spoken.
    pub protocol: Protocol,
    /// TLS origination without a configured name: the name in the request's Host (HTTP) or the service's (TCP).
    pub server_name: Option<&'a str>,
    /// The workload's certificate.
    pub identity: &'a Identity,
    /// The application is to see this address as its peer's, rather than the cluster's own source address.
    pub source: Option<IpAddr>,
}

/// An established connection.
#[derive(Debug)]
pub struct Connected {
    /// The bytes.
    pub io: UpstreamIo,
    /// What is known about it.
    pub facts: ConnectionFacts,
}

/// What telemetry wants to know about an upstream connection.
#[derive(Clone, Debug)]
pub struct ConnectionFacts {
    /// Peer.
    pub address: SocketAddr,
    /// Our own end.
    pub local: Option<SocketAddr>,
    /// What the TLS session proved; `None` for plaintext.
    pub tls: Option<PeerInfo>,
}

/// Plaintext or TLS towards an upstream.
#[derive(Debug)]
pub enum UpstreamIo {
    /// Plaintext.
    Plain(TcpStream),
    /// TLS; boxed because a session is large and rare connections should not pay for it.
    Tls(Box<ClientSession<TcpStream>>),
}

/// Connects, within the cluster's connect timeout, to a host that was picked.
///
/// # Errors
/// A connect failure with what the transport said, or a connect timeout; nothing was sent in either case.
pub async fn connect(dial: Dial<'_>) -> Result<Connected, Error> {
    dial.cluster.limits.connects();
    let attempt = async {
        let stream = tcp(&dial).await?;
        let local = stream.local_addr().ok();
        let (io, tls) = secure(&dial, stream).await?;
        Ok(Connected { io, facts: ConnectionFacts { address: dial.host.address(), local, tls } })
    };
    let result = match tokio::time::timeout(dial.cluster.model.connect_timeout, attempt).await {
        Ok(result) => result,
        Err(_) => Err(Error::unsent(Failure::ConnectTimeout)),
    };
    if result.is_err() {
        dial.host.state.connect_failures.fetch_add(1, Ordering::Relaxed);
    }
    result
}

async fn tcp(dial: &Dial<'_>) -> Result<TcpStream, Error> {
    let address = dial.host.address();
    let own = dial.cluster.source_address(address.ip());
    // An application behind another family than the client's (a Sidecar's defaultEndpoint) cannot see the client's address.
    let foreign = dial.source.filter(|source| own.is_some() && source.is_ipv4() == address.is_ipv4());
    let open = || {
        let socket = socket(dial, address, own, foreign)
            .map_err(|error| Error::unsent(Failure::LocalConnectFailure).with_transport(error.to_string()))?;
        Ok(socket.connect(address))
    };
    let connected = if foreign.is_some() { transparent::dial(open).await? } else { open()?.await };
    let stream = connected.map_err(|error| connect_failure(&error))?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// A socket bound to the client's address, else to our own if the cluster has one.
fn socket(dial: &Dial<'_>, address: SocketAddr, own: Option<IpAddr>, foreign: Option<IpAddr>) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = foreign {
        transparent::bind(&SockRef::from(&socket), source)?;
    } else if let Some(source) = own {
        // Without it the port is chosen at bind, unique for the source alone: 28,000 connections to all applications
        // together, those in TIME_WAIT included. With it the kernel chooses at connect, unique for the pair.
        let _ = setsockopt(&socket, sockopt::IpBindAddressNoPort, &true);
        socket.bind(SocketAddr::new(source, 0))?;
    }
    if own.is_some() || address.ip().is_loopback() {
        stay_on_this_host(&SockRef::from(&socket));
    }
    if let Some(keepalive) = &dial.cluster.model.connection_pool.tcp_keepalive {
        SockRef::from(&socket).set_tcp_keepalive(&keepalive_options(keepalive))?;
    }
    Ok(socket)
}

fn keepalive_options(settings: &TcpKeepalive) -> socket2::TcpKeepalive {
    let mut options = socket2::TcpKeepalive::new();
    if let Some(time) = settings.time {
        options = options.with_time(time);
    }
    if let Some(interval) = settings.interval {
        options = options.with_interval(interval);
    }
    if let Some(probes) = settings.probes {
        options = options.with_retries(probes);
    }
    options
}

/// Envoy words a failed connect as `delayed connect error: Connection refused`.
fn connect_failure(error: &io::Error) -> Error {
    let text = error.to_string();
    let text = text.split_once(" (os error").map_or(text.as_str(), |(text, _)| text);
    Error::unsent(Failure::ConnectFailure).with_transport(format!("delayed connect error: {text}"))
}

async fn secure(dial: &Dial<'_>, stream: TcpStream) -> Result<(UpstreamIo, Option<PeerInfo>), Error> {
    let handshake = match &dial.cluster.model.tls {
        UpstreamTls::Disabled => return Ok((UpstreamIo::Plain(stream), None)),
        UpstreamTls::Auto(_) if !dial.host.endpoint.mtls => return Ok((UpstreamIo::Plain(stream), None)),
        UpstreamTls::Auto(mesh) | UpstreamTls::IstioMutual(mesh) => mesh_handshake(dial, mesh, stream).await,
        UpstreamTls::Origination(origination) => {
            let name = dial.server_name.map(without_port).unwrap_or_default();
            let dialled = if name.is_empty() { dial.host.address().ip().to_string() } else { name.to_owned() };
            client::originate(dial.identity, stream, origination, &dialled, origination_alpn(dial.protocol)).await
        }
    };
    let (stream, info) = handshake.map_err(|error| Error::unsent(Failure::ConnectFailure).with_transport(error.to_string()))?;
    Ok((UpstreamIo::Tls(Box::new(stream)), Some(info)))
}

async fn mesh_handshake(dial: &Dial<'_>, mesh: &MeshTls, stream: TcpStream) -> Result<(ClientSession<TcpStream>, PeerInfo), TlsError> {
    let listed = || mesh.sans.iter().map(String::as_str).collect();
    let expected: Vec<&str> = match &dial.host.endpoint.identity {
        Some(identity) if !mesh.explicit_sans => vec![identity],
        _ => listed(),
    };
    let alpn = match dial.protocol {
        Protocol::Http1 => MeshAlpn::Http1,
        Protocol::Http2 => MeshAlpn::Http2,
        Protocol::Tcp => MeshAlpn::Tcp,
    };
    client::connect(dial.identity, stream, MeshTarget { sni: &mesh.sni, expected: &expected, alpn }).await
}

/// DestinationRule SIMPLE and MUTUAL offer `h2` for HTTP/2 clusters and nothing otherwise (sidecar contract 5.1).
fn origination_alpn(protocol: Protocol) -> &'static [&'static [u8]] {
    match protocol {
        Protocol::Http2 => &[b"h2"],
        Protocol::Http1 | Protocol::Tcp => &[],
    }
}

/// A Host value without its port and without the brackets of an IPv6 literal.
fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(literal) => literal.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

impl AsyncRead for UpstreamIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            UpstreamIo::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            UpstreamIo::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for UpstreamIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            UpstreamIo::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            UpstreamIo::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            UpstreamIo::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            UpstreamIo::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            UpstreamIo::Plain(stream) => stream.is_write_vectored(),
            UpstreamIo::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            UpstreamIo::Plain(stream) => Pin::new(stream).poll_flush(cx),
            UpstreamIo::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            UpstreamIo::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            UpstreamIo::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl ConnectionFacts {
    /// Our own SPIFFE URI on the session.
    pub fn local_identity(&self) -> Option<&Arc<str>> {
        self.tls.as_ref().and_then(|tls| tls.local_identity.as_ref())
    }

    /// The peer's SPIFFE URI on the session.
    pub fn peer_identity(&self) -> Option<&Arc<str>> {
        self.tls.as_ref().and_then(|tls| tls.identity.as_ref())
    }
}
