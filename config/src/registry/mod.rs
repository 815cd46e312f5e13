//! What exists, indexed for the compiler: objects by kind, namespace and name, services with their endpoints, workloads by
//! address, mesh-wide settings.
//!
//! Built from the objects in force and immutable afterwards. Every list has a fixed order, so that equal objects give equal
//! snapshots: objects are "oldest first" (creation time, name, namespace), services likewise.

mod endpoints;
mod policy;
mod selection;
mod service;
mod table;
mod workload;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};

pub use endpoints::{Address, Endpoint, Health};
pub use policy::PROXY_CONFIG_ANNOTATION;
pub use service::{Resolution, Service, ServicePort, ServiceSource, Transport};
pub use table::{Resource, Table};
pub use workload::{TLS_MODE_LABEL, Workload};

use crate::api::destination_rule::DestinationRule;
use crate::api::gateway::Gateway;
use crate::api::kubernetes as k8s;
use crate::api::peer_authentication::PeerAuthentication;
use crate::api::service_entry::{ServiceEntry, WorkloadEntry};
use crate::api::virtual_service::VirtualService;
use crate::mesh::{self, DEFAULT_ROOT_NAMESPACE, MESH_CONFIG_KEY, MESH_CONFIG_MAP, MeshConfig, ProxyConfigResource};
use crate::object::{Body, Object};

/// The domain of Kubernetes Services unless another is given.
pub const DEFAULT_DOMAIN: &str = "cluster.local";

macro_rules! tables {
    ($( $(#[$meta:meta])* $field:ident : $variant:ident $spec:ty ),* $(,)?) => {
        /// All objects by kind.
        #[derive(Debug, Default)]
        pub struct Tables {
            $( $(#[$meta])* pub $field: Table<$spec>, )*
        }

        impl Tables {
            /// Sorts objects into tables.
            fn new<'o>(objects: impl IntoIterator<Item = &'o Arc<Object>>) -> Self {
                let mut tables = Tables::default();
                for object in objects {
                    match &object.body {
                        $( Body::$variant(spec) => tables.$field.push(object, spec), )*
                        Body::Unread => {}
                    }
                }
                $( tables.$field.finish(); )*
                tables
            }
        }
    };
}

tables! {
    /// VirtualServices.
    virtual_services: VirtualService VirtualService,
    /// DestinationRules.
    destination_rules: DestinationRule DestinationRule,
    /// Gateways.
    gateways: Gateway Gateway,
    /// ServiceEntries.
    service_entries: ServiceEntry ServiceEntry,
    /// WorkloadEntries.
    workload_entries: WorkloadEntry WorkloadEntry,
    /// PeerAuthentications.
    peer_authentications: PeerAuthentication PeerAuthentication,
    /// ProxyConfigs.
    proxy_configs: ProxyConfig ProxyConfigResource,
    /// Namespaces (under the namespace "").
    namespaces: Namespace k8s::Namespace,
    /// Pods.
    pods: Pod k8s::Pod,
    /// Deployments.
    deployments: Deployment k8s::Deployment,
    /// StatefulSets.
    stateful_sets: StatefulSet k8s::StatefulSet,
    /// DaemonSets.
    daemon_sets: DaemonSet k8s::DaemonSet,
    /// ReplicaSets.
    replica_sets: ReplicaSet k8s::ReplicaSet,
    /// Jobs.
    jobs: Job k8s::Job,
    /// Kubernetes Services as written; [`Registry::services`] has them with endpoints.
    kubernetes_services: Service k8s::Service,
    /// EndpointSlices.
    endpoint_slices: EndpointSlice k8s::EndpointSlice,
    /// ServiceAccounts.
    service_accounts: ServiceAccount k8s::ServiceAccount,
    /// Secrets.
    secrets: Secret k8s::Secret,
    /// ConfigMaps.
    config_maps: ConfigMap k8s::ConfigMap,
}

/// Everything the compiler looks at.
#[derive(Debug)]
pub struct Registry {
    tables: Tables,
    mesh: MeshConfig,
    domain: Box<str>,
    services: Vec<Arc<Service>>,
    by_hostname: HashMap<Box<str>, Vec<usize>>,
    workloads: Vec<Arc<Workload>>,
    by_address: HashMap<IpAddr, usize>,
}

impl std::ops::Deref for Registry {
    type Target = Tables;

    fn deref(&self) -> &Tables {
        &self.tables
    }
}

impl Registry {
    /// Indexes objects, in the Kubernetes domain `cluster.local`.
    pub fn new<'o>(objects: impl IntoIterator<Item = &'o Arc<Object>>) -> Self {
        Registry::with_domain(objects, DEFAULT_DOMAIN)
    }

    /// Indexes objects; Services are named `NAME.NAMESPACE.svc.DOMAIN`.
    pub fn with_domain<'o>(objects: impl IntoIterator<Item = &'o Arc<Object>>, domain: &str) -> Self {
        let tables = Tables::new(objects);
        let mesh = mesh_config(&tables);
        let workloads: Vec<Arc<Workload>> = tables.pods.iter().map(|pod| Arc::new(Workload::of_pod(pod))).collect();
        let services = service::all(&tables, &mesh, domain, &workloads);
        let mut by_hostname: HashMap<Box<str>, Vec<usize>> = HashMap::with_capacity(services.len());
        for (index, service) in services.iter().enumerate() {
            by_hostname.entry(service.hostname.to_ascii_lowercase().into()).or_default().push(index);
        }
        let mut by_address = HashMap::new();
        for (index, workload) in workloads.iter().enumerate().filter(|(_, workload)| !workload.host_network) {
            for address in &workload.addresses {
                by_address.entry(*address).or_insert(index);
            }
        }
        Registry { tables, mesh, domain: domain.into(), services, by_hostname, workloads, by_address }
    }

    /// Mesh-wide settings.
    pub fn mesh(&self) -> &MeshConfig {
        &self.mesh
    }

    /// The domain of Kubernetes Services.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// All services, Kubernetes' first, each group oldest first. A ServiceEntry gives one per host.
    pub fn services(&self) -> &[Arc<Service>] {
        &self.services
    }

    /// The services of exactly this hostname (case does not matter), in the order of [`Registry::services`]. Several
    /// namespaces may define one external host; which a client uses is a matter of visibility.
    pub fn services_named(&self, hostname: &str) -> impl Iterator<Item = &Arc<Service>> {
        let found = match hostname.bytes().any(|b| b.is_ascii_uppercase()) {
            true => self.by_hostname.get(hostname.to_ascii_lowercase().as_str()),
            false => self.by_hostname.get(hostname),
        };
        found.into_iter().flatten().filter_map(|index| self.services.get(*index))
    }

    /// The first service of exactly this hostname.
    pub fn service(&self, hostname: &str) -> Option<&Arc<Service>> {
        self.services_named(hostname).next()
    }

    /// The Kubernetes Service of this namespace and name.
    pub fn kubernetes_service(&self, namespace: &str, name: &str) -> Option<&Arc<Service>> {
        self.service(&kubernetes_hostname(name, namespace, &self.domain)).filter(|service| service.is_kubernetes())
    }

    /// The full name of a host written in a rule of `namespace`: a name without a dot is a Service of that namespace, all else
    /// stays as it is.
    pub fn resolve_host(&self, host: &str, namespace: &str) -> String {
        if host.contains('.') || host.contains(':') || host == "*" {
            return host.to_ascii_lowercase();
        }
        kubernetes_hostname(&host.to_ascii_lowercase(), namespace, &self.domain)
    }

    /// All pods, oldest first.
    pub fn workloads(&self) -> &[Arc<Workload>] {
        &self.workloads
    }

    /// The pod with this address. Pods that share the node's address are not found.
    pub fn workload_at(&self, address: IpAddr) -> Option<&Arc<Workload>> {
        self.by_address.get(&address).and_then(|index| self.workloads.get(*index))
    }
}

/// `NAME.NAMESPACE.svc.DOMAIN`.
pub fn kubernetes_hostname(name: &str, namespace: &str, domain: &str) -> String {
    [name, ".", namespace, ".svc.", domain].concat()
}

/// MeshConfig from the ConfigMap `istio` in `istio-system`, or the defaults. The text has been checked with the ConfigMap.
fn mesh_config(tables: &Tables) -> MeshConfig {
    let resource = tables.config_maps.get(DEFAULT_ROOT_NAMESPACE, MESH_CONFIG_MAP);
    let text = resource.and_then(|resource| resource.spec.data.get(MESH_CONFIG_KEY));
    text.map_or_else(MeshConfig::default, |text| mesh::read_mesh_config(text).0)
}
