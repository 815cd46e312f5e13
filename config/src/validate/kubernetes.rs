//! Rules for Kubernetes kinds: those an API server enforces and whose violation would confuse everything behind.

use std::collections::{BTreeMap, HashSet};

use super::Checker;
use super::common::{is_dns_label, is_dns_subdomain};
use crate::api::kubernetes::{Container, EndpointSlice, LabelSelector, ObjectMeta, PodSpec, PodTemplateSpec, Probe, ServiceSpec};
use crate::decode::{IntOrString, Json, Path};

pub(super) fn metadata(cx: &mut Checker<'_>, meta: &ObjectMeta) {
    let path = &Path::Root.field("metadata");
    if !meta.name.is_empty() && !is_dns_subdomain(&meta.name) {
        let message = "expected a name of lower-case letters, digits, '-' and '.', at most 253";
        cx.error(&path.field("name"), format!("{message}, found {:?}", meta.name));
    }
    if !meta.namespace.is_empty() && !is_dns_label(&meta.namespace) {
        cx.error(&path.field("namespace"), format!("expected a namespace (a DNS label), found {:?}", meta.namespace));
    }
    cx.labels(&path.field("labels"), &meta.labels);
}

/// A kind that makes pods from a template.
pub(super) fn workload(
    cx: &mut Checker<'_>,
    spec: &Path<'_>,
    selector: Option<&LabelSelector>,
    template: &PodTemplateSpec,
    claims: &[Json],
) {
    if let Some(selector) = selector {
        let at = &spec.field("selector");
        let empty = selector.match_labels.is_empty() && selector.match_expressions.is_empty();
        cx.require(!empty, at, "expected labels that select the pods of this workload");
        let labels = &template.metadata.labels;
        let fits = empty || selector.matches(labels);
        cx.require(fits, at, "the selector does not select the labels of the template, so the workload would never see its pods");
    }
    let template_path = spec.field("template");
    cx.labels(&template_path.field("metadata").field("labels"), &template.metadata.labels);
    pod_spec(cx, &template_path.field("spec"), &template.spec, claims);
}

/// A pod, or what a template makes. `claims` are the volume claims that a StatefulSet makes for each pod.
pub(super) fn pod_spec(cx: &mut Checker<'_>, path: &Path<'_>, spec: &PodSpec, claims: &[Json]) {
    let containers = &path.field("containers");
    cx.require(!spec.containers.is_empty(), containers, "expected at least one container");
    let mut names = HashSet::new();
    let claims = claims.iter().filter_map(|claim| claim.0["metadata"]["name"].as_str());
    let volumes: HashSet<&str> = spec.volumes.iter().map(|volume| volume.name.as_str()).chain(claims).collect();
    for (field, list) in [("initContainers", &spec.init_containers), ("containers", &spec.containers)] {
        let list_path = path.field(field);
        for (index, entry) in list.iter().enumerate() {
            let at = list_path.index(index);
            container(cx, &at, entry);
            if !entry.name.is_empty() && !names.insert(entry.name.as_str()) {
                cx.error(&at.field("name"), format!("the container name {:?} is used twice in this pod", entry.name));
            }
            for (index, mount) in entry.volume_mounts.iter().enumerate() {
                let mounts = at.field("volumeMounts");
                let here = mounts.index(index);
                if !volumes.contains(mount.name.as_str()) {
                    cx.error(&here.field("name"), format!("the pod has no volume {:?}", mount.name));
                }
                cx.require(!mount.mount_path.is_empty(), &here.field("mountPath"), "expected a path");
            }
        }
    }
    let policy = matches!(spec.restart_policy.as_str(), "" | "Always" | "OnFailure" | "Never");
    cx.require(policy, &path.field("restartPolicy"), "expected Always, OnFailure or Never");
}

fn container(cx: &mut Checker<'_>, path: &Path<'_>, container: &Container) {
    if !is_dns_label(&container.name) {
        cx.error(&path.field("name"), format!("expected a container name (a DNS label), found {:?}", container.name));
    }
    if container.image.trim().is_empty() {
        cx.error(&path.field("image"), format!("container {:?} has no image; expected one", container.name));
    }
    for (index, port) in container.ports.iter().enumerate() {
        let ports = path.field("ports");
        cx.port(&ports.index(index).field("containerPort"), port.container_port.into());
    }
    for (index, variable) in container.env.iter().enumerate() {
        let env = path.field("env");
        let at = env.index(index);
        cx.require(!variable.name.is_empty(), &at.field("name"), "expected the name of a variable");
        let both = !variable.value.is_empty() && variable.value_from.is_some();
        cx.require(!both, &at.field("valueFrom"), "valueFrom cannot be combined with value");
    }
    let named: BTreeMap<&str, u16> = container.ports.iter().map(|port| (port.name.as_str(), port.container_port)).collect();
    for (field, check) in [
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
        ("startupProbe", &container.startup_probe),
    ] {
        if let Some(check) = check {
            probe(cx, &path.field(field), check, &named);
        }
    }
}

fn probe(cx: &mut Checker<'_>, path: &Path<'_>, probe: &Probe, named: &BTreeMap<&str, u16>) {
    let actions = [probe.exec.is_some(), probe.http_get.is_some(), probe.tcp_socket.is_some(), probe.grpc.is_some()];
    let count = actions.iter().filter(|action| **action).count();
    cx.require(count == 1, path, "expected exactly one of exec, httpGet, tcpSocket, grpc");
    let ports = [
        ("httpGet", probe.http_get.as_ref().map(|action| &action.port)),
        ("tcpSocket", probe.tcp_socket.as_ref().map(|action| &action.port)),
    ];
    for (field, port) in ports {
        let at = path.field(field);
        match port {
            Some(IntOrString::String(name)) if !named.contains_key(name.as_str()) => {
                cx.error(&at.field("port"), format!("the container has no port named {name:?}"));
            }
            Some(IntOrString::Int(number)) => cx.port(&at.field("port"), u32::try_from(*number).unwrap_or(0)),
            _ => {}
        }
    }
}

pub(super) fn service(cx: &mut Checker<'_>, path: &Path<'_>, spec: &ServiceSpec) {
    let external = spec.kind == "ExternalName";
    let known = matches!(spec.kind.as_str(), "" | "ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalName");
    cx.require(known, &path.field("type"), "expected ClusterIP, NodePort, LoadBalancer or ExternalName");
    cx.require(!external || !spec.external_name.is_empty(), &path.field("externalName"), "expected the name of a host");
    let headless = spec.cluster_ip == "None";
    let ports = &path.field("ports");
    cx.require(external || headless || !spec.ports.is_empty(), ports, "expected at least one port");
    let ip = matches!(spec.cluster_ip.as_str(), "" | "None") || spec.cluster_ip.parse::<std::net::IpAddr>().is_ok();
    cx.require(ip, &path.field("clusterIP"), "expected an IP address or None");
    let (mut names, mut numbers) = (HashSet::new(), HashSet::new());
    for (index, port) in spec.ports.iter().enumerate() {
        let at = ports.index(index);
        cx.port(&at.field("port"), port.port.into());
        let named = !port.name.is_empty() || spec.ports.len() == 1;
        cx.require(named, &at.field("name"), "a Service with several ports needs a name for each");
        let unique = names.insert(&port.name) || !named;
        cx.require(unique, &at.field("name"), "this port name is used twice");
        let transport = if port.protocol.is_empty() { "TCP" } else { port.protocol.as_str() };
        let unique = numbers.insert((transport, port.port));
        cx.require(unique, &at.field("port"), "this port is listed twice");
    }
    cx.labels(&path.field("selector"), &spec.selector);
}

pub(super) fn endpoint_slice(cx: &mut Checker<'_>, slice: &EndpointSlice) {
    let known = matches!(slice.address_type.as_str(), "IPv4" | "IPv6" | "FQDN");
    cx.require(known, &Path::Root.field("addressType"), "expected IPv4, IPv6 or FQDN");
    for (index, endpoint) in slice.endpoints.iter().enumerate() {
        let endpoints = Path::Root.field("endpoints");
        let at = endpoints.index(index);
        cx.require(!endpoint.addresses.is_empty(), &at.field("addresses"), "expected an address");
        let ips = slice.address_type == "FQDN" || endpoint.addresses.iter().all(|ip| ip.parse::<std::net::IpAddr>().is_ok());
        cx.require(ips, &at.field("addresses"), "expected IP addresses");
    }
}
