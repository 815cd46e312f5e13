//! Client configurations for `TlsOrigination`, built once and kept.
//!
//! Key material given as a file path is read again after [`FILES_TRUSTED_FOR`], so that rotated files take effect without
//! a configuration change; material given as bytes changes only with the configuration.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use outrigger_config::model::{Pem, TlsOrigination};
use rustls::client::ResolvesClientCert;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};

use super::TlsError;
use super::pem::{self, provider};
use super::verifier::{Names, ServerVerifier};

/// How long files named in the configuration are believed unread.
pub const FILES_TRUSTED_FOR: Duration = Duration::from_secs(10);
/// Configurations kept; the oldest goes first. A proxy rarely originates TLS to more than a handful of services.
const KEPT: usize = 64;

#[derive(Debug)]
struct Entry {
    settings: Arc<TlsOrigination>,
    alpn: Vec<Vec<u8>>,
    config: Arc<ClientConfig>,
    read_at: Instant,
}

/// The cache, shared by all workers; locked only while a new upstream connection is set up.
#[derive(Debug, Default)]
pub struct ClientConfigs(Mutex<Vec<Entry>>);

impl ClientConfigs {
    /// The finished configuration for these settings.
    pub fn get(&self, settings: &Arc<TlsOrigination>, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |entry: &Entry| {
            (Arc::ptr_eq(&entry.settings, settings) || entry.settings == *settings)
                && entry.alpn.iter().map(Vec::as_slice).eq(alpn.iter().copied())
        };
        if let Some(position) = entries.iter().position(same) {
            let entry = &entries[position];
            if !reads_files(settings) || entry.read_at.elapsed() < FILES_TRUSTED_FOR {
                return Ok(Arc::clone(&entry.config));
            }
            entries.remove(position);
        }
        let config = Arc::new(build(settings, alpn).map_err(TlsError::Configuration)?);
        if entries.len() >= KEPT {
            entries.remove(0);
        }
        let alpn = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        entries.push(Entry { settings: Arc::clone(settings), alpn, config: Arc::clone(&config), read_at: Instant::now() });
        Ok(config)
    }
}

fn reads_files(settings: &TlsOrigination) -> bool {
    let file = |pem: &Pem| pem.bytes.is_none();
    settings.ca.as_ref().is_some_and(file) || settings.client.as_ref().is_some_and(|pair| file(&pair.chain) || file(&pair.key))
}

fn build(settings: &TlsOrigination, alpn: &[&[u8]]) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier(settings)?);
    let mut config = match &settings.client {
        Some(pair) => {
            let key = SingleCertAndKey::from(Arc::new(pem::certificate_pair(pair)?));
            builder.with_client_cert_resolver(Arc::new(key) as Arc<dyn ResolvesClientCert>)
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// Which server is believed (Istio semantics 2.10): listed names replace the check of the dialled one, and an explicit
/// SNI without names asks for the chain alone.
fn verifier(settings: &TlsOrigination) -> Result<Arc<ServerVerifier>, String> {
    if settings.insecure_skip_verify {
        return Ok(ServerVerifier::insecure());
    }
    let roots = match &settings.ca {
        Some(ca) => Arc::new(pem::roots(&pem::bytes(ca)?, &ca.origin)?),
        None => system_roots()?,
    };
    if !settings.subject_alt_names.is_empty() {
        return Ok(ServerVerifier::with_names(roots, Names::OneOf(settings.subject_alt_names.clone(), Arc::new([]))));
    }
    Ok(if settings.sni.is_some() { ServerVerifier::with_names(roots, Names::Any) } else { ServerVerifier::with_dialled_name(roots) })
}

/// The operating system's trust store, read once.
fn system_roots() -> Result<Arc<RootCertStore>, String> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(store)
    });
    if roots.is_empty() {
        return Err("the system trust store is empty (install ca-certificates, or name caCertificates)".to_owned());
    }
    Ok(Arc::clone(roots))
}
