//! Reviews through the pure half of the webhook.

use serde_json::{Value, json};

use super::{Outcome, admit};
use crate::cluster::Cluster;
use crate::settings::{Context, Namespace, Policy, Settings};
use crate::webhook::parameters::{self, Parameters};
use crate::webhook::review::Request;

fn request(pod: &Value) -> Request {
    serde_json::from_value(json!({
        "uid": "u-1",
        "resource": { "group": "", "version": "v1", "resource": "pods" },
        "operation": "CREATE",
        "namespace": "shop",
        "object": pod,
    }))
    .unwrap()
}

fn pod() -> Value {
    json!({ "metadata": { "generateName": "front-" }, "spec": { "containers": [{ "name": "app", "image": "front:1" }] } })
}

fn patched(original: &Value, patch: &[u8]) -> Value {
    let mut pod = original.clone();
    let steps: json_patch::Patch = serde_json::from_slice(patch).unwrap();
    json_patch::patch(&mut pod, &steps).unwrap();
    pod
}

#[test]
fn the_patch_makes_the_pod_that_inject_makes_and_leaves_managed_fields_alone() {
    let mut original = pod();
    original["metadata"]["managedFields"] = json!([{ "manager": "kubectl" }]);
    let verdict = admit(request(&original), &Parameters::default(), &Settings::default(), &Cluster::default());
    assert_eq!(verdict.outcome, Outcome::Injected);

    let mut given = pod();
    given["metadata"]["namespace"] = json!("shop");
    let context = Context { namespace: Namespace { name: "shop".to_owned(), ..Namespace::default() }, ..Context::default() };
    let mut expected = crate::inject(&given, &context).unwrap().pod;
    expected["metadata"].as_object_mut().unwrap().remove("namespace");
    expected["metadata"]["managedFields"] = json!([{ "manager": "kubectl" }]);
    assert_eq!(patched(&original, &verdict.response.patch.unwrap()), expected);
}

#[test]
fn a_pod_on_the_hosts_network_is_admitted_as_it_is_and_audit_says_why() {
    let mut original = pod();
    original["spec"]["hostNetwork"] = json!(true);
    let verdict = admit(request(&original), &Parameters::default(), &Settings::default(), &Cluster::default());
    assert_eq!((verdict.outcome, verdict.response.allowed, verdict.response.patch), (Outcome::Skipped, true, None));
    assert_eq!(verdict.response.audit_annotations["outcome"], "skipped");
    assert_eq!(verdict.response.audit_annotations["cause"], "host-network");
    assert!(verdict.response.audit_annotations["reason"].contains("host"), "{:?}", verdict.response.audit_annotations);
}

#[test]
fn without_namespace_labels_the_policy_and_the_pods_own_word_decide() {
    let settings = Settings { policy: Policy::Disabled, ..Settings::default() };
    assert_eq!(admit(request(&pod()), &Parameters::default(), &settings, &Cluster::default()).outcome, Outcome::Skipped);
    let mut asking = pod();
    asking["metadata"]["labels"] = json!({ "sidecar.istio.io/inject": "true" });
    assert_eq!(admit(request(&asking), &Parameters::default(), &settings, &Cluster::default()).outcome, Outcome::Injected);
}

#[test]
fn what_cannot_be_injected_is_refused_with_the_reason() {
    for object in [Value::Null, json!([]), json!({ "metadata": 1 }), json!({ "spec": { "containers": 1 } })] {
        let verdict = admit(request(&object), &Parameters::default(), &Settings::default(), &Cluster::default());
        assert_eq!((verdict.outcome, verdict.response.allowed), (Outcome::Refused, false), "{object}");
        assert!(verdict.response.message.unwrap().contains("expected"), "{object}");
    }
}

#[test]
fn other_kinds_operations_and_subresources_are_admitted_untouched() {
    for (field, value) in
        [("operation", json!("UPDATE")), ("subResource", json!("binding")), ("resource", json!({ "group": "apps", "resource": "pods" }))]
    {
        let mut review = json!({ "resource": { "resource": "pods" }, "operation": "CREATE", "namespace": "shop", "object": pod() });
        review[field] = value;
        let verdict = admit(serde_json::from_value(review).unwrap(), &Parameters::default(), &Settings::default(), &Cluster::default());
        assert_eq!((verdict.outcome, verdict.response.allowed), (Outcome::Skipped, true), "{field}");
    }
}

#[test]
fn the_path_names_cluster_network_and_variables() {
    let parameters = parameters::read("/cluster/west/net/n1/team/shop").unwrap();
    let verdict = admit(request(&pod()), &parameters, &Settings::default(), &Cluster::default());
    let injected = patched(&pod(), &verdict.response.patch.unwrap());
    let containers =
        injected["spec"]["containers"].as_array().unwrap().iter().chain(injected["spec"]["initContainers"].as_array().unwrap());
    let proxy = containers.into_iter().find(|container| container["name"] == "istio-proxy").unwrap();
    let value =
        |name: &str| proxy["env"].as_array().unwrap().iter().find(|variable| variable["name"] == name).map(|found| found["value"].clone());
    assert_eq!(value("ISTIO_META_CLUSTER_ID"), Some(json!("west")));
    assert_eq!(value("ISTIO_META_NETWORK"), Some(json!("n1")));
    assert_eq!(value("TEAM"), Some(json!("shop")));
}

#[test]
fn variables_of_the_path_come_before_those_of_metrics_and_probes_and_the_users_own_win() {
    let parameters = parameters::read("/team/shop/stage/test/trust_domain/other").unwrap();
    let mut original = pod();
    original["metadata"]["annotations"] = json!({ "prometheus.io/port": "9080" });
    original["spec"]["containers"][0]["readinessProbe"] = json!({ "httpGet": { "port": 80 } });
    let own = json!({ "name": "istio-proxy", "image": "auto", "env": [{ "name": "TEAM", "value": "mine" }] });
    original["spec"]["containers"].as_array_mut().unwrap().push(own);
    let verdict = admit(request(&original), &parameters, &Settings::default(), &Cluster::default());
    let injected = patched(&original, &verdict.response.patch.unwrap());
    let proxy = injected["spec"]["containers"].as_array().unwrap().iter().find(|container| container["name"] == "istio-proxy").unwrap();
    let variables: Vec<(&str, &str)> = proxy["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| (variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap_or_default()))
        .collect();
    let last: Vec<&str> = variables.iter().rev().take(5).rev().map(|(name, _)| *name).collect();
    assert_eq!(last, ["STAGE", "TEAM", "TRUST_DOMAIN", "ISTIO_PROMETHEUS_ANNOTATIONS", "ISTIO_KUBE_APP_PROBERS"]);
    assert!(variables.contains(&("TEAM", "mine")) && variables.contains(&("TRUST_DOMAIN", "other")), "{variables:?}");
    assert_eq!(variables.iter().filter(|(name, _)| *name == "TRUST_DOMAIN").count(), 1);
}

/// The record is an annotation, which anybody can write.
#[test]
fn a_forged_record_brings_back_nothing_that_the_injector_never_writes() {
    let mut injected = crate::inject(&pod(), &Context::default()).unwrap().pod;
    injected["metadata"]["annotations"]["proxy.outrigger.io/restore"] =
        json!(json!({ "spec": { "hostNetwork": true, "containers": [], "shareProcessNamespace": false } }).to_string());
    let verdict = admit(request(&injected), &Parameters::default(), &Settings::default(), &Cluster::default());
    assert_eq!(verdict.outcome, Outcome::Injected);
    let again = patched(&injected, &verdict.response.patch.unwrap());
    assert_eq!((again["spec"].get("hostNetwork"), &again["spec"]["shareProcessNamespace"]), (None, &json!(false)));
    assert_eq!(again["spec"]["containers"].as_array().unwrap().len(), 2);
}

#[test]
fn an_injected_pod_is_decided_about_as_it_was_before() {
    let mut injected = crate::inject(&pod(), &Context::default()).unwrap().pod;
    injected["metadata"]["annotations"]["proxy.outrigger.io/restore"] =
        json!(json!({ "labels": { "sidecar.istio.io/inject": "false" } }).to_string());
    let verdict = admit(request(&injected), &Parameters::default(), &Settings::default(), &Cluster::default());
    assert_eq!((verdict.outcome, verdict.response.audit_annotations["cause"].as_str()), (Outcome::Skipped, "pod-label"));
}
