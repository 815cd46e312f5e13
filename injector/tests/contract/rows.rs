//! The table. A user's own container `istio-proxy` wins over it, so rows hold for pods without one, unless they say otherwise.

use serde_json::{Value, json};

use super::Expected::{Absent, Computed, Json};
use super::expect::{
    arguments_of_init, arguments_of_proxy, canonical_name, canonical_revision, given, interception, merges, native, own_proxy, owner,
    probers, proxy_config, resources, scraping, status, status_port, workload_name,
};
use super::{Injection, Row};

fn always(_: &Injection<'_>) -> bool {
    true
}
fn sidecar(i: &Injection<'_>) -> bool {
    !gateway(i)
}
fn gateway(i: &Injection<'_>) -> bool {
    i.annotation("inject.istio.io/templates").is_some_and(|list| list.split(',').any(|name| name.trim() == "gateway"))
}
fn plain(i: &Injection<'_>) -> bool {
    !own_proxy(i)
}
fn tproxy(i: &Injection<'_>) -> bool {
    sidecar(i) && interception(i) == "TPROXY"
}
fn low_ports(i: &Injection<'_>) -> bool {
    i.annotation("sidecar.istio.io/capNetBindService") == Some("true")
}
fn unprivileged(i: &Injection<'_>) -> bool {
    plain(i) && !tproxy(i) && !low_ports(i)
}
fn captures(i: &Injection<'_>) -> bool {
    sidecar(i) && interception(i) != "NONE"
}
fn by_rules(i: &Injection<'_>) -> bool {
    captures(i) && !i.facts.cni
}
fn by_cni(i: &Injection<'_>) -> bool {
    captures(i) && i.facts.cni
}
fn no_capture(i: &Injection<'_>) -> bool {
    !captures(i)
}
fn probed(i: &Injection<'_>) -> bool {
    plain(i) && status_port(i) != 0
}
fn started(i: &Injection<'_>) -> bool {
    probed(i) && sidecar(i) && !i.facts.full
}
fn unprobed(i: &Injection<'_>) -> bool {
    status_port(i) == 0
}
fn is_native(i: &Injection<'_>) -> bool {
    sidecar(i) && native(i)
}
fn drains(i: &Injection<'_>) -> bool {
    is_native(i) && plain(i) && status_port(i) != 0
}
fn held(i: &Injection<'_>) -> bool {
    plain(i) && super::expect::held(i)
}
fn not_held(i: &Injection<'_>) -> bool {
    plain(i) && !super::expect::held(i) && !native(i)
}
fn not_full(i: &Injection<'_>) -> bool {
    plain(i) && !i.facts.full
}
fn full(i: &Injection<'_>) -> bool {
    plain(i) && i.facts.full
}
fn whole_image(i: &Injection<'_>) -> bool {
    plain(i) && i.annotation("sidecar.istio.io/proxyImage").is_some_and(|image| image.contains('/'))
}
fn default_image(i: &Injection<'_>) -> bool {
    plain(i) && !whole_image(i)
}
fn trust_bundle(i: &Injection<'_>) -> bool {
    i.facts.full
}
fn with_volume(i: &Injection<'_>, name: &str) -> bool {
    !super::items(i.before, "volumes").iter().any(|volume| volume["name"] == name)
}
fn own_volumes(i: &Injection<'_>) -> bool {
    with_volume(i, "istio-data")
}
fn bootstrapped(i: &Injection<'_>) -> bool {
    i.annotation("sidecar.istio.io/bootstrapOverride").is_some()
}
fn exits(i: &Injection<'_>) -> bool {
    sidecar(i)
        && !native(i)
        && i.annotation("proxy.outrigger.io/exitWithApplication") == Some("true")
        && i.before["spec"]["shareProcessNamespace"] != false
}
fn merged(i: &Injection<'_>) -> bool {
    merges(i)
}
fn merged_with_values(i: &Injection<'_>) -> bool {
    merges(i) && plain(i) && scraping(i) != Value::Null
}
fn merged_without_values(i: &Injection<'_>) -> bool {
    merges(i) && plain(i) && scraping(i) == Value::Null
}
fn has_probers(i: &Injection<'_>) -> bool {
    plain(i) && probers(i) != json!({})
}
fn no_probers(i: &Injection<'_>) -> bool {
    plain(i) && probers(i) == json!({})
}
fn has_applications(i: &Injection<'_>) -> bool {
    i.applications().next().is_some() && i.annotation("kubectl.kubernetes.io/default-container").is_none()
}
fn pod_network(i: &Injection<'_>) -> bool {
    i.facts.full && i.before["metadata"]["labels"].get("topology.istio.io/network").is_none()
}

const fn row(path: &'static str, value: super::Expected, when: fn(&Injection<'_>) -> bool) -> Row {
    Row { path, value, when }
}

/// Contract 3.5 to 3.8, field by field.
pub const ROWS: &[Row] = &[
    // 3.5, labels
    row("pod/metadata/labels/security.istio.io~1tlsMode", Computed(|i| given(i, "labels", "security.istio.io/tlsMode", "istio")), sidecar),
    row("pod/metadata/labels/security.istio.io~1tlsMode", Absent, gateway),
    row("pod/metadata/labels/service.istio.io~1canonical-name", Computed(canonical_name), always),
    row("pod/metadata/labels/service.istio.io~1canonical-revision", Computed(canonical_revision), always),
    row("pod/metadata/labels/networking.istio.io~1tunnel", Absent, always),
    row("pod/metadata/labels/topology.istio.io~1network", Json(r#""net-a""#), pod_network),
    // 3.5, annotations
    row("pod/metadata/annotations/istio.io~1rev", Computed(|i| json!(i.facts.revision)), always),
    row("pod/metadata/labels/istio.io~1rev", Computed(|i| i.before["metadata"]["labels"]["istio.io/rev"].clone()), |i| {
        i.before["metadata"]["labels"].get("istio.io/rev").is_some()
    }),
    row("pod/metadata/annotations/sidecar.istio.io~1status", Computed(status), always),
    row(
        "pod/metadata/annotations/kubectl.kubernetes.io~1default-container",
        Computed(|i| i.applications().next().map_or(Value::Null, |container| container["name"].clone())),
        has_applications,
    ),
    row(
        "pod/metadata/annotations/kubectl.kubernetes.io~1default-logs-container",
        Computed(|i| i.applications().next().map_or(Value::Null, |container| container["name"].clone())),
        has_applications,
    ),
    row("pod/metadata/annotations/sidecar.istio.io~1interceptionMode", Computed(|i| json!(interception(i))), by_cni),
    row(
        "pod/metadata/annotations/traffic.sidecar.istio.io~1includeInboundPorts",
        Computed(|i| json!(i.annotation("traffic.sidecar.istio.io/includeInboundPorts").unwrap_or("*"))),
        by_cni,
    ),
    row(
        "pod/metadata/annotations/traffic.sidecar.istio.io~1includeOutboundIPRanges",
        Computed(|i| json!(i.annotation("traffic.sidecar.istio.io/includeOutboundIPRanges").unwrap_or("*"))),
        by_cni,
    ),
    // 3.5, istio-init or istio-validation
    row("init/name", Json(r#""istio-init""#), by_rules),
    row("init/name", Json(r#""istio-validation""#), by_cni),
    row("init/name", Absent, no_capture),
    row("init/args", Computed(arguments_of_init), captures),
    row("init/image", Computed(|i| json!(i.facts.image)), |i| captures(i) && default_image(i)),
    row("init/resources", Computed(resources), |i| captures(i) && plain(i)),
    row("init/securityContext/allowPrivilegeEscalation", Json("false"), captures),
    row("init/securityContext/privileged", Json("false"), captures),
    row("init/securityContext/capabilities/add", Json(r#"["NET_ADMIN","NET_RAW"]"#), by_rules),
    row("init/securityContext/capabilities/add", Absent, by_cni),
    row("init/securityContext/capabilities/drop", Json(r#"["ALL"]"#), captures),
    row("init/securityContext/readOnlyRootFilesystem", Json("false"), by_rules),
    row("init/securityContext/readOnlyRootFilesystem", Json("true"), by_cni),
    row("init/securityContext/runAsUser", Json("0"), by_rules),
    row("init/securityContext/runAsUser", Json("1337"), |i| by_cni(i) && plain(i)),
    row("init/securityContext/runAsGroup", Json("0"), by_rules),
    row("init/securityContext/runAsGroup", Json("1337"), |i| by_cni(i) && plain(i)),
    row("init/securityContext/runAsNonRoot", Json("false"), by_rules),
    row("init/securityContext/runAsNonRoot", Json("true"), by_cni),
    // 3.5, istio-proxy
    row("proxy/image", Computed(|i| json!(i.facts.image)), default_image),
    row("proxy/image", Computed(|i| json!(i.annotation("sidecar.istio.io/proxyImage"))), whole_image),
    row("proxy/imagePullPolicy", Absent, not_full),
    row("proxy/imagePullPolicy", Json(r#""Always""#), full),
    row("proxy/args", Computed(arguments_of_proxy), plain),
    row("proxy/command", Absent, plain),
    row("proxy/ports", Json(r#"[{"containerPort":15090,"protocol":"TCP","name":"http-envoy-prom"}]"#), plain),
    row("proxy/startupProbe/httpGet", Json(r#"{"path":"/healthz/ready","port":15021}"#), started),
    row("proxy/startupProbe/initialDelaySeconds", Json("0"), started),
    row("proxy/startupProbe/periodSeconds", Json("1"), started),
    row("proxy/startupProbe/timeoutSeconds", Json("3"), started),
    row("proxy/startupProbe/failureThreshold", Json("600"), started),
    row("proxy/startupProbe", Absent, |i| full(i) || unprobed(i)),
    row("proxy/readinessProbe/httpGet", Json(r#"{"path":"/healthz/ready","port":15021}"#), probed),
    row("proxy/readinessProbe/timeoutSeconds", Json("3"), probed),
    row("proxy/readinessProbe/initialDelaySeconds", Computed(|i| number(i, "initialDelaySeconds", 0, 3)), probed),
    row("proxy/readinessProbe/periodSeconds", Computed(|i| number(i, "periodSeconds", 15, 7)), probed),
    row("proxy/readinessProbe/failureThreshold", Computed(|i| number(i, "failureThreshold", 4, 9)), probed),
    row("proxy/readinessProbe", Absent, unprobed),
    row("proxy/livenessProbe", Absent, plain),
    row("proxy/securityContext/allowPrivilegeEscalation", Json("false"), plain),
    row("proxy/securityContext/privileged", Json("false"), plain),
    row("proxy/securityContext/readOnlyRootFilesystem", Json("true"), plain),
    row("proxy/securityContext/capabilities", Json(r#"{"drop":["ALL"]}"#), unprivileged),
    row("proxy/securityContext/runAsNonRoot", Json("true"), unprivileged),
    row("proxy/securityContext/runAsUser", Json("1337"), unprivileged),
    row("proxy/securityContext/runAsGroup", Json("1337"), plain),
    row("proxy/securityContext/runAsUser", Json("0"), tproxy),
    row("proxy/securityContext/runAsNonRoot", Json("false"), |i| plain(i) && tproxy(i)),
    row("proxy/securityContext/capabilities/add", Json(r#"["NET_ADMIN"]"#), |i| plain(i) && tproxy(i) && !low_ports(i)),
    row("proxy/securityContext/capabilities/add", Json(r#"["NET_BIND_SERVICE"]"#), |i| plain(i) && !tproxy(i) && low_ports(i)),
    row("proxy/securityContext/capabilities/add", Json(r#"["NET_ADMIN","NET_BIND_SERVICE"]"#), |i| plain(i) && tproxy(i) && low_ports(i)),
    row("proxy/securityContext/runAsUser", Json("0"), |i| plain(i) && low_ports(i)),
    row("proxy/resources", Computed(resources), plain),
    row("proxy/restartPolicy", Json(r#""Always""#), is_native),
    row("proxy/restartPolicy", Absent, |i| !is_native(i)),
    row("proxy/lifecycle", Computed(drain_hook), drains),
    row("proxy/lifecycle", Json(r#"{"postStart":{"exec":{"command":["pilot-agent","wait"]}}}"#), held),
    row("proxy/lifecycle", Absent, not_held),
    // 3.5, environment of istio-proxy (the order is checked apart)
    row("proxy/env/PILOT_CERT_PROVIDER/value", Json(r#""istiod""#), plain),
    row("proxy/env/CA_ADDR/value", Json(r#""istiod.istio-system.svc:15012""#), not_full),
    row("proxy/env/CA_ADDR/value", Json(r#""ca.example:443""#), full),
    row("proxy/env/POD_NAME/valueFrom/fieldRef/fieldPath", Json(r#""metadata.name""#), plain),
    row("proxy/env/POD_NAMESPACE/valueFrom/fieldRef/fieldPath", Json(r#""metadata.namespace""#), plain),
    row("proxy/env/INSTANCE_IP/valueFrom/fieldRef/fieldPath", Json(r#""status.podIP""#), plain),
    row("proxy/env/SERVICE_ACCOUNT/valueFrom/fieldRef/fieldPath", Json(r#""spec.serviceAccountName""#), plain),
    row("proxy/env/HOST_IP/valueFrom/fieldRef/fieldPath", Json(r#""status.hostIP""#), plain),
    row("proxy/env/ISTIO_CPU_LIMIT/valueFrom/resourceFieldRef", Json(r#"{"resource":"limits.cpu","divisor":"1"}"#), plain),
    row("proxy/env/PROXY_CONFIG/value", Computed(proxy_config), plain),
    row("proxy/env/ISTIO_META_POD_PORTS/value", Computed(super::expect::pod_ports), plain),
    row(
        "proxy/env/ISTIO_META_APP_CONTAINERS/value",
        Computed(|i| json!(i.applications().filter_map(|container| container["name"].as_str()).collect::<Vec<_>>().join(","))),
        plain,
    ),
    row("proxy/env/GOMEMLIMIT/valueFrom/resourceFieldRef/resource", Json(r#""limits.memory""#), plain),
    row("proxy/env/COMPLIANCE_POLICY/value", Json(r#""fips-140-2""#), full),
    row("proxy/env/ISTIO_META_CLUSTER_ID/value", Json(r#""Kubernetes""#), not_full),
    row("proxy/env/ISTIO_META_CLUSTER_ID/value", Json(r#""east""#), full),
    row("proxy/env/ISTIO_META_NODE_NAME/valueFrom/fieldRef/fieldPath", Json(r#""spec.nodeName""#), plain),
    row("proxy/env/ISTIO_META_INTERCEPTION_MODE/value", Computed(|i| json!(interception(i))), |i| plain(i) && sidecar(i)),
    row("proxy/env/ISTIO_META_INTERCEPTION_MODE", Absent, |i| plain(i) && gateway(i)),
    row("proxy/env/ISTIO_META_NETWORK/value", Json(r#""net-a""#), pod_network),
    row("proxy/env/ISTIO_META_WORKLOAD_NAME/value", Computed(workload_name), |i| plain(i) && workload_name(i) != ""),
    row("proxy/env/ISTIO_META_OWNER/value", Computed(owner), plain),
    row("proxy/env/ISTIO_BOOTSTRAP_OVERRIDE/value", Json(r#""/etc/istio/custom-bootstrap/custom_bootstrap.json""#), bootstrapped),
    row("proxy/env/ISTIO_META_MESH_ID/value", Json(r#""cluster.local""#), not_full),
    row("proxy/env/ISTIO_META_MESH_ID/value", Json(r#""mesh-a""#), full),
    row("proxy/env/TRUST_DOMAIN/value", Json(r#""cluster.local""#), not_full),
    row("proxy/env/TRUST_DOMAIN/value", Json(r#""td.example""#), full),
    row("proxy/env/OUTRIGGER_EXIT_WITH_APPLICATION/value", Json(r#""true""#), exits),
    row("pod/spec/shareProcessNamespace", Json("true"), exits),
    // 3.5, volumes
    row("pod/spec/volumes/workload-socket/emptyDir", Json("{}"), own_volumes),
    row("pod/spec/volumes/credential-socket/emptyDir", Json("{}"), own_volumes),
    row("pod/spec/volumes/workload-certs/emptyDir", Json("{}"), own_volumes),
    row("pod/spec/volumes/istio-envoy/emptyDir", Json(r#"{"medium":"Memory"}"#), own_volumes),
    row("pod/spec/volumes/istio-data/emptyDir", Json("{}"), own_volumes),
    row(
        "pod/spec/volumes/istio-podinfo/downwardAPI/items",
        Json(
            r#"[{"path":"labels","fieldRef":{"fieldPath":"metadata.labels"}},{"path":"annotations","fieldRef":{"fieldPath":"metadata.annotations"}}]"#,
        ),
        always,
    ),
    row(
        "pod/spec/volumes/istio-token/projected/sources",
        Json(r#"[{"serviceAccountToken":{"path":"istio-token","audience":"istio-ca","expirationSeconds":43200}}]"#),
        always,
    ),
    row("pod/spec/volumes/istiod-ca-cert/configMap", Json(r#"{"name":"istio-ca-root-cert","optional":true}"#), |i| !trust_bundle(i)),
    row(
        "pod/spec/volumes/istiod-ca-cert/projected/sources/0/clusterTrustBundle/name",
        Json(r#""istio.io:istiod-ca:root-cert""#),
        trust_bundle,
    ),
    row("pod/spec/volumes/istio-ca-crl/configMap", Json(r#"{"name":"istio-ca-crl","optional":true}"#), always),
    row(
        "pod/spec/volumes/custom-bootstrap-volume/configMap/name",
        Computed(|i| json!(i.annotation("sidecar.istio.io/bootstrapOverride"))),
        bootstrapped,
    ),
    row("pod/spec/volumes/istio-certs/secret/optional", Json("true"), full),
    row("proxy/volumeMounts/workload-socket/mountPath", Json(r#""/var/run/secrets/workload-spiffe-uds""#), always),
    row("proxy/volumeMounts/credential-socket/mountPath", Json(r#""/var/run/secrets/credential-uds""#), always),
    row("proxy/volumeMounts/workload-certs/mountPath", Json(r#""/var/run/secrets/workload-spiffe-credentials""#), always),
    row("proxy/volumeMounts/istio-envoy/mountPath", Json(r#""/etc/istio/proxy""#), always),
    row("proxy/volumeMounts/istio-data/mountPath", Json(r#""/var/lib/istio/data""#), always),
    row("proxy/volumeMounts/istio-podinfo/mountPath", Json(r#""/etc/istio/pod""#), always),
    row("proxy/volumeMounts/istio-token/mountPath", Json(r#""/var/run/secrets/tokens""#), always),
    row("proxy/volumeMounts/istiod-ca-cert/mountPath", Json(r#""/var/run/secrets/istio""#), always),
    row("proxy/volumeMounts/istio-ca-crl/mountPath", Json(r#""/var/run/secrets/istio/crl""#), always),
    row("proxy/volumeMounts/custom-bootstrap-volume/mountPath", Json(r#""/etc/istio/custom-bootstrap""#), bootstrapped),
    row("proxy/volumeMounts/istio-certs/mountPath", Json(r#""/etc/certs/""#), full),
    // 3.5: the pod's own security is left alone beside an application
    row("pod/spec/securityContext", Computed(|i| i.before["spec"]["securityContext"].clone()), |i| {
        sidecar(i) && i.before["spec"].get("securityContext").is_some()
    }),
    row("pod/spec/securityContext", Absent, |i| sidecar(i) && i.before["spec"].get("securityContext").is_none()),
    row("pod/spec/securityContext/sysctls/0/name", Json(r#""net.ipv4.ip_unprivileged_port_start""#), |i| {
        gateway(i) && i.before["spec"].get("securityContext").is_none()
    }),
    // 3.7
    row("proxy/env/ISTIO_KUBE_APP_PROBERS/value", Computed(|i| json!(probers(i).to_string())), has_probers),
    row("proxy/env/ISTIO_KUBE_APP_PROBERS", Absent, no_probers),
    // 3.8
    row("pod/metadata/annotations/prometheus.io~1scrape", Json(r#""true""#), merged),
    row("pod/metadata/annotations/prometheus.io~1port", Computed(|i| json!(status_port(i).to_string())), merged),
    row("pod/metadata/annotations/prometheus.io~1path", Json(r#""/stats/prometheus""#), merged),
    row("proxy/env/ISTIO_PROMETHEUS_ANNOTATIONS/value", Computed(scraping), merged_with_values),
    row("proxy/env/ISTIO_PROMETHEUS_ANNOTATIONS", Absent, merged_without_values),
    row("proxy/env/ISTIO_PROMETHEUS_ANNOTATIONS", Absent, |i| plain(i) && !merges(i)),
];

fn number(i: &Injection<'_>, name: &str, default: u32, in_full: u32) -> Value {
    let annotated = i.annotation(&format!("readiness.status.sidecar.istio.io/{name}")).and_then(|text| text.parse::<u32>().ok());
    json!(annotated.unwrap_or(if i.facts.full { in_full } else { default }))
}

fn drain_hook(i: &Injection<'_>) -> Value {
    let port = format!("--debug-port={}", status_port(i));
    json!({ "preStop": { "exec": { "command": ["pilot-agent", "request", port, "POST", "drain"] } } })
}
