//! Services: Kubernetes' and those of ServiceEntries, in one form.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};

use ipnet::IpNet;

use super::endpoints::{self, Endpoint};
use super::selection::Selection;
use super::table::Resource;
use super::{Tables, Workload, kubernetes_hostname};
use crate::api::kubernetes as k8s;
use crate::api::service_entry::{self, Location, ServiceEntry};
use crate::decode::IntOrString;
use crate::mesh::MeshConfig;
use crate::object::Timestamp;
use crate::string_map::StringMap;

/// A service that clients can address.
#[derive(Debug)]
pub struct Service {
    /// Full name, in lower case; may be a wildcard in a ServiceEntry.
    pub hostname: Arc<str>,
    /// Short name: that of the Kubernetes Service, or the hostname of a ServiceEntry.
    pub name: Arc<str>,
    /// Namespace.
    pub namespace: Arc<str>,
    /// Where it is defined.
    pub source: ServiceSource,
    /// Virtual addresses and address ranges; empty for headless and address-less services.
    pub addresses: Vec<IpNet>,
    /// Ports, in the order written.
    pub ports: Vec<ServicePort>,
    /// How endpoints are found.
    pub resolution: Resolution,
    /// Whether it is outside the mesh.
    pub mesh_external: bool,
    /// Namespaces that see it, the mesh default applied; `*`, `.` and `~` as in `exportTo`.
    pub export_to: Vec<String>,
    /// Names that the servers' certificates may carry, beside what TLS settings say.
    pub subject_alt_names: Vec<String>,
    /// Labels of its pods; empty when endpoints come from elsewhere.
    pub selector: StringMap,
    /// Whether endpoints that are not ready are used.
    pub publish_not_ready: bool,
    /// For "oldest first".
    pub created: Timestamp,
}

/// Where a service is defined.
#[derive(Debug, Clone)]
pub enum ServiceSource {
    /// By a Kubernetes Service.
    Kubernetes(Resource<k8s::Service>),
    /// By a ServiceEntry: the oldest one of its namespace for this host.
    ServiceEntry(Resource<ServiceEntry>),
}

/// How the endpoints of a service are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// They are listed, and the client balances over them.
    ClientSide,
    /// They are the address that the client dialled: headless Services and `NONE`.
    Passthrough,
    /// They are all addresses that DNS gives for the endpoint names.
    Dns,
    /// They are the first address that DNS gives.
    DnsRoundRobin,
    /// They are what the name of each request resolves to.
    DynamicDns,
    /// Those of another host: `ExternalName`.
    Alias(String),
}

/// Transport protocol of a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// UDP, which the mesh does not handle.
    Udp,
    /// SCTP, which the mesh does not handle.
    Sctp,
}

/// A port of a service.
#[derive(Debug, Clone)]
pub struct ServicePort {
    /// Name; may be empty.
    pub name: String,
    /// Number.
    pub number: u16,
    /// Transport.
    pub transport: Transport,
    /// Kubernetes' `appProtocol`, or the `protocol` of a ServiceEntry port; empty when not written.
    pub app_protocol: String,
    /// Port at the endpoints as written; each [`Endpoint`] has the number.
    pub target_port: Option<IntOrString>,
    /// Endpoints of all states, ordered by address and port.
    pub endpoints: Vec<Endpoint>,
}

impl Service {
    /// Whether it is a Kubernetes Service.
    pub fn is_kubernetes(&self) -> bool {
        matches!(self.source, ServiceSource::Kubernetes(_))
    }

    /// Whether it is a headless Kubernetes Service.
    pub fn is_headless(&self) -> bool {
        self.is_kubernetes() && self.resolution == Resolution::Passthrough
    }

    /// The port of this number.
    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|port| port.number == number)
    }

    /// The Kubernetes Service, for its rarer fields.
    pub fn kubernetes(&self) -> Option<&Resource<k8s::Service>> {
        match &self.source {
            ServiceSource::Kubernetes(service) => Some(service),
            ServiceSource::ServiceEntry(_) => None,
        }
    }

    /// The endpoints of a port that may get traffic now.
    pub fn usable_endpoints<'s>(&'s self, port: &'s ServicePort) -> impl Iterator<Item = &'s Endpoint> {
        port.endpoints.iter().filter(|endpoint| endpoint.is_usable(self.publish_not_ready))
    }
}

/// All services: Kubernetes' oldest first, then those of ServiceEntries oldest first. A ServiceEntry host that a Kubernetes
/// Service has already only adds its `subjectAltNames` there.
pub(super) fn all(tables: &Tables, mesh: &MeshConfig, domain: &str, workloads: &[Arc<Workload>]) -> Vec<Arc<Service>> {
    let mut slices = endpoints::Slices::new(tables, workloads);
    let selection = Selection::new(tables, workloads);
    let mut services: Vec<Service> =
        tables.kubernetes_services.iter().map(|service| of_kubernetes(service, mesh, domain, &mut slices, &selection)).collect();
    let by_hostname: HashMap<Arc<str>, usize> =
        services.iter().enumerate().map(|(index, service)| (service.hostname.clone(), index)).collect();
    let mut of_entries: HashMap<(Arc<str>, Arc<str>), usize> = HashMap::new();
    for entry in &tables.service_entries {
        let mut seen = HashSet::new();
        for host in entry.hosts.iter().filter(|host| seen.insert(host.to_ascii_lowercase())) {
            let hostname: Arc<str> = host.to_ascii_lowercase().into();
            if let Some(service) = by_hostname.get(&hostname).and_then(|index| services.get_mut(*index)) {
                service.subject_alt_names.extend(entry.subject_alt_names.iter().cloned());
                continue;
            }
            let service = of_entry(entry, hostname.clone(), mesh, &selection);
            let key = (entry.namespace().clone(), hostname);
            match of_entries.get(&key).and_then(|index| services.get_mut(*index)) {
                Some(earlier) => unite(earlier, service),
                None => {
                    of_entries.insert(key, services.len());
                    services.push(service);
                }
            }
        }
    }
    services.into_iter().map(Arc::new).collect()
}

fn of_kubernetes(
    resource: &Resource<k8s::Service>,
    mesh: &MeshConfig,
    domain: &str,
    slices: &mut endpoints::Slices<'_>,
    selection: &Selection<'_>,
) -> Service {
    let (name, namespace, spec) = (resource.name(), resource.namespace(), &resource.spec.spec);
    let annotation = resource.object.meta.annotations.get("networking.istio.io/exportTo");
    let export_to = annotation.map(|list| list.split(',').map(|entry| entry.trim().to_owned()).collect());
    let resolution = match (spec.kind.as_str(), spec.cluster_ip.as_str()) {
        ("ExternalName", _) => Resolution::Alias(spec.external_name.trim_end_matches('.').to_ascii_lowercase()),
        (_, "None") => Resolution::Passthrough,
        _ => Resolution::ClientSide,
    };
    let ports = spec.ports.iter().map(|port| ServicePort {
        name: port.name.clone(),
        number: port.port,
        transport: transport(&port.protocol),
        app_protocol: port.app_protocol.clone().unwrap_or_default(),
        target_port: port.target_port.clone(),
        endpoints: endpoints_of(resource, port, slices, selection),
    });
    Service {
        hostname: kubernetes_hostname(name, namespace, domain).to_ascii_lowercase().into(),
        name: name.clone(),
        namespace: namespace.clone(),
        source: ServiceSource::Kubernetes(resource.clone()),
        addresses: addresses(spec),
        ports: ports.collect(),
        resolution,
        mesh_external: false,
        export_to: export_to.unwrap_or_else(|| mesh.default_service_export_to.clone()),
        subject_alt_names: Vec::new(),
        selector: spec.selector.clone(),
        publish_not_ready: spec.publish_not_ready_addresses,
        created: resource.object.meta.creation_timestamp.unwrap_or_default(),
    }
}

/// Each address once, the primary one first.
fn addresses(spec: &k8s::ServiceSpec) -> Vec<IpNet> {
    let ips = std::iter::once(&spec.cluster_ip).chain(&spec.cluster_ips).filter_map(|ip| ip.parse::<IpAddr>().ok());
    let mut addresses: Vec<IpNet> = Vec::new();
    for net in ips.map(IpNet::from) {
        if !addresses.contains(&net) {
            addresses.push(net);
        }
    }
    addresses
}

/// What is behind a port: pods, and WorkloadEntries that the selector finds.
fn endpoints_of(
    resource: &Resource<k8s::Service>,
    port: &k8s::ServicePort,
    slices: &mut endpoints::Slices<'_>,
    selection: &Selection<'_>,
) -> Vec<Endpoint> {
    let target = endpoints::fixed_target(port).unwrap_or(port.port);
    let mut endpoints = slices.of_port(resource, port);
    endpoints.extend(selection.entries(resource.namespace(), &resource.spec.spec.selector, &port.name, target));
    endpoints.sort_by(Endpoint::order);
    endpoints
}

fn transport(protocol: &str) -> Transport {
    match protocol {
        "UDP" => Transport::Udp,
        "SCTP" => Transport::Sctp,
        _ => Transport::Tcp,
    }
}

fn of_entry(entry: &Resource<ServiceEntry>, hostname: Arc<str>, mesh: &MeshConfig, selection: &Selection<'_>) -> Service {
    let ports = entry.ports.iter().filter_map(|port| {
        Some(ServicePort {
            name: port.name.clone(),
            number: u16::try_from(port.number).ok()?,
            transport: if port.protocol.eq_ignore_ascii_case("UDP") { Transport::Udp } else { Transport::Tcp },
            app_protocol: port.protocol.clone(),
            target_port: i32::try_from(port.target_port).ok().filter(|number| *number != 0).map(IntOrString::Int),
            endpoints: endpoints::of_entry(entry, port, &hostname, selection),
        })
    });
    let addresses = entry.addresses.iter().filter_map(|text| {
        let address = text.parse::<IpAddr>().map(IpNet::from);
        address.ok().or_else(|| text.parse::<IpNet>().ok()).map(|net| net.trunc())
    });
    let export_to = if entry.export_to.is_empty() { &mesh.default_service_export_to } else { &entry.export_to };
    Service {
        ports: ports.collect(),
        name: hostname.clone(),
        hostname,
        namespace: entry.namespace().clone(),
        source: ServiceSource::ServiceEntry(entry.clone()),
        addresses: addresses.collect(),
        resolution: match entry.resolution {
            service_entry::Resolution::None => Resolution::Passthrough,
            service_entry::Resolution::Static => Resolution::ClientSide,
            service_entry::Resolution::Dns => Resolution::Dns,
            service_entry::Resolution::DnsRoundRobin => Resolution::DnsRoundRobin,
            service_entry::Resolution::DynamicDns => Resolution::DynamicDns,
        },
        mesh_external: entry.location == Location::MeshExternal,
        export_to: export_to.clone(),
        subject_alt_names: entry.subject_alt_names.clone(),
        selector: StringMap::new(),
        publish_not_ready: false,
        created: entry.object.meta.creation_timestamp.unwrap_or_default(),
    }
}

/// Adds a younger ServiceEntry of the same host and namespace: new ports when the two agree otherwise, and its endpoints.
fn unite(earlier: &mut Service, later: Service) {
    let agree = earlier.resolution == later.resolution && earlier.export_to == later.export_to;
    for port in later.ports {
        match earlier.ports.iter_mut().find(|other| other.number == port.number) {
            Some(same) => {
                same.endpoints.extend(port.endpoints);
                same.endpoints.sort_by(Endpoint::order);
            }
            None if agree => earlier.ports.push(port),
            None => {}
        }
    }
    earlier.subject_alt_names.extend(later.subject_alt_names);
}
