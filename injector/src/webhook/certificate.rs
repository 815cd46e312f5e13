//! What TLS is served with. A new certificate takes effect for the next handshake; connections that stand keep theirs, so an exchange
//! refuses nobody.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;

/// A certificate chain with its key, checked to belong together.
#[derive(Clone, Debug)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    /// When the leaf ends.
    pub not_after: OffsetDateTime,
}

impl Identity {
    /// Reads PEM. The leaf comes first.
    ///
    /// # Errors
    /// In words: no certificate, no key, a key of another certificate.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, String> {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(|error| format!("certificate: {error}"))?;
        let leaf = chain.first().ok_or("certificate: expected PEM with at least one CERTIFICATE, found none")?;
        let not_after = not_after(leaf)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("private key: {error}"))?;
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|error| format!("certificate and private key do not fit: {error}"))?;
        Ok(Self { key: Arc::new(key), not_after })
    }
}

/// When a certificate ends.
///
/// # Errors
/// In words: no certificate.
pub fn not_after(certificate: &[u8]) -> Result<OffsetDateTime, String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|error| format!("certificate: {error}"))?;
    OffsetDateTime::from_unix_timestamp(parsed.validity().not_after.timestamp()).map_err(|error| format!("certificate: {error}"))
}

/// The certificate in force.
#[derive(Debug, Default)]
pub struct Serving {
    current: ArcSwapOption<Identity>,
}

impl Serving {
    /// Takes a certificate into force.
    pub fn replace(&self, identity: Identity) {
        self.current.store(Some(Arc::new(identity)));
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.current.load().is_some()
    }

    /// When the one in force ends.
    #[must_use]
    pub fn not_after(&self) -> Option<OffsetDateTime> {
        self.current.load().as_ref().map(|identity| identity.not_after)
    }

    /// TLS 1.2 and 1.3 with whatever certificate is in force at the handshake. HTTP/1.1 only: API servers ask webhooks nothing else, so that
    /// their connections spread over the replicas.
    ///
    /// # Errors
    /// Never with the provider used; rustls' own.
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load().as_ref().map(|identity| Arc::clone(&identity.key))
    }
}
