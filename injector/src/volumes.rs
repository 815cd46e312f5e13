//! The volumes an injected pod has, and where the proxy finds them (contract 3.5).

use serde_json::{Map, Value, json};

use crate::pod;
use crate::template::Rendering;

const BOOTSTRAP: &str = "custom-bootstrap-volume";

/// The volumes, in the order in which `sidecar.istio.io/status` lists them; the user's own from `userVolume` last.
pub(crate) fn volumes(rendering: &Rendering<'_>) -> Vec<Value> {
    let field = |path: &str, field: &str| json!({ "path": path, "fieldRef": { "fieldPath": field } });
    let pod_info = [field("labels", "metadata.labels"), field("annotations", "metadata.annotations")];
    let token = json!({ "path": "istio-token", "audience": "istio-ca", "expirationSeconds": 43200 });
    let mut volumes = vec![
        json!({ "name": "workload-socket", "emptyDir": {} }),
        json!({ "name": "credential-socket", "emptyDir": {} }),
        json!({ "name": "workload-certs", "emptyDir": {} }),
        json!({ "name": "istio-envoy", "emptyDir": { "medium": "Memory" } }),
        json!({ "name": "istio-data", "emptyDir": {} }),
        json!({ "name": "istio-podinfo", "downwardAPI": { "items": pod_info } }),
        json!({ "name": "istio-token", "projected": { "sources": [{ "serviceAccountToken": token }] } }),
        json!({ "name": "istiod-ca-cert" }),
        json!({ "name": "istio-ca-crl", "configMap": { "name": "istio-ca-crl", "optional": true } }),
    ];
    let settings = &rendering.context.settings;
    if let Some(root) = volumes.iter_mut().find(|volume| pod::name(volume) == "istiod-ca-cert").and_then(Value::as_object_mut) {
        root.extend(certificate_authority(settings.cluster_trust_bundle));
    }
    if let Some(name) = &rendering.wishes.bootstrap_override {
        volumes.push(json!({ "name": BOOTSTRAP, "configMap": { "name": name, "optional": true } }));
    }
    if settings.mount_mtls_certs {
        let account = rendering.pod.pointer("/spec/serviceAccountName").and_then(Value::as_str).unwrap_or("default");
        volumes.push(json!({ "name": "istio-certs", "secret": { "secretName": format!("istio.{account}"), "optional": true } }));
    }
    volumes.extend(rendering.wishes.user_volumes.iter().map(|(name, source)| named(name, source)));
    volumes
}

/// The CA's root. The ConfigMap is optional, where Istio's pods wait for it: a proxy that finds none says so itself and keeps asking,
/// rather than leaving the application in `ContainerCreating` without a word.
fn certificate_authority(cluster_trust_bundle: bool) -> Map<String, Value> {
    let source = if cluster_trust_bundle {
        let bundle = json!({ "name": "istio.io:istiod-ca:root-cert", "path": "root-cert.pem", "optional": true });
        ("projected", json!({ "defaultMode": 420, "sources": [{ "clusterTrustBundle": bundle }] }))
    } else {
        ("configMap", json!({ "name": "istio-ca-root-cert", "optional": true }))
    };
    [(source.0.to_owned(), source.1)].into_iter().collect()
}

/// The proxy's mounts of them.
pub(crate) fn mounts(rendering: &Rendering<'_>) -> Vec<Value> {
    let mut mounts: Vec<Value> = [
        ("workload-socket", "/var/run/secrets/workload-spiffe-uds"),
        ("credential-socket", "/var/run/secrets/credential-uds"),
        ("workload-certs", "/var/run/secrets/workload-spiffe-credentials"),
        ("istiod-ca-cert", "/var/run/secrets/istio"),
        ("istio-ca-crl", "/var/run/secrets/istio/crl"),
        ("istio-data", "/var/lib/istio/data"),
        ("istio-envoy", "/etc/istio/proxy"),
        ("istio-token", "/var/run/secrets/tokens"),
        ("istio-podinfo", "/etc/istio/pod"),
    ]
    .into_iter()
    .map(|(name, path)| json!({ "name": name, "mountPath": path }))
    .collect();
    if rendering.wishes.bootstrap_override.is_some() {
        mounts.push(json!({ "name": BOOTSTRAP, "mountPath": "/etc/istio/custom-bootstrap" }));
    }
    if rendering.context.settings.mount_mtls_certs {
        mounts.push(json!({ "name": "istio-certs", "mountPath": "/etc/certs/", "readOnly": true }));
    }
    mounts.extend(rendering.wishes.user_volume_mounts.iter().map(|(name, mount)| named(name, mount)));
    mounts
}

fn named(name: &str, value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("name".to_owned(), json!(name));
    }
    value
}
