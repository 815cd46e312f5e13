//! The TLS client of `https` URLs.

use std::{io, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
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

/// How long before the first request a new session is watched for what the server has against it.
pub(crate) const OBJECTION: Duration = Duration::from_millis(100);

/// Begins the words of an error that the peer named.
const ALERT: &str = "received fatal alert: ";

/// What broke a session after its handshake, with the way out; `None` for what is no matter of TLS. With TLS 1.3 a server
/// looks at the client's certificate, or misses it, only then.
pub(crate) fn broken(error: &io::Error) -> Option<String> {
    let inner = error.get_ref()?;
    if let Some(error) = inner.downcast_ref::<Error>() {
        return Some(way_out(error).map_or_else(|| error.to_string(), |words| format!("{error}: {words}")));
    }
    // h2 keeps of an error only its kind and its words.
    let words = inner.to_string();
    let alert = words.strip_prefix(ALERT)?;
    let known = [AlertDescription::CertificateRequired, AlertDescription::UnknownCA, AlertDescription::BadCertificate];
    let way_out = known.into_iter().find(|known| format!("{known:?}") == alert).and_then(|alert| way_out(&Error::AlertReceived(alert)));
    Some(way_out.map_or_else(|| words.clone(), |way_out| format!("{words}: {way_out}")))
}

/// Whether the peer ended the connection below TLS, which the library tells with an address on the web.
pub(crate) fn is_cut_off(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof && error.to_string().contains("close_notify")
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
        Error::AlertReceived(AlertDescription::CertificateRequired) => Some("the server asks for a client certificate: --cert, --key"),
        Error::AlertReceived(AlertDescription::UnknownCA | AlertDescription::BadCertificate) => {
            Some("the server wants another client certificate: --cert, --key")
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
