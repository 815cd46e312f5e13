//! Whole injected pods, compared with files in `golden/`: what is added, by which name, in which order.
//! `OUTRIGGER_BLESS=1 cargo test -p outrigger-injector --test golden` writes the files anew.

use std::path::Path;

use outrigger_injector::{Context, Namespace, Settings, inject};
use serde_json::{Value, json};

fn context() -> Context {
    let settings = Settings { image: "registry.example/outrigger:1".to_owned(), ..Settings::default() };
    Context {
        namespace: Namespace { name: "shop".to_owned(), labels: [("istio-injection".to_owned(), "enabled".to_owned())].into() },
        settings,
    }
}

/// A pod as a Deployment's ReplicaSet makes it.
fn front() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "front-v1-5d4f8c-",
            "namespace": "shop",
            "labels": { "app": "front", "version": "v1", "pod-template-hash": "5d4f8c" },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "front-v1-5d4f8c", "uid": "1", "controller": true }],
        },
        "spec": {
            "serviceAccountName": "front-v1",
            "initContainers": [{ "name": "migrate", "image": "example/migrate:1" }],
            "containers": [{
                "name": "app",
                "image": "example/front:1",
                "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }, { "containerPort": 9090 }],
                "readinessProbe": { "httpGet": { "path": "/ready", "port": "http" }, "periodSeconds": 5, "timeoutSeconds": 2 },
            }],
        },
    })
}

fn annotate(pod: &mut Value, annotations: Value) {
    pod["metadata"]["annotations"] = annotations;
}

#[track_caller]
fn check(name: &str, pod: &Value, context: &Context) -> Value {
    let injected = inject(pod, context).unwrap();
    let found = json!({ "warnings": injected.warnings, "pod": injected.pod });
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.json"));
    if std::env::var_os("OUTRIGGER_BLESS").is_some() {
        std::fs::write(&file, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
    }
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap_or_default()).unwrap_or_default();
    assert_eq!(found, golden, "{name}: the pod changed; read the difference, then bless");

    let again = inject(&injected.pod, context).unwrap();
    assert_eq!(again.pod, injected.pod, "{name}: injecting the injected pod must change nothing");
    injected.pod
}

#[test]
fn a_pod_of_a_deployment() {
    check("deployment", &front(), &context());
}

#[test]
fn the_application_waits_for_the_proxy() {
    let mut pod = front();
    annotate(&mut pod, json!({ "proxy.istio.io/config": "holdApplicationUntilProxyStarts: true\nconcurrency: 1\n" }));
    let injected = check("hold", &pod, &context());
    assert_eq!(injected["spec"]["containers"][0]["name"], "istio-proxy");
}

#[test]
fn a_native_sidecar() {
    let mut context = context();
    context.settings.native_sidecars = true;
    check("native", &front(), &context);
}

#[test]
fn capture_and_resource_annotations() {
    let mut pod = front();
    annotate(
        &mut pod,
        json!({
            "traffic.sidecar.istio.io/includeOutboundIPRanges": "10.96.0.0/12",
            "traffic.sidecar.istio.io/excludeOutboundIPRanges": "10.96.0.10/32",
            "traffic.sidecar.istio.io/includeInboundPorts": "8080",
            "traffic.sidecar.istio.io/excludeInboundPorts": "9090",
            "traffic.sidecar.istio.io/includeOutboundPorts": "443",
            "traffic.sidecar.istio.io/excludeOutboundPorts": "3306",
            "traffic.sidecar.istio.io/excludeInterfaces": "net1",
            "status.sidecar.istio.io/port": "16020",
            "readiness.status.sidecar.istio.io/initialDelaySeconds": "1",
            "readiness.status.sidecar.istio.io/periodSeconds": "2",
            "readiness.status.sidecar.istio.io/failureThreshold": "30",
            "sidecar.istio.io/proxyCPU": "250m",
            "sidecar.istio.io/logLevel": "debug",
            "sidecar.istio.io/userVolume": r#"{"extra":{"emptyDir":{}}}"#,
            "sidecar.istio.io/userVolumeMount": r#"{"extra":{"mountPath":"/extra"}}"#,
            "prometheus.io/port": "9090",
            "prometheus.io/path": "/m",
            "sidecar.istio.io/proxyCPULimits": "1",
        }),
    );
    check("annotations", &pod, &context());
}

#[test]
fn no_capture_at_all() {
    let mut pod = front();
    annotate(&mut pod, json!({ "sidecar.istio.io/interceptionMode": "NONE" }));
    check("interception-none", &pod, &context());
}

#[test]
fn the_users_own_fields_for_the_proxy_win() {
    let mut pod = front();
    let own = json!({
        "name": "istio-proxy",
        "image": "auto",
        "env": [{ "name": "TRUST_DOMAIN", "value": "mine" }, { "name": "EXTRA", "value": "1" }],
        "securityContext": { "runAsUser": 2000 },
    });
    pod["spec"]["containers"].as_array_mut().unwrap().push(own);
    check("user-overrides", &pod, &context());
}

#[test]
fn every_kind_of_probe_and_hook() {
    let mut pod = front();
    pod["spec"]["containers"][0]["livenessProbe"] = json!({ "tcpSocket": { "port": 9090 } });
    pod["spec"]["containers"][0]["startupProbe"] = json!({ "grpc": { "port": 9090, "service": "front" } });
    pod["spec"]["containers"][0]["lifecycle"] = json!({
        "preStop": { "httpGet": { "path": "/bye", "port": 8080, "scheme": "HTTPS" } },
        "postStart": { "exec": { "command": ["true"] } },
    });
    let other = json!({ "name": "side", "readinessProbe": { "httpGet": { "path": "/", "port": "nameless" } }, "livenessProbe": { "exec": { "command": ["true"] } } });
    pod["spec"]["containers"].as_array_mut().unwrap().push(other);
    check("probes", &pod, &context());
}

#[test]
fn a_bare_pod_with_the_mesh_configured() {
    let mut context = context();
    context.settings.proxy_config = json!({
        "drainDuration": "45s",
        "terminationDrainDuration": "10s",
        "proxyMetadata": { "ISTIO_META_DNS_CAPTURE": "true", "A": "1" },
    })
    .as_object()
    .cloned()
    .unwrap();
    context.settings.network = Some("net-a".to_owned());
    context.settings.mesh_id = Some("mesh-a".to_owned());
    context.settings.injected_annotations = [("example.com/injected".to_owned(), "yes".to_owned())].into();
    let mut pod = json!({ "metadata": { "name": "client" }, "spec": { "containers": [{ "name": "shell" }] } });
    annotate(&mut pod, json!({ "proxy.istio.io/config": "proxy_metadata: {A: '2', B: '3'}\ntermination_drain_duration: 5s\n" }));
    check("bare-pod", &pod, &context);
}
