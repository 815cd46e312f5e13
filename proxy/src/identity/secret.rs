//! The certificate folder: read, parsed, judged. Pure apart from [`SecretFiles::read`].

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::{CertificateFacts, hex};
use super::pem;

/// File names of a workload certificate, and GKE's names for the same (sidecar contract 4.3).
const NAMES: [[&str; 2]; 3] =
    [["cert-chain.pem", "certificates.pem"], ["key.pem", "private_key.pem"], ["root-cert.pem", "ca_certificates.pem"]];

/// Why the content of the certificate folder is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{reason}; {consequence}",
    consequence = "the last usable certificate stays in force, and without one mesh mTLS fails until this is mended"
)]
pub struct SecretError {
    reason: String,
}

impl From<String> for SecretError {
    fn from(reason: String) -> Self {
        SecretError { reason }
    }
}

/// One file as read.
#[derive(Clone, PartialEq, Eq)]
struct File {
    path: PathBuf,
    text: Vec<u8>,
}

impl File {
    fn read(folder: &Path, names: [&str; 2]) -> Result<File, SecretError> {
        let [name, other] = names.map(|name| folder.join(name));
        let path = if !name.exists() && other.exists() { other } else { name };
        match std::fs::read(&path) {
            Ok(text) => Ok(File { path, text }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!("{}: file not found", path.display()).into()),
            Err(error) => Err(format!("{}: cannot be read: {error}", path.display()).into()),
        }
    }

    fn origin(&self) -> String {
        self.path.display().to_string()
    }
}

/// The three files of a workload certificate, as bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretFiles {
    chain: File,
    key: File,
    roots: File,
}

impl std::fmt::Debug for SecretFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretFiles({})", self.chain.origin())
    }
}

impl SecretFiles {
    /// Reads the folder.
    ///
    /// # Errors
    /// The first file that is missing or unreadable.
    pub fn read(folder: &Path) -> Result<SecretFiles, SecretError> {
        let [chain, key, roots] = NAMES;
        Ok(SecretFiles { chain: File::read(folder, chain)?, key: File::read(folder, key)?, roots: File::read(folder, roots)? })
    }
}

/// A usable workload certificate: chain, key, roots, and what the leaf says.
#[derive(Debug)]
pub struct Secret {
    certified: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
    spiffe_id: Arc<str>,
    serial: String,
    not_before: SystemTime,
    expires_at: SystemTime,
    origin: String,
}

impl Secret {
    /// Parses and judges the files at time `now`.
    ///
    /// # Errors
    /// Not PEM, no certificate, no key, key of another certificate, expired or not yet valid, no SPIFFE identity.
    pub fn parse(files: &SecretFiles, now: SystemTime) -> Result<Secret, SecretError> {
        let origin = files.chain.origin();
        let chain = pem::certificates(&files.chain.text, &origin)?;
        let key = pem::private_key(&files.key.text, &files.key.origin())?;
        let roots = pem::roots(&files.roots.text, &files.roots.origin())?;
        let leaf = chain.first().ok_or_else(|| format!("{origin}: no CERTIFICATE block found"))?;
        let (serial, not_before, _) = validity(leaf, &origin)?;
        let mut expires_at = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX) * 64);
        for certificate in &chain {
            expires_at = expires_at.min(validity(certificate, &origin)?.2);
        }
        check_period(not_before, expires_at, now, &origin)?;
        let facts = CertificateFacts::of(leaf);
        let spiffe_id = facts.spiffe_id().ok_or_else(|| format!("{origin}: the certificate has no URI SAN of the form spiffe://..."))?;
        let spiffe_id: Arc<str> = spiffe_id.into();
        let certified = pem::certified_key(chain, key, &files.key.origin())?;
        Ok(Secret { certified: Arc::new(certified), roots: Arc::new(roots), spiffe_id, serial, not_before, expires_at, origin })
    }

    /// Chain and key.
    pub fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    /// The trust bundle.
    pub fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }

    /// Own identity.
    pub fn spiffe_id(&self) -> &Arc<str> {
        &self.spiffe_id
    }

    /// Serial number of the leaf, lower-case hex.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// Start of validity of the leaf.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// When the first certificate of the chain expires.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// What is odd but not wrong: said once, at load.
    pub fn warning(&self, trust_domains: &[String]) -> Option<String> {
        let ours = trust_domains.iter().any(|domain| super::verifier::in_trust_domain(&self.spiffe_id, domain));
        (!ours).then(|| {
            let expected = trust_domains.join(", ");
            format!("{}: identity {} is outside the trust domain ({expected}); peers will refuse it", self.origin, self.spiffe_id)
        })
    }
}

fn validity(certificate: &CertificateDer<'_>, origin: &str) -> Result<(String, SystemTime, SystemTime), SecretError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| format!("{origin}: not an X.509 certificate: {error}"))?;
    let time = |seconds: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let period = parsed.validity();
    Ok((hex(parsed.raw_serial()), time(period.not_before.timestamp()), time(period.not_after.timestamp())))
}

fn check_period(start: SystemTime, end: SystemTime, now: SystemTime, origin: &str) -> Result<(), SecretError> {
    if end <= now {
        return Err(format!("{origin}: the certificate expired at {}", timestamp(end)).into());
    }
    if start > now {
        return Err(format!("{origin}: the certificate is not valid before {} (is the clock right?)", timestamp(start)).into());
    }
    Ok(())
}

fn timestamp(time: SystemTime) -> String {
    let format = &time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::from(time).format(format).unwrap_or_else(|_| "an unknown time".to_owned())
}
