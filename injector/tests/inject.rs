//! What is refused, what is told, and single properties that a golden file would bury.

use outrigger_injector::settings::Cni;
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
fn metadata_that_is_null_counts_as_absent() {
    let spec = json!({ "containers": [{ "name": "app" }] });
    let without = inject(&json!({ "spec": spec }), &Context::default());
    assert_eq!(inject(&json!({ "metadata": null, "spec": spec }), &Context::default()), without);
    assert!(without.is_ok());
}

#[test]
fn what_kubernetes_would_not_store_is_refused_before_work_is_done_for_it() {
    let since = std::time::Instant::now();
    let many: Vec<Value> = (0..20_000).map(|number| json!({ "name": format!("n{number}") })).collect();
    let names: Vec<&str> = many.iter().map(|item| item["name"].as_str().unwrap()).collect();
    for list in ["containers", "initContainers", "volumes", "imagePullSecrets"] {
        let mut pod = pod(json!({}));
        pod["spec"][list] = json!(many);
        let told = inject(&pod, &Context::default()).unwrap_err().to_string();
        assert!(told.starts_with(&format!("spec.{list}: expected at most 1000 entries, got 20000")), "{told}");
        pod["metadata"]["annotations"]["sidecar.istio.io/status"] = json!(json!({ list: names }).to_string());
        assert!(outrigger_injector::decide_selected(&pod, &Context::default()).inject);
    }
    let told = inject(&pod(json!({ "a": "x".repeat(256 << 10) })), &Context::default()).unwrap_err().to_string();
    assert!(told.starts_with("metadata.annotations: expected at most 262144 bytes in total"), "{told}");
    assert!(since.elapsed() < std::time::Duration::from_secs(5), "{:?}", since.elapsed());
}

#[test]
fn ten_thousand_variables_of_the_users_own_are_laid_over_the_proxys_in_no_time() {
    let variables: Vec<Value> = (0..10_000).map(|number| json!({ "name": format!("V{number}"), "value": "1" })).collect();
    let mut pod = pod(json!({}));
    pod["spec"]["containers"].as_array_mut().unwrap().push(json!({ "name": "istio-proxy", "env": variables }));
    let since = std::time::Instant::now();
    assert_eq!(variable(&inject(&pod, &Context::default()).unwrap().pod, "V9999").as_deref(), Some("1"));
    assert!(since.elapsed() < std::time::Duration::from_secs(3), "{:?}", since.elapsed());
}

/// The container is started, and waited for, before a proxy that is no init container.
#[test]
fn init_containers_before_the_proxy_keep_their_probes() {
    let probe = json!({ "httpGet": { "path": "/up", "port": 81 } });
    let mut pod = pod(json!({}));
    pod["spec"]["initContainers"] = json!([{ "name": "helper", "restartPolicy": "Always", "startupProbe": probe }]);
    let mut context = Context::default();
    for (native, kept) in [(NativeSidecars::Never, true), (NativeSidecars::Always, false)] {
        context.settings.native_sidecars = native;
        let injected = inject(&pod, &context).unwrap();
        let containers = injected.pod["spec"]["initContainers"].as_array().unwrap();
        let helper = containers.iter().find(|container| container["name"] == "helper").unwrap();
        assert_eq!(helper["startupProbe"] == probe, kept, "{helper}");
        assert_eq!(injected.warnings.iter().any(|warning| warning.starts_with("init container helper: it starts before the proxy")), kept);
    }
}

#[test]
fn a_job_is_told_the_port_that_ends_its_proxy() {
    let told = |annotations: Value| {
        let mut pod = pod(annotations);
        pod["spec"]["restartPolicy"] = json!("Never");
        inject(&pod, &Context::default()).unwrap().warnings.join("\n")
    };
    assert!(told(json!({})).contains("POST to http://127.0.0.1:15020/quitquitquit"));
    assert!(told(json!({ "status.sidecar.istio.io/port": "16000" })).contains("POST to http://127.0.0.1:16000/quitquitquit"));
    let without = told(json!({ "status.sidecar.istio.io/port": "0" }));
    assert!(
        !without.contains("quitquitquit") && without.contains("by itself: set annotation proxy.outrigger.io/exitWithApplication"),
        "{without}"
    );
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

fn container(pod: &Value, name: &str) -> Value {
    let lists = ["/spec/initContainers", "/spec/containers"];
    let mut containers = lists.iter().filter_map(|list| pod.pointer(list)?.as_array()).flatten();
    containers.find(|container| container["name"] == name).cloned().unwrap_or_default()
}

fn is_native(pod: &Value) -> bool {
    container(pod, "istio-proxy")["restartPolicy"] == "Always"
}

#[test]
fn native_sidecars_follow_the_clusters_version_unless_somebody_says_otherwise() {
    for (version, setting, annotation, expected) in [
        (Some("1.28"), NativeSidecars::Auto, None, false),
        (Some("1.29"), NativeSidecars::Auto, None, true),
        (Some("v1.33.1-eks"), NativeSidecars::Auto, None, true),
        (None, NativeSidecars::Auto, None, false),
        (None, NativeSidecars::Always, None, true),
        (Some("1.33"), NativeSidecars::Never, None, false),
        (Some("1.33"), NativeSidecars::Auto, Some("false"), false),
        (Some("1.33"), NativeSidecars::Never, Some("true"), true),
        (None, NativeSidecars::Auto, Some("true"), true),
    ] {
        let mut context = Context::default();
        context.cluster.kubernetes = version.map(|version| version.parse().unwrap());
        context.settings.native_sidecars = setting;
        let annotations = annotation.map_or_else(|| json!({}), |value| json!({ "sidecar.istio.io/nativeSidecar": value }));
        let injected = inject(&pod(annotations), &context).unwrap();
        assert_eq!(is_native(&injected.pod), expected, "{version:?} {setting:?} {annotation:?}");
        assert_eq!(injected.warnings, [""; 0]);
    }
}

#[test]
fn a_cluster_too_old_for_native_sidecars_gets_an_ordinary_one_and_is_told() {
    let mut context = Context::default();
    context.cluster.kubernetes = Some("1.27".parse().unwrap());
    context.settings.native_sidecars = NativeSidecars::Always;
    let injected = inject(&pod(json!({})), &context).unwrap();
    assert!(!is_native(&injected.pod));
    assert!(injected.warnings[0].contains("Kubernetes 1.27 has none before 1.29"), "{:?}", injected.warnings);
}

#[test]
fn under_openshift_proxy_and_rules_use_the_namespaces_user_and_never_the_applications() {
    let mut context = Context::default();
    context.settings.openshift = true;
    let ranges = [("openshift.io/sa.scc.uid-range", "1000/10"), ("openshift.io/sa.scc.supplemental-groups", "2000/10")];
    context.namespace.annotations = ranges.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let mut value = pod(json!({}));
    // What the platform's admission writes into every container it sees.
    let users = json!({ "runAsUser": 1000 });
    value["spec"]["containers"] =
        json!([{ "name": "app", "securityContext": users }, { "name": "istio-proxy", "image": "auto", "securityContext": users }]);
    let injected = inject(&value, &context).unwrap();
    let proxy = container(&injected.pod, "istio-proxy");
    assert_eq!((&proxy["securityContext"]["runAsUser"], &proxy["securityContext"]["runAsGroup"]), (&json!(1009), &json!(2009)));
    let arguments = container(&injected.pod, "istio-init")["args"].to_string();
    assert!(arguments.contains(r#""-u","1009","-g","2009""#), "{arguments}");
    assert!(injected.warnings[0].contains("runAsUser 1000 is an application's as well"), "{:?}", injected.warnings);
}

#[test]
fn multus_is_told_to_call_the_plugin() {
    let mut context = Context::default();
    context.settings.cni = Cni::Multus;
    let injected = inject(&pod(json!({ "k8s.v1.cni.cncf.io/networks": "net-a" })), &context).unwrap().pod;
    assert_eq!(injected["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"], "net-a, default/istio-cni");
}

#[test]
fn strict_names_the_first_complaint_and_admits_what_is_only_told() {
    let mut context = Context::default();
    context.settings.strict = true;
    let said = inject(&pod(json!({ "prometheus.io/port": "15090" })), &context).unwrap_err().to_string();
    assert!(said.contains("prometheus.io/port") && said.contains("the injector is strict"), "{said}");
    let told = inject(&pod(json!({ "sidecar.istio.io/proxyImageType": "debug" })), &context).unwrap();
    assert_eq!(told.warnings, ["annotation sidecar.istio.io/proxyImageType has no effect: Outrigger's image has no variants"]);
}

#[test]
fn name_queries_are_not_sent_to_a_proxy_that_answers_none() {
    let config = "proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'true', REDIRECT_DNS: 'true', OTHER: x}";
    let injected = inject(&pod(json!({ "proxy.istio.io/config": config })), &Context::default()).unwrap();
    for name in ["istio-init", "istio-proxy"] {
        let env = container(&injected.pod, name)["env"].to_string();
        assert!(
            env.contains("OTHER") && !env.contains(r#""name":"ISTIO_META_DNS_CAPTURE""#) && !env.contains(r#""name":"REDIRECT_DNS""#),
            "{env}"
        );
    }
    assert_eq!(injected.warnings.len(), 2, "{:?}", injected.warnings);
}
