//! The facts about one downstream connection, fixed before the first request and shared by all its requests.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use outrigger_config::model::{ServiceRef, Workload};

use super::Door;
use crate::http::headers::ClientText;
use crate::telemetry::ConnectionScope;

/// Which way a connection crosses the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the local application to the mesh; `reporter="source"`.
    Outbound,
    /// From the mesh to the local application; `reporter="destination"`.
    Inbound,
    /// From a client to a gateway; `reporter="source"`.
    Gateway,
}

/// One accepted connection.
#[derive(Debug)]
pub struct Downstream {
    /// Which way it crosses the proxy.
    pub direction: Direction,
    /// The listener's name as logs and stats show it: `virtualInbound`, `0.0.0.0_80`, ...
    pub listener: Cow<'static, str>,
    /// Peer address of the socket.
    pub peer: SocketAddr,
    /// Destination as the client dialled it: the original destination of captured connections, the local address at
    /// gateways.
    pub destination: SocketAddr,
    /// Address that the application is to see as its peer's: the client's, where TPROXY brought the connection. `None` = the
    /// proxy's own.
    pub source: Option<IpAddr>,
    /// When it was accepted.
    pub accepted_at: SystemTime,
    /// The TLS session terminated here, if any.
    pub tls: Option<DownstreamTls>,
    /// SNI seen in a ClientHello, terminated or not.
    pub sni: Option<String>,
    /// Inbound: the Service the port belongs to.
    pub service: Option<ServiceRef>,
    /// Inbound: the peer's workload as its metadata tells, known from the first request or exchange on.
    pub peer_workload: OnceLock<Arc<Workload>>,
    /// Tells when the way this connection came in is taken away; `None` when it cannot be.
    pub door: Option<Door>,
    /// Statistics resolved for this connection; `Default::default()` at first.
    pub scope: ConnectionScope,
    /// Header values about the client; `Default::default()` at first.
    pub client_text: ClientText,
}

/// A terminated TLS session.
#[derive(Clone, Debug)]
pub struct DownstreamTls {
    /// First URI SAN of the peer's certificate, `spiffe://...`; none when no client certificate was shown.
    pub peer_identity: Option<String>,
    /// Our own URI SAN when mesh mTLS was spoken.
    pub local_identity: Option<String>,
    /// DNS SANs of the peer's certificate.
    pub peer_dns_names: Vec<String>,
    /// Subject of the peer's certificate, RFC 2253, empty for mesh identities.
    pub peer_subject: String,
    /// SHA-256 of the peer's certificate, lower-case hex; empty without one.
    pub peer_certificate_hash: String,
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// Negotiated ALPN.
    pub alpn: Option<Vec<u8>>,
}

impl Downstream {
    /// Whether both sides proved a mesh identity.
    pub fn is_mutual_tls(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.peer_identity.is_some() && tls.local_identity.is_some())
    }

    /// Whether the connection's way in was taken away: it may finish what it is at.
    pub fn must_leave(&self) -> bool {
        self.door.as_ref().is_some_and(Door::is_shut)
    }

    /// When what is left of the connection is cut, once it must leave.
    pub fn cut_at(&self) -> Option<tokio::time::Instant> {
        self.door.as_ref().and_then(Door::cut_at)
    }
}
