//! What the proxy of one workload keeps of the objects of a whole mesh.
//!
//! Of other pods it asks where they are, who runs there and whether they are ready; of workloads, which labels their pods
//! will carry. Containers, volumes and the rest are read and checked like everything, and then dropped, as is the text of
//! objects that no rule about several objects reports on: a mesh has many more pods than a proxy has reasons to look.

use std::sync::Arc;

use crate::api::kubernetes::{ObjectMeta, Pod, PodSpec, PodStatus, PodTemplateSpec};
use crate::mesh::MESH_CONFIG_MAP;
use crate::object::{Body, Kind, Object};
use crate::store::PUBLISHED_BY;

/// The annotation in which `kubectl apply` repeats the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Whose proxy it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeper {
    /// Namespace of the proxy's pod.
    pub namespace: String,
    /// Name of the proxy's pod, which is kept whole.
    pub pod: String,
}

impl Keeper {
    /// Drops what this proxy never asks for. `object` has been checked.
    pub(crate) fn reduce(&self, object: &mut Object) {
        let own = object.id.kind == Kind::Pod && *object.id.namespace == *self.namespace && *object.id.name == *self.pod;
        object.meta.annotations.remove(LAST_APPLIED);
        if own || !is_reducible(object) {
            return;
        }
        object.source.text = Arc::from("");
        object.meta.annotations.retain(|name, _| name == PUBLISHED_BY);
        match &mut object.body {
            Body::Pod(pod) => reduce_with(pod, pod_of),
            Body::Deployment(made) => reduce_with(made, |made| made.spec.template = template_of(&made.spec.template)),
            Body::StatefulSet(made) => reduce_with(made, |made| made.spec.template = template_of(&made.spec.template)),
            Body::DaemonSet(made) => reduce_with(made, |made| made.spec.template = template_of(&made.spec.template)),
            Body::ReplicaSet(made) => reduce_with(made, |made| made.spec.template = template_of(&made.spec.template)),
            Body::Job(made) => reduce_with(made, |made| made.spec.template = template_of(&made.spec.template)),
            Body::ConfigMap(map) => reduce_with(map, |map| *map = Default::default()),
            _ => {}
        }
    }
}

/// Whether nothing but the essence of an object is ever asked for.
fn is_reducible(object: &Object) -> bool {
    match object.id.kind {
        Kind::Pod | Kind::EndpointSlice | Kind::Namespace | Kind::ServiceAccount => true,
        Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet | Kind::ReplicaSet | Kind::Job => true,
        Kind::ConfigMap => *object.id.name != *MESH_CONFIG_MAP,
        _ => false,
    }
}

/// Changes what nobody else holds yet.
fn reduce_with<T>(body: &mut Arc<T>, change: impl FnOnce(&mut T)) {
    if let Some(body) = Arc::get_mut(body) {
        change(body);
    }
}

fn pod_of(pod: &mut Pod) {
    let (spec, status) = (std::mem::take(&mut pod.spec), std::mem::take(&mut pod.status));
    pod.spec = PodSpec {
        service_account_name: spec.service_account_name,
        service_account: spec.service_account,
        node_name: spec.node_name,
        host_network: spec.host_network,
        ..PodSpec::default()
    };
    let mut conditions = status.conditions;
    conditions.retain(|condition| condition.kind == "Ready");
    conditions.shrink_to_fit();
    pod.status = PodStatus { pod_ip: status.pod_ip, pod_ips: status.pod_ips, conditions, ..PodStatus::default() };
}

fn template_of(template: &PodTemplateSpec) -> PodTemplateSpec {
    let metadata = ObjectMeta { labels: template.metadata.labels.clone(), ..ObjectMeta::default() };
    PodTemplateSpec { metadata, ..PodTemplateSpec::default() }
}
