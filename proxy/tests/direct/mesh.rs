//! Identities of workloads, as files.

use std::fs;
use std::sync::Arc;

use outrigger_proxy::identity::Identity;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType, string::Ia5String};
use tempfile::TempDir;

/// A certificate authority and the folders of the workloads it knows.
pub struct Mesh {
    issuer: Issuer<'static, KeyPair>,
    root: String,
    folder: TempDir,
}

impl Mesh {
    pub fn new() -> Mesh {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).expect("root").pem();
        Mesh { issuer: Issuer::new(params, key), root, folder: tempfile::tempdir().expect("folder") }
    }

    pub fn identity(&self, account: &str) -> Arc<Identity> {
        let folder = self.folder.path().join(account);
        fs::create_dir(&folder).expect("folder");
        self.issue(account);
        let identity = Identity::new(Some(folder), &["cluster.local".to_owned()]);
        identity.reload().expect("loads");
        Arc::new(identity)
    }

    /// Writes a fresh certificate into the account's folder.
    pub fn issue(&self, account: &str) {
        let key = KeyPair::generate().expect("key");
        let uri = format!("spiffe://cluster.local/ns/shop/sa/{account}");
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(uri).expect("uri"))];
        let chain = params.signed_by(&key, &self.issuer).expect("leaf").pem();
        for (name, text) in [("cert-chain.pem", &chain), ("key.pem", &key.serialize_pem()), ("root-cert.pem", &self.root)] {
            fs::write(self.folder.path().join(account).join(name), text).expect("write");
        }
    }
}
