//! Certificates from Secrets: `credentialName` of Gateways and DestinationRules.
//!
//! Source: Istio semantics 3.2. Secrets are looked up in the namespace of the proxy's pod, never in the rule's.

use super::context::Context;
use crate::api::kubernetes::Secret;
use crate::model::{CertificatePair, Pem};
use crate::registry::Resource;

/// What a credential holds.
#[derive(Default)]
pub(super) struct Credential {
    /// Chain and key.
    pub(super) pair: Option<CertificatePair>,
    /// Roots for the other side.
    pub(super) ca: Option<Pem>,
}

/// Reads a credential by name; `NAMESPACE/NAME` only for the pod's own namespace. The roots may stand in the same secret
/// or in one called `NAME-cacert`. What is missing is absent: handshakes fail until it appears.
pub(super) fn credential(cx: &Context<'_>, name: &str) -> Credential {
    let name = match name.split_once('/') {
        Some((namespace, name)) if namespace == cx.node.namespace => name,
        Some(_) => return Credential::default(),
        None => name,
    };
    let secret = cx.registry.secrets.get(&cx.node.namespace, name);
    let pair = secret.and_then(|secret| {
        let chain = pem(secret, &["tls.crt", "cert"])?;
        Some(CertificatePair { chain, key: pem(secret, &["tls.key", "key"])? })
    });
    Credential { pair, ca: secret.and_then(roots).or_else(|| ca(cx, &format!("{name}-cacert"))) }
}

/// The roots in a secret of their own.
pub(super) fn ca(cx: &Context<'_>, name: &str) -> Option<Pem> {
    cx.registry.secrets.get(&cx.node.namespace, name).and_then(roots)
}

fn roots(secret: &Resource<Secret>) -> Option<Pem> {
    pem(secret, &["ca.crt", "cacert"])
}

fn pem(secret: &Resource<Secret>, keys: &[&str]) -> Option<Pem> {
    let found = keys.iter().find_map(|key| secret.get(key).filter(|bytes| !bytes.is_empty()).map(|bytes| (key, bytes)));
    found.map(|(key, bytes)| Pem { origin: format!("{} key {key}", secret.object.id), bytes: Some(bytes.into()) })
}
