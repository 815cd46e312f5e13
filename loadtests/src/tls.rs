//! The TLS client of `https` URLs.

use std::{path::Path, sync::Arc};

use anyhow::{Context, anyhow};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use crate::plan::{Plan, Tls};

/// HTTP/2 as ALPN names it.
pub(crate) const H2: &[u8] = b"h2";

/// The configuration for a plan's connections.
///
/// # Errors
/// No roots, or files that cannot be used; the message names the file.
pub(crate) fn config(plan: &Plan) -> anyhow::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match (&plan.tls.roots, plan.tls.insecure) {
        (_, true) => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
        (Some(path), false) => builder.with_root_certificates(roots(path)?),
        (None, false) => builder.with_root_certificates(system_roots()?),
    };
    let mut config = match &plan.tls {
        Tls { identity: None, .. } => builder.with_no_client_auth(),
        Tls { identity: Some((chain, key)), .. } => {
            let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("cannot read a key from {}", key.display()))?;
            let mismatch = || format!("{} with its key", chain.display());
            builder.with_client_auth_cert(certificates(chain)?, key).with_context(mismatch)?
        }
    };
    config.alpn_protocols = vec![if plan.speaks_http2() { H2.to_vec() } else { b"http/1.1".to_vec() }];
    // A resumed session would not show the client certificate again, which is what a run may want to measure.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// What to do about a session that did not come about, where that is known.
pub(crate) fn way_out(error: &Error) -> Option<&'static str> {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            Some("--cacert names the authority that signed it, -k accepts any certificate")
        }
        Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
            Some("--sni names the server that the certificate is for")
        }
        // The library has no name of its own for this one.
        Error::InvalidCertificate(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            Some("the server shows an authority's certificate as its own, as self-signed ones often are; -k accepts it")
        }
        Error::InvalidMessage(_) => Some("the server may not speak TLS on this port"),
        _ => None,
    }
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .with_context(|| format!("cannot read certificates from {}", path.display()))
}

fn roots(path: &Path) -> anyhow::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store.add(certificate).with_context(|| format!("{}: not a usable root certificate", path.display()))?;
    }
    Ok(store)
}

/// The machine's own roots.
fn system_roots() -> anyhow::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        return Err(anyhow!("this machine has no root certificates: expected --cacert FILE or --insecure"));
    }
    Ok(store)
}

/// Trusts whoever answers, but still checks that the peer holds the key it shows.
#[derive(Debug)]
pub struct AnyCertificate(pub Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
