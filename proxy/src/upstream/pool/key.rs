//! What makes two connections interchangeable.

use std::net::IpAddr;

use outrigger_config::model::{TlsOrigination, UpstreamTls};

use super::Want;
use crate::upstream::connect::Protocol;

/// Connections of one key may serve each other's requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Cluster and its transport security; a new number when a DestinationRule changes the latter.
    transport: u64,
    /// Host as described: a new number when its identity or its ability to speak mTLS changes.
    host: u64,
    /// What is spoken.
    protocol: Protocol,
    /// Generation of the workload certificate; 0 for plaintext.
    generation: u64,
    /// What else must be the same.
    bound: Bound,
}

/// What binds a connection to requests of one kind. Both at once never occurs: the application is reached in plaintext.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Bound {
    /// Any request may travel over it.
    Free,
    /// The name in the handshake depends on the request.
    Name(Box<str>),
    /// The application sees the client's address.
    Source(IpAddr),
}

impl Key {
    /// The key of the connections that may serve `want`.
    pub fn new(want: &Want<'_>) -> Self {
        let tls = &want.cluster.model.tls;
        let mesh = match tls {
            UpstreamTls::Auto(_) => want.host.endpoint.mtls,
            UpstreamTls::IstioMutual(_) => true,
            UpstreamTls::Disabled | UpstreamTls::Origination(_) => false,
        };
        let named_by_request = matches!(tls, UpstreamTls::Origination(origination) if is_unnamed(origination));
        Key {
            transport: want.cluster.transport,
            host: want.host.id,
            protocol: want.protocol,
            generation: if mesh { want.identity.current().map_or(0, |generation| generation.number()) } else { 0 },
            bound: match (want.source, want.server_name.filter(|_| named_by_request)) {
                (Some(source), _) => Bound::Source(source),
                (None, Some(name)) => Bound::Name(name.into()),
                (None, None) => Bound::Free,
            },
        }
    }

    /// Whether its connections can serve the requests of one client address alone.
    pub(super) fn is_of_one_client(&self) -> bool {
        matches!(self.bound, Bound::Source(_))
    }
}

fn is_unnamed(origination: &TlsOrigination) -> bool {
    origination.sni.is_none()
}
