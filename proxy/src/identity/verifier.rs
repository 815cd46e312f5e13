//! Who may be at the other end: certificate verifiers for mesh mTLS, TLS origination and gateways.
//!
//! rustls checks chains and signatures; what it does not know is SPIFFE. Mesh certificates carry a URI instead of a DNS
//! name, so the name in the ClientHello (which routes, `outbound_.80_._.host`) is never compared with the certificate.
//! Source: sidecar contract 4.4, Istio semantics 2.10 and 3.2.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::certificate::CertificateFacts;
use super::pem::provider;

/// A certificate whose chain is fine and whose names are not those expected.
#[derive(Debug, thiserror::Error)]
#[error("the peer's certificate names {found}, expected {expected}")]
struct WrongName {
    found: String,
    expected: String,
}

/// Which names are accepted once the chain is valid.
#[derive(Clone, Debug)]
pub enum Names {
    /// Any, or none.
    Any,
    /// A SPIFFE identity of one of these trust domains.
    TrustDomains(Arc<[String]>),
    /// One of these URIs or DNS names; the domain of a SPIFFE id may be replaced by an alias.
    OneOf(Vec<String>, Arc<[String]>),
}

impl Names {
    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        if let Names::Any = self {
            return Ok(());
        }
        let facts = CertificateFacts::of(certificate);
        let accepted = match self {
            Names::Any => true,
            // The identity that is reported must be the one that was verified: a second URI does not vouch for it.
            Names::TrustDomains(domains) => facts.spiffe_id().is_some_and(|id| domains.iter().any(|domain| in_trust_domain(id, domain))),
            Names::OneOf(list, aliases) => list.iter().any(|expected| names_match(&facts, expected, aliases, certificate)),
        };
        if accepted { Ok(()) } else { Err(self.wrong_name(&facts)) }
    }

    fn wrong_name(&self, facts: &CertificateFacts) -> Error {
        let names: Vec<&str> = facts.uris.iter().chain(&facts.dns_names).map(String::as_str).collect();
        let found = if names.is_empty() { "nobody (no URI or DNS SAN)".to_owned() } else { names.join(", ") };
        let expected = match self {
            Names::Any => String::new(),
            Names::TrustDomains(domains) => format!("an identity of trust domain {}", domains.join(" or ")),
            Names::OneOf(list, _) => list.join(" or "),
        };
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(WrongName { found, expected }))))
    }
}

/// Whether a SPIFFE URI belongs to a trust domain. The `/` after the domain counts: `a.b` does not contain `a.bc`.
pub fn in_trust_domain(uri: &str, domain: &str) -> bool {
    split(uri).is_some_and(|(found, _)| !domain.is_empty() && found == domain)
}

fn split(uri: &str) -> Option<(&str, &str)> {
    uri.strip_prefix("spiffe://")?.split_once('/')
}

fn names_match(facts: &CertificateFacts, expected: &str, aliases: &[String], certificate: &CertificateDer<'_>) -> bool {
    if facts.uris.iter().any(|uri| uri == expected || same_but_for_alias(uri, expected, aliases)) {
        return true;
    }
    let Ok(name) = ServerName::try_from(expected) else { return false };
    ParsedCertificate::try_from(certificate).is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
}

fn same_but_for_alias(uri: &str, expected: &str, aliases: &[String]) -> bool {
    let known = |domain: &str| aliases.iter().any(|alias| alias == domain);
    match (split(uri), split(expected)) {
        (Some((found, rest)), Some((wanted, path))) => rest == path && known(found) && known(wanted),
        _ => false,
    }
}

/// How a server's chain is judged.
#[derive(Debug)]
enum Chain {
    /// Not at all (`insecureSkipVerify`).
    Unchecked,
    /// Against these roots.
    Roots(Arc<RootCertStore>),
}

/// Client side: judges a server by chain, then by names instead of (or in addition to) the dialled name.
#[derive(Debug)]
pub struct ServerVerifier {
    chain: Chain,
    dialled_name: bool,
    names: Names,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    /// Chain to `roots`, then `names`; the dialled name does not count.
    pub fn with_names(roots: Arc<RootCertStore>, names: Names) -> Arc<Self> {
        Self::build(Chain::Roots(roots), false, names)
    }

    /// Chain to `roots`, and the certificate must cover the dialled name.
    pub fn with_dialled_name(roots: Arc<RootCertStore>) -> Arc<Self> {
        Self::build(Chain::Roots(roots), true, Names::Any)
    }

    /// Accepts every certificate: `insecureSkipVerify`. The handshake signature is still checked.
    pub fn insecure() -> Arc<Self> {
        Self::build(Chain::Unchecked, false, Names::Any)
    }

    fn build(chain: Chain, dialled_name: bool, names: Names) -> Arc<Self> {
        Arc::new(ServerVerifier { chain, dialled_name, names, algorithms: provider().signature_verification_algorithms })
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Chain::Roots(roots) = &self.chain {
            let parsed = ParsedCertificate::try_from(end_entity)?;
            verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, self.algorithms.all)?;
            if self.dialled_name {
                verify_server_name(&parsed, server_name)?;
            }
        }
        self.names.check(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Server side: rustls's own chain check of the client's certificate, then names.
#[derive(Debug)]
pub struct ClientVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    names: Names,
}

impl ClientVerifier {
    /// A verifier; `optional` lets clients without a certificate in.
    ///
    /// # Errors
    /// When the roots cannot be used (none given).
    pub fn new(roots: Arc<RootCertStore>, names: Names, optional: bool) -> Result<Arc<Self>, String> {
        let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
        let builder = if optional { builder.allow_unauthenticated() } else { builder };
        let chain = builder.build().map_err(|error| format!("client certificates cannot be verified: {error}"))?;
        Ok(Arc::new(ClientVerifier { chain, names }))
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        self.names.check(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
