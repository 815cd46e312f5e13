//! The tables of contract 3.1 and 3.2.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Cause, Decision, decide, decide_selected};
use crate::selector::{LabelSelector, Requirement};
use crate::settings::{Context, Namespace, Policy};

fn labels(text: &str) -> BTreeMap<String, String> {
    text.split_whitespace().filter_map(|pair| pair.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn context(namespace_labels: &str) -> Context {
    Context {
        namespace: Namespace { name: "shop".to_owned(), labels: labels(namespace_labels), ..Namespace::default() },
        ..Context::default()
    }
}

fn pod(pod_labels: &str) -> Value {
    json!({ "metadata": { "labels": labels(pod_labels) }, "spec": { "containers": [{ "name": "app" }] } })
}

#[test]
fn namespace_and_pod_labels_decide_as_the_contract_says() {
    let cases = [
        ("istio-injection=enabled", "", true),
        ("istio-injection=enabled", "sidecar.istio.io/inject=true", true),
        ("istio-injection=enabled istio.io/rev=canary", "", true),
        ("istio-injection=enabled", "istio.io/rev=canary", true),
        ("istio-injection=enabled", "sidecar.istio.io/inject=false", false),
        ("istio-injection=disabled", "sidecar.istio.io/inject=true", false),
        ("istio-injection=yes", "sidecar.istio.io/inject=true", false),
        ("istio-injection=disabled istio.io/rev=default", "", false),
        ("istio.io/rev=default", "", true),
        ("istio.io/rev=default", "sidecar.istio.io/inject=false", false),
        ("istio.io/rev=canary", "", false),
        ("", "sidecar.istio.io/inject=true", true),
        ("", "sidecar.istio.io/inject=true istio.io/rev=default", true),
        ("", "sidecar.istio.io/inject=true istio.io/rev=canary", false),
        ("", "istio.io/rev=default", true),
        ("", "", false),
    ];
    for (namespace, pod_labels, expected) in cases {
        let decision = decide(&pod(pod_labels), &context(namespace));
        assert_eq!(decision.inject, expected, "namespace `{namespace}`, pod `{pod_labels}`: {decision:?}");
        assert!(!decision.reason.is_empty(), "{decision:?}");
    }
}

#[test]
fn another_revision_answers_to_its_own_name_only() {
    let mut context = context("istio-injection=enabled");
    context.settings.revision = "canary".to_owned();
    assert!(!decide(&pod(""), &context).inject);
    context.namespace.labels = labels("istio.io/rev=canary");
    assert!(decide(&pod(""), &context).inject);
    context.namespace.labels.clear();
    assert!(decide(&pod("istio.io/rev=canary"), &context).inject);
    assert!(!decide(&pod("sidecar.istio.io/inject=true"), &context).inject);
}

#[test]
fn unlabelled_namespaces_are_injected_into_when_so_configured() {
    let mut context = context("");
    context.settings.enable_namespaces_by_default = true;
    assert!(decide(&pod(""), &context).inject);
    context.namespace.name = "kube-system".to_owned();
    assert!(!decide(&pod(""), &context).inject);
}

#[test]
fn host_network_and_system_namespaces_come_before_what_the_pod_asks_for() {
    let mut on_host = pod("sidecar.istio.io/inject=true");
    on_host["spec"]["hostNetwork"] = json!(true);
    let decision = decide(&on_host, &context("istio-injection=enabled"));
    assert_eq!((decision.inject, decision.reason.as_str()), (false, "the pod uses the host's network"));
    let mut context = context("istio-injection=enabled");
    context.namespace.name = "kube-public".to_owned();
    assert!(!decide(&pod("sidecar.istio.io/inject=true"), &context).inject);
}

#[test]
fn the_label_wins_over_the_annotation_and_the_annotation_over_selectors() {
    let mut both = pod("sidecar.istio.io/inject=true");
    both["metadata"]["annotations"] = json!({ "sidecar.istio.io/inject": "false" });
    assert!(decide(&both, &context("istio-injection=enabled")).inject);

    let mut annotated = pod("app=x");
    annotated["metadata"]["annotations"] = json!({ "sidecar.istio.io/inject": "false" });
    let mut context = context("istio-injection=enabled");
    context.settings.always_inject = vec![LabelSelector { match_labels: labels("app=x"), ..LabelSelector::default() }];
    let decision = decide(&annotated, &context);
    assert_eq!((decision.inject, decision.reason.as_str()), (false, "pod annotation sidecar.istio.io/inject=false"));
}

#[test]
fn never_comes_before_always_and_both_before_the_policy() {
    let selector = |text: &str| LabelSelector { match_labels: labels(text), ..LabelSelector::default() };
    let mut context = context("istio-injection=enabled");
    context.settings.never_inject = vec![LabelSelector::default(), selector("job=batch")];
    context.settings.always_inject = vec![selector("job=batch"), selector("app=x")];
    assert!(!decide(&pod("job=batch"), &context).inject);
    context.settings.policy = Policy::Disabled;
    assert!(decide(&pod("app=x"), &context).inject);
    assert!(!decide(&pod("app=y"), &context).inject);
}

#[test]
fn a_selector_with_an_unknown_operator_is_skipped_with_a_warning() {
    let requirement = Requirement { key: "app".to_owned(), operator: "Equals".to_owned(), values: vec![] };
    let mut context = context("istio-injection=enabled");
    context.settings.never_inject = vec![LabelSelector { match_expressions: vec![requirement], ..LabelSelector::default() }];
    let decision = decide(&pod("app=x"), &context);
    assert!(decision.inject);
    assert!(decision.warnings[0].contains("operator `Equals` of label app"), "{decision:?}");
}

#[test]
fn a_selector_that_kubernetes_would_not_take_matches_nothing_and_is_told() {
    for (operator, values, expected) in [
        ("In", &[][..], "expected at least one of `values`"),
        ("NotIn", &[], "expected at least one of `values`"),
        ("Exists", &["x"], "expected no `values`, got 1"),
        ("DoesNotExist", &["x"], "expected no `values`, got 1"),
    ] {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        let requirement = Requirement { key: "job".to_owned(), operator: operator.to_owned(), values };
        let mut context = context("istio-injection=enabled");
        context.settings.never_inject = vec![LabelSelector { match_expressions: vec![requirement], ..LabelSelector::default() }];
        for labels in ["app=x", "job=x"] {
            let decision = decide(&pod(labels), &context);
            assert!(decision.inject, "{operator} {labels}");
            assert!(decision.warnings[0].contains(expected) && decision.warnings[0].contains("skipped"), "{decision:?}");
        }
    }
}

#[test]
fn other_words_than_true_and_false_count_as_unset_and_are_told() {
    let Decision { inject, warnings, .. } = decide(&pod("sidecar.istio.io/inject=yes"), &context("istio-injection=enabled"));
    assert!(inject);
    assert_eq!(warnings, ["label sidecar.istio.io/inject: expected \"true\" or \"false\", got `yes`; it counts as not set"]);
}

#[test]
fn an_annotation_that_no_webhook_will_ever_read_is_told() {
    let mut annotated = pod("");
    annotated["metadata"]["annotations"] = json!({ "sidecar.istio.io/inject": "true" });
    let decision = decide(&annotated, &context(""));
    assert!(!decision.inject);
    assert!(decision.warnings[0].starts_with("annotation sidecar.istio.io/inject: \"true\" has no effect"), "{decision:?}");
}

#[test]
fn without_a_webhook_only_the_injectors_own_rules_count() {
    assert!(decide_selected(&pod(""), &context("")).inject);
    assert!(!decide_selected(&pod("sidecar.istio.io/inject=false"), &context("")).inject);
}

#[test]
fn a_policy_nobody_knows_injects_nothing_whatever_the_pod_says() {
    let mut context = context("istio-injection=enabled");
    context.settings.policy = Policy::Unknown;
    let decision = decide(&pod("sidecar.istio.io/inject=true"), &context);
    assert_eq!((decision.inject, decision.cause), (false, Cause::PolicyUnknown));
}

#[test]
fn the_cause_is_told_by_a_name_that_stays() {
    let id = |namespace: &str, labels: &str| decide(&pod(labels), &context(namespace)).cause.id();
    assert_eq!(id("istio-injection=enabled", ""), "namespace-label");
    assert_eq!(id("istio-injection=enabled", "sidecar.istio.io/inject=true"), "pod-label");
    assert_eq!(id("istio.io/rev=canary", ""), "other-namespace-revision");
    assert_eq!(id("", ""), "no-label");
    assert_eq!(decide_selected(&pod(""), &context("")).cause.id(), "policy-enabled");
}
