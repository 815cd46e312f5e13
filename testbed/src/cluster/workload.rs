//! What makes pods: Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, and the bare Pod, in one form.

use std::sync::Arc;

use outrigger_config::object::{Body, Kind, Object, ObjectId};
use serde_json::{Map, Value, json};

use super::naming;

/// Name of the one node that all pods say they run on.
pub const NODE_NAME: &str = "outrigger";

/// A pod's identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl std::fmt::Display for PodKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A maker of pods, as needed.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The object in the manifests.
    pub id: ObjectId,
    /// How many pods there shall be. For a Job: how many at a time.
    pub replicas: u32,
    /// For a Job: how many shall succeed. Other kinds: not used.
    pub completions: u32,
    /// For a StatefulSet: whether pods start one after the other.
    pub ordered: bool,
    /// `metadata` and `spec` of the pods, as written.
    pub template: Arc<Value>,
    /// Stands for the template.
    pub hash: String,
}

impl Workload {
    /// The workload an object describes; none for kinds that make no pods.
    pub fn from_object(object: &Object) -> Option<Workload> {
        let (replicas, completions, ordered) = match &object.body {
            Body::Deployment(deployment) => (deployment.spec.replicas.unwrap_or(1), 0, false),
            Body::ReplicaSet(set) => (set.spec.replicas.unwrap_or(1), 0, false),
            Body::StatefulSet(set) => (set.spec.replicas.unwrap_or(1), 0, set.spec.pod_management_policy != "Parallel"),
            Body::Job(job) => (job.spec.parallelism.unwrap_or(1), job.spec.completions.unwrap_or(1), false),
            Body::DaemonSet(_) | Body::Pod(_) => (1, 0, false),
            _ => return None,
        };
        let json = object.to_json();
        let mut template = match object.id.kind {
            Kind::Pod => json!({"metadata": json["metadata"], "spec": json["spec"]}),
            _ => json["spec"]["template"].clone(),
        };
        // The pods' names below the headless Service come from here.
        if let Body::StatefulSet(set) = &object.body
            && let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut)
        {
            spec.entry("subdomain").or_insert(json!(set.spec.service_name));
        }
        Some(Workload::new(object.id.clone(), replicas, completions, ordered, template))
    }

    /// A workload with this template.
    pub fn new(id: ObjectId, replicas: u32, completions: u32, ordered: bool, template: Value) -> Workload {
        let hash = naming::template_hash(&template);
        Workload { id, replicas, completions, ordered, template: Arc::new(template), hash }
    }

    /// Name for another pod; `ordinal` counts the pods of a StatefulSet.
    pub fn pod_name(&self, ordinal: u32) -> String {
        let name = &self.id.name;
        match self.id.kind {
            Kind::Pod => name.to_string(),
            Kind::StatefulSet => format!("{name}-{ordinal}"),
            Kind::Deployment => format!("{name}-{}-{}", self.hash, naming::suffix()),
            _ => format!("{name}-{}", naming::suffix()),
        }
    }

    /// The Pod object of this name, as the API server would hold it before injection.
    pub fn pod_object(&self, name: &str, ordinal: u32, created: &str) -> Value {
        let mut metadata = object_at(&self.template, "metadata");
        let mut labels = object_at(&self.template["metadata"], "labels");
        for (key, value) in self.own_labels(name, ordinal) {
            labels.insert(key.to_owned(), Value::String(value));
        }
        metadata.insert("labels".into(), Value::Object(labels));
        metadata.insert("name".into(), json!(name));
        metadata.insert("namespace".into(), json!(&*self.id.namespace));
        metadata.insert("uid".into(), json!(naming::uid(&format!("{}/{name}/{created}", self.id.namespace))));
        metadata.insert("creationTimestamp".into(), json!(created));
        if let Some(owner) = self.owner() {
            // The injector takes a pod with a generated name for its controller's, and any other for its own.
            metadata.insert("generateName".into(), json!(format!("{}-", owner["name"].as_str().unwrap_or_default())));
            metadata.insert("ownerReferences".into(), json!([owner]));
        }
        let mut spec = object_at(&self.template, "spec");
        spec.insert("nodeName".into(), json!(NODE_NAME));
        if self.id.kind == Kind::StatefulSet {
            spec.entry("hostname").or_insert(json!(name));
        }
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    }

    fn own_labels(&self, name: &str, ordinal: u32) -> Vec<(&'static str, String)> {
        match self.id.kind {
            Kind::Deployment => vec![("pod-template-hash", self.hash.clone())],
            Kind::StatefulSet => vec![
                ("statefulset.kubernetes.io/pod-name", name.to_owned()),
                ("apps.kubernetes.io/pod-index", ordinal.to_string()),
                ("controller-revision-hash", format!("{}-{}", self.id.name, self.hash)),
            ],
            Kind::DaemonSet => vec![("controller-revision-hash", self.hash.clone())],
            Kind::Job => vec![("job-name", self.id.name.to_string()), ("batch.kubernetes.io/job-name", self.id.name.to_string())],
            _ => Vec::new(),
        }
    }

    /// A Deployment owns its pods through a ReplicaSet named after the template.
    fn owner(&self) -> Option<Value> {
        let (api_version, kind, name) = match self.id.kind {
            Kind::Pod => return None,
            Kind::Deployment => ("apps/v1", Kind::ReplicaSet, format!("{}-{}", self.id.name, self.hash)),
            Kind::Job => ("batch/v1", Kind::Job, self.id.name.to_string()),
            kind => ("apps/v1", kind, self.id.name.to_string()),
        };
        let uid = naming::uid(&format!("{kind}/{}/{name}", self.id.namespace));
        Some(json!({
            "apiVersion": api_version, "kind": kind.as_str(), "name": name, "uid": uid,
            "controller": true, "blockOwnerDeletion": true,
        }))
    }
}

fn object_at(value: &Value, key: &str) -> Map<String, Value> {
    value.get(key).and_then(Value::as_object).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn workload(yaml: &str) -> Workload {
        let parsed = outrigger_config::parse::parse(Path::new("test.yaml"), yaml);
        Workload::from_object(&parsed.objects[0]).unwrap()
    }

    #[test]
    fn a_pod_of_a_deployment_belongs_to_the_replica_set_of_its_template() {
        let workload = workload(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: v1, namespace: shop}\nspec:\n  replicas: 3\n  \
             selector: {matchLabels: {app: shop}}\n  template:\n    metadata: {labels: {app: shop}}\n    spec: {containers: [{name: app, image: a}]}\n",
        );
        assert_eq!(workload.replicas, 3);
        let name = workload.pod_name(0);
        let pod = workload.pod_object(&name, 0, "2026-01-01T00:00:00Z");
        assert!(name.starts_with(&format!("v1-{}-", workload.hash)));
        assert_eq!(pod["metadata"]["labels"], json!({"app": "shop", "pod-template-hash": workload.hash}));
        assert_eq!(pod["metadata"]["ownerReferences"][0]["name"], json!(format!("v1-{}", workload.hash)));
        assert_eq!(pod["spec"]["containers"][0]["image"], json!("a"));
    }

    #[test]
    fn pods_of_a_stateful_set_are_numbered_and_carry_their_name_as_host_name() {
        let workload = workload(
            "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec:\n  serviceName: db\n  \
             selector: {matchLabels: {app: db}}\n  template:\n    metadata: {labels: {app: db}}\n    spec: {containers: [{name: app, image: a}]}\n",
        );
        let pod = workload.pod_object(&workload.pod_name(2), 2, "2026-01-01T00:00:00Z");
        assert_eq!(pod["metadata"]["name"], json!("db-2"));
        assert_eq!(pod["spec"]["hostname"], json!("db-2"));
        assert_eq!(pod["metadata"]["namespace"], json!("default"));
    }
}
