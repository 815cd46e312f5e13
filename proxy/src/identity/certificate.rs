//! What a certificate says about its holder: names, subject, fingerprint.

use std::fmt::Write;

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Names and fingerprint of one certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFacts {
    /// URI SANs in order; the first is the identity.
    pub uris: Vec<String>,
    /// DNS SANs in order.
    pub dns_names: Vec<String>,
    /// Subject in RFC 2253 order (most specific first); empty for mesh identities.
    pub subject: String,
}

impl CertificateFacts {
    /// Reads the names of a DER certificate; one that cannot be parsed has none.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Self::default() };
        let mut facts = CertificateFacts { subject: rfc2253(&parsed), ..Self::default() };
        let Ok(Some(names)) = parsed.subject_alternative_name() else { return facts };
        for name in &names.value.general_names {
            match name {
                GeneralName::URI(uri) => facts.uris.push((*uri).to_owned()),
                GeneralName::DNSName(dns) => facts.dns_names.push((*dns).to_owned()),
                _ => {}
            }
        }
        facts
    }

    /// The first SPIFFE URI.
    pub fn spiffe_id(&self) -> Option<&str> {
        self.uris.iter().find(|uri| uri.starts_with("spiffe://")).map(String::as_str)
    }
}

/// Lower-case hex SHA-256 of a certificate, as `x-forwarded-client-cert` shows it.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    hex(digest::digest(&digest::SHA256, certificate).as_ref())
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn rfc2253(certificate: &X509Certificate<'_>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for attribute in certificate.subject().iter_attributes() {
        let Ok(value) = attribute.as_str() else { continue };
        let key = x509_parser::objects::oid2abbrev(attribute.attr_type(), x509_parser::objects::oid_registry())
            .map_or_else(|_| attribute.attr_type().to_id_string(), str::to_owned);
        parts.push(format!("{key}={}", escape(value)));
    }
    parts.reverse();
    parts.join(",")
}

fn escape(value: &str) -> String {
    value.chars().fold(String::with_capacity(value.len()), |mut text, c| {
        if matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            text.push('\\');
        }
        text.push(c);
        text
    })
}
