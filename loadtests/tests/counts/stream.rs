//! Connections of the client and of the origin, with mTLS or without.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use outrigger_loadtests::AnyCertificate;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Bytes in and out.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// A connection, whatever is below it.
pub type Stream = Box<dyn Duplex>;

/// Both roles of TLS 1.3 with one certificate. The server trusts those of the same root; what the proxy shows is not the subject
/// of these counts, so the client takes what it gets.
pub struct Tls {
    client: TlsConnector,
    server: TlsAcceptor,
}

impl Tls {
    /// Of a folder with `cert-chain.pem`, `key.pem` and `root-cert.pem`.
    pub fn load(folder: &Path) -> Result<Tls> {
        let certificates = |name: &str| -> Result<Vec<CertificateDer<'static>>> {
            let found = CertificateDer::pem_file_iter(folder.join(name)).and_then(Iterator::collect);
            found.with_context(|| format!("reading {name}"))
        };
        let key = || PrivateKeyDer::from_pem_file(folder.join("key.pem")).context("reading key.pem");
        let mut roots = RootCertStore::empty();
        certificates("root-cert.pem")?.into_iter().try_for_each(|root| roots.add(root))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates("cert-chain.pem")?, key()?)?;
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(Arc::clone(&provider))))
            .with_client_auth_cert(certificates("cert-chain.pem")?, key()?)?;
        Ok(Tls { client: Arc::new(client).into(), server: Arc::new(server).into() })
    }

    /// The client's handshake with a server of this name.
    pub async fn connect(&self, stream: TcpStream, name: &'static str) -> Result<Stream> {
        let name = ServerName::try_from(name)?;
        Ok(Box::new(self.client.connect(name, stream).await.context("handshake with the proxy")?))
    }

    /// The server's handshake.
    pub async fn accept(&self, stream: TcpStream) -> Result<Stream> {
        Ok(Box::new(self.server.accept(stream).await.context("handshake of the proxy with the origin")?))
    }
}
