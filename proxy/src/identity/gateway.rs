//! Server configurations for TLS-terminating Gateway servers, made once per settings and kept.
//!
//! Source: Istio semantics 3.1 and 3.2. A missing secret or CA is not an error of the listener: the handshake fails, the
//! other servers of the port go on.

use std::sync::Arc;

use outrigger_config::model::{Pem, ServerTls, ServerTlsMode, TlsVersion};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::generation::{self, Generation, forbid_resumption};
use super::kept::{Kept, Source};
use super::pem::{self, provider};
use super::verifier::{ClientVerifier, Names};
use super::{Identity, TlsError};

/// The configurations of all Gateway servers.
pub type ServerConfigs = Kept<ServerTls, Finished>;

/// A configuration in the two forms that handshakes need.
#[derive(Clone, Debug)]
pub struct Finished {
    config: Arc<ServerConfig>,
    without_alpn: Arc<ServerConfig>,
}

impl Finished {
    fn new(settings: &ServerTls, mut config: ServerConfig) -> Self {
        forbid_resumption(&mut config);
        config.alpn_protocols = Vec::new();
        let without_alpn = Arc::new(config.clone());
        config.alpn_protocols = settings.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Finished { config: Arc::new(config), without_alpn }
    }

    /// rustls ends a handshake in which no protocol is common, where Envoy goes on without one: a database client that
    /// offers its own ALPN value is welcome at a TCP server.
    fn for_offer(self, offered: &[Vec<u8>]) -> Arc<ServerConfig> {
        let common = self.config.alpn_protocols.iter().any(|ours| offered.contains(ours));
        if common { self.config } else { self.without_alpn }
    }
}

impl Identity {
    /// The finished configuration of a Gateway server, for a client that offers these application protocols.
    ///
    /// # Errors
    /// A missing or unusable secret, or a missing workload certificate for `ISTIO_MUTUAL`; the text names it.
    pub async fn gateway_config(&self, settings: &Arc<ServerTls>, offered: &[Vec<u8>]) -> Result<Arc<ServerConfig>, TlsError> {
        let current = if settings.mode == ServerTlsMode::IstioMutual { Some(self.require()?) } else { None };
        let generation = current.as_ref().map_or(0, |current| current.number());
        let source = Source { settings: Arc::clone(settings), generation, reads_files: reads_files(settings) };
        let make = move |settings: &ServerTls| {
            let config = match current {
                Some(current) => of_the_mesh(settings, &current),
                None => terminating(settings),
            };
            config.map(|config| Finished::new(settings, config))
        };
        let finished = self.gateways.get(source, make).await.map_err(TlsError::Configuration)?;
        Ok(finished.for_offer(offered))
    }
}

fn of_the_mesh(settings: &ServerTls, current: &Generation) -> Result<ServerConfig, String> {
    let domains = Arc::clone(current.trust_domains());
    let names = match settings.subject_alt_names.as_slice() {
        [] => Names::TrustDomains(domains),
        list => Names::OneOf(list.to_vec(), domains),
    };
    generation::server_config(current.secret(), names)
}

fn reads_files(settings: &ServerTls) -> bool {
    let file = |pem: &Pem| pem.bytes.is_none();
    settings.client_ca.as_ref().is_some_and(file) || settings.certificates.iter().any(|pair| file(&pair.chain) || file(&pair.key))
}

fn terminating(settings: &ServerTls) -> Result<ServerConfig, String> {
    let certificates = Certificates::load(settings)?;
    let builder =
        ServerConfig::builder_with_provider(provider()).with_protocol_versions(&versions(settings)).map_err(|error| error.to_string())?;
    let builder = match client_verifier(settings)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    Ok(builder.with_cert_resolver(Arc::new(certificates)))
}

fn client_verifier(settings: &ServerTls) -> Result<Option<Arc<ClientVerifier>>, String> {
    if settings.mode == ServerTlsMode::Simple {
        return Ok(None);
    }
    let ca = settings.client_ca.as_ref().ok_or("client certificates are required, but the secret holds no CA (ca.crt, cacert)")?;
    let roots = Arc::new(pem::roots(&pem::bytes(ca)?, &ca.origin)?);
    let names = match settings.subject_alt_names.as_slice() {
        [] => Names::Any,
        list => Names::OneOf(list.to_vec(), Arc::new([])),
    };
    ClientVerifier::new(roots, names, settings.mode == ServerTlsMode::OptionalMutual).map(Some)
}

fn versions(settings: &ServerTls) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(TlsVersion::V1_3, &TLS13), (TlsVersion::V1_2, &TLS12)];
    let wanted = |version: TlsVersion| settings.min_version <= version && version <= settings.max_version;
    all.into_iter().filter(|(version, _)| wanted(*version)).map(|(_, supported)| supported).collect()
}

/// RSA and ECDSA certificates side by side: the first whose key the client can verify.
#[derive(Debug)]
struct Certificates(Vec<Arc<CertifiedKey>>);

impl Certificates {
    fn load(settings: &ServerTls) -> Result<Self, String> {
        if settings.certificates.is_empty() {
            return Err("the server's certificate is missing (credentialName names no Secret in the gateway's namespace)".to_owned());
        }
        settings.certificates.iter().map(|pair| pem::certificate_pair(pair).map(Arc::new)).collect::<Result<_, _>>().map(Certificates)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let usable = |certified: &&Arc<CertifiedKey>| certified.key.choose_scheme(hello.signature_schemes()).is_some();
        self.0.iter().find(usable).or_else(|| self.0.first()).map(Arc::clone)
    }
}
