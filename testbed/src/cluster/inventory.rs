//! What the manifests ask for: the user's objects, sorted into what the controller works with.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use outrigger_config::api::kubernetes::{EndpointSlice, Service};
use outrigger_config::diagnostic::{self, Diagnostic};
use outrigger_config::mesh::MeshConfig;
use outrigger_config::object::{Body, Kind, Object, ObjectId};
use outrigger_config::parse;
use outrigger_config::registry::Registry;
use outrigger_config::store::{FileChange, Store};
use outrigger_config::string_map::StringMap;
use outrigger_config::validate::references;
use serde_json::Value;

use super::gateway::{self, Generated};
use super::publish;
use super::services::ServiceView;
use super::workload::Workload;
use crate::network::Subnet;
use crate::network::address::SERVICES;
use crate::pod::facts::Sources;

/// The user's objects, as needed.
#[derive(Debug, Default)]
pub struct Inventory {
    store: Store,
    /// Labels of namespaces that are written down.
    pub namespaces: BTreeMap<String, StringMap>,
    /// Everything that makes pods, generated gateways included.
    pub workloads: Vec<Workload>,
    /// Services, generated ones included, with their addresses.
    pub services: Vec<ServiceView>,
    /// The same Services as proxies read them.
    pub published_services: Vec<Value>,
    /// EndpointSlices of the user, by namespace and Service.
    pub slices: Vec<(String, String, Arc<EndpointSlice>)>,
    /// ConfigMaps and Secrets.
    pub sources: Arc<Sources>,
    /// Settings of the mesh.
    pub mesh: MeshConfig,
    /// Selectors of Gateway objects.
    pub gateway_selectors: Vec<StringMap>,
    replicas: HashMap<ObjectId, u32>,
    numbers: BTreeMap<(String, String), u16>,
    /// What was last said about references between objects.
    references: Vec<Diagnostic>,
}

impl Inventory {
    /// Takes changed files and derives everything anew; returns what is to be said about those files.
    pub fn apply(&mut self, changes: Vec<FileChange>, subnet: &Subnet, ca_root: &str) -> Vec<Diagnostic> {
        let mut diagnostics = self.store.apply(changes);
        let before = std::mem::take(&mut self.references);
        self.derive(subnet, ca_root);
        diagnostics.extend(self.references.iter().filter(|now| !before.contains(now)).cloned());
        diagnostic::sort(&mut diagnostics);
        diagnostics
    }

    /// Whether there is any object.
    pub fn is_empty(&self) -> bool {
        self.store.objects().len() == 0
    }

    /// Overrides the number of replicas of a workload; false if there is no such workload.
    pub fn scale(&mut self, namespace: &str, name: &str, replicas: u32) -> bool {
        let scalable = |kind| matches!(kind, Kind::Deployment | Kind::StatefulSet | Kind::ReplicaSet);
        let fits =
            |workload: &&mut Workload| scalable(workload.id.kind) && &*workload.id.namespace == namespace && &*workload.id.name == name;
        let Some(workload) = self.workloads.iter_mut().find(fits) else { return false };
        workload.replicas = replicas;
        self.replicas.insert(workload.id.clone(), replicas);
        true
    }

    fn derive(&mut self, subnet: &Subnet, ca_root: &str) {
        let objects: Vec<Arc<Object>> = self.store.objects().cloned().collect();
        self.mesh = Registry::new(&objects).mesh().clone();
        self.sources = Arc::new(Sources::new(objects.iter(), ca_root));
        self.namespaces = namespaces(&objects);
        let generated = gateway::missing(objects.iter());
        self.references = references::check(&Registry::new(objects.iter().chain(&generated_objects(&generated))));
        self.workloads = objects.iter().filter_map(|object| Workload::from_object(object)).collect();
        self.workloads.extend(generated.iter().map(gateway_workload));
        for workload in &mut self.workloads {
            if let Some(replicas) = self.replicas.get(&workload.id) {
                workload.replicas = *replicas;
            }
        }
        self.gateway_selectors = objects
            .iter()
            .filter_map(|object| match &object.body {
                Body::Gateway(gateway) => Some(gateway.selector.clone()),
                _ => None,
            })
            .collect();
        self.assign_addresses(&service_objects(&objects, &generated), subnet);
        self.slices = written_slices(&objects);
    }

    /// A Service keeps its address as long as it exists.
    fn assign_addresses(&mut self, objects: &[Arc<Object>], subnet: &Subnet) {
        let key = |object: &Object| (object.id.namespace.to_string(), object.id.name.to_string());
        let alive: Vec<(String, String)> = objects.iter().map(|object| key(object)).collect();
        self.numbers.retain(|known, _| alive.contains(known));
        (self.services, self.published_services) = (Vec::new(), Vec::new());
        for object in objects {
            let Body::Service(service) = &object.body else { continue };
            let (namespace, name) = key(object);
            let addresses = if ServiceView::is_headless(service) || ServiceView::is_alias(service) {
                Vec::new()
            } else {
                let taken = &self.numbers;
                let free = || (0..SERVICES - 1).find(|number| !taken.values().any(|other| other == number));
                let number = taken.get(&(namespace.clone(), name.clone())).copied().or_else(free).unwrap_or(SERVICES - 1);
                self.numbers.insert((namespace.clone(), name.clone()), number);
                cluster_addresses(service, subnet, number)
            };
            let view = ServiceView { namespace, name, service: service.clone(), addresses };
            self.published_services.push(publish::service(object, &view));
            self.services.push(view);
        }
    }
}

fn cluster_addresses(service: &Service, subnet: &Subnet, number: u16) -> Vec<IpAddr> {
    let families = ServiceView::families(service);
    let mut addresses = Vec::new();
    if families.v4 {
        addresses.push(IpAddr::V4(subnet.service_v4(number)));
    }
    if families.v6 && subnet.v6 {
        addresses.push(IpAddr::V6(subnet.service_v6(number)));
    }
    let v6_first = service.spec.ip_families.first().is_some_and(|family| family == "IPv6");
    if v6_first {
        addresses.reverse();
    }
    addresses
}

fn namespaces(objects: &[Arc<Object>]) -> BTreeMap<String, StringMap> {
    let written = objects.iter().filter(|object| object.id.kind == Kind::Namespace);
    written.map(|object| (object.id.name.to_string(), object.meta.labels.clone())).collect()
}

/// Gateways that the run adds, as objects of their own: the user's refer to them.
fn generated_objects(generated: &[Generated]) -> Vec<Arc<Object>> {
    let parsed = generated.iter().flat_map(|gateway| [gateway.service(), gateway.deployment()]);
    parsed.filter_map(|json| parse::from_json(Path::new("gateway"), &json).ok()).collect()
}

fn gateway_workload(generated: &Generated) -> Workload {
    let id = ObjectId { kind: Kind::Deployment, namespace: gateway::NAMESPACE.into(), name: generated.name.as_str().into() };
    Workload::new(id, 1, 0, false, generated.template())
}

/// A Service of the user's own stands in place of a generated one of the same name.
fn service_objects(objects: &[Arc<Object>], generated: &[Generated]) -> Vec<Arc<Object>> {
    let mut services: Vec<Arc<Object>> = objects.iter().filter(|object| object.id.kind == Kind::Service).cloned().collect();
    for gateway in generated {
        match parse::from_json(Path::new("gateway"), &gateway.service()) {
            Ok(object) if !services.iter().any(|other| other.id == object.id) => services.push(object),
            Ok(_) => {}
            Err(diagnostics) => tracing::warn!(?diagnostics, "the Service of a generated gateway is not usable"),
        }
    }
    services
}

fn written_slices(objects: &[Arc<Object>]) -> Vec<(String, String, Arc<EndpointSlice>)> {
    let slice = |object: &Arc<Object>| {
        let Body::EndpointSlice(slice) = &object.body else { return None };
        let service = object.meta.labels.get("kubernetes.io/service-name")?;
        Some((object.id.namespace.to_string(), service.clone(), slice.clone()))
    };
    objects.iter().filter_map(slice).collect()
}
