//! Puts the proxy into pods, with the same decision and the same transformation as the webhook; and turns a pod into
//! a gateway.

use anyhow::{Context as _, Result};
use outrigger_config::mesh::MeshConfig;
use outrigger_config::string_map::StringMap;
use outrigger_injector::templates::{ANNOTATION as TEMPLATES, GATEWAY};
use outrigger_injector::{Cluster, Context, Namespace, NativeSidecars, Settings, decide, inject};
use serde_json::Value;

/// A pod as it will run.
#[derive(Debug)]
pub struct Admitted {
    /// The whole object.
    pub pod: Value,
    /// Whether it has a proxy from here.
    pub injected: bool,
    /// Why, or why not.
    pub reason: String,
    /// What its author should know.
    pub warnings: Vec<String>,
}

/// What the webhook would make of a pod created in a namespace with these labels.
///
/// # Errors
/// When the injector refuses the pod; Kubernetes would not create it then.
pub fn admit(pod: Value, namespace: &str, labels: StringMap, mesh: &MeshConfig) -> Result<Admitted> {
    let namespace = Namespace { name: namespace.to_owned(), labels: labels.into_iter().collect(), ..Namespace::default() };
    let cluster = Cluster { ends_sidecars: true, ..Cluster::default() };
    let context = Context { namespace, settings: settings(mesh), cluster, ..Context::default() };
    if is_gateway(&pod) {
        let injected = inject(&pod, &context).context("the injector refuses the gateway")?;
        let reason = format!("annotation {TEMPLATES}: gateway");
        return Ok(Admitted { pod: injected.pod, injected: true, reason, warnings: injected.warnings });
    }
    let decision = decide(&pod, &context);
    if !decision.inject {
        return Ok(Admitted { pod, injected: false, reason: decision.reason, warnings: decision.warnings });
    }
    let injected = inject(&pod, &context).context("the injector refuses the pod")?;
    let warnings = [decision.warnings, injected.warnings].concat();
    Ok(Admitted { pod: injected.pod, injected: true, reason: decision.reason, warnings })
}

fn settings(mesh: &MeshConfig) -> Settings {
    Settings {
        trust_domain: mesh.trust_domain.clone(),
        istio_namespace: mesh.root_namespace.clone(),
        enable_prometheus_merge: mesh.enable_prometheus_merge,
        proxy_config: outrigger_injector::proxy_config::to_json(&mesh.default_config),
        // The testbed has no kubelet that restarts init containers, and ends ordinary sidecars with their applications.
        native_sidecars: NativeSidecars::Never,
        ..Settings::default()
    }
}

/// Whether a pod asks for the gateway template, as gateways do that are installed without a namespace label.
fn is_gateway(pod: &Value) -> bool {
    pod["metadata"]["annotations"][TEMPLATES].as_str().is_some_and(|list| list.split(',').any(|name| name.trim() == GATEWAY))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(annotations: Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": "shop", "labels": {"app": "p"}, "annotations": annotations},
            "spec": {"containers": [{"name": "istio-proxy", "image": "auto"}]},
        })
    }

    fn labels(entries: &[(&str, &str)]) -> StringMap {
        entries.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[test]
    fn the_label_of_the_namespace_decides() {
        let app = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "app", "image": "a"}]}});
        let mesh = MeshConfig::default();
        let with = admit(app.clone(), "shop", labels(&[("istio-injection", "enabled")]), &mesh).unwrap();
        assert!(with.injected);
        assert_eq!(with.pod["spec"]["containers"].as_array().unwrap().len(), 2);
        let without = admit(app.clone(), "shop", StringMap::new(), &mesh).unwrap();
        assert_eq!((without.injected, without.pod), (false, app));
    }

    #[test]
    fn a_gateway_runs_as_router_and_captures_nothing() {
        let admitted = admit(pod(json!({TEMPLATES: "gateway"})), "shop", StringMap::new(), &MeshConfig::default()).unwrap();
        let spec = &admitted.pod["spec"];
        assert_eq!(spec["initContainers"].as_array().map_or(0, Vec::len), 0);
        assert_eq!(spec["containers"].as_array().unwrap().len(), 1);
        assert_eq!(spec["containers"][0]["args"][1], "router");
    }
}
