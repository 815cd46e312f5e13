//! Client configurations for `TlsOrigination`, made once and kept.

use std::sync::{Arc, OnceLock};

use outrigger_config::model::{Pem, TlsOrigination};
use rustls::client::ResolvesClientCert;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};

use super::kept::{Kept, Source};
use super::pem::{self, provider};
use super::verifier::{Names, ServerVerifier};
use super::{Identity, TlsError};

/// The configurations of all `TlsOrigination`s.
pub type ClientConfigs = Kept<TlsOrigination, Finished>;

/// A configuration in the two forms that requests need.
#[derive(Clone, Debug)]
pub struct Finished {
    http2: Arc<ClientConfig>,
    without_alpn: Arc<ClientConfig>,
}

impl Finished {
    fn new(mut config: ClientConfig) -> Self {
        let without_alpn = Arc::new(config.clone());
        config.alpn_protocols = vec![b"h2".to_vec()];
        Finished { http2: Arc::new(config), without_alpn }
    }

    fn offering(self, protocols: &[&[u8]]) -> Arc<ClientConfig> {
        match protocols {
            [] => self.without_alpn,
            [b"h2"] => self.http2,
            others => {
                let mut config = ClientConfig::clone(&self.http2);
                config.alpn_protocols = others.iter().map(|protocol| protocol.to_vec()).collect();
                Arc::new(config)
            }
        }
    }
}

impl Identity {
    /// The finished configuration for these settings, offering these application protocols.
    ///
    /// # Errors
    /// Missing or unusable key material; the text names it.
    pub async fn origination_config(&self, settings: &Arc<TlsOrigination>, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
        let source = Source { settings: Arc::clone(settings), generation: 0, reads_files: reads_files(settings) };
        let make = |settings: &TlsOrigination| build(settings).map(Finished::new);
        let finished = self.originations.get(source, make).await.map_err(TlsError::Configuration)?;
        Ok(finished.offering(alpn))
    }
}

fn reads_files(settings: &TlsOrigination) -> bool {
    let file = |pem: &Pem| pem.bytes.is_none();
    settings.ca.as_ref().is_some_and(file) || settings.client.as_ref().is_some_and(|pair| file(&pair.chain) || file(&pair.key))
}

fn build(settings: &TlsOrigination) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier(settings)?);
    Ok(match &settings.client {
        Some(pair) => {
            let key = SingleCertAndKey::from(Arc::new(pem::certificate_pair(pair)?));
            builder.with_client_cert_resolver(Arc::new(key) as Arc<dyn ResolvesClientCert>)
        }
        None => builder.with_no_client_auth(),
    })
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
