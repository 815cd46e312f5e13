//! What makes two connections interchangeable.

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
    /// The name in the handshake, when it depends on the request.
    server_name: Option<Box<str>>,
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
            server_name: want.server_name.filter(|_| named_by_request).map(Into::into),
        }
    }
}

fn is_unnamed(origination: &TlsOrigination) -> bool {
    origination.sni.is_none()
}
