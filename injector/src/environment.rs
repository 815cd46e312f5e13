//! Environment variables of the proxy's container, in Istio's order and with its names (contract 3.5).

use serde::Serialize;
use serde_json::{Value, json};

use crate::proxy_config;
use crate::template::{Rendering, Role};
use crate::{PROXY_CONTAINER, pod};

/// By which the proxy of a pod that runs to completion ends with the application's containers.
const EXIT_WITH_APPLICATION: &str = "OUTRIGGER_EXIT_WITH_APPLICATION";

/// All variables known before probes and metrics are looked at.
pub(crate) fn variables(rendering: &Rendering<'_>) -> Vec<Value> {
    let settings = &rendering.context.settings;
    let mesh_id = settings.mesh_id.as_ref().unwrap_or(&settings.trust_domain);
    let mut variables = Vec::new();
    if settings.probe_localhost {
        variables.push(plain("REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION", "true"));
    }
    variables.extend(about_the_pod(rendering));
    variables.extend(settings.compliance_policy.as_deref().map(|policy| plain("COMPLIANCE_POLICY", policy)));
    variables.push(plain("ISTIO_META_CLUSTER_ID", &settings.cluster_id));
    variables.push(field("ISTIO_META_NODE_NAME", "spec.nodeName"));
    if rendering.role == Role::Sidecar {
        variables.push(plain("ISTIO_META_INTERCEPTION_MODE", &rendering.interception_mode));
    }
    variables.extend(rendering.network().map(|network| plain("ISTIO_META_NETWORK", &network)));
    variables.extend(Some(rendering.workload.as_str()).filter(|name| !name.is_empty()).map(|name| plain("ISTIO_META_WORKLOAD_NAME", name)));
    variables.push(plain("ISTIO_META_OWNER", &rendering.owner.reference(&rendering.context.namespace.name)));
    if rendering.wishes.bootstrap_override.is_some() {
        variables.push(plain("ISTIO_BOOTSTRAP_OVERRIDE", "/etc/istio/custom-bootstrap/custom_bootstrap.json"));
    }
    variables.push(plain("ISTIO_META_MESH_ID", mesh_id));
    variables.push(plain("TRUST_DOMAIN", &settings.trust_domain));
    variables.extend(proxy_metadata(rendering));
    if rendering.exit_with_application {
        variables.push(plain(EXIT_WITH_APPLICATION, "true"));
    }
    variables.retain(|variable| !settings.environment.contains_key(pod::name(variable)));
    variables.extend(settings.environment.iter().map(|(name, value)| plain(name, value)));
    variables
}

fn about_the_pod(rendering: &Rendering<'_>) -> Vec<Value> {
    let settings = &rendering.context.settings;
    vec![
        plain("PILOT_CERT_PROVIDER", &settings.cert_provider),
        plain("CA_ADDR", &settings.ca_address()),
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("INSTANCE_IP", "status.podIP"),
        field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        field("HOST_IP", "status.hostIP"),
        resource("ISTIO_CPU_LIMIT", "limits.cpu", Some("1")),
        plain("PROXY_CONFIG", &proxy_config::non_default(&rendering.proxy_config.given).to_string()),
        plain("ISTIO_META_POD_PORTS", &pod_ports(rendering.pod)),
        plain("ISTIO_META_APP_CONTAINERS", &app_containers(rendering.pod)),
        resource("GOMEMLIMIT", "limits.memory", None),
    ]
}

/// By which the init container, or Istio's CNI plugin, sends the pod's name queries to a port of the proxy. The proxy does not serve names,
/// so a pod with one of these could resolve none at all: they are left out, and told by the caller.
pub(crate) const NAME_CAPTURE: [&str; 2] = ["ISTIO_META_DNS_CAPTURE", "REDIRECT_DNS"];

/// The entries of `proxyMetadata`; both containers get them.
pub(crate) fn proxy_metadata(rendering: &Rendering<'_>) -> Vec<Value> {
    let entries = rendering.proxy_config.typed.proxy_metadata.iter();
    entries.filter(|(name, _)| !NAME_CAPTURE.contains(&&***name)).map(|(name, value)| plain(name, value)).collect()
}

/// A variable with a value.
pub(crate) fn plain(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": value })
}

fn field(name: &str, path: &str) -> Value {
    json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } })
}

fn resource(name: &str, resource: &str, divisor: Option<&str>) -> Value {
    let mut reference = json!({ "resource": resource });
    if let (Some(divisor), Some(fields)) = (divisor, reference.as_object_mut()) {
        fields.insert("divisor".to_owned(), json!(divisor));
    }
    json!({ "name": name, "valueFrom": { "resourceFieldRef": reference } })
}

/// One port as Istio writes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Port<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_port: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_port: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'a Value>,
}

fn pod_ports(pod: &Value) -> String {
    let containers = pod::list(pod, "containers").iter();
    let ports = containers.filter_map(|container| container.get("ports")?.as_array()).flatten();
    let ports: Vec<Port<'_>> = ports
        .map(|port| Port {
            name: port.get("name"),
            host_port: port.get("hostPort"),
            container_port: port.get("containerPort"),
            protocol: port.get("protocol"),
        })
        .collect();
    serde_json::to_string(&ports).unwrap_or_else(|_| "[]".to_owned())
}

fn app_containers(pod: &Value) -> String {
    let applications = pod::list(pod, "containers").iter().map(pod::name).filter(|name| *name != PROXY_CONTAINER);
    applications.collect::<Vec<_>>().join(",")
}
