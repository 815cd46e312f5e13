//! The volumes an injected pod has, and where the proxy finds them (contract 3.5).

use serde_json::{Value, json};

use crate::pod;
use crate::template::Rendering;

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
        json!({ "name": "istiod-ca-cert", "configMap": { "name": "istio-ca-root-cert" } }),
        json!({ "name": "istio-ca-crl", "configMap": { "name": "istio-ca-crl", "optional": true } }),
    ];
    volumes.extend(rendering.wishes.user_volumes.iter().map(|(name, source)| named(name, source)));
    volumes
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
    mounts.extend(rendering.wishes.user_volume_mounts.iter().map(|(name, mount)| named(name, mount)));
    mounts
}

/// Names of the volumes, for the status annotation.
pub(crate) fn names(volumes: &[Value]) -> Vec<String> {
    volumes.iter().map(|volume| pod::name(volume).to_owned()).collect()
}

fn named(name: &str, value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("name".to_owned(), json!(name));
    }
    value
}
