//! TLS for the ports that speak it: a certificate from files, or one signed on the spot.

use std::{path::Path, sync::Arc};

use anyhow::{Context, anyhow};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::args::TlsArgs;

/// An acceptor that offers `h2` and `http/1.1`.
///
/// # Errors
/// Files that are missing, hold no PEM, or do not fit together; the message names the file.
pub(crate) fn acceptor(args: &TlsArgs, hostname: &str) -> anyhow::Result<TlsAcceptor> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let (chain, key) = match (&args.cert, &args.key) {
        (Some(cert), Some(key)) => (certificates(cert)?, private_key(key)?),
        _ => self_signed(hostname)?,
    };
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match &args.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider);
            builder.with_client_cert_verifier(verifier.build().context("unusable root certificates")?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).context("certificate and key do not fit together")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// What a TLS client showed of itself.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct TlsFacts {
    /// The server name of the ClientHello.
    sni: Option<String>,
    /// The protocol agreed on.
    alpn: Option<String>,
    /// `TLSv1_2` or `TLSv1_3`.
    version: Option<String>,
    /// Whether the client showed a certificate; it was verified then.
    client_certificate: bool,
}

impl TlsFacts {
    pub(crate) fn of<S>(stream: &TlsStream<S>) -> Self {
        let (_, session) = stream.get_ref();
        Self {
            sni: session.server_name().map(str::to_owned),
            alpn: session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
            version: session.protocol_version().map(|version| format!("{version:?}")),
            client_certificate: session.peer_certificates().is_some(),
        }
    }
}

type Credentials = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn self_signed(hostname: &str) -> anyhow::Result<Credentials> {
    let names = vec![hostname.to_owned(), "localhost".to_owned()];
    let signed = rcgen::generate_simple_self_signed(names).context("cannot sign a certificate")?;
    let key = PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der());
    Ok((vec![signed.cert.der().clone()], key.into()))
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read certificates from {}", path.display()))?;
    if found.is_empty() {
        return Err(anyhow!("{}: expected at least one PEM certificate", path.display()));
    }
    Ok(found)
}

fn private_key(path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).with_context(|| format!("cannot read a private key from {}", path.display()))
}

fn roots(path: &Path) -> anyhow::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store.add(certificate).with_context(|| format!("{}: not a usable root certificate", path.display()))?;
    }
    Ok(store)
}
