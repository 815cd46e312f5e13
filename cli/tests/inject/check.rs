//! `outrigger check-inject` on the manifests of a cluster, with webhooks as contract 3.1 has them.

use serde_json::{Value, json};

use super::outrigger;

fn webhook(name: &str, namespaces: Value, objects: Value) -> Value {
    json!({"name": name, "namespaceSelector": {"matchExpressions": namespaces}, "objectSelector": {"matchExpressions": objects}})
}

fn needs(key: &str, values: &[&str]) -> Value {
    json!({"key": key, "operator": "In", "values": values})
}

fn lacks(key: &str) -> Value {
    json!({"key": key, "operator": "DoesNotExist"})
}

fn not_out() -> Value {
    json!({"key": "sidecar.istio.io/inject", "operator": "NotIn", "values": ["false"]})
}

/// The four webhooks of a revision; the unprefixed ones belong to the default revision.
fn configuration(name: &str, revision: &str) -> Value {
    let mut webhooks = vec![
        webhook(
            "rev.namespace.sidecar-injector.istio.io",
            json!([needs("istio.io/rev", &[revision]), lacks("istio-injection")]),
            json!([not_out()]),
        ),
        webhook(
            "rev.object.sidecar-injector.istio.io",
            json!([lacks("istio.io/rev"), lacks("istio-injection")]),
            json!([not_out(), needs("istio.io/rev", &[revision])]),
        ),
    ];
    if revision == "default" {
        webhooks.push(webhook("namespace.sidecar-injector.istio.io", json!([needs("istio-injection", &["enabled"])]), json!([not_out()])));
        webhooks.push(webhook(
            "object.sidecar-injector.istio.io",
            json!([lacks("istio-injection"), lacks("istio.io/rev")]),
            json!([needs("sidecar.istio.io/inject", &["true"]), lacks("istio.io/rev")]),
        ));
    }
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name, "labels": {"istio.io/rev": revision}}, "webhooks": webhooks,
    })
}

fn namespace(name: &str, labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

fn deployment(namespace: &str, labels: Value) -> Value {
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app"}]}});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": namespace}, "spec": {"template": template}})
}

fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// The answers of revisions `canary` and `default` about a Deployment.
fn answers(namespace_labels: Value, pod_labels: Value) -> [(bool, String); 2] {
    let items = [
        configuration("istio-sidecar-injector", "default"),
        configuration("istio-sidecar-injector-canary", "canary"),
        namespace("shop", namespace_labels),
        deployment("shop", pod_labels),
    ];
    let done = outrigger(&["check-inject", "-f", "-", "-o", "json"], &list(&items));
    assert_eq!(done.code, Some(0), "{}", done.err);
    let answer: Value = serde_json::from_str(&done.out).unwrap();
    [0, 1].map(|index| {
        let row = &answer[0]["webhooks"][index];
        (row["injected"].as_bool().unwrap(), row["reason"].as_str().unwrap().to_owned())
    })
}

#[test]
fn every_row_of_the_contracts_table_is_answered() {
    let inject = |value: &str| json!({"sidecar.istio.io/inject": value});
    let no = |reason: &str| (false, reason.to_owned());
    let yes = |reason: &str| (true, reason.to_owned());
    let enabled = json!({"istio-injection": "enabled"});
    assert_eq!(answers(enabled.clone(), json!({}))[0], yes("namespace label istio-injection=enabled matches"));
    assert_eq!(answers(enabled.clone(), inject("false"))[0], no("pod has label sidecar.istio.io/inject=false, preventing injection"));
    let disabled = no("namespace has label istio-injection=disabled, preventing injection");
    assert_eq!(answers(json!({"istio-injection": "disabled"}), inject("true")), [disabled.clone(), disabled]);
    assert_eq!(answers(json!({"istio.io/rev": "canary"}), json!({}))[1], yes("namespace label istio.io/rev=canary matches"));
    assert_eq!(answers(json!({}), inject("true"))[0], yes("pod label sidecar.istio.io/inject=true matches"));
    assert_eq!(answers(json!({}), json!({"istio.io/rev": "canary"}))[1], yes("pod label istio.io/rev=canary matches"));
    let both = answers(enabled, json!({"istio.io/rev": "canary"}));
    assert_eq!((both[0].0, both[1].0), (true, false), "istio-injection wins");
    let none = answers(json!({}), json!({}));
    assert_eq!(none[1], no("no matching namespace labels (istio.io/rev=canary) or pod labels (istio.io/rev=canary)"));
}

#[test]
fn the_table_has_istioctls_columns() {
    let items = [
        configuration("istio-sidecar-injector", "default"),
        namespace("shop", json!({"istio-injection": "enabled"})),
        deployment("shop", json!({})),
    ];
    let done = outrigger(&["check-inject", "-f", "-", "deploy/web.shop"], &list(&items));
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(
        done.out,
        "WEBHOOK                  REVISION   INJECTED   REASON\n\
         istio-sidecar-injector   default    ✔          namespace label istio-injection=enabled matches\n"
    );
}

#[test]
fn what_the_injector_itself_would_refuse_is_no_injection() {
    let mut pod = deployment("shop", json!({}));
    pod["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
    let items = [configuration("istio-sidecar-injector", "default"), namespace("shop", json!({"istio-injection": "enabled"})), pod];
    let done = outrigger(&["check-inject", "-f", "-"], &list(&items));
    assert!(
        done.out.contains("✘          namespace label istio-injection=enabled matches, but the pod uses the host's network\n"),
        "{}",
        done.out
    );
}

#[test]
fn errors_are_no_webhook_several_of_them_and_nothing_to_look_at() {
    let (namespace, web) = (namespace("shop", json!({"istio-injection": "enabled"})), deployment("shop", json!({})));
    let none = outrigger(&["check-inject", "-f", "-"], &list(&[namespace.clone(), web.clone()]));
    assert!(none.code == Some(1) && none.err.contains("no injection webhook is in the input"), "{}", none.err);

    let (a, b) = (configuration("a", "default"), configuration("b", "default"));
    let several = outrigger(&["check-inject", "-f", "-"], &list(&[a.clone(), b, namespace.clone(), web.clone()]));
    assert!(several.code == Some(1) && several.err.contains("Deployment shop/web: several webhooks will inject"), "{}", several.err);
    assert_eq!(several.out.matches('✔').count(), 2);

    let missing = outrigger(&["check-inject", "-f", "-", "pod/web"], &list(&[a.clone(), namespace, web.clone()]));
    assert!(missing.code == Some(1) && missing.err.contains("pod/web: no such workload is in the input"), "{}", missing.err);

    let mut off = a;
    off["webhooks"] = json!([{"name": "x.istio.io", "namespaceSelector": {"matchLabels": {"istio.io/deactivated": "never-match"}}}]);
    let done = outrigger(&["check-inject", "-f", "-"], &list(&[off, web]));
    assert!(done.out.contains("✘          the webhook is deactivated"), "{}", done.out);
    assert!(done.out.contains("warning: Namespace shop is not in the input and counts as having no labels"), "{}", done.out);
}

#[test]
fn the_charts_own_webhooks_are_understood() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.yaml");
    std::fs::write(&file, deployment("shop", json!({})).to_string()).unwrap();
    let arguments =
        ["check-inject", "deploy/web", "-f", "charts/tests/golden/default.yaml", "-f", "examples/shopfront/namespace.yaml", "-f"];
    let done = outrigger(&[&arguments[..], &[file.to_str().unwrap()]].concat(), "");
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.out.contains("✔          namespace label istio-injection=enabled matches\n"), "{}", done.out);
}
