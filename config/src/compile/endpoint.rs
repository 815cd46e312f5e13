//! Endpoints of a cluster: ready ones, chosen by subset labels, with their identity and whether they take mTLS.
//!
//! Source: Istio semantics 2.10 (auto mTLS), sidecar contract 5.2.

use std::net::SocketAddr;
use std::sync::Arc;

use super::context::Context;
use super::service::{Port, Service};
use crate::api::peer_authentication::MutualTlsMode;
use crate::model::{Endpoint, Workload, spiffe_id};
use crate::registry::{self, Address};
use crate::string_map::StringMap;

/// The usable endpoints of a port that carry `labels`, by address.
pub(super) fn of_port(cx: &Context<'_>, service: &Service<'_>, port: &Port<'_>, labels: Option<&StringMap>) -> Vec<Arc<Endpoint>> {
    let usable = service.definition.usable_endpoints(port.definition);
    let own_node = own_node(cx, service);
    let selected = usable.filter(|endpoint| {
        labels.is_none_or(|labels| endpoint.workload.has_labels(labels)) && own_node.is_none_or(|node| endpoint.node == node)
    });
    let mut endpoints: Vec<Arc<Endpoint>> = selected.filter_map(|endpoint| shared(cx, service, endpoint)).collect();
    // Several ServiceEntries may name one address; the proxy keeps one state for it.
    endpoints.dedup_by_key(|endpoint| endpoint.address);
    endpoints.shrink_to_fit();
    endpoints
}

/// The node to which a Service keeps its traffic (`internalTrafficPolicy: Local`), when the client's own is known.
fn own_node<'r>(cx: &Context<'r>, service: &Service<'_>) -> Option<&'r str> {
    let local = service.definition.kubernetes().is_some_and(|service| service.spec.spec.internal_traffic_policy == "Local");
    cx.own_pod.filter(|pod| local && !pod.node.is_empty()).map(|pod| pod.node.as_str())
}

/// The endpoint, the same object for all clusters of the port.
fn shared(cx: &Context<'_>, service: &Service<'_>, endpoint: &registry::Endpoint) -> Option<Arc<Endpoint>> {
    let mut known = cx.endpoints.borrow_mut();
    if let Some(known) = known.get(&std::ptr::from_ref(endpoint)) {
        return Some(Arc::clone(known));
    }
    let made = Arc::new(convert(cx, service, endpoint)?);
    known.insert(endpoint, Arc::clone(&made));
    Some(made)
}

fn convert(cx: &Context<'_>, service: &Service<'_>, endpoint: &registry::Endpoint) -> Option<Endpoint> {
    let Address::Ip(address) = endpoint.address else { return None };
    let workload = &endpoint.workload;
    let identity = (!workload.service_account.is_empty() && !service.definition.mesh_external)
        .then(|| spiffe_id(&cx.node.trust_domain, &workload.namespace, &workload.service_account));
    Some(Endpoint {
        address: SocketAddr::new(address, endpoint.port),
        weight: endpoint.weight.max(1),
        locality: endpoint.locality.clone(),
        mtls: workload.tls_mode_istio && !service.definition.mesh_external && accepts_mtls(cx, workload, endpoint.port),
        identity,
        workload: (!workload.workload_name.is_empty()).then(|| cx.workload(workload)),
        pod: (!workload.pod.is_empty()).then(|| workload.pod.clone()),
    })
}

/// Whether the server side terminates mTLS on a container port.
fn accepts_mtls(cx: &Context<'_>, workload: &registry::Workload, port: u16) -> bool {
    cx.registry.mtls_mode(&workload.namespace, &workload.labels, Some(port)) != MutualTlsMode::Disable
}

/// The workload as telemetry names it.
pub(super) fn telemetry(workload: &registry::Workload, cluster_id: &str) -> Arc<Workload> {
    let (name, namespace, account) = (&workload.workload_name, &workload.namespace, &workload.service_account);
    Arc::new(Workload::from_labels(name, namespace, account, &workload.labels, cluster_id))
}
