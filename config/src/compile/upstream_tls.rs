//! Transport security of a cluster: what a DestinationRule orders, else auto mTLS.
//!
//! Source: Istio semantics 2.10, sidecar contract 5.1 and 5.2.

use std::sync::Arc;

use super::cluster::Subject;
use super::context::Context;
use super::secret;
use super::service::Service;
use crate::api::destination_rule::{ClientTlsMode, ClientTlsSettings};
use crate::api::peer_authentication::MutualTlsMode;
use crate::model::{CertificatePair, Discovery, Endpoint, MeshTls, Pem, ProxyType, TlsOrigination, UpstreamTls};

/// The security of one cluster.
pub(super) fn of_cluster(cx: &Context<'_>, subject: &Subject<'_, '_>, discovery: &Discovery, endpoints: &[Arc<Endpoint>]) -> UpstreamTls {
    let service = subject.service;
    let mesh_tls = || MeshTls {
        sni: format!("outbound_.{}_.{}_.{}", subject.port.number, subject.subset, service.host()),
        sans: accounts(service, endpoints),
        explicit_sans: false,
    };
    let Some(tls) = subject.policy.tls else { return automatic(cx, service, discovery, endpoints, mesh_tls) };
    // A sidecar reads secrets only for rules bound to its workload; else Istio drops the block and sends plaintext.
    let bound = subject.rule.is_some_and(|rule| rule.selects_workloads);
    let dropped = !tls.credential_name.is_empty() && cx.node.proxy_type == ProxyType::Sidecar && !bound;
    match tls.mode {
        ClientTlsMode::Disable => UpstreamTls::Disabled,
        ClientTlsMode::IstioMutual => UpstreamTls::IstioMutual(ordered(tls, mesh_tls())),
        ClientTlsMode::Simple | ClientTlsMode::Mutual if dropped => UpstreamTls::Disabled,
        ClientTlsMode::Simple | ClientTlsMode::Mutual => UpstreamTls::Origination(Arc::new(origination(cx, service, tls))),
    }
}

/// Auto mTLS: per endpoint where endpoints are known. Where the client has chosen the address, only if all known
/// endpoints can take it and the namespace does not refuse it.
fn automatic(
    cx: &Context<'_>,
    service: &Service<'_>,
    discovery: &Discovery,
    endpoints: &[Arc<Endpoint>],
    mesh_tls: impl Fn() -> MeshTls,
) -> UpstreamTls {
    if !cx.mesh.enable_auto_mtls || service.definition.mesh_external {
        return UpstreamTls::Disabled;
    }
    let refused = || cx.registry.mtls_mode(&service.definition.namespace, &Default::default(), None) == MutualTlsMode::Disable;
    match discovery {
        Discovery::Endpoints => UpstreamTls::Auto(mesh_tls()),
        Discovery::OriginalDst { .. } if !endpoints.is_empty() && endpoints.iter().all(|endpoint| endpoint.mtls) && !refused() => {
            UpstreamTls::IstioMutual(mesh_tls())
        }
        _ => UpstreamTls::Disabled,
    }
}

/// Identities that the service's endpoints may show.
fn accounts(service: &Service<'_>, endpoints: &[Arc<Endpoint>]) -> Vec<String> {
    let mut accounts: Vec<String> = endpoints.iter().filter_map(|endpoint| endpoint.identity.clone()).collect();
    accounts.extend(service.definition.subject_alt_names.iter().cloned());
    accounts.sort();
    accounts.dedup();
    accounts.shrink_to_fit();
    accounts
}

fn ordered(tls: &ClientTlsSettings, default: MeshTls) -> MeshTls {
    let explicit_sans = !tls.subject_alt_names.is_empty();
    MeshTls {
        sni: if tls.sni.is_empty() { default.sni } else { tls.sni.clone() },
        sans: if explicit_sans { tls.subject_alt_names.clone() } else { default.sans },
        explicit_sans,
    }
}

fn origination(cx: &Context<'_>, service: &Service<'_>, tls: &ClientTlsSettings) -> TlsOrigination {
    let names = if tls.subject_alt_names.is_empty() { &service.definition.subject_alt_names } else { &tls.subject_alt_names };
    let (client, ca) = if tls.credential_name.is_empty() {
        let pair = CertificatePair { chain: file(&tls.client_certificate), key: file(&tls.private_key) };
        let ca = (!tls.ca_certificates.is_empty()).then(|| file(&tls.ca_certificates));
        ((tls.mode == ClientTlsMode::Mutual).then_some(pair), ca)
    } else {
        let secret = secret::credential(cx, &tls.credential_name);
        let pair = || secret.pair.unwrap_or_else(|| missing(&tls.credential_name));
        ((tls.mode == ClientTlsMode::Mutual).then(pair), secret.ca)
    };
    TlsOrigination {
        sni: (!tls.sni.is_empty()).then(|| tls.sni.clone()),
        subject_alt_names: names.clone(),
        insecure_skip_verify: tls.insecure_skip_verify.unwrap_or(false),
        ca,
        client,
    }
}

/// Stands for a secret that is not there: connections fail and name it, instead of going out without a certificate.
fn missing(credential: &str) -> CertificatePair {
    let absent = Pem { origin: format!("secret {credential:?} (missing, or without certificate and key)"), bytes: Some(Arc::from([])) };
    CertificatePair { chain: absent.clone(), key: absent }
}

/// A file that the proxy reads itself.
pub(super) fn file(path: &str) -> Pem {
    Pem { origin: path.to_owned(), bytes: None }
}
