//! One generation of the workload identity: finished TLS configurations, shared by every handshake.
//!
//! Inbound there is no session cache, no ticket and no early data: a resumed mTLS session would not be verified again
//! (rustls allows both by default). Outbound there is no resumption either, since each session is verified against the
//! endpoint it is for. Parameters: sidecar contract 5.1 and 5.4.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConfig};

use super::client::MeshAlpn;
use super::pem::provider;
use super::secret::Secret;
use super::verifier::{ClientVerifier, Names, ServerVerifier};

/// A workload certificate in force and the configurations built from it.
#[derive(Debug)]
pub struct Generation {
    number: u64,
    secret: Arc<Secret>,
    trust_domains: Arc<[String]>,
    http_server: Arc<ServerConfig>,
    tcp_server: Arc<ServerConfig>,
    client: ClientConfig,
}

impl Generation {
    /// Builds every configuration of a secret.
    ///
    /// # Errors
    /// When rustls refuses the material (an empty trust bundle).
    pub fn build(number: u64, secret: Arc<Secret>, trust_domains: &Arc<[String]>) -> Result<Generation, String> {
        let mut tcp = server_config(&secret, Names::TrustDomains(Arc::clone(trust_domains)))?;
        let mut http = tcp.clone();
        http.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        tcp.alpn_protocols = Vec::new();
        let client = client_config(&secret, trust_domains)?;
        let trust_domains = Arc::clone(trust_domains);
        Ok(Generation { number, secret, trust_domains, http_server: Arc::new(http), tcp_server: Arc::new(tcp), client })
    }

    /// Counts up from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The certificate behind it.
    pub fn secret(&self) -> &Arc<Secret> {
        &self.secret
    }

    /// Own identity.
    pub fn spiffe_id(&self) -> &Arc<str> {
        self.secret.spiffe_id()
    }

    /// The own trust domain, then its aliases.
    pub fn trust_domains(&self) -> &Arc<[String]> {
        &self.trust_domains
    }

    /// Server side of mesh mTLS. ALPN is negotiated only when the client offers a value that a server may choose: rustls
    /// would otherwise end the handshake, where Envoy goes on without a protocol.
    pub fn server_config<'a>(&self, mut offered: impl Iterator<Item = &'a [u8]>) -> Arc<ServerConfig> {
        let common = offered.any(|protocol| self.http_server.alpn_protocols.iter().any(|ours| ours == protocol));
        Arc::clone(if common { &self.http_server } else { &self.tcp_server })
    }

    /// Client side of mesh mTLS for one connection: `expected` are the accepted names, empty = any of the trust domains.
    pub fn client_config(&self, alpn: MeshAlpn, expected: &[&str]) -> Arc<ClientConfig> {
        let mut config = self.client.clone();
        config.alpn_protocols = alpn.protocols();
        if !expected.is_empty() {
            let list = expected.iter().map(|&name| name.to_owned()).collect();
            let names = Names::OneOf(list, Arc::clone(&self.trust_domains));
            config.dangerous().set_certificate_verifier(ServerVerifier::with_names(Arc::clone(self.secret.roots()), names));
        }
        Arc::new(config)
    }
}

/// The mesh's server configuration without ALPN, for clients of these names.
pub fn server_config(secret: &Secret, names: Names) -> Result<ServerConfig, String> {
    let verifier = ClientVerifier::new(Arc::clone(secret.roots()), names, false)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(secret.certified()))));
    forbid_resumption(&mut config);
    Ok(config)
}

/// Switches off everything by which a server lets a client skip verification.
pub fn forbid_resumption(config: &mut ServerConfig) {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
}

fn client_config(secret: &Secret, trust_domains: &Arc<[String]>) -> Result<ClientConfig, String> {
    let names = Names::TrustDomains(Arc::clone(trust_domains));
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(ServerVerifier::with_names(Arc::clone(secret.roots()), names))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(secret.certified()))));
    config.resumption = Resumption::disabled();
    Ok(config)
}
