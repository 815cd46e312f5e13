//! Which pods the API server shows to the injector: the selectors, evaluated for labels of namespaces and pods.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::cases;

type Labels = BTreeMap<String, String>;

/// `a=b,c=d` as labels.
fn labels(text: &str) -> Labels {
    let pairs = text.split(',').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').expect("a=b")).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn configuration(case: &str) -> MutatingWebhookConfiguration {
    let found = cases::case(case).of_kind("MutatingWebhookConfiguration").next().expect("one");
    serde_json::from_value(found.object.clone()).expect("typed")
}

fn webhooks(case: &str) -> Vec<MutatingWebhook> {
    configuration(case).webhooks.expect("some")
}

fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    assert!(selector.match_labels.is_none(), "expressions only");
    selector.match_expressions.iter().flatten().all(|expression| {
        let value = labels.get(&expression.key);
        let listed = || value.is_some_and(|value| expression.values.iter().flatten().any(|listed| listed == value));
        match expression.operator.as_str() {
            "In" => listed(),
            "NotIn" => !listed(),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            operator => panic!("{operator}"),
        }
    })
}

/// Prefixes of the entries that a pod with these labels meets, in a namespace of that name and these labels.
fn called(webhooks: &[MutatingWebhook], namespace: &str, of_namespace: &str, of_pod: &str) -> Vec<String> {
    let mut of_namespace = labels(of_namespace);
    of_namespace.insert("kubernetes.io/metadata.name".to_owned(), namespace.to_owned());
    let of_pod = labels(of_pod);
    let meets = |webhook: &&MutatingWebhook| {
        matches(webhook.namespace_selector.as_ref().expect("given"), &of_namespace)
            && matches(webhook.object_selector.as_ref().expect("given"), &of_pod)
    };
    webhooks.iter().filter(meets).map(|webhook| webhook.name.trim_end_matches("sidecar-injector.istio.io").to_owned()).collect()
}

#[test]
fn the_default_revision_is_shown_the_pods_that_istio_s_is() {
    let webhooks = webhooks("default");
    for (namespace, pod, expected) in [
        ("istio-injection=enabled", "", "namespace."),
        ("istio-injection=enabled", "sidecar.istio.io/inject=true", "namespace."),
        ("istio-injection=enabled", "istio.io/rev=other", "namespace."),
        ("istio-injection=enabled,istio.io/rev=other", "", "namespace."),
        ("istio-injection=enabled,istio.io/rev=default", "", "namespace."),
        ("istio-injection=enabled", "sidecar.istio.io/inject=false", ""),
        ("istio-injection=disabled", "", ""),
        ("istio-injection=disabled", "sidecar.istio.io/inject=true", ""),
        ("istio-injection=disabled", "sidecar.istio.io/inject=true,istio.io/rev=default", ""),
        ("istio-injection=", "sidecar.istio.io/inject=true", ""),
        ("istio.io/rev=default", "", "rev.namespace."),
        ("istio.io/rev=default", "sidecar.istio.io/inject=true", "rev.namespace."),
        ("istio.io/rev=default", "istio.io/rev=other", "rev.namespace."),
        ("istio.io/rev=default", "sidecar.istio.io/inject=false", ""),
        ("istio.io/rev=other", "", ""),
        ("istio.io/rev=other", "sidecar.istio.io/inject=true", ""),
        ("", "sidecar.istio.io/inject=true", "object."),
        ("", "sidecar.istio.io/inject=true,istio.io/rev=default", "rev.object."),
        ("", "istio.io/rev=default", "rev.object."),
        ("", "istio.io/rev=default,sidecar.istio.io/inject=false", ""),
        ("", "sidecar.istio.io/inject=true,istio.io/rev=other", ""),
        ("", "sidecar.istio.io/inject=false", ""),
        ("", "", ""),
        ("app=web", "app=web", ""),
    ] {
        let expected: Vec<&str> = expected.split_terminator(' ').collect();
        assert_eq!(called(&webhooks, "shop", namespace, pod), expected, "namespace {namespace:?}, pod {pod:?}");
    }
}

#[test]
fn another_revision_is_shown_only_pods_that_name_it() {
    let webhooks = webhooks("beside istiod");
    assert_eq!(webhooks.len(), 2);
    for (namespace, pod, expected) in [
        ("istio.io/rev=outrigger", "", "rev.namespace."),
        ("istio.io/rev=outrigger", "sidecar.istio.io/inject=false", ""),
        ("", "istio.io/rev=outrigger", "rev.object."),
        ("", "istio.io/rev=outrigger,sidecar.istio.io/inject=true", "rev.object."),
        ("", "sidecar.istio.io/inject=true", ""),
        ("istio-injection=enabled", "", ""),
        ("istio-injection=enabled", "istio.io/rev=outrigger", ""),
        ("istio-injection=enabled,istio.io/rev=outrigger", "", ""),
        ("istio-injection=disabled,istio.io/rev=outrigger", "", ""),
        ("istio.io/rev=default", "istio.io/rev=outrigger", ""),
    ] {
        let expected: Vec<&str> = expected.split_terminator(' ').collect();
        assert_eq!(called(&webhooks, "shop", namespace, pod), expected, "namespace {namespace:?}, pod {pod:?}");
    }
}

#[test]
fn with_enable_namespaces_by_default_unlabelled_pods_are_shown_too() {
    let webhooks = webhooks("every namespace");
    assert_eq!(called(&webhooks, "shop", "", ""), ["auto."]);
    assert_eq!(called(&webhooks, "shop", "istio-injection=disabled", ""), Vec::<String>::new());
    assert_eq!(called(&webhooks, "shop", "istio-injection=enabled", ""), ["namespace."]);
    assert_eq!(called(&webhooks, "shop", "", "sidecar.istio.io/inject=true"), ["object."]);
}

/// Whatever labels say, the namespaces that a cluster or the injector itself needs do not wait for the injector; and no pod
/// is shown to it twice.
#[test]
fn no_labels_block_kube_system_or_the_injector_and_no_pod_is_shown_twice() {
    let values = ["", "istio-injection=enabled", "istio-injection=disabled"];
    let revisions = ["", "istio.io/rev=default", "istio.io/rev=outrigger", "istio.io/rev=other"];
    let injects = ["", "sidecar.istio.io/inject=true", "sidecar.istio.io/inject=false", "sidecar.istio.io/inject=maybe"];
    for (case, rendered) in cases::accepted() {
        let webhooks = webhooks(case);
        let own = rendered.of_kind("Deployment").next().expect("one").object["metadata"]["namespace"].as_str().expect("given");
        for namespace in ["kube-system", "kube-public", "kube-node-lease", own, "shop"] {
            for combination in 0..values.len() * revisions.len() * revisions.len() * injects.len() {
                let (value, rest) = (values[combination % values.len()], combination / values.len());
                let (revision, rest) = (revisions[rest % revisions.len()], rest / revisions.len());
                let (of_pod, inject) = (revisions[rest % revisions.len()], injects[rest / revisions.len()]);
                let met = called(&webhooks, namespace, &format!("{value},{revision}"), &format!("{of_pod},{inject}"));
                let most = usize::from(namespace == "shop");
                assert!(met.len() <= most, "{case}: {namespace} {value} {revision}, pod {of_pod} {inject}: {met:?}");
            }
        }
    }
}

#[test]
fn every_entry_is_as_istioctl_expects_and_leads_to_the_injector() {
    for (case, rendered) in cases::accepted() {
        let configuration = configuration(case);
        let service = rendered.of_kind("Service").find(|object| object.name().starts_with("outrigger-injector")).expect("one");
        let mut names = BTreeSet::new();
        for webhook in configuration.webhooks.expect("some") {
            assert!(webhook.name.ends_with(".sidecar-injector.istio.io"), "{case}: {}", webhook.name);
            assert!(names.insert(webhook.name.clone()), "{case}: {} stands twice", webhook.name);
            let target = webhook.client_config.service.expect("a Service");
            assert_eq!((target.name.as_str(), target.port), (service.name(), Some(443)), "{case}");
            assert_eq!(target.namespace, service.object["metadata"]["namespace"].as_str().expect("given"), "{case}");
            assert!(target.path.expect("given").starts_with("/inject"), "{case}");
            assert_eq!((webhook.side_effects.as_str(), webhook.admission_review_versions), ("None", vec!["v1".to_owned()]), "{case}");
            let rules = webhook.rules.expect("given");
            assert_eq!(rules[0].operations, Some(vec!["CREATE".to_owned()]), "{case}");
            assert_eq!(rules[0].resources, Some(vec!["pods".to_owned()]), "{case}");
        }
        let labels = configuration.metadata.labels.expect("given");
        assert_eq!(labels["app"], "sidecar-injector", "{case}");
        assert_eq!(labels["istio.io/rev"], if case == "beside istiod" { "outrigger" } else { "default" }, "{case}");
    }
    assert_eq!(configuration("default").metadata.name.as_deref(), Some("istio-sidecar-injector"));
    assert_eq!(configuration("beside istiod").metadata.name.as_deref(), Some("istio-sidecar-injector-outrigger-outrigger-system"));
}

#[test]
fn only_the_demo_creates_pods_without_a_proxy_while_there_is_no_injector() {
    for (case, _) in cases::accepted() {
        let expected = if case == "demo" { "Ignore" } else { "Fail" };
        for webhook in webhooks(case) {
            assert_eq!(webhook.failure_policy.as_deref(), Some(expected), "{case}");
            assert!(webhook.timeout_seconds.expect("given") <= 10, "{case}");
        }
    }
}

#[test]
fn ca_bundles_are_left_to_whoever_keeps_the_certificate() {
    for (case, _) in cases::accepted() {
        let given = webhooks(case).iter().all(|webhook| webhook.client_config.ca_bundle.is_some());
        assert_eq!(given, case == "own certificate", "{case}");
    }
    let annotations = configuration("cert-manager").metadata.annotations.expect("given");
    assert_eq!(annotations["cert-manager.io/inject-ca-from"], "istio-system/outrigger-injector");
}
