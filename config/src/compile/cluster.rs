//! Clusters: one for each (service, port, subset) that the client sees, and the fixed ones.
//!
//! Source: Istio semantics 2 and 5.4.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::destination_rule::MergedRule;
use super::service::{Port, Service, ServiceKind};
use super::traffic_policy::EffectivePolicy;
use super::{endpoint, host, upstream_tls};
use crate::api::destination_rule::H2UpgradePolicy;
use crate::decode::IntOrString;
use crate::mesh::OutboundTrafficMode;
use crate::model::{Cluster, ConnectionPool, Discovery, DnsTarget, LbPolicy, UpstreamProtocol, UpstreamTls};
use crate::protocol::Protocol;
use crate::registry::Address;
use crate::string_map::StringMap;

/// Name of the cluster that keeps the original destination.
pub(super) const PASSTHROUGH: &str = "PassthroughCluster";
/// Idle time after which connections to unknown destinations close (Istio semantics 4.4).
const PASSTHROUGH_IDLE: Duration = Duration::from_secs(300);
/// Name of the cluster that closes every connection.
pub(super) const BLACK_HOLE: &str = "BlackHoleCluster";
/// Name of the cluster for inbound ports that no Service names.
pub(super) const INBOUND_PASSTHROUGH: &str = "InboundPassthroughCluster";

/// What one cluster is made for.
pub(super) struct Subject<'a, 'r> {
    /// Service.
    pub(super) service: &'a Service<'r>,
    /// One of its ports.
    pub(super) port: &'a Port<'r>,
    /// Subset; empty for the service itself.
    pub(super) subset: &'a str,
    /// The DestinationRule that applies.
    pub(super) rule: Option<&'a MergedRule<'r>>,
    /// The policy in force.
    pub(super) policy: EffectivePolicy<'r>,
}

impl<'a, 'r> Subject<'a, 'r> {
    fn new(cx: &Context<'r>, service: &'a Service<'r>, port: &'a Port<'r>, rule: Option<&'a MergedRule<'r>>, subset: &'a str) -> Self {
        let policy = EffectivePolicy::new(rule, port.number, subset, cx.mesh.default_traffic_policy.as_ref());
        Subject { service, port, subset, rule, policy }
    }
}

/// The fixed clusters, then those of all services in order.
pub(super) fn outbound(cx: &Context<'_>) -> Vec<Cluster> {
    let mut passthrough = fixed(cx, PASSTHROUGH, Discovery::OriginalDst { port: None });
    passthrough.connection_pool = Arc::new(ConnectionPool { idle_timeout: Some(PASSTHROUGH_IDLE), ..ConnectionPool::default() });
    let mut clusters = vec![passthrough, fixed(cx, BLACK_HOLE, Discovery::BlackHole)];
    for service in cx.services.iter() {
        let rule = cx.destination_rules.find(service.host(), &service.definition.namespace);
        for port in &service.ports {
            let subsets = rule.into_iter().flat_map(|rule| &rule.subsets).map(|subset| subset.name.as_str());
            let names = std::iter::once("").chain(subsets.filter(|name| !name.is_empty()));
            clusters.extend(names.map(|subset| of_subject(cx, &Subject::new(cx, service, port, rule, subset))));
        }
    }
    clusters
}

/// Where unknown destinations go.
pub(super) fn unknown(cx: &Context<'_>) -> &'static str {
    match cx.mesh.outbound_traffic_policy {
        OutboundTrafficMode::RegistryOnly => BLACK_HOLE,
        _ => PASSTHROUGH,
    }
}

/// A cluster that belongs to no service.
pub(super) fn fixed(cx: &Context<'_>, name: &str, discovery: Discovery) -> Cluster {
    Cluster {
        name: name.to_owned(),
        discovery,
        lb_policy: LbPolicy::Passthrough,
        endpoints: Vec::new(),
        protocol: UpstreamProtocol::UseDownstream,
        connect_timeout: cx.mesh.connect_timeout,
        connection_pool: cx.connection_pool(ConnectionPool::default()),
        tls: UpstreamTls::Disabled,
        service: None,
        port: 0,
        subset: String::new(),
        external: false,
    }
}

fn of_subject(cx: &Context<'_>, subject: &Subject<'_, '_>) -> Cluster {
    let Subject { service, port, subset, rule, policy } = subject;
    let labels = rule.and_then(|rule| rule.subset(subset)).map(|subset| &subset.labels);
    let endpoints = endpoint::of_port(cx, service, port, labels);
    let lb_policy = policy.lb_policy();
    let discovery = discovery(service, port, labels, lb_policy);
    let tls = upstream_tls::of_cluster(cx, subject, &discovery, &endpoints);
    Cluster {
        name: host::outbound_cluster(port.number, subset, service.host()),
        discovery,
        lb_policy,
        protocol: protocol(cx, port.protocol, policy),
        connect_timeout: policy.connect_timeout(cx.mesh.connect_timeout),
        connection_pool: cx.connection_pool(policy.pool(cx.mesh.tcp_keepalive.as_ref())),
        tls,
        endpoints,
        service: Some(Arc::new(service.reference())),
        port: port.number,
        subset: (*subset).to_owned(),
        external: service.definition.mesh_external,
    }
}

fn discovery(service: &Service<'_>, port: &Port<'_>, labels: Option<&StringMap>, lb_policy: LbPolicy) -> Discovery {
    match service.kind {
        ServiceKind::Endpoints if lb_policy == LbPolicy::Passthrough => Discovery::OriginalDst { port: None },
        ServiceKind::Endpoints => Discovery::Endpoints,
        ServiceKind::Headless => Discovery::OriginalDst { port: None },
        ServiceKind::OriginalDst => Discovery::OriginalDst { port: target_port(port) },
        ServiceKind::Dns => Discovery::StrictDns(names(port, labels)),
        ServiceKind::External(name) => {
            Discovery::StrictDns(vec![DnsTarget { host: name.to_owned(), port: target_port(port).unwrap_or(port.number), weight: 1 }])
        }
    }
}

fn target_port(port: &Port<'_>) -> Option<u16> {
    match &port.definition.target_port {
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok().filter(|number| *number != 0),
        _ => None,
    }
}

/// Names to resolve, and addresses written beside them.
fn names(port: &Port<'_>, labels: Option<&StringMap>) -> Vec<DnsTarget> {
    let selected = port.definition.endpoints.iter().filter(|endpoint| labels.is_none_or(|labels| endpoint.workload.has_labels(labels)));
    let target = |endpoint: &crate::registry::Endpoint| {
        let host = match &endpoint.address {
            Address::Ip(address) => address.to_string(),
            Address::Name(name) => name.clone(),
            Address::Unix(_) => return None,
        };
        Some(DnsTarget { host, port: endpoint.port, weight: endpoint.weight })
    };
    selected.filter_map(target).collect()
}

/// The HTTP version spoken upstream. The mesh's wish for HTTP/2 acts on ports declared HTTP; a DestinationRule's also on
/// detected ones.
fn protocol(cx: &Context<'_>, declared: Protocol, policy: &EffectivePolicy<'_>) -> UpstreamProtocol {
    let upgrade = match policy.h2_upgrade() {
        Some(own) => own && matches!(declared, Protocol::Http | Protocol::Auto),
        None => declared == Protocol::Http && cx.mesh.h2_upgrade_policy == H2UpgradePolicy::Upgrade,
    };
    match declared.upstream() {
        UpstreamProtocol::Tcp => UpstreamProtocol::Tcp,
        _ if upgrade => UpstreamProtocol::Http2,
        _ if policy.use_client_protocol() => UpstreamProtocol::UseDownstream,
        declared => declared,
    }
}

/// Wraps the finished clusters and indexes their names. The first of a name stays.
pub(super) fn index(clusters: Vec<Cluster>) -> (Vec<Arc<Cluster>>, BTreeMap<String, crate::model::ClusterId>) {
    let mut clusters: Vec<Arc<Cluster>> = clusters.into_iter().map(Arc::new).collect();
    // What was collected into is the space of the clusters themselves.
    clusters.shrink_to_fit();
    let mut names = BTreeMap::new();
    for (position, cluster) in (0..).zip(&clusters) {
        names.entry(cluster.name.clone()).or_insert(crate::model::ClusterId(position));
    }
    (clusters, names)
}
