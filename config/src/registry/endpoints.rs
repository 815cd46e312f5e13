//! Endpoints: EndpointSlices joined with pods, and what ServiceEntries list.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};

use super::selection::Selection;
use super::table::Resource;
use super::workload::{is_istio, locality};
use super::{Tables, Workload};
use crate::api::kubernetes::{self as k8s, EndpointSlice, SliceEndpoint};
use crate::api::service_entry::{self, Resolution, ServiceEntry, WorkloadEntry};
use crate::decode::IntOrString;
use crate::string_map::StringMap;

/// Where an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// An IP address.
    Ip(IpAddr),
    /// A name to be resolved.
    Name(String),
    /// A Unix domain socket.
    Unix(String),
}

/// Whether an endpoint takes traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Ready,
    /// Not now.
    NotReady,
    /// Never again.
    Terminating,
}

/// One address behind one port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Address.
    pub address: Address,
    /// Port at that address; 0 for Unix sockets.
    pub port: u16,
    /// State.
    pub health: Health,
    /// Share, at least 1.
    pub weight: u32,
    /// `region/zone/subzone`; empty when unknown.
    pub locality: String,
    /// Name within a headless service, such as `web-0`.
    pub hostname: Option<String>,
    /// Node; empty when unknown.
    pub node: String,
    /// Who runs there. Without a known pod it has the service's namespace and nothing else.
    pub workload: Arc<Workload>,
}

impl Endpoint {
    /// Whether traffic may be sent, given the service's `publishNotReadyAddresses`.
    pub fn is_usable(&self, publish_not_ready: bool) -> bool {
        self.health == Health::Ready || (publish_not_ready && self.health == Health::NotReady)
    }

    /// The order in which endpoints are kept.
    pub(super) fn order(a: &Endpoint, b: &Endpoint) -> Ordering {
        (&a.address, a.port).cmp(&(&b.address, b.port))
    }
}

type Key<'t> = (&'t str, &'t str);

/// EndpointSlices by service, and pods by name.
pub(super) struct Slices<'t> {
    by_service: HashMap<Key<'t>, Vec<&'t EndpointSlice>>,
    pods: HashMap<Key<'t>, &'t Arc<Workload>>,
    strangers: HashMap<String, Arc<Workload>>,
}

impl<'t> Slices<'t> {
    pub(super) fn new(tables: &'t Tables, workloads: &'t [Arc<Workload>]) -> Self {
        let mut by_service: HashMap<Key<'t>, Vec<&'t EndpointSlice>> = HashMap::new();
        for slice in &tables.endpoint_slices {
            if let Some(service) = slice.object.meta.labels.get("kubernetes.io/service-name") {
                by_service.entry((slice.namespace(), service)).or_default().push(&slice.spec);
            }
        }
        let pods = workloads.iter().map(|workload| ((workload.namespace.as_str(), workload.pod.as_str()), workload)).collect();
        Slices { by_service, pods, strangers: HashMap::new() }
    }

    /// The endpoints of a port of a Service: those of the slice port with the same name.
    pub(super) fn of_port(&mut self, service: &Resource<k8s::Service>, port: &k8s::ServicePort) -> Vec<Endpoint> {
        let key: Key<'_> = (service.namespace(), service.name());
        let slices: Vec<_> = self.by_service.get(&key).cloned().unwrap_or_default();
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for slice in slices.into_iter().filter(|slice| slice.address_type != "FQDN") {
            let Some(slice_port) = slice.ports.iter().find(|candidate| candidate.name == port.name) else {
                continue;
            };
            let Some(number) = slice_port.port.or_else(|| fixed_target(port)) else {
                continue;
            };
            endpoints.extend(slice.endpoints.iter().filter_map(|endpoint| self.endpoint(service.namespace(), endpoint, number)));
        }
        endpoints.sort_by(Endpoint::order);
        // Kubernetes may show an endpoint in two slices for a moment while it moves between them.
        endpoints.dedup_by(|a, b| a.address == b.address && a.port == b.port);
        endpoints
    }

    fn endpoint(&mut self, namespace: &str, endpoint: &SliceEndpoint, port: u16) -> Option<Endpoint> {
        let address: IpAddr = endpoint.addresses.first()?.parse().ok()?;
        let pod = endpoint.target_ref.as_ref().filter(|target| target.kind == "Pod").and_then(|target| {
            let namespace = if target.namespace.is_empty() { namespace } else { &target.namespace };
            self.pods.get(&(namespace, target.name.as_str())).map(|pod| Arc::clone(pod))
        });
        let workload = pod.unwrap_or_else(|| self.stranger(namespace));
        let zone = endpoint.zone.as_ref().map(|zone| format!("/{zone}"));
        Some(Endpoint {
            address: Address::Ip(address),
            port,
            health: health(endpoint),
            weight: 1,
            locality: if workload.locality.is_empty() { zone.unwrap_or_default() } else { workload.locality.clone() },
            hostname: endpoint.hostname.clone().filter(|hostname| !hostname.is_empty()),
            node: endpoint.node_name.clone().unwrap_or_else(|| workload.node.clone()),
            workload,
        })
    }

    /// The workload of endpoints without a known pod.
    fn stranger(&mut self, namespace: &str) -> Arc<Workload> {
        let make = || Arc::new(Workload { namespace: namespace.to_owned(), ready: true, ..Workload::default() });
        self.strangers.entry(namespace.to_owned()).or_insert_with(make).clone()
    }
}

fn health(endpoint: &SliceEndpoint) -> Health {
    let conditions = &endpoint.conditions;
    match (conditions.terminating.unwrap_or(false), conditions.ready.unwrap_or(true)) {
        (true, _) => Health::Terminating,
        (false, true) => Health::Ready,
        (false, false) => Health::NotReady,
    }
}

/// The target of a port that is the same at every endpoint.
pub(super) fn fixed_target(port: &k8s::ServicePort) -> Option<u16> {
    match &port.target_port {
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        Some(IntOrString::String(_)) => None,
        None => Some(port.port),
    }
}

/// The endpoints of a port of a ServiceEntry: those written, else those selected. With DNS and neither, the host itself is
/// the only one.
pub(super) fn of_entry(
    entry: &Resource<ServiceEntry>,
    port: &service_entry::ServicePort,
    hostname: &str,
    selection: &Selection<'_>,
) -> Vec<Endpoint> {
    let target = if port.target_port == 0 { port.number } else { port.target_port };
    let Ok(target) = u16::try_from(target) else {
        return Vec::new();
    };
    let by_name = matches!(entry.resolution, Resolution::Dns | Resolution::DnsRoundRobin);
    if let Some(selector) = entry.workload_selector.as_ref().filter(|_| entry.resolution != Resolution::None) {
        let mut endpoints = selection.entries(entry.namespace(), &selector.labels, &port.name, target);
        endpoints.extend(selection.pods(entry.namespace(), &selector.labels, target));
        endpoints.sort_by(Endpoint::order);
        return endpoints;
    }
    if entry.endpoints.is_empty() && by_name {
        let written = WorkloadEntry { address: hostname.to_owned(), ..WorkloadEntry::default() };
        return vec![of_written(entry.namespace(), &written, target)];
    }
    let mut endpoints: Vec<Endpoint> = entry
        .endpoints
        .iter()
        .map(|written| {
            let own = written.ports.get(&port.name).and_then(|number| u16::try_from(*number).ok());
            of_written(entry.namespace(), written, own.unwrap_or(target))
        })
        .collect();
    endpoints.sort_by(Endpoint::order);
    endpoints
}

/// An endpoint as a WorkloadEntry writes it.
pub(super) fn of_written(namespace: &str, written: &WorkloadEntry, port: u16) -> Endpoint {
    let (address, port) = match written.address.strip_prefix("unix://") {
        Some(path) => (Address::Unix(path.to_owned()), 0),
        None => match written.address.parse() {
            Ok(ip) => (Address::Ip(ip), port),
            Err(_) => (Address::Name(written.address.to_ascii_lowercase()), port),
        },
    };
    let labels: StringMap = written.labels.clone();
    let locality = if written.locality.is_empty() { locality(&labels) } else { written.locality.clone() };
    let workload = Workload {
        namespace: namespace.to_owned(),
        service_account: written.service_account.clone(),
        tls_mode_istio: is_istio(&labels) || !written.service_account.is_empty(),
        locality: locality.clone(),
        network: written.network.clone(),
        ready: true,
        labels,
        ..Workload::default()
    };
    Endpoint {
        address,
        port,
        health: Health::Ready,
        weight: written.weight.max(1),
        locality,
        hostname: None,
        node: String::new(),
        workload: Arc::new(workload),
    }
}
