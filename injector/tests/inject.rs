//! What is refused, what is told, and single properties that a golden file would bury.

use outrigger_injector::{Context, NativeSidecars, inject};
use serde_json::{Value, json};

fn pod(annotations: Value) -> Value {
    json!({ "metadata": { "name": "p", "annotations": annotations }, "spec": { "containers": [{ "name": "app" }] } })
}

fn variable(pod: &Value, name: &str) -> Option<String> {
    let containers = pod["spec"]["containers"].as_array().unwrap();
    let proxy = containers.iter().find(|container| container["name"] == "istio-proxy").unwrap();
    let found = proxy["env"].as_array().unwrap().iter().find(|variable| variable["name"] == name)?;
    found["value"].as_str().map(str::to_owned)
}

#[test]
fn what_is_no_pod_is_refused_by_field() {
    let context = Context::default();
    for (value, expected) in [
        (json!([]), "pod: expected a mapping"),
        (json!({ "spec": {} }), "spec.containers: expected at least one container"),
        (json!({ "metadata": 1, "spec": { "containers": [{}] } }), "metadata: expected a mapping"),
        (json!({ "spec": { "containers": [{}], "volumes": {} } }), "volumes: expected a list"),
    ] {
        assert!(inject(&value, &context).unwrap_err().to_string().starts_with(expected), "{value}");
    }
}

#[test]
fn null_lists_and_maps_count_as_absent() {
    let value = json!({ "metadata": { "labels": null, "annotations": null }, "spec": { "containers": [{ "name": "app" }], "initContainers": null, "volumes": null } });
    let injected = inject(&value, &Context::default()).unwrap().pod;
    assert_eq!(injected["spec"]["initContainers"][0]["name"], "istio-init");
}

#[test]
fn a_broken_proxy_config_counts_as_not_given_and_an_unknown_field_is_told() {
    for (text, expected) in [("concurrency: many", "concurrency"), ("- a", "expected a mapping"), ("a: [", "did not find")] {
        let injected = inject(&pod(json!({ "proxy.istio.io/config": text })), &Context::default()).unwrap();
        let said = injected.warnings.join("\n");
        assert!(said.contains("annotation proxy.istio.io/config") && said.contains(expected), "{said}");
        assert_eq!(variable(&injected.pod, "PROXY_CONFIG").as_deref(), Some("{}"));
    }
    let injected = inject(&pod(json!({ "proxy.istio.io/config": "concurency: 2" })), &Context::default()).unwrap();
    assert!(injected.warnings.iter().any(|warning| warning.contains("concurency")), "{:?}", injected.warnings);
}

#[test]
fn one_resource_annotation_changes_one_value() {
    let injected = inject(&pod(json!({ "sidecar.istio.io/proxyMemoryLimit": "256Mi" })), &Context::default()).unwrap().pod;
    let expected = json!({ "requests": { "cpu": "10m", "memory": "24Mi" }, "limits": { "cpu": "2000m", "memory": "256Mi" } });
    assert_eq!(injected["spec"]["containers"][0]["resources"], expected);
    assert_eq!(injected["spec"]["initContainers"][0]["resources"], expected);
}

#[test]
fn a_scrape_port_of_the_proxy_is_told_and_not_scraped() {
    for (annotations, expected) in [
        (json!({ "prometheus.io/port": "15090" }), r#"{"scrape":"false","path":"","port":""}"#),
        (json!({ "prometheus.io/port": "http" }), r#"{"scrape":"false","path":"","port":""}"#),
        (
            json!({ "prometheus.istio.io/scrape-targets": "8080:/m,15020" }),
            r#"{"scrape":"","path":"","port":"","targets":[{"port":"8080","path":"/m"}]}"#,
        ),
    ] {
        let injected = inject(&pod(annotations), &Context::default()).unwrap();
        assert!(injected.warnings[0].contains("expected a port of the application"), "{:?}", injected.warnings);
        assert_eq!(variable(&injected.pod, "ISTIO_PROMETHEUS_ANNOTATIONS").as_deref(), Some(expected));
    }
}

#[test]
fn who_does_not_want_to_be_scraped_is_not() {
    let injected = inject(&pod(json!({ "prometheus.io/scrape": "false" })), &Context::default()).unwrap().pod;
    assert_eq!(injected["metadata"]["annotations"]["prometheus.io/scrape"], "false");
    assert_eq!(variable(&injected, "ISTIO_PROMETHEUS_ANNOTATIONS"), None);
}

#[test]
fn scrape_annotations_by_another_spelling_count_and_their_order_is_istios() {
    let annotations = json!({ "prometheus-io/port": "9080", "prometheus.istio.io/scrape-targets": "8080,8081:/b" });
    let injected = inject(&pod(annotations), &Context::default()).unwrap().pod;
    assert_eq!(
        variable(&injected, "ISTIO_PROMETHEUS_ANNOTATIONS").as_deref(),
        Some(r#"{"scrape":"","path":"","port":"9080","targets":[{"port":"8080","path":"/metrics"},{"port":"8081","path":"/b"}]}"#)
    );
    assert_eq!(injected["metadata"]["annotations"]["prometheus.io/port"], "15020");
    assert_eq!(injected["metadata"]["annotations"].get("prometheus-io/port"), None);
}

#[test]
fn the_status_annotation_has_istios_keys_in_istios_order() {
    let injected = inject(&pod(json!({})), &Context::default()).unwrap().pod;
    assert_eq!(
        injected["metadata"]["annotations"]["sidecar.istio.io/status"],
        r#"{"initContainers":["istio-init"],"containers":["istio-proxy"],"volumes":["workload-socket","credential-socket","workload-certs","istio-envoy","istio-data","istio-podinfo","istio-token","istiod-ca-cert","istio-ca-crl"],"imagePullSecrets":null,"revision":"default"}"#
    );
}

#[test]
fn a_long_canonical_name_is_cut_to_a_label_value() {
    let mut long = pod(json!({}));
    long["metadata"]["labels"] = json!({ "app": format!("{}-tail", "a".repeat(62)) });
    let injected = inject(&long, &Context::default()).unwrap().pod;
    assert_eq!(injected["metadata"]["labels"]["service.istio.io/canonical-name"], "a".repeat(62));
}

#[test]
fn an_earlier_injection_with_other_settings_is_replaced_not_added_to() {
    let mut context = Context::default();
    context.settings.native_sidecars = NativeSidecars::Always;
    let before = pod(json!({ "prometheus.io/port": "9080" }));
    let native = inject(&before, &context).unwrap().pod;
    context.settings.native_sidecars = NativeSidecars::Never;
    assert_eq!(inject(&native, &context).unwrap().pod, inject(&before, &context).unwrap().pod);
}

#[test]
fn without_a_status_port_there_are_no_probes_and_no_rewriting() {
    let mut value = pod(json!({ "status.sidecar.istio.io/port": "0" }));
    value["spec"]["containers"][0]["readinessProbe"] = json!({ "tcpSocket": { "port": 1 } });
    let injected = inject(&value, &Context::default()).unwrap().pod;
    assert_eq!(injected["spec"]["containers"][0].get("readinessProbe"), None);
    assert_eq!(injected["spec"]["containers"][1]["readinessProbe"], json!({ "tcpSocket": { "port": 1 } }));
    let arguments = injected["spec"]["initContainers"][0]["args"].as_array().unwrap();
    let position = arguments.iter().position(|argument| argument == "-d").unwrap();
    assert_eq!(arguments[position + 1], "15090,15021");
}

#[test]
fn scrape_annotations_that_already_point_at_the_proxy_or_are_not_to_be_merged_stay_as_written() {
    let pointing = json!({ "prometheus.io/scrape": "true", "prometheus.io/port": "15020", "prometheus.io/path": "/mine" });
    let apart = json!({ "prometheus.istio.io/merge-metrics": "false", "prometheus.io/port": "15090" });
    for annotations in [pointing, apart] {
        let injected = inject(&pod(annotations.clone()), &Context::default()).unwrap().pod;
        for (name, value) in annotations.as_object().unwrap() {
            assert_eq!(&injected["metadata"]["annotations"][name], value);
        }
        assert_eq!(variable(&injected, "ISTIO_PROMETHEUS_ANNOTATIONS"), None);
    }
}
