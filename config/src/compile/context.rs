//! What every part of the compiler needs: who it compiles for, what exists, and the numbers it hands out.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::HashMap;

use super::destination_rule::DestinationRules;
use super::retry;
use super::service::Services;
use super::virtual_service::{self, Candidate};
use crate::diagnostic::{Diagnostic, Severity};
use crate::mesh::MeshConfig;
use crate::model::{ClusterId, ConnectionPool, Endpoint, Node, RetryPolicy, RouteId, Workload};
use crate::object::Object;
use crate::registry::{self, Registry};

/// Istio's code for a field that cannot be used as written.
const INVALID: &str = "IST0106";

/// The inputs, indexed, and the growing outputs that are shared by all parts.
pub(super) struct Context<'r> {
    /// All objects.
    pub(super) registry: &'r Registry,
    /// The workload.
    pub(super) node: &'r Node,
    /// The workload's pod, when the registry has it.
    pub(super) own_pod: Option<&'r registry::Workload>,
    /// Mesh settings.
    pub(super) mesh: &'r MeshConfig,
    /// Services that the workload sees.
    pub(super) services: Services<'r>,
    /// DestinationRules that can apply to its requests.
    pub(super) destination_rules: DestinationRules<'r>,
    /// VirtualServices that the workload sees, in order of precedence.
    pub(super) virtual_services: Vec<Candidate<'r>>,
    /// The policy of routes that have no `retries` of their own.
    pub(super) default_retry: Option<Arc<RetryPolicy>>,
    /// Names of all clusters.
    pub(super) cluster_names: BTreeMap<String, ClusterId>,
    /// Routes numbered so far.
    pub(super) routes: Cell<u32>,
    /// Workloads converted so far, by their place in the registry.
    pub(super) workloads: RefCell<HashMap<*const registry::Workload, Arc<Workload>>>,
    /// Endpoints converted so far, by their place in the registry, which holds each under one port of one service.
    pub(super) endpoints: RefCell<HashMap<*const registry::Endpoint, Arc<Endpoint>>>,
    /// The pool settings of the cluster made last.
    pub(super) connection_pool: RefCell<Arc<ConnectionPool>>,
    /// Problems found on the way.
    pub(super) diagnostics: RefCell<Vec<Diagnostic>>,
}

impl<'r> Context<'r> {
    /// Indexes what the workload sees. Clusters are made, and their names filed, afterwards.
    pub(super) fn new(registry: &'r Registry, node: &'r Node) -> Self {
        let mesh = registry.mesh();
        let rules = registry.destination_rules.iter();
        let virtual_services = registry.virtual_services.iter();
        Context {
            registry,
            node,
            own_pod: registry.workloads().iter().map(AsRef::as_ref).find(|pod| pod.namespace == node.namespace && pod.pod == node.name),
            mesh,
            services: Services::new(registry, node),
            destination_rules: DestinationRules::new(rules, node, &mesh.root_namespace, &mesh.default_destination_rule_export_to),
            virtual_services: virtual_service::candidates(virtual_services, node, &mesh.default_virtual_service_export_to),
            default_retry: retry::outbound(None, mesh.default_http_retry_policy.as_ref()).map(Arc::new),
            cluster_names: BTreeMap::new(),
            routes: Cell::new(0),
            workloads: RefCell::default(),
            endpoints: RefCell::default(),
            connection_pool: RefCell::default(),
            diagnostics: RefCell::default(),
        }
    }

    /// The next route number.
    pub(super) fn route_id(&self) -> RouteId {
        RouteId(self.routes.replace(self.routes.get() + 1))
    }

    /// The cluster of a name.
    pub(super) fn cluster(&self, name: &str) -> Option<ClusterId> {
        self.cluster_names.get(name).copied()
    }

    /// A workload as telemetry names it, shared by all endpoints behind which it stands.
    pub(super) fn workload(&self, workload: &Arc<registry::Workload>) -> Arc<Workload> {
        let mut known = self.workloads.borrow_mut();
        let make = || super::endpoint::telemetry(workload, &self.node.cluster_id);
        known.entry(Arc::as_ptr(workload)).or_insert_with(make).clone()
    }

    /// Pool settings, the same object as those of the cluster before when they are equal: those of most services are.
    pub(super) fn connection_pool(&self, pool: ConnectionPool) -> Arc<ConnectionPool> {
        let mut last = self.connection_pool.borrow_mut();
        if **last != pool {
            *last = Arc::new(pool);
        }
        Arc::clone(&last)
    }

    /// Reports a field that cannot be used as written; the same complaint only once.
    pub(super) fn report(&self, object: &Object, field: String, message: String) {
        let mut diagnostics = self.diagnostics.borrow_mut();
        let known = |known: &Diagnostic| known.object.as_ref() == Some(&object.id) && known.field == field && known.message == message;
        if !diagnostics.iter().any(known) {
            diagnostics.push(object.diagnostic(Severity::Error, INVALID, field, message));
        }
    }
}
