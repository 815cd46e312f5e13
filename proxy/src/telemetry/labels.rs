//! Istio's metric labels: who called whom, as each reporter sees it (sidecar contract 7.2).
//!
//! Pure: a connection, the upstream side and the local workload in, label text out. The text is ready for the exposition,
//! so that nothing is formatted per request or per scrape.

use outrigger_config::model::{Node, ServiceRef, Workload};

use super::UpstreamFacts;
use crate::listener::{Direction, Downstream};

const UNKNOWN: &str = "unknown";
const LATEST: &str = "latest";

/// What labels are derived from.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The connection.
    pub downstream: &'a Downstream,
    /// The upstream side, when there was one.
    pub upstream: Option<&'a UpstreamFacts>,
    /// Host header; empty for TCP.
    pub authority: &'a str,
    /// Route taken; empty for TCP.
    pub route_name: &'a str,
    /// `http`, `grpc` or `tcp`.
    pub protocol: &'static str,
}

/// The labels of one series group, without the outcome: response code, gRPC status and flags stand between the two.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Labels {
    /// `reporter` to `request_protocol`.
    pub head: String,
    /// `connection_security_policy`.
    pub tail: String,
}

/// Computes the labels of a subject, for the proxy of `node`.
pub fn labels(node: &Node, subject: &Subject<'_>) -> Labels {
    let told = subject.downstream.peer_workload.get().map(|peer| &**peer);
    written(node, subject, told)
}

/// The labels of a subject without anything that a peer chooses: their number is bounded by the configuration.
pub fn anonymous_labels(node: &Node, subject: &Subject<'_>) -> Labels {
    written(node, &Subject { upstream: None, authority: "", route_name: "", ..*subject }, None)
}

fn written(node: &Node, subject: &Subject<'_>, told: Option<&Workload>) -> Labels {
    let local = node.workload();
    let mut head = Text(String::with_capacity(1024));
    match subject.downstream.direction {
        Direction::Inbound => destination_reporter(&mut head, &local, subject, told),
        Direction::Outbound | Direction::Gateway => source_reporter(&mut head, &local, subject),
    }
    head.label("request_protocol", subject.protocol);
    let mut tail = Text(String::new());
    tail.label("connection_security_policy", security_policy(subject.downstream));
    Labels { head: head.0, tail: tail.0 }
}

fn source_reporter(out: &mut Text, local: &Workload, subject: &Subject<'_>) {
    let upstream = subject.upstream;
    let peer_identity = upstream.and_then(|up| up.peer_identity.as_deref());
    let peer = Side::peer(upstream.and_then(|up| up.workload.as_deref()), peer_identity);
    let source = Side::local(local, upstream.and_then(|up| up.local_identity.as_deref()));
    let service = outbound_service(subject, &peer);
    out.label("reporter", "source");
    out.sides(&source, &peer, &service);
}

fn destination_reporter(out: &mut Text, local: &Workload, subject: &Subject<'_>, told: Option<&Workload>) {
    let tls = subject.downstream.tls.as_ref();
    let peer_identity = tls.and_then(|tls| tls.peer_identity.as_deref());
    let peer = Side::peer(told, peer_identity);
    let destination = Side::local(local, tls.and_then(|tls| tls.local_identity.as_deref()));
    let service = inbound_service(subject, &destination);
    out.label("reporter", "destination");
    out.sides(&peer, &destination, &service);
}

/// Only the server knows both certificates for sure; Istio's dashboards expect `unknown` from the client.
fn security_policy(downstream: &Downstream) -> &'static str {
    match downstream.direction {
        Direction::Inbound if downstream.is_mutual_tls() => "mutual_tls",
        Direction::Inbound => "none",
        Direction::Outbound | Direction::Gateway => UNKNOWN,
    }
}

/// One end of the exchange as labels name it.
struct Side<'a> {
    workload: &'a str,
    namespace: &'a str,
    principal: &'a str,
    app: &'a str,
    version: &'a str,
    cluster: &'a str,
    canonical_service: &'a str,
    canonical_revision: &'a str,
}

impl<'a> Side<'a> {
    /// The own workload: what the pod does not say stays empty.
    fn local(workload: &'a Workload, identity: Option<&'a str>) -> Self {
        Side {
            workload: &workload.name,
            namespace: &workload.namespace,
            principal: identity.unwrap_or(UNKNOWN),
            app: &workload.app,
            version: &workload.version,
            cluster: &workload.cluster_id,
            canonical_service: &workload.canonical_name,
            canonical_revision: &workload.canonical_revision,
        }
    }

    /// The other end: what it did not tell is `unknown`. Its namespace is believed from the certificate first.
    fn peer(workload: Option<&'a Workload>, identity: Option<&'a str>) -> Self {
        let told =
            |field: fn(&Workload) -> &str, missing: &'static str| workload.map(field).filter(|value| !value.is_empty()).unwrap_or(missing);
        Side {
            workload: told(|w| &w.name, UNKNOWN),
            namespace: identity.and_then(spiffe_namespace).unwrap_or_else(|| told(|w| &w.namespace, UNKNOWN)),
            principal: identity.unwrap_or(UNKNOWN),
            app: told(|w| &w.app, UNKNOWN),
            version: told(|w| &w.version, UNKNOWN),
            cluster: told(|w| &w.cluster_id, UNKNOWN),
            canonical_service: told(|w| &w.canonical_name, UNKNOWN),
            canonical_revision: told(|w| &w.canonical_revision, LATEST),
        }
    }
}

fn spiffe_namespace(identity: &str) -> Option<&str> {
    let (_, rest) = identity.strip_prefix("spiffe://")?.split_once("/ns/")?;
    rest.split('/').next().filter(|namespace| !namespace.is_empty())
}

/// `destination_service`, `..._name` and `..._namespace`.
struct Destination<'a> {
    host: &'a str,
    name: &'a str,
    namespace: &'a str,
}

fn outbound_service<'a>(subject: &Subject<'a>, peer: &Side<'a>) -> Destination<'a> {
    let upstream = subject.upstream;
    // A client of a gateway must not be able to make series by inventing Host headers.
    let host_counts = subject.downstream.direction == Direction::Outbound && !subject.authority.is_empty();
    let fallback = if host_counts { subject.authority } else { UNKNOWN };
    let special = special_destination(subject.route_name, upstream.map_or("", |up| &up.cluster));
    match upstream.and_then(|up| up.service.as_deref()) {
        Some(service) if special.is_none() => service_names(service, peer.namespace),
        _ => Destination { host: fallback, name: special.unwrap_or(fallback), namespace: peer.namespace },
    }
}

fn inbound_service<'a>(subject: &Subject<'a>, local: &Side<'a>) -> Destination<'a> {
    let special = special_destination("", subject.upstream.map_or("", |up| &up.cluster));
    match &subject.downstream.service {
        Some(service) if special.is_none() => Destination { namespace: local.namespace, ..service_names(service, "") },
        _ => Destination { host: local.canonical_service, name: special.unwrap_or(local.canonical_service), namespace: local.namespace },
    }
}

fn service_names<'a>(service: &'a ServiceRef, peer_namespace: &'a str) -> Destination<'a> {
    let first_label = || service.host.split('.').next().unwrap_or(UNKNOWN);
    Destination {
        host: &service.host,
        name: if service.name.is_empty() { first_label() } else { &service.name },
        namespace: if service.namespace.is_empty() { peer_namespace } else { &service.namespace },
    }
}

fn special_destination(route: &str, cluster: &str) -> Option<&'static str> {
    match (route, cluster) {
        ("block_all", _) | (_, "BlackHoleCluster") => Some("BlackHoleCluster"),
        ("allow_any", _) | (_, "PassthroughCluster") => Some("PassthroughCluster"),
        (_, "InboundPassthroughCluster") => Some("InboundPassthroughCluster"),
        _ => None,
    }
}

/// Label text under construction.
struct Text(String);

impl Text {
    fn label(&mut self, name: &str, value: &str) {
        super::encode::push_label(&mut self.0, name, value);
    }

    fn sides(&mut self, source: &Side<'_>, destination: &Side<'_>, service: &Destination<'_>) {
        self.label("source_workload", source.workload);
        self.label("source_canonical_service", source.canonical_service);
        self.label("source_canonical_revision", source.canonical_revision);
        self.label("source_workload_namespace", source.namespace);
        self.label("source_principal", source.principal);
        self.label("source_app", source.app);
        self.label("source_version", source.version);
        self.label("source_cluster", source.cluster);
        self.label("destination_workload", destination.workload);
        self.label("destination_workload_namespace", destination.namespace);
        self.label("destination_principal", destination.principal);
        self.label("destination_app", destination.app);
        self.label("destination_version", destination.version);
        self.label("destination_service", service.host);
        self.label("destination_canonical_service", destination.canonical_service);
        self.label("destination_canonical_revision", destination.canonical_revision);
        self.label("destination_service_name", service.name);
        self.label("destination_service_namespace", service.namespace);
        self.label("destination_cluster", destination.cluster);
    }
}

#[cfg(test)]
mod tests;
