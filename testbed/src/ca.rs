//! The certificate authority of a run: one self-signed root, one short certificate per service account.
//!
//! Certificates have the form istiod gives them: empty subject, the SPIFFE identity as the only (hence critical)
//! subject alternative name, both extended key usages, valid from two minutes ago for 24 hours.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use time::{Duration, OffsetDateTime};

use crate::run::files;

/// How long a workload certificate is valid.
pub const LIFETIME: Duration = Duration::hours(24);
const BACKDATED: Duration = Duration::minutes(2);
const ROOT_LIFETIME: Duration = Duration::days(3650);

/// User and group of the proxy, who alone may read its key.
pub const PROXY_UID: u32 = 1337;

/// The identity a certificate speaks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Usually `cluster.local`.
    pub trust_domain: String,
    /// Namespace of the service account.
    pub namespace: String,
    /// Name of the service account.
    pub service_account: String,
}

impl Identity {
    /// The SPIFFE form: `spiffe://cluster.local/ns/shop/sa/v1`.
    pub fn uri(&self) -> String {
        format!("spiffe://{}/ns/{}/sa/{}", self.trust_domain, self.namespace, self.service_account)
    }
}

/// A certificate with its key, as PEM.
#[derive(Clone)]
pub struct Issued {
    /// The leaf followed by the root.
    pub chain: String,
    /// PKCS#8.
    pub key: String,
    /// What verifies the peers.
    pub root: String,
    /// When it ends.
    pub not_after: OffsetDateTime,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// Signs certificates. Cheap to clone.
#[derive(Clone)]
pub struct Ca {
    issuer: Arc<Issuer<'static, KeyPair>>,
    root: Arc<str>,
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ca").finish_non_exhaustive()
    }
}

impl Ca {
    /// Makes a root for `organization` that begins `now`.
    ///
    /// # Errors
    /// When the cryptographic library refuses.
    pub fn new(organization: &str, now: OffsetDateTime) -> Result<Ca> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, organization);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (now - BACKDATED, now + ROOT_LIFETIME);
        let key = KeyPair::generate()?;
        let root = params.self_signed(&key)?.pem();
        Ok(Ca { issuer: Arc::new(Issuer::new(params, key)), root: root.into() })
    }

    /// Writes `root-cert.pem` and `ca-key.pem` (mode 0600) into a folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        files::write_private(&folder.join("ca-key.pem"), self.issuer.key().serialize_pem().as_bytes())?;
        files::write_atomic(&folder.join("root-cert.pem"), self.root.as_bytes())
    }

    /// The root certificate as PEM.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// A new key and a certificate for `identity` that ends `lifetime` after `now`; a negative lifetime gives an
    /// expired one, for tests.
    ///
    /// # Errors
    /// When the identity is no valid URI.
    pub fn issue(&self, identity: &Identity, now: OffsetDateTime, lifetime: Duration) -> Result<Issued> {
        let uri = identity.uri();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into().with_context(|| format!("identity {uri}"))?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let not_after = now + lifetime;
        (params.not_before, params.not_after) = (not_after.min(now) - BACKDATED, not_after);
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &self.issuer)?.pem();
        let root = self.root.to_string();
        Ok(Issued { chain: format!("{leaf}{root}"), key: key.serialize_pem(), root, not_after })
    }
}

impl Issued {
    /// Writes `cert-chain.pem`, `key.pem` (mode 0600, for the proxy alone) and `root-cert.pem`, each replaced whole.
    ///
    /// The key comes before the chain: whoever reloads when the chain changes finds the matching key.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let file = |name: &str| -> PathBuf { folder.join(name) };
        files::write_atomic(&file("root-cert.pem"), self.root.as_bytes())?;
        files::write_private_for(&file("key.pem"), self.key.as_bytes(), PROXY_UID)?;
        files::write_atomic(&file("cert-chain.pem"), self.chain.as_bytes())
    }
}
