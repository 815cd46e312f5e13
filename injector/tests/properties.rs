//! What holds for every pod, however odd: injecting twice is injecting once, taking the injection out restores the pod, and nothing panics.

use outrigger_injector::{Cluster, Context, KubernetesVersion, NativeSidecars, inject, uninject};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Text as it is found in manifests: known words and noise.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("true".to_owned()),
        Just("false".to_owned()),
        Just("15020".to_owned()),
        Just("8080".to_owned()),
        Just("REDIRECT".to_owned()),
        Just("TPROXY".to_owned()),
        Just("NONE".to_owned()),
        Just("100m".to_owned()),
        Just("*".to_owned()),
        Just("10.0.0.0/8".to_owned()),
        Just("holdApplicationUntilProxyStarts: false".to_owned()),
        Just("{\"extra\":{\"emptyDir\":{}}}".to_owned()),
        "[ -~é]{0,12}",
    ]
}

const ANNOTATIONS: [&str; 24] = [
    "sidecar.istio.io/inject",
    "sidecar.istio.io/interceptionMode",
    "sidecar.istio.io/nativeSidecar",
    "sidecar.istio.io/capNetBindService",
    "sidecar.istio.io/proxyCPU",
    "sidecar.istio.io/proxyMemoryLimit",
    "sidecar.istio.io/rewriteAppHTTPProbers",
    "sidecar.istio.io/userVolume",
    "sidecar.istio.io/bootstrapOverride",
    "sidecar.istio.io/discoveryAddress",
    "status.sidecar.istio.io/port",
    "traffic.sidecar.istio.io/includeOutboundIPRanges",
    "traffic.sidecar.istio.io/excludeInboundPorts",
    "traffic.sidecar.istio.io/includeInboundPorts",
    "prometheus.io/scrape",
    "prometheus.io/port",
    "prometheus-io/path",
    "prometheus.istio.io/scrape-targets",
    "prometheus.istio.io/merge-metrics",
    "proxy.istio.io/config",
    "proxy.outrigger.io/exitWithApplication",
    "kubectl.kubernetes.io/default-container",
    "istio.io/rev",
    "example.com/other",
];

const LABELS: [&str; 6] = [
    "app",
    "version",
    "app.kubernetes.io/name",
    "security.istio.io/tlsMode",
    "service.istio.io/canonical-name",
    "topology.istio.io/network",
];

fn strings(names: &'static [&'static str]) -> impl Strategy<Value = Map<String, Value>> {
    proptest::collection::btree_map(proptest::sample::select(names), text(), 1..5)
        .prop_map(|map| map.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect())
}

fn handler() -> impl Strategy<Value = Value> {
    let port = prop_oneof![Just(json!(8080)), Just(json!("http")), Just(json!("nameless")), Just(json!("9090")), Just(json!(15020))];
    let kind = prop_oneof![Just("httpGet"), Just("tcpSocket"), Just("grpc"), Just("exec")];
    (kind, port, any::<bool>()).prop_map(|(kind, port, https)| {
        let mut action = if kind == "exec" { json!({ "command": ["true"] }) } else { json!({ "port": port }) };
        if kind == "httpGet" && https {
            action["scheme"] = json!("HTTPS");
            action["path"] = json!("/ready");
        }
        json!({ kind: action, "timeoutSeconds": 2 })
    })
}

fn container(name: String) -> impl Strategy<Value = Value> {
    let probes =
        proptest::collection::btree_map(proptest::sample::select(vec!["readinessProbe", "livenessProbe", "startupProbe"]), handler(), 0..3);
    (probes, proptest::option::of(handler()), any::<bool>()).prop_map(move |(probes, hook, ports)| {
        let mut container = json!({ "name": name, "image": "example/app:1" });
        for (field, probe) in probes {
            container[field] = probe;
        }
        if let Some(mut hook) = hook {
            hook.as_object_mut().and_then(|fields| fields.remove("timeoutSeconds"));
            container["lifecycle"] = json!({ "preStop": hook });
        }
        if ports {
            container["ports"] = json!([{ "name": "http", "containerPort": 8080 }]);
        }
        container
    })
}

prop_compose! {
    /// A pod in normal form: no empty lists or maps, which nothing could restore.
    fn pod()(
        annotations in proptest::option::of(strings(&ANNOTATIONS)),
        labels in proptest::option::of(strings(&LABELS)),
        first in container("app".to_owned()),
        second in proptest::option::of(container("side".to_owned())),
        init in proptest::option::of(container("early".to_owned())),
        own in proptest::option::of((any::<bool>(), 0u64..3000)),
        restart in proptest::option::of(prop_oneof![Just("Never"), Just("Always")]),
        gateway in proptest::bool::weighted(0.1),
        volume in any::<bool>(),
    ) -> Value {
        let mut pod = json!({ "metadata": { "name": "p" }, "spec": { "containers": [first] } });
        if let Some(labels) = labels {
            pod["metadata"]["labels"] = Value::Object(labels);
        }
        let mut annotations = annotations.unwrap_or_default();
        if gateway {
            annotations.insert("inject.istio.io/templates".to_owned(), json!("gateway"));
        }
        if !annotations.is_empty() {
            pod["metadata"]["annotations"] = Value::Object(annotations);
        }
        let containers = pod["spec"]["containers"].as_array_mut().expect("written above");
        if let Some((front, uid)) = own {
            let own = json!({ "name": "istio-proxy", "image": "auto", "securityContext": { "runAsUser": uid } });
            if front { containers.insert(0, own) } else { containers.push(own) }
        }
        containers.extend(second);
        if let Some(init) = init {
            pod["spec"]["initContainers"] = json!([init]);
        }
        if let Some(restart) = restart {
            pod["spec"]["restartPolicy"] = json!(restart);
        }
        if volume {
            pod["spec"]["volumes"] = json!([{ "name": "istio-data", "emptyDir": {} }, { "name": "own", "emptyDir": {} }]);
        }
        pod
    }
}

fn context() -> impl Strategy<Value = Context> {
    let native = prop_oneof![Just(NativeSidecars::Auto), Just(NativeSidecars::Always), Just(NativeSidecars::Never)];
    let version = proptest::option::of((0u32..40).prop_map(|minor| KubernetesVersion { major: 1, minor }));
    let cni = prop_oneof![
        Just(outrigger_injector::settings::Cni::Off),
        Just(outrigger_injector::settings::Cni::Chained),
        Just(outrigger_injector::settings::Cni::Multus)
    ];
    (native, version, cni, any::<bool>()).prop_map(|(native, kubernetes, cni, hold)| {
        let mut context = Context { cluster: Cluster { kubernetes, ..Cluster::default() }, ..Context::default() };
        context.settings.native_sidecars = native;
        context.settings.cni = cni;
        context.settings.hold_application_until_proxy_starts = hold;
        context
    })
}

/// Any JSON, with the names that mean something to the injector among its keys.
fn json_value() -> impl Strategy<Value = Value> {
    let keys = [
        "metadata",
        "spec",
        "labels",
        "annotations",
        "containers",
        "initContainers",
        "volumes",
        "name",
        "env",
        "ports",
        "containerPort",
        "readinessProbe",
        "httpGet",
        "port",
        "lifecycle",
        "preStop",
        "securityContext",
        "runAsUser",
        "imagePullSecrets",
        "image",
        "args",
        "sidecar.istio.io/status",
        "proxy.istio.io/overrides",
        "proxy.outrigger.io/restore",
        "proxy.istio.io/config",
        "ownerReferences",
    ];
    let status = r#"{"containers":["istio-proxy"],"initContainers":null,"volumes":["a"]}"#;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
        Just(json!("istio-proxy")),
        Just(json!(status)),
        Just(json!("{}")),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(proptest::sample::select(keys.to_vec()), inner, 0..6).prop_map(|map| map
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect::<Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn injecting_twice_is_injecting_once(pod in pod(), context in context()) {
        let once = inject(&pod, &context).expect("a pod of this shape is never refused");
        let twice = inject(&once.pod, &context).expect("nor is an injected one");
        prop_assert_eq!(&twice.pod, &once.pod);
        prop_assert_eq!(&twice.warnings, &once.warnings);
    }

    #[test]
    fn taking_an_injection_out_restores_the_pod(pod in pod(), context in context()) {
        let injected = inject(&pod, &context).expect("a pod of this shape is never refused").pod;
        prop_assert_eq!(uninject(&injected), Some(pod));
    }

    #[test]
    fn an_injection_under_other_settings_leaves_no_trace(pod in pod(), before in context(), after in context()) {
        let earlier = inject(&pod, &before).expect("a pod of this shape is never refused").pod;
        prop_assert_eq!(inject(&earlier, &after).map(|injected| injected.pod), inject(&pod, &after).map(|injected| injected.pod));
    }

    #[test]
    fn there_is_one_proxy_and_at_most_one_container_for_the_rules(pod in pod(), context in context()) {
        let injected = inject(&pod, &context).expect("a pod of this shape is never refused").pod;
        let names = ["containers", "initContainers"].map(|list| injected["spec"][list].as_array().cloned().unwrap_or_default()).concat();
        let count = |name: &str| names.iter().filter(|container| container["name"] == name).count();
        prop_assert_eq!(count("istio-proxy"), 1);
        prop_assert!(count("istio-init") + count("istio-validation") <= 1);
    }

    #[test]
    fn no_json_at_all_makes_it_panic(value in json_value(), context in context()) {
        let _ = outrigger_injector::decide(&value, &context);
        let _ = uninject(&value);
        let _ = inject(&value, &context);
        let wrapped = json!({ "metadata": value, "spec": { "containers": [value], "initContainers": [value] } });
        let _ = outrigger_injector::decide(&wrapped, &context);
        if let Ok(injected) = inject(&wrapped, &context) {
            let _ = uninject(&injected.pod);
        }
    }
}
