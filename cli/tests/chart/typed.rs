//! Every object is one that Kubernetes knows, field by field.
//!
//! A type of k8s-openapi drops fields it does not know. So an object is read into its type and written again: what is lost was
//! no field of Kubernetes.

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cases;

#[test]
fn every_object_is_one_that_kubernetes_knows_field_by_field() {
    for (name, rendered) in cases::accepted() {
        for object in rendered.objects() {
            if let Err(problem) = check(&object.object) {
                panic!("{name}: {}: {problem}\n{}", object.label(), object.text);
            }
        }
    }
}

#[test]
fn a_field_that_kubernetes_does_not_know_is_found() {
    let mut object = cases::case("default").one("Deployment", "outrigger-injector").clone();
    check(&object).expect("as rendered");
    object["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["periodSecond"] = 1.into();
    let problem = check(&object).expect_err("misspelt");
    assert!(problem.contains("containers/0/readinessProbe/periodSecond"), "{problem}");
    object["spec"]["replicas"] = "two".into();
    assert!(check(&object).is_err());
}

fn check(object: &Value) -> Result<(), String> {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    match (text("apiVersion"), text("kind")) {
        ("v1", "ConfigMap") => strict::<ConfigMap>(object),
        ("v1", "Namespace") => strict::<Namespace>(object),
        ("v1", "Pod") => strict::<Pod>(object),
        ("v1", "Secret") => strict::<Secret>(object),
        ("v1", "Service") => strict::<Service>(object),
        ("v1", "ServiceAccount") => strict::<ServiceAccount>(object),
        ("apps/v1", "Deployment") => strict::<Deployment>(object),
        ("autoscaling/v2", "HorizontalPodAutoscaler") => strict::<HorizontalPodAutoscaler>(object),
        ("policy/v1", "PodDisruptionBudget") => strict::<PodDisruptionBudget>(object),
        ("coordination.k8s.io/v1", "Lease") => strict::<Lease>(object),
        ("rbac.authorization.k8s.io/v1", "Role") => strict::<Role>(object),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => strict::<RoleBinding>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => strict::<ClusterRole>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => strict::<ClusterRoleBinding>(object),
        ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration") => strict::<MutatingWebhookConfiguration>(object),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition") => strict::<CustomResourceDefinition>(object),
        // Of other projects: golden files hold them.
        ("cert-manager.io/v1", "Certificate" | "Issuer") | ("monitoring.coreos.com/v1", "PodMonitor" | "ServiceMonitor") => Ok(()),
        (version, kind) => Err(format!("{version} {kind} has no type here: add it to this table")),
    }
}

fn strict<T: DeserializeOwned + Serialize>(object: &Value) -> Result<(), String> {
    let typed: T = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    let back = serde_json::to_value(typed).map_err(|error| error.to_string())?;
    let mut lost = Vec::new();
    compare(object, &back, "", &mut lost);
    if lost.is_empty() { Ok(()) } else { Err(format!("unknown to Kubernetes: {}", lost.join(", "))) }
}

/// Notes every path of `rendered` that `typed` has not, or has otherwise. Empty lists and maps may vanish.
fn compare(rendered: &Value, typed: &Value, path: &str, lost: &mut Vec<String>) {
    match (rendered, typed) {
        (Value::Object(rendered), Value::Object(typed)) => {
            for (key, value) in rendered {
                compare(value, typed.get(key).unwrap_or(&Value::Null), &format!("{path}/{key}"), lost);
            }
        }
        (Value::Array(rendered), Value::Array(typed)) if rendered.len() == typed.len() => {
            for (index, (rendered, typed)) in rendered.iter().zip(typed).enumerate() {
                compare(rendered, typed, &format!("{path}/{index}"), lost);
            }
        }
        (Value::Array(rendered), Value::Null) if rendered.is_empty() => {}
        (Value::Object(rendered), Value::Null) if rendered.is_empty() => {}
        (rendered, typed) if rendered == typed => {}
        _ => lost.push(path.to_owned()),
    }
}
