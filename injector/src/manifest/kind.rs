//! Which objects contain a pod, and where.

use serde_json::Value;

use crate::owner::Owner;

/// An object that is a pod or makes pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// `apps/v1`, `v1`, ...
    pub api_version: String,
    /// `Deployment`, `Pod`, ...
    pub kind: String,
    /// Its name, or its `generateName`; empty if it has neither.
    pub name: String,
    /// Its namespace, if the manifest says one.
    pub namespace: Option<String>,
    /// JSON pointer of the object in its document: empty, or `/items/3` in a List.
    pub object: String,
    /// JSON pointer of the pod in its document: the object itself, or its template.
    pub pod: String,
}

/// A workload without the pod that its kind must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoTemplate {
    /// The object, as `Deployment shop/web`.
    pub object: String,
    /// JSON pointer to the object in the document.
    pub pointer: String,
    /// What is missing.
    pub message: String,
}

/// How deep Lists may lie in Lists.
const MAX_LISTS: usize = 8;

/// All workloads of a document in the order written, those inside of Lists included.
///
/// # Errors
/// A workload that has no pod template.
pub fn workloads(document: &Value) -> Result<Vec<Workload>, NoTemplate> {
    let mut found = Vec::new();
    collect(document, String::new(), 0, &mut found)?;
    Ok(found)
}

fn collect(object: &Value, pointer: String, depth: usize, found: &mut Vec<Workload>) -> Result<(), NoTemplate> {
    if is_list(object) && depth < MAX_LISTS {
        let items = object.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        return items.iter().enumerate().try_for_each(|(index, item)| collect(item, format!("{pointer}/items/{index}"), depth + 1, found));
    }
    let Some(template) = template_of(text(object, "apiVersion"), text(object, "kind")) else { return Ok(()) };
    let workload = describe(object, &pointer, template);
    let has_pod = object.pointer(template).is_some_and(|pod| pod.get("spec").is_some_and(Value::is_object));
    if has_pod {
        found.push(workload);
        return Ok(());
    }
    // A Rollout may borrow the template of a Deployment, which is injected where it stands.
    if object.pointer("/spec/workloadRef").is_some() {
        return Ok(());
    }
    let field = format!("{template}/spec").trim_start_matches('/').replace('/', ".");
    Err(NoTemplate { object: workload.to_string(), message: format!("{field}: expected the specification of a pod"), pointer })
}

/// Whether an object is a List of others, as `kubectl get -o yaml` prints several.
#[must_use]
pub fn is_list(object: &Value) -> bool {
    text(object, "kind") == "List" && text(object, "apiVersion") == "v1"
}

/// JSON pointer from an object of this kind to its pod; `None` for kinds that have none.
fn template_of(api_version: &str, kind: &str) -> Option<&'static str> {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    match (group, kind) {
        ("", "Pod") => Some(""),
        ("", "ReplicationController" | "DeploymentConfig")
        | ("apps" | "extensions", "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet")
        | ("batch", "Job")
        | ("apps.openshift.io", "DeploymentConfig")
        | ("argoproj.io", "Rollout") => Some("/spec/template"),
        ("batch", "CronJob") => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}

fn describe(object: &Value, pointer: &str, template: &str) -> Workload {
    let metadata = |field: &str| object.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_str);
    Workload {
        api_version: text(object, "apiVersion").to_owned(),
        kind: text(object, "kind").to_owned(),
        name: metadata("name").or_else(|| metadata("generateName")).unwrap_or_default().to_owned(),
        namespace: metadata("namespace").filter(|namespace| !namespace.is_empty()).map(str::to_owned),
        object: pointer.to_owned(),
        pod: format!("{pointer}{template}"),
    }
}

fn text<'v>(object: &'v Value, field: &str) -> &'v str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

impl std::fmt::Display for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let namespace = self.namespace.as_deref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let name = if self.name.is_empty() { "without a name" } else { &self.name };
        write!(f, "{} {namespace}{name}", self.kind)
    }
}

impl Workload {
    /// What the pod's proxy is to say of its workload; a Pod of its own says that itself.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        let is_template = self.pod != self.object;
        // The name of the version that pods of a Rollout get from a webhook.
        let api_version = if self.kind == "Rollout" { "v1alpha1" } else { &self.api_version };
        (is_template && !self.name.is_empty()).then(|| Owner {
            api_version: api_version.to_owned(),
            kind: self.kind.clone(),
            name: self.name.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::workloads;

    #[test]
    fn every_kind_has_its_pod_where_kubernetes_keeps_it() {
        let pod = json!({"spec": {"containers": [{"name": "app"}]}});
        for (api_version, kind) in [
            ("v1", "ReplicationController"),
            ("apps/v1", "Deployment"),
            ("extensions/v1beta1", "Deployment"),
            ("apps/v1", "ReplicaSet"),
            ("apps/v1", "DaemonSet"),
            ("apps/v1", "StatefulSet"),
            ("batch/v1", "Job"),
            ("apps.openshift.io/v1", "DeploymentConfig"),
            ("argoproj.io/v1alpha1", "Rollout"),
        ] {
            let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "w"}, "spec": {"template": pod}});
            assert_eq!(workloads(&object).unwrap()[0].pod, "/spec/template", "{kind}");
        }
        let cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": pod}}}});
        assert_eq!(workloads(&cron).unwrap()[0].pod, "/spec/jobTemplate/spec/template");
        let bare = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "p-"}, "spec": {}});
        assert_eq!((workloads(&bare).unwrap()[0].pod.as_str(), workloads(&bare).unwrap()[0].name.as_str()), ("", "p-"));
    }

    #[test]
    fn other_kinds_and_namesakes_in_other_groups_have_none() {
        for (api_version, kind) in [("v1", "Service"), ("example.com/v1", "Deployment"), ("serving.knative.dev/v1", "Service"), ("", "")] {
            let object = json!({"apiVersion": api_version, "kind": kind, "spec": {"template": {"spec": {}}}});
            assert_eq!(workloads(&object), Ok(Vec::new()), "{api_version} {kind}");
        }
        assert_eq!(workloads(&json!("text")), Ok(Vec::new()));
    }

    #[test]
    fn lists_are_looked_into_and_a_missing_template_is_told() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}, "spec": {}});
        let inner = json!({"apiVersion": "v1", "kind": "List", "items": [pod]});
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [{"kind": "Service"}, pod, inner]});
        let found: Vec<_> = workloads(&list).unwrap().into_iter().map(|workload| workload.pod).collect();
        assert_eq!(found, ["/items/1", "/items/2/items/0"]);

        let broken = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": {}});
        let error = workloads(&json!({"apiVersion": "v1", "kind": "List", "items": [broken]})).unwrap_err();
        assert_eq!((error.object.as_str(), error.pointer.as_str()), ("Deployment shop/web", "/items/0"));
        assert_eq!(error.message, "spec.template.spec: expected the specification of a pod");
    }

    #[test]
    fn a_rollout_may_borrow_its_template() {
        let rollout = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "spec": {"workloadRef": {"name": "web"}}});
        assert_eq!(workloads(&rollout), Ok(Vec::new()));
    }

    #[test]
    fn the_owner_is_the_workload_but_of_a_pod() {
        let owner = |kind: &str, api_version: &str| {
            let template =
                json!({"spec": {"template": {"spec": {}}}, "kind": kind, "apiVersion": api_version, "metadata": {"name": "web"}});
            workloads(&template).unwrap().remove(0).owner().map(|owner| owner.reference("shop"))
        };
        assert_eq!(owner("Deployment", "apps/v1").as_deref(), Some("kubernetes://apis/apps/v1/namespaces/shop/deployments/web"));
        assert_eq!(owner("Rollout", "argoproj.io/v1alpha1").as_deref(), Some("kubernetes://apis/v1alpha1/namespaces/shop/rollouts/web"));
        assert_eq!(owner("Pod", "v1"), None);
    }
}
