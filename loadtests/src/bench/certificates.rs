//! A certificate authority and one workload certificate, P-256, for both ends of a mutual TLS hop.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use time::{Duration, OffsetDateTime};

/// The identity in the certificate, which both ends demand.
pub const IDENTITY: &str = "spiffe://cluster.local/ns/bench/sa/default";

/// Files in PEM.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// The workload's certificate.
    pub certificate: PathBuf,
    /// Its key, PKCS#8.
    pub key: PathBuf,
    /// Certificate and key in one file.
    pub both: PathBuf,
    /// The authority.
    pub authority: PathBuf,
}

/// Makes new certificates, valid for a day, and writes them into a folder.
///
/// # Errors
/// When the folder cannot be written.
pub fn write(folder: &Path) -> Result<Certificates> {
    let now = OffsetDateTime::now_utc();
    let mut root = CertificateParams::default();
    validity(&mut root, now, "outrigger-bench");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root_key = KeyPair::generate()?;
    let root_certificate = root.self_signed(&root_key)?;
    let issuer = Issuer::new(root, root_key);

    let mut leaf = CertificateParams::default();
    validity(&mut leaf, now, "peer.test");
    leaf.subject_alt_names = vec![SanType::URI(IDENTITY.try_into()?), SanType::DnsName("peer.test".try_into()?)];
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &issuer)?;

    let file = |name: &str| folder.join(name);
    let made =
        Certificates { certificate: file("workload.pem"), key: file("workload.key"), both: file("both.pem"), authority: file("ca.pem") };
    fs::write(&made.certificate, certificate.pem())?;
    fs::write(&made.key, key.serialize_pem())?;
    fs::write(&made.both, format!("{}{}", certificate.pem(), key.serialize_pem()))?;
    fs::write(&made.authority, root_certificate.pem())?;
    Ok(made)
}

fn validity(params: &mut CertificateParams, now: OffsetDateTime, name: &str) {
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = now - Duration::minutes(2);
    params.not_after = now + Duration::days(1);
}
