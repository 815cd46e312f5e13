//! Which workload a pod belongs to (contract 3.9).

use serde_json::Value;

use crate::pod;

/// The workload: a Deployment rather than the ReplicaSet it made, a CronJob rather than its Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// `apps/v1`, `batch/v1`, `v1`, ...
    pub api_version: String,
    /// `Deployment`, ...
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl Owner {
    /// Value of `ISTIO_META_OWNER`.
    #[must_use]
    pub fn reference(&self, namespace: &str) -> String {
        format!("kubernetes://apis/{}/namespaces/{namespace}/{}s/{}", self.api_version, self.kind.to_lowercase(), self.name)
    }
}

/// Finds the owner. Only a pod with both `generateName` and a controller has another owner than itself.
#[must_use]
pub fn owner(pod: &Value) -> Owner {
    let metadata = |field: &str| pod.pointer("/metadata").and_then(|metadata| metadata.get(field));
    let text = |field: &str| metadata(field).and_then(Value::as_str).unwrap_or_default();
    let references = metadata("ownerReferences").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let controller = references.iter().find(|reference| reference.get("controller").and_then(Value::as_bool) == Some(true));
    match controller {
        Some(controller) if !text("generateName").is_empty() => beyond(pod, &named(controller)),
        _ => {
            let name = if text("name").is_empty() { text("generateName").trim_end_matches('-') } else { text("name") };
            new("v1", "Pod", name)
        }
    }
}

fn named(controller: &Value) -> Owner {
    let text = |field: &str| controller.get(field).and_then(Value::as_str).unwrap_or_default();
    new(text("apiVersion"), text("kind"), text("name"))
}

/// The owner's owner, where the name tells it.
fn beyond(pod: &Value, controller: &Owner) -> Owner {
    let labels = pod::strings(pod, "labels");
    let without = |label: &str| {
        let hash = labels.get(label).filter(|hash| !hash.is_empty())?;
        controller.name.strip_suffix(hash.as_str())?.strip_suffix('-')
    };
    let found = match controller.kind.as_str() {
        "ReplicaSet" => without("pod-template-hash")
            .map(|name| new("apps/v1", "Deployment", name))
            .or_else(|| without("rollouts-pod-template-hash").map(|name| new("v1alpha1", "Rollout", name))),
        "ReplicationController" => labels.get("deploymentconfig").map(|name| new("apps.openshift.io/v1", "DeploymentConfig", name)),
        "Job" => cron_job(&controller.name).map(|name| new("batch/v1", "CronJob", name)),
        _ => None,
    };
    found.unwrap_or_else(|| controller.clone())
}

/// A CronJob names its Jobs after itself and the minute or second they are due.
fn cron_job(name: &str) -> Option<&str> {
    let (prefix, number) = name.rsplit_once('-')?;
    let fits = (8..=10).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    Some(prefix).filter(|prefix| fits && !prefix.is_empty())
}

fn new(api_version: &str, kind: &str, name: &str) -> Owner {
    Owner { api_version: api_version.to_owned(), kind: kind.to_owned(), name: name.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::owner;

    fn reference(labels: serde_json::Value, kind: &str, name: &str) -> String {
        let pod = json!({ "metadata": { "generateName": "x-", "labels": labels,
            "ownerReferences": [{ "apiVersion": "own/v1", "kind": kind, "name": name, "controller": true }] } });
        owner(&pod).reference("shop")
    }

    #[test]
    fn the_workload_behind_the_controller_is_found_by_name() {
        let hash = json!({ "pod-template-hash": "5d4f" });
        assert_eq!(
            reference(hash.clone(), "ReplicaSet", "front-v1-5d4f"),
            "kubernetes://apis/apps/v1/namespaces/shop/deployments/front-v1"
        );
        assert_eq!(reference(hash, "ReplicaSet", "front-v1-beef"), "kubernetes://apis/own/v1/namespaces/shop/replicasets/front-v1-beef");
        let rollout = json!({ "rollouts-pod-template-hash": "77" });
        assert_eq!(reference(rollout, "ReplicaSet", "front-77"), "kubernetes://apis/v1alpha1/namespaces/shop/rollouts/front");
        assert_eq!(reference(json!({}), "Job", "nightly-28123456"), "kubernetes://apis/batch/v1/namespaces/shop/cronjobs/nightly");
        assert_eq!(reference(json!({}), "Job", "nightly-1234567"), "kubernetes://apis/own/v1/namespaces/shop/jobs/nightly-1234567");
        assert_eq!(reference(json!({}), "StatefulSet", "db"), "kubernetes://apis/own/v1/namespaces/shop/statefulsets/db");
    }

    #[test]
    fn without_controller_or_generated_name_the_pod_owns_itself() {
        let alone = json!({ "metadata": { "name": "client" } });
        assert_eq!(owner(&alone).reference("shop"), "kubernetes://apis/v1/namespaces/shop/pods/client");
        let named = json!({ "metadata": { "name": "client", "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "controller": true }] } });
        assert_eq!(owner(&named).kind, "Pod");
        assert_eq!(owner(&json!({ "metadata": { "generateName": "client-" } })).name, "client");
    }
}
