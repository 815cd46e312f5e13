//! Server configurations for TLS-terminating Gateway servers, built once per settings and kept.
//!
//! Source: Istio semantics 3.1 and 3.2. A missing secret or CA is not an error of the listener: the handshake fails, the
//! other servers of the port go on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use outrigger_config::model::{Pem, ServerTls, ServerTlsMode, TlsVersion};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::generation::{self, forbid_resumption};
use super::origination::FILES_TRUSTED_FOR;
use super::pem::{self, provider};
use super::verifier::{ClientVerifier, Names};
use super::{Identity, TlsError};

/// Configurations kept, one per Gateway server; the oldest goes first.
const KEPT: usize = 1024;

#[derive(Debug)]
struct Entry {
    settings: Arc<ServerTls>,
    config: Arc<ServerConfig>,
    without_alpn: Arc<ServerConfig>,
    read_at: Instant,
}

impl Entry {
    fn build(settings: &Arc<ServerTls>, mut config: ServerConfig) -> Entry {
        forbid_resumption(&mut config);
        config.alpn_protocols = Vec::new();
        let without_alpn = Arc::new(config.clone());
        config.alpn_protocols = settings.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Entry { settings: Arc::clone(settings), config: Arc::new(config), without_alpn, read_at: Instant::now() }
    }

    /// rustls ends a handshake in which no protocol is common, where Envoy goes on without one: a database client that
    /// offers its own ALPN value is welcome at a TCP server.
    fn for_offer(&self, offered: &[Vec<u8>]) -> Arc<ServerConfig> {
        let common = self.config.alpn_protocols.iter().any(|ours| offered.contains(ours));
        Arc::clone(if common { &self.config } else { &self.without_alpn })
    }
}

/// The cache, shared by all workers; locked once per handshake.
#[derive(Debug, Default)]
pub struct ServerConfigs(Mutex<Vec<Entry>>);

impl ServerConfigs {
    /// Forgets everything: the workload's own certificate changed.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Identity {
    /// The finished configuration of a Gateway server, for a client that offers these application protocols.
    ///
    /// # Errors
    /// A missing or unusable secret, or a missing workload certificate for `ISTIO_MUTUAL`; the text names it.
    pub fn gateway_config(&self, settings: &Arc<ServerTls>, offered: &[Vec<u8>]) -> Result<Arc<ServerConfig>, TlsError> {
        let mut entries = self.gateways.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |entry: &Entry| Arc::ptr_eq(&entry.settings, settings) || entry.settings == *settings;
        if let Some(position) = entries.iter().position(same) {
            let entry = &entries[position];
            if !reads_files(settings) || entry.read_at.elapsed() < FILES_TRUSTED_FOR {
                return Ok(entry.for_offer(offered));
            }
            entries.remove(position);
        }
        let entry = Entry::build(settings, self.build_gateway(settings)?);
        let config = entry.for_offer(offered);
        if entries.len() >= KEPT {
            entries.remove(0);
        }
        entries.push(entry);
        Ok(config)
    }

    fn build_gateway(&self, settings: &ServerTls) -> Result<ServerConfig, TlsError> {
        if settings.mode == ServerTlsMode::IstioMutual {
            let current = self.require()?;
            let domains = Arc::clone(current.trust_domains());
            let names = match settings.subject_alt_names.as_slice() {
                [] => Names::TrustDomains(domains),
                list => Names::OneOf(list.to_vec(), domains),
            };
            return generation::server_config(current.secret(), names).map_err(TlsError::Configuration);
        }
        terminating(settings).map_err(TlsError::Configuration)
    }
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
