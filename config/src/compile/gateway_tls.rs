//! The server side of a Gateway's TLS: mode, certificates, roots, versions.
//!
//! Source: Istio semantics 3.1 and 3.2. A missing secret leaves the certificates empty: handshakes fail until it appears.

use super::context::Context;
use super::gateway_merge::BoundServer;
use super::secret::{self, Credential};
use super::upstream_tls::file;
use crate::api::gateway::{ServerTlsMode as ApiMode, ServerTlsSettings, TlsProtocol};
use crate::model::{CertificatePair, Pem, ServerTls, ServerTlsMode, TlsVersion};

/// The settings of a terminating server.
pub(super) fn server(cx: &Context<'_>, server: &BoundServer<'_>, http: bool) -> ServerTls {
    let default = ServerTlsSettings::default();
    let tls = server.server.tls.as_ref().unwrap_or(&default);
    let (certificates, client_ca) = material(cx, tls);
    let alpn: &[&str] = if http { &["h2", "http/1.1"] } else { &[] };
    ServerTls {
        mode: match tls.mode {
            ApiMode::Mutual => ServerTlsMode::Mutual,
            ApiMode::OptionalMutual => ServerTlsMode::OptionalMutual,
            ApiMode::IstioMutual => ServerTlsMode::IstioMutual,
            ApiMode::Simple | ApiMode::Passthrough | ApiMode::AutoPassthrough => ServerTlsMode::Simple,
        },
        certificates,
        client_ca,
        subject_alt_names: tls.subject_alt_names.clone(),
        min_version: version(tls.min_protocol_version).unwrap_or(TlsVersion::V1_2),
        max_version: version(tls.max_protocol_version).unwrap_or(TlsVersion::V1_3),
        alpn: alpn.iter().map(|value| (*value).to_owned()).collect(),
    }
}

/// Versions before 1.2 are raised to it.
fn version(api: TlsProtocol) -> Option<TlsVersion> {
    match api {
        TlsProtocol::Auto => None,
        TlsProtocol::V1_3 => Some(TlsVersion::V1_3),
        TlsProtocol::V1_0 | TlsProtocol::V1_1 | TlsProtocol::V1_2 => Some(TlsVersion::V1_2),
    }
}

/// Certificates and client roots from secrets or files.
fn material(cx: &Context<'_>, tls: &ServerTlsSettings) -> (Vec<CertificatePair>, Option<Pem>) {
    let one = std::iter::once(&tls.credential_name).filter(|name| !name.is_empty());
    let credentials: Vec<Credential> = one.chain(&tls.credential_names).map(|name| secret::credential(cx, name)).collect();
    let named = (!tls.ca_cert_credential_name.is_empty()).then_some(tls.ca_cert_credential_name.as_str());
    let ca = match named {
        Some(name) => secret::ca(cx, name),
        None => (!tls.ca_certificates.is_empty()).then(|| file(&tls.ca_certificates)),
    };
    let mut certificates = files(tls);
    let mut client_ca = ca;
    for credential in credentials {
        certificates.extend(credential.pair);
        client_ca = client_ca.or(credential.ca);
    }
    (certificates, client_ca)
}

fn files(tls: &ServerTlsSettings) -> Vec<CertificatePair> {
    let one = (tls.server_certificate.as_str(), tls.private_key.as_str());
    let several = tls.tls_certificates.iter().map(|pair| (pair.server_certificate.as_str(), pair.private_key.as_str()));
    let given = std::iter::once(one).chain(several).filter(|(chain, key)| !chain.is_empty() && !key.is_empty());
    given.map(|(chain, key)| CertificatePair { chain: file(chain), key: file(key) }).collect()
}
