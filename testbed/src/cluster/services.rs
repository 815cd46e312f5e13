//! Services and their endpoints: addresses, what the node translates, what DNS knows, what proxies read. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use outrigger_config::api::kubernetes::{ContainerPort, EndpointSlice, Service, ServicePort};
use outrigger_config::decode::IntOrString;
use outrigger_config::string_map::StringMap;
use serde_json::{Value, json};

use super::tree::put;
use super::workload::{NODE_NAME, PodKey};
use crate::names::Zone;
use crate::network::service::{Frontend, Protocol};

/// A Service with the addresses it was given.
#[derive(Clone, Debug)]
pub struct ServiceView {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// As written.
    pub service: Arc<Service>,
    /// Cluster addresses; none for headless ones and aliases.
    pub addresses: Vec<IpAddr>,
}

/// What endpoints need to know of a pod.
#[derive(Clone, Debug)]
pub struct PodView {
    /// Identity.
    pub key: PodKey,
    /// Unique id.
    pub uid: String,
    /// Labels, those of the injector included.
    pub labels: StringMap,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether all containers are ready.
    pub ready: bool,
    /// Whether it is on its way out.
    pub terminating: bool,
    /// Its name below a headless Service, with that Service's name.
    pub host: Option<(String, String)>,
    /// Ports of all its containers.
    pub ports: Vec<ContainerPort>,
}

/// IP families that a Service has, the main one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

impl ServiceView {
    /// Whether clients get the pods' addresses instead of one of the Service's.
    pub fn is_headless(service: &Service) -> bool {
        service.spec.cluster_ip == "None"
    }

    /// Whether it is only another name.
    pub fn is_alias(service: &Service) -> bool {
        service.spec.kind == "ExternalName"
    }

    /// As `ipFamilies` and `ipFamilyPolicy` say; without them IPv4 alone, as in a cluster whose first family it is.
    pub fn families(service: &Service) -> Families {
        let listed = |family: &str| service.spec.ip_families.iter().any(|listed| listed == family);
        let both = matches!(service.spec.ip_family_policy.as_str(), "PreferDualStack" | "RequireDualStack");
        let v6 = both || listed("IPv6");
        Families { v4: both || listed("IPv4") || !v6, v6 }
    }

    /// Whether the Service selects a pod of this namespace with these labels.
    pub fn selects(&self, namespace: &str, labels: &StringMap) -> bool {
        let selector = &self.service.spec.selector;
        self.namespace == namespace
            && !selector.is_empty()
            && !Self::is_alias(&self.service)
            && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    }

    fn in_family(&self, address: &IpAddr) -> bool {
        let families = Self::families(&self.service);
        if address.is_ipv4() { families.v4 } else { families.v6 }
    }
}

/// What follows from Services and pods at one moment.
#[derive(Debug, Default)]
pub struct Derived {
    /// For the node namespace.
    pub frontends: Vec<Frontend>,
    /// For the DNS server.
    pub zone: Zone,
    /// EndpointSlices with their names, for the proxies.
    pub slices: BTreeMap<(String, String), Value>,
}

/// Derives everything. `written` are EndpointSlices of the user's own, by namespace and Service.
pub fn derive(services: &[ServiceView], pods: &[PodView], written: &[(String, String, Arc<EndpointSlice>)]) -> Derived {
    let mut derived = Derived::default();
    for service in services {
        let (namespace, name) = (service.namespace.as_str(), service.name.as_str());
        if ServiceView::is_alias(&service.service) {
            derived.zone.add_alias(namespace, name, &service.service.spec.external_name);
            continue;
        }
        let members: Vec<&PodView> = pods.iter().filter(|pod| service.selects(&pod.key.namespace, &pod.labels)).collect();
        let own = || written.iter().filter(|(ns, svc, _)| (ns.as_str(), svc.as_str()) == (namespace, name));
        let slices: Vec<Arc<EndpointSlice>> = own().map(|(_, _, slice)| slice.clone()).collect();
        for port in &service.service.spec.ports {
            derived.frontends.extend(frontends(service, port, &members, &slices));
        }
        add_names(&mut derived.zone, service, &members, &slices);
        if !service.service.spec.selector.is_empty() {
            derived.slices.extend(endpoint_slices(service, &members));
        }
    }
    derived
}

fn serves(service: &ServiceView, pod: &PodView) -> bool {
    (pod.ready && !pod.terminating) || service.service.spec.publish_not_ready_addresses
}

fn frontends(service: &ServiceView, port: &ServicePort, members: &[&PodView], written: &[Arc<EndpointSlice>]) -> Vec<Frontend> {
    let protocol = match port.protocol.as_str() {
        "" | "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        _ => return Vec::new(),
    };
    let pods = members.iter().filter(|pod| serves(service, pod));
    let mut backends: Vec<SocketAddr> = pods
        .filter_map(|pod| Some((pod, target(port, &pod.ports)?)))
        .flat_map(|(pod, number)| pod.addresses.iter().map(move |address| SocketAddr::new(*address, number)))
        .collect();
    for slice in written {
        let number = slice.ports.iter().find(|candidate| candidate.name == port.name).and_then(|found| found.port);
        let usable = slice.endpoints.iter().filter(|endpoint| endpoint.conditions.ready != Some(false));
        let addresses = usable.flat_map(|endpoint| &endpoint.addresses).filter_map(|address| address.parse().ok());
        backends.extend(addresses.map(|address| SocketAddr::new(address, number.unwrap_or(port.port))));
    }
    let frontend = |address: &IpAddr| Frontend {
        address: SocketAddr::new(*address, port.port),
        protocol,
        backends: backends.iter().filter(|backend| backend.is_ipv4() == address.is_ipv4()).copied().collect(),
    };
    service.addresses.iter().map(frontend).collect()
}

fn add_names(zone: &mut Zone, service: &ServiceView, members: &[&PodView], written: &[Arc<EndpointSlice>]) {
    let (namespace, name) = (&service.namespace, &service.name);
    let of_family = |address: &&IpAddr| service.in_family(address);
    let pod_addresses = |pod: &PodView| -> Vec<IpAddr> { pod.addresses.iter().filter(of_family).copied().collect() };
    let ready = || members.iter().filter(|pod| serves(service, pod));
    let addresses = if ServiceView::is_headless(&service.service) {
        let foreign = written.iter().flat_map(|slice| &slice.endpoints).flat_map(|endpoint| &endpoint.addresses);
        let foreign = foreign.filter_map(|address| address.parse::<IpAddr>().ok());
        ready().flat_map(|pod| pod_addresses(pod)).chain(foreign).collect()
    } else {
        service.addresses.clone()
    };
    zone.add_service(namespace, name, addresses);
    let hosts = ready().filter_map(|pod| match &pod.host {
        Some((host, below)) if below == name => Some((host.clone(), pod_addresses(pod))),
        _ => None,
    });
    zone.add_hosts(namespace, name, &hosts.collect());
}

/// One slice per family and per distinct set of target ports, as the EndpointSlice controller makes them.
fn endpoint_slices(service: &ServiceView, members: &[&PodView]) -> BTreeMap<(String, String), Value> {
    let mut slices = BTreeMap::new();
    for v4 in [true, false] {
        let families = ServiceView::families(&service.service);
        if !(if v4 { families.v4 } else { families.v6 }) {
            continue;
        }
        let mut groups: BTreeMap<Vec<u16>, Vec<&PodView>> = BTreeMap::new();
        for pod in members {
            let targets = service.service.spec.ports.iter().map(|port| target(port, &pod.ports).unwrap_or(0)).collect();
            groups.entry(targets).or_default().push(pod);
        }
        // A Service without pods still has a slice: proxies then know that it is empty, not unknown.
        if groups.is_empty() {
            groups.insert(service.service.spec.ports.iter().map(|port| target(port, &[]).unwrap_or(0)).collect(), Vec::new());
        }
        for (number, (targets, pods)) in groups.into_iter().enumerate() {
            let family = if v4 { "ipv4" } else { "ipv6" };
            let name = format!("{}-{family}-{number}", service.name);
            let slice = endpoint_slice(service, &name, v4, &targets, &pods);
            slices.insert((service.namespace.clone(), name), slice);
        }
    }
    slices
}

fn endpoint_slice(service: &ServiceView, name: &str, v4: bool, targets: &[u16], pods: &[&PodView]) -> Value {
    let endpoint = |pod: &&PodView| {
        let address = pod.addresses.iter().find(|address| address.is_ipv4() == v4)?;
        let mut endpoint = json!({
            "addresses": [address.to_string()],
            "conditions": {
                "ready": serves(service, pod), "serving": pod.ready, "terminating": pod.terminating,
            },
            "nodeName": NODE_NAME,
            "targetRef": {"kind": "Pod", "namespace": pod.key.namespace, "name": pod.key.name, "uid": pod.uid},
        });
        if let Some((host, below)) = &pod.host
            && *below == service.name
        {
            put(&mut endpoint, &["hostname"], json!(host));
        }
        Some(endpoint)
    };
    let port = |(port, number): (&ServicePort, &u16)| {
        let protocol = if port.protocol.is_empty() { "TCP" } else { &port.protocol };
        let mut value = json!({"name": port.name, "port": number, "protocol": protocol});
        if let Some(application) = &port.app_protocol {
            put(&mut value, &["appProtocol"], json!(application));
        }
        (*number > 0).then_some(value)
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": service.namespace,
            "labels": {"kubernetes.io/service-name": service.name},
        },
        "addressType": if v4 { "IPv4" } else { "IPv6" },
        "endpoints": pods.iter().filter_map(endpoint).collect::<Vec<_>>(),
        "ports": service.service.spec.ports.iter().zip(targets).filter_map(port).collect::<Vec<_>>(),
    })
}

/// The port at a pod behind a Service port; none if the pod has no port of the wanted name.
pub fn target(port: &ServicePort, ports: &[ContainerPort]) -> Option<u16> {
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        Some(IntOrString::String(name)) => ports.iter().find(|port| port.name == *name).map(|port| port.container_port),
    }
}

/// Addresses of all pods that exist: what the node lets through.
pub fn pod_addresses(pods: &[PodView]) -> BTreeSet<IpAddr> {
    pods.iter().flat_map(|pod| &pod.addresses).copied().collect()
}

#[cfg(test)]
mod tests;
