//! Inbound chains: the ports of this pod that Services target, and the chain for all others.
//!
//! Source: Istio semantics 5.6 and 5.8, sidecar contract 5.3.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::context::Context;
use super::traffic_policy::EffectivePolicy;
use super::virtual_host::virtual_host;
use super::{cluster, retry, route, service};
use crate::api::peer_authentication::MutualTlsMode;
use crate::decode::IntOrString;
use crate::model::{
    Cluster, Discovery, Inbound, InboundChain, ListenerProtocol, MtlsMode, RouteConfiguration, UpstreamProtocol, UpstreamTls,
};
use crate::protocol::Protocol;
use crate::registry::{self, ServicePort, Transport};

/// A container port with the Service port that leads to it.
struct Target<'r> {
    service: &'r registry::Service,
    port: &'r ServicePort,
    protocol: Protocol,
}

/// Clusters towards the application: one for each targeted port, and the one for all others.
pub(super) fn clusters(cx: &Context<'_>) -> Vec<Cluster> {
    let mut clusters = vec![cluster::fixed(cx, cluster::INBOUND_PASSTHROUGH, Discovery::Inbound)];
    clusters.extend(targets(cx).iter().map(|(number, target)| {
        // Of the DestinationRule the server uses the connection pool, nothing else.
        let rule = cx.destination_rules.find(&target.service.hostname, &target.service.namespace);
        let policy = EffectivePolicy::new(rule, target.port.number, "", cx.mesh.default_traffic_policy.as_ref());
        Cluster {
            name: cluster_name(*number),
            protocol: upstream(target.protocol),
            connect_timeout: policy.connect_timeout(cx.mesh.connect_timeout),
            connection_pool: cx.connection_pool(policy.pool(cx.mesh.tcp_keepalive.as_ref())),
            tls: UpstreamTls::Disabled,
            service: Some(Arc::new(service::reference(target.service))),
            port: target.port.number,
            ..cluster::fixed(cx, "", Discovery::Inbound)
        }
    }));
    clusters
}

/// The chains of all ports.
pub(super) fn chains(cx: &Context<'_>) -> Inbound {
    let targets = targets(cx);
    let mut by_port = BTreeMap::new();
    for number in cx.registry.mtls_ports(&cx.node.namespace, &cx.node.labels) {
        // A port that no Service targets: the default chain, with the mode of its own.
        by_port.insert(number, Arc::new(chain(cx, number, None)));
    }
    for (number, target) in &targets {
        by_port.insert(*number, Arc::new(chain(cx, *number, Some(target))));
    }
    Inbound { by_port, default: Arc::new(chain(cx, 0, None)) }
}

fn chain(cx: &Context<'_>, number: u16, target: Option<&Target<'_>>) -> InboundChain {
    let cluster = target.map_or_else(|| cluster::INBOUND_PASSTHROUGH.to_owned(), |_| cluster_name(number));
    let protocol = target.map_or(Protocol::Auto, |target| target.protocol);
    let table = if target.is_some() { cluster.clone() } else { format!("{cluster} {number}") };
    let mut route = route::forward(cx, cluster.clone(), format!("default {table}"), "default");
    let grpc = matches!(protocol, Protocol::Grpc | Protocol::GrpcWeb);
    route.retry = retry::inbound(cx.mesh.default_inbound_http_retry_policy.as_ref(), grpc).map(Arc::new);
    if let Some(target) = target {
        route.decorator = format!("{}:{}/*", target.service.hostname, target.port.number);
    }
    let service_port = target.map_or(number, |target| target.port.number);
    let host = virtual_host(format!("inbound|http|{service_port}"), vec!["*".to_owned()], vec![route]);
    InboundChain {
        port: number,
        // TLS of the application's own is opaque here: it is not ours to route.
        protocol: match protocol.listener() {
            ListenerProtocol::Tls => ListenerProtocol::Tcp,
            other => other,
        },
        mtls: mode(cx, (number != 0).then_some(number)),
        cluster: cx.cluster(&cluster).unwrap_or_default(),
        http: Arc::new(RouteConfiguration::new(cluster, vec![host])),
        service: target.map(|target| service::reference(target.service)),
    }
}

fn mode(cx: &Context<'_>, port: Option<u16>) -> MtlsMode {
    match cx.registry.mtls_mode(&cx.node.namespace, &cx.node.labels, port) {
        MutualTlsMode::Strict => MtlsMode::Strict,
        MutualTlsMode::Disable => MtlsMode::Disable,
        MutualTlsMode::Permissive | MutualTlsMode::Unset => MtlsMode::Permissive,
    }
}

fn cluster_name(port: u16) -> String {
    format!("inbound|{port}||")
}

fn upstream(protocol: Protocol) -> UpstreamProtocol {
    match protocol.upstream() {
        // An opaque port may still carry HTTP in detection; the version is then the client's.
        UpstreamProtocol::Tcp => UpstreamProtocol::UseDownstream,
        other => other,
    }
}

/// Container ports of this pod that Services lead to; of several Services the oldest.
fn targets<'r>(cx: &Context<'r>) -> BTreeMap<u16, Target<'r>> {
    let mut targets = BTreeMap::new();
    for service in selecting(cx) {
        for port in service.ports.iter().filter(|port| port.transport == Transport::Tcp) {
            if let Some(number) = container_port(cx, port) {
                targets.entry(number).or_insert_with(|| Target { service, port, protocol: service::protocol(service, port) });
            }
        }
    }
    targets
}

/// The Services that lead to this pod, oldest first: by selector, or because an endpoint is this pod.
fn selecting<'r>(cx: &Context<'r>) -> impl Iterator<Item = &'r registry::Service> {
    let node = cx.node;
    cx.registry.services().iter().map(AsRef::as_ref).filter(move |service: &&registry::Service| {
        let home = *service.namespace == *node.namespace;
        let selected = !service.selector.is_empty() && service.selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
        home && (selected || service.ports.iter().any(|port| own_endpoint(cx, port).is_some()))
    })
}

fn own_endpoint(cx: &Context<'_>, port: &ServicePort) -> Option<u16> {
    let own = |endpoint: &&registry::Endpoint| match endpoint.address {
        registry::Address::Ip(address) => cx.node.ip_addresses.contains(&address),
        _ => false,
    };
    port.endpoints.iter().find(own).map(|endpoint| endpoint.port)
}

/// The number of a Service port at this pod: from its endpoint, else as written, else from the pod's named port.
pub(super) fn container_port(cx: &Context<'_>, port: &ServicePort) -> Option<u16> {
    own_endpoint(cx, port).or_else(|| match &port.target_port {
        None => Some(port.number),
        Some(IntOrString::Int(0)) => Some(port.number),
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        Some(IntOrString::String(name)) => named_port(cx, name),
    })
}

fn named_port(cx: &Context<'_>, name: &str) -> Option<u16> {
    let pod = cx.registry.pods.get(&cx.node.namespace, &cx.node.name)?;
    let containers = pod.spec.spec.containers.iter().chain(&pod.spec.spec.init_containers);
    containers.flat_map(|container| &container.ports).find(|port| port.name == name).map(|port| port.container_port)
}

/// The Services that select this pod, for a gateway's ports.
pub(super) fn own_services<'r>(cx: &Context<'r>) -> Vec<&'r registry::Service> {
    selecting(cx).collect()
}
