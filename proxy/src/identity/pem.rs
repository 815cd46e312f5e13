//! PEM text to certificates, keys and root stores, with errors that name the origin.

use std::path::Path;
use std::sync::Arc;

use outrigger_config::model::{CertificatePair, Pem};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The one crypto provider: aws-lc-rs, preferring AES-128 in TLS 1.3 as Envoy's does. A rustls server takes what the client
/// prefers, so this decides for sessions between two of us: ten rounds per block for fourteen, and SHA-256 in the handshake,
/// which processors have instructions for.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    let build = || {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
        Arc::new(provider)
    };
    Arc::clone(PROVIDER.get_or_init(build))
}

/// The bytes of a [`Pem`], read from its file when the configuration only names one.
pub fn bytes(pem: &Pem) -> Result<Arc<[u8]>, String> {
    match &pem.bytes {
        Some(bytes) => Ok(Arc::clone(bytes)),
        None => std::fs::read(Path::new(&pem.origin)).map(Into::into).map_err(|error| format!("{}: {error}", pem.origin)),
    }
}

/// All certificates of a PEM text, at least one.
pub fn certificates(text: &[u8], origin: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match parsed {
        Ok(list) if list.is_empty() => Err(format!("{origin}: no CERTIFICATE block found")),
        Ok(list) => Ok(list),
        Err(error) => Err(format!("{origin}: not valid PEM: {error}")),
    }
}

/// The first private key of a PEM text (PKCS#8, PKCS#1 or SEC1).
pub fn private_key(text: &[u8], origin: &str) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| format!("{origin}: no usable private key: {error}"))
}

/// A root store of every certificate of a PEM text.
pub fn roots(text: &[u8], origin: &str) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(text, origin)? {
        store.add(certificate).map_err(|error| format!("{origin}: a root cannot be used: {error}"))?;
    }
    Ok(store)
}

/// Chain and key joined, checked to belong together.
pub fn certified_key(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>, origin: &str) -> Result<CertifiedKey, String> {
    let signing =
        provider().key_provider.load_private_key(key).map_err(|error| format!("{origin}: the private key cannot be used: {error}"))?;
    let certified = CertifiedKey::new(chain, signing);
    certified.keys_match().map_err(|_| format!("{origin}: the private key does not belong to the certificate"))?;
    Ok(certified)
}

/// A configured certificate pair, ready to sign.
pub fn certificate_pair(pair: &CertificatePair) -> Result<CertifiedKey, String> {
    let chain = certificates(&bytes(&pair.chain)?, &pair.chain.origin)?;
    let key = private_key(&bytes(&pair.key)?, &pair.key.origin)?;
    certified_key(chain, key, &pair.key.origin)
}
