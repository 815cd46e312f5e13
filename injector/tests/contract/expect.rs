//! What the rows compute from the user's pod, and the checks that are about order or about everything.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Injection, items, texts};

/// Whether the user's pod has fields of its own for the proxy.
pub fn own_proxy(i: &Injection<'_>) -> bool {
    let lists = ["containers", "initContainers"];
    // A gateway's container says nothing but `image: auto`.
    lists.iter().flat_map(|list| items(i.before, list)).any(|container| {
        container["name"] == "istio-proxy"
            && container.as_object().is_some_and(|fields| fields.keys().any(|name| name != "name" && name != "image"))
    })
}

fn annotated_config(i: &Injection<'_>) -> Map<String, Value> {
    let text = i.annotation("proxy.istio.io/config").unwrap_or_default();
    let node = outrigger_config::yaml::documents(text).into_iter().next().and_then(|document| document.node.ok());
    let mut fields: Map<String, Value> = i.facts.mesh_proxy_config.clone().into_iter().collect();
    for (name, value) in node.map(|node| node.to_json()).and_then(|value| value.as_object().cloned()).unwrap_or_default() {
        match (fields.get_mut(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => old.extend(new),
            (_, value) => drop(fields.insert(name, value)),
        }
    }
    fields
}

pub fn interception(i: &Injection<'_>) -> String {
    let config = annotated_config(i);
    let configured = config.get("interceptionMode").and_then(Value::as_str).unwrap_or("REDIRECT");
    let annotated = i.annotation("sidecar.istio.io/interceptionMode").filter(|mode| ["REDIRECT", "TPROXY", "NONE"].contains(mode));
    annotated.unwrap_or(configured).to_owned()
}

pub fn status_port(i: &Injection<'_>) -> u64 {
    let annotated = i.annotation("status.sidecar.istio.io/port").and_then(|text| text.parse::<u16>().ok()).map(u64::from);
    annotated.or_else(|| annotated_config(i).get("statusPort")?.as_u64()).unwrap_or(15020)
}

pub fn native(i: &Injection<'_>) -> bool {
    match i.annotation("sidecar.istio.io/nativeSidecar") {
        Some("true") => true,
        Some("false") => false,
        _ => i.facts.native,
    }
}

fn gateway(i: &Injection<'_>) -> bool {
    i.annotation("inject.istio.io/templates").is_some_and(|list| list.contains("gateway"))
}

pub fn held(i: &Injection<'_>) -> bool {
    let configured = annotated_config(i).get("holdApplicationUntilProxyStarts").and_then(Value::as_bool);
    !gateway(i) && !native(i) && configured.unwrap_or(i.facts.hold)
}

/// A label the user wrote stays.
pub fn given(i: &Injection<'_>, map: &str, name: &str, default: &str) -> Value {
    json!(texts(i.before, map).get(name).map_or(default, String::as_str))
}

fn owner_parts(i: &Injection<'_>) -> (String, String, String) {
    if let Some(workload) = &i.workload {
        return workload.clone();
    }
    let metadata = &i.before["metadata"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let controller = metadata["ownerReferences"].as_array().and_then(|list| list.iter().find(|owner| owner["controller"] == true));
    let labels = texts(i.before, "labels");
    match controller.filter(|_| !text(&metadata["generateName"]).is_empty()) {
        Some(controller) => {
            let (kind, name) = (text(&controller["kind"]), text(&controller["name"]));
            let hash = labels.get("pod-template-hash").map(|hash| format!("-{hash}"));
            let deployment = hash.and_then(|hash| Some(name.strip_suffix(hash.as_str())?.to_owned()));
            let cron_job =
                name.rsplit_once('-').filter(|(_, number)| (8..=10).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()));
            match (kind.as_str(), deployment, cron_job) {
                ("ReplicaSet", Some(deployment), _) => ("apps/v1".to_owned(), "Deployment".to_owned(), deployment),
                ("Job", _, Some((cron_job, _))) => ("batch/v1".to_owned(), "CronJob".to_owned(), cron_job.to_owned()),
                _ => (text(&controller["apiVersion"]), kind, name),
            }
        }
        None => {
            let name = if text(&metadata["name"]).is_empty() { text(&metadata["generateName"]) } else { text(&metadata["name"]) };
            ("v1".to_owned(), "Pod".to_owned(), name.trim_end_matches('-').to_owned())
        }
    }
}

pub fn owner(i: &Injection<'_>) -> Value {
    let (api_version, kind, name) = owner_parts(i);
    json!(format!("kubernetes://apis/{api_version}/namespaces/{}/{}s/{name}", i.facts.namespace, kind.to_lowercase()))
}

pub fn workload_name(i: &Injection<'_>) -> Value {
    json!(texts(i.before, "labels").get("service.istio.io/workload-name").cloned().unwrap_or_else(|| owner_parts(i).2))
}

fn first_label(i: &Injection<'_>, names: [&str; 3]) -> Option<String> {
    let labels = texts(i.before, "labels");
    names.iter().find_map(|name| labels.get(*name)).cloned()
}

pub fn canonical_name(i: &Injection<'_>) -> Value {
    let own = texts(i.before, "labels").get("service.istio.io/canonical-name").cloned();
    let name = first_label(i, ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]).unwrap_or_else(|| owner_parts(i).2);
    let cut: String = name.chars().take(63).collect();
    json!(own.unwrap_or_else(|| cut.trim_matches(['-', '_', '.']).to_owned()))
}

pub fn canonical_revision(i: &Injection<'_>) -> Value {
    let names = ["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"];
    json!(first_label(i, names).unwrap_or_else(|| "latest".to_owned()))
}

/// The status annotation of pods without fragments or volumes of the user's own.
pub fn status(i: &Injection<'_>) -> Value {
    let init =
        if gateway(i) || interception(i) == "NONE" { None } else { Some(if i.facts.cni { "istio-validation" } else { "istio-init" }) };
    let is_native = native(i) && !gateway(i);
    let list = |names: Vec<&str>| if names.is_empty() { "null".to_owned() } else { json!(names).to_string() };
    let inits = list(init.into_iter().chain(is_native.then_some("istio-proxy")).collect());
    let containers = list(if is_native { vec![] } else { vec!["istio-proxy"] });
    let mut volumes = vec![
        "workload-socket",
        "credential-socket",
        "workload-certs",
        "istio-envoy",
        "istio-data",
        "istio-podinfo",
        "istio-token",
        "istiod-ca-cert",
        "istio-ca-crl",
    ];
    volumes.extend(i.annotation("sidecar.istio.io/bootstrapOverride").map(|_| "custom-bootstrap-volume"));
    volumes.extend(i.facts.full.then_some("istio-certs"));
    let user = i
        .annotation("sidecar.istio.io/userVolume")
        .and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok())
        .unwrap_or_default();
    volumes.extend(user.keys().map(String::as_str));
    volumes.retain(|name| !items(i.before, "volumes").iter().any(|volume| volume["name"] == *name));
    let secrets = if i.facts.full { r#"["pull-a","pull-b"]"# } else { "null" };
    json!(format!(
        r#"{{"initContainers":{inits},"containers":{containers},"volumes":{},"imagePullSecrets":{secrets},"revision":"{}"}}"#,
        list(volumes),
        i.facts.revision
    ))
}

pub fn arguments_of_init(i: &Injection<'_>) -> Value {
    let traffic = |name: &str| i.annotation(&format!("traffic.sidecar.istio.io/{name}"));
    let or = |annotated: Option<&str>, default: &str, full: &str| annotated.unwrap_or(if i.facts.full { full } else { default }).to_owned();
    let mut excluded: Vec<String> = vec!["15090".to_owned(), "15021".to_owned()];
    let listed = or(traffic("excludeInboundPorts"), "", "7070");
    excluded.extend(listed.split(',').filter(|port| !port.is_empty()).map(str::to_owned));
    let status = status_port(i).to_string();
    if status != "0" && !listed.split(',').any(|port| port == status) {
        excluded.push(status);
    }
    let uid = own_uid(i).filter(|_| interception(i) != "TPROXY").unwrap_or(1337).to_string();
    let mut arguments = vec!["istio-iptables".to_owned()];
    let mut flag = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    flag("-p", "15001".to_owned());
    flag("-z", "15006".to_owned());
    flag("-u", uid);
    flag("-m", interception(i));
    flag("-i", or(traffic("includeOutboundIPRanges"), "*", "10.0.0.0/8"));
    flag("-x", or(traffic("excludeOutboundIPRanges"), "", "10.1.0.0/16"));
    flag("-b", or(traffic("includeInboundPorts"), "*", "8080,9090"));
    flag("-d", excluded.join(","));
    let interfaces = i.annotation("istio.io/reroute-virtual-interfaces").or(traffic("kubevirtInterfaces"));
    let optional = [
        ("-q", traffic("includeOutboundPorts"), "443"),
        ("-o", traffic("excludeOutboundPorts"), "3306"),
        ("-k", interfaces, ""),
        ("-c", traffic("excludeInterfaces"), ""),
    ];
    for (name, value, full) in optional {
        if let Some(value) = value.or(Some(full).filter(|text| i.facts.full && !text.is_empty())) {
            flag(name, value.to_owned());
        }
    }
    arguments.push(format!("--log_output_level={}", agent_level(i)));
    let switches: &[&str] = match (i.facts.full, i.facts.cni) {
        (true, _) => &["--log_as_json", "--force-apply", "--native-nftables"],
        (_, true) => &["--run-validation", "--skip-rule-apply"],
        _ => &[],
    };
    arguments.extend(switches.iter().map(|switch| (*switch).to_owned()));
    json!(arguments)
}

fn own_uid(i: &Injection<'_>) -> Option<u64> {
    let lists = ["containers", "initContainers"];
    let mut proxies = lists.iter().flat_map(|list| items(i.before, list)).filter(|container| container["name"] == "istio-proxy");
    proxies.find_map(|proxy| proxy.pointer("/securityContext/runAsUser")?.as_u64()).filter(|uid| *uid != 0)
}

fn agent_level(i: &Injection<'_>) -> String {
    i.annotation("sidecar.istio.io/agentLogLevel").unwrap_or(if i.facts.full { "default:warn" } else { "default:info" }).to_owned()
}

pub fn arguments_of_proxy(i: &Injection<'_>) -> Value {
    let level = |name: &str, default: &'static str| i.annotation(&format!("sidecar.istio.io/{name}")).unwrap_or(default).to_owned();
    let full = i.facts.full;
    let mut arguments = vec![
        "proxy".to_owned(),
        if gateway(i) { "router" } else { "sidecar" }.to_owned(),
        "--domain".to_owned(),
        format!("$(POD_NAMESPACE).svc.{}", if full { "east.example" } else { "cluster.local" }),
        format!("--proxyLogLevel={}", level("logLevel", if full { "info" } else { "warning" })),
        format!("--proxyComponentLogLevel={}", level("componentLogLevel", if full { "misc:warning" } else { "misc:error" })),
        format!("--log_output_level={}", agent_level(i)),
    ];
    if full {
        arguments.extend(["--stsPort=15463", "--log_as_json", "--outlierLogPath=/dev/stdout"].map(str::to_owned));
    }
    json!(arguments)
}

/// An annotation changes what it names; what contradicts it follows. Only such contradictions as the cases have are known here.
pub fn resources(i: &Injection<'_>) -> Value {
    let annotated = |name: &str| {
        i.annotation(&format!("sidecar.istio.io/{name}")).filter(|text| text.chars().next().is_some_and(|c| c.is_ascii_digit()))
    };
    let defaults = if i.facts.full { ["20m", "32Mi", "", "256Mi"] } else { ["10m", "24Mi", "2000m", "1024Mi"] };
    let or = |name: &str, default: &str| annotated(name).unwrap_or(default).to_owned();
    let (cpu, memory) = (or("proxyCPU", defaults[0]), or("proxyMemory", defaults[1]));
    let (cpu_limit, mut memory_limit) = (or("proxyCPULimit", defaults[2]), or("proxyMemoryLimit", defaults[3]));
    if memory == "2Gi" && annotated("proxyMemoryLimit").is_none() {
        memory_limit = memory.clone();
    }
    let mut limits = json!({ "memory": memory_limit });
    if !cpu_limit.is_empty() {
        limits["cpu"] = json!(cpu_limit);
    }
    json!({ "requests": { "cpu": cpu, "memory": memory }, "limits": limits })
}

/// Only what differs from the defaults of contract 6.2.
pub fn proxy_config(i: &Injection<'_>) -> Value {
    let mut fields = annotated_config(i);
    if let Some(port) = i.annotation("status.sidecar.istio.io/port").and_then(|text| text.parse::<u16>().ok()) {
        fields.insert("statusPort".to_owned(), json!(port));
    }
    if let Some(address) = i.annotation("sidecar.istio.io/discoveryAddress") {
        fields.insert("discoveryAddress".to_owned(), json!(address));
    }
    let defaults = json!({
        "drainDuration": "45s", "terminationDrainDuration": "5s", "statusPort": 15020, "interceptionMode": "REDIRECT",
        "holdApplicationUntilProxyStarts": false, "proxyAdminPort": 15000, "discoveryAddress": "istiod.istio-system.svc:15012",
    });
    fields.retain(|name, value| defaults.get(name) != Some(value));
    json!(Value::Object(fields).to_string())
}

pub fn pod_ports(i: &Injection<'_>) -> Value {
    let ports = items(i.before, "containers").iter().filter_map(|container| container["ports"].as_array()).flatten();
    let written = ports.map(|port| {
        let fields = ["name", "hostPort", "containerPort", "protocol"];
        let parts = fields.iter().filter_map(|name| Some(format!("\"{name}\":{}", port.get(*name)?)));
        format!("{{{}}}", parts.collect::<Vec<_>>().join(","))
    });
    json!(format!("[{}]", written.collect::<Vec<_>>().join(",")))
}

/// The originals of all probes that are to be rewritten, with port names resolved. Init containers start before a proxy that is not native,
/// which could not answer for them; there the injector departs from the contract (docs/differences.md).
pub fn probers(i: &Injection<'_>) -> Value {
    let mut found = Map::new();
    let on = !matches!(i.annotation("sidecar.istio.io/rewriteAppHTTPProbers"), Some("false")) && status_port(i) != 0;
    let lists = if native(i) && !gateway(i) { &["initContainers", "containers"][..] } else { &["containers"] };
    let containers = lists.iter().flat_map(|list| items(i.before, list)).filter(|container| container["name"] != "istio-proxy" && on);
    for container in containers {
        let name = container["name"].as_str().unwrap_or_default();
        for (field, path) in paths(name) {
            let Some(handler) = container.pointer(field) else { continue };
            let kinds: &[&str] =
                if path.starts_with("/app-health") { &["httpGet", "tcpSocket", "grpc"] } else { &["httpGet", "tcpSocket"] };
            for kind in kinds {
                let Some(original) = handler.get(*kind) else { continue };
                let Some(port) = resolved(&original["port"], container) else { continue };
                let mut kept = original.clone();
                kept["port"] = json!(port);
                let mut prober = json!({ *kind: kept });
                if let Some(seconds) = handler.get("timeoutSeconds") {
                    prober["timeoutSeconds"] = seconds.clone();
                }
                found.insert(path.clone(), prober);
            }
        }
    }
    Value::Object(found)
}

fn paths(container: &str) -> [(&'static str, String); 5] {
    [
        ("/readinessProbe", format!("/app-health/{container}/readyz")),
        ("/livenessProbe", format!("/app-health/{container}/livez")),
        ("/startupProbe", format!("/app-health/{container}/startupz")),
        ("/lifecycle/preStop", format!("/app-lifecycle/{container}/prestopz")),
        ("/lifecycle/postStart", format!("/app-lifecycle/{container}/poststartz")),
    ]
}

fn resolved(port: &Value, container: &Value) -> Option<u64> {
    let named = |name: &str| container["ports"].as_array()?.iter().find(|port| port["name"] == name)?["containerPort"].as_u64();
    port.as_u64().or_else(|| port.as_str()?.parse().ok()).or_else(|| named(port.as_str()?))
}

/// kubelet's view of the probes: GET on the status port, timings and headers kept.
pub fn probes(i: &Injection<'_>) -> Vec<String> {
    let expected = probers(i);
    let mut problems = Vec::new();
    for container in ["initContainers", "containers"].iter().flat_map(|list| items(i.before, list)) {
        let name = container["name"].as_str().unwrap_or_default();
        let Some(after) = i.container(name).filter(|_| name != "istio-proxy") else { continue };
        for (field, path) in paths(name) {
            let Some(before) = container.pointer(field) else { continue };
            let mut wanted = before.clone();
            if expected.get(&path).is_some() {
                let mut get = before.get("httpGet").cloned().unwrap_or_else(|| json!({}));
                get["path"] = json!(path);
                get["port"] = json!(status_port(i));
                if get.get("scheme").is_some() {
                    get["scheme"] = json!("HTTP");
                }
                if let Some(fields) = wanted.as_object_mut() {
                    ["tcpSocket", "grpc"].iter().for_each(|kind| drop(fields.remove(*kind)));
                    fields.insert("httpGet".to_owned(), get);
                }
            }
            if after.pointer(field) != Some(&wanted) {
                problems.push(format!("{name}{field}: expected {wanted}, found {}", after.pointer(field).unwrap_or(&Value::Null)));
            }
        }
    }
    problems
}

fn prometheus(i: &Injection<'_>, field: &str) -> Option<String> {
    let plain = |name: &str| name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect::<String>();
    i.annotations.iter().find(|(name, _)| plain(name) == format!("prometheus_io_{field}")).map(|(_, value)| value.clone())
}

pub fn merges(i: &Injection<'_>) -> bool {
    let wanted = i.annotation("prometheus.istio.io/merge-metrics").map_or(i.facts.merge, |value| value == "true");
    let port = status_port(i).to_string();
    wanted && port != "0" && prometheus(i, "scrape").as_deref() != Some("false") && prometheus(i, "port").as_deref() != Some(port.as_str())
}

/// `null` if the application has no metrics of its own. Cases with unusable ports are not computed here.
pub fn scraping(i: &Injection<'_>) -> Value {
    let text = |field: &str| prometheus(i, field).unwrap_or_default();
    let list = i.annotation("prometheus.istio.io/scrape-targets").unwrap_or_default();
    let targets = list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(|item| {
        let (port, path) = item.split_once(':').unwrap_or((item, "/metrics"));
        format!(r#"{{"port":"{port}","path":"{path}"}}"#)
    });
    let targets = targets.collect::<Vec<_>>().join(",");
    let (scrape, path, port) = (text("scrape"), text("path"), text("port"));
    if [&scrape, &path, &port, &targets].iter().all(|text| text.is_empty()) {
        return Value::Null;
    }
    let listed = if targets.is_empty() { String::new() } else { format!(r#","targets":[{targets}]"#) };
    json!(format!(r#"{{"scrape":"{scrape}","path":"{path}","port":"{port}"{listed}}}"#))
}

/// Contract 3.5, "env of istio-proxy in order".
const ORDER: &[&str] = &[
    "REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION",
    "PILOT_CERT_PROVIDER",
    "CA_ADDR",
    "POD_NAME",
    "POD_NAMESPACE",
    "INSTANCE_IP",
    "SERVICE_ACCOUNT",
    "HOST_IP",
    "ISTIO_CPU_LIMIT",
    "PROXY_CONFIG",
    "ISTIO_META_POD_PORTS",
    "ISTIO_META_APP_CONTAINERS",
    "GOMEMLIMIT",
    "COMPLIANCE_POLICY",
    "ISTIO_META_CLUSTER_ID",
    "ISTIO_META_NODE_NAME",
    "ISTIO_META_INTERCEPTION_MODE",
    "ISTIO_META_NETWORK",
    "ISTIO_META_WORKLOAD_NAME",
    "ISTIO_META_OWNER",
    "ISTIO_BOOTSTRAP_OVERRIDE",
    "ISTIO_META_MESH_ID",
    "TRUST_DOMAIN",
];
const LAST: &[&str] = &["ISTIO_PROMETHEUS_ANNOTATIONS", "ISTIO_KUBE_APP_PROBERS"];

/// Known variables stand in the contract's order, none twice, and the two about the application last.
pub fn order_of_variables(i: &Injection<'_>) -> Vec<String> {
    let Some(proxy) = i.container("istio-proxy") else { return vec!["there is no container istio-proxy".to_owned()] };
    let names: Vec<&str> = proxy["env"].as_array().into_iter().flatten().filter_map(|variable| variable["name"].as_str()).collect();
    let mut problems = Vec::new();
    let known: Vec<&&str> = names.iter().filter(|name| ORDER.contains(*name)).collect();
    let sorted: Vec<&&str> = ORDER.iter().filter(|name| names.contains(*name)).collect();
    if known != sorted {
        problems.push(format!("env: expected the order {sorted:?}, found {known:?}"));
    }
    let mut counts = BTreeMap::new();
    names.iter().for_each(|name| *counts.entry(*name).or_insert(0) += 1);
    problems.extend(counts.into_iter().filter(|(_, count)| *count > 1).map(|(name, count)| format!("env: {name} is there {count} times")));
    let after = names.iter().position(|name| LAST.contains(name)).unwrap_or(names.len());
    if names.iter().skip(after).any(|name| !LAST.contains(name)) {
        problems.push(format!("env: {LAST:?} must come last, found {names:?}"));
    }
    problems
}

/// Contract 3.6.
pub fn order_of_containers(i: &Injection<'_>) -> Vec<String> {
    let names = |list: &str| items(i.after, list).iter().map(|item| item["name"].as_str().unwrap_or_default()).collect::<Vec<_>>();
    let own = ["istio-proxy", "istio-init", "istio-validation"];
    let users = |list: &str| {
        items(i.before, list)
            .iter()
            .map(|item| item["name"].as_str().unwrap_or_default())
            .filter(|name| !own.contains(name))
            .collect::<Vec<_>>()
    };
    let (inits, containers) = (users("initContainers"), users("containers"));
    let rules = if i.facts.cni { "istio-validation" } else { "istio-init" };
    let rules: Vec<&str> = if gateway(i) || interception(i) == "NONE" { vec![] } else { vec![rules] };
    let (expected_inits, expected) = if gateway(i) {
        (inits, [containers, vec!["istio-proxy"]].concat())
    } else if native(i) {
        ([rules, vec!["istio-proxy"], inits].concat(), containers)
    } else {
        let first_last = if i.facts.cni { [rules, inits].concat() } else { [inits, rules].concat() };
        let proxy = vec!["istio-proxy"];
        (first_last, if held(i) { [proxy, containers].concat() } else { [containers, proxy].concat() })
    };
    let mut problems = Vec::new();
    for (list, expected) in [("initContainers", expected_inits), ("containers", expected)] {
        let mut found = names(list);
        if gateway(i) {
            // The gateway's container stays where the user wrote it.
            found.sort_by_key(|name| *name == "istio-proxy");
        }
        if found != expected {
            problems.push(format!("{list}: expected {expected:?}, found {found:?}"));
        }
    }
    problems
}

/// What the user wrote and no rule of the contract changes is as it was.
pub fn untouched(i: &Injection<'_>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut same = |what: String, before: &Value, after: Option<&Value>| {
        if after != Some(before) {
            problems.push(format!("{what}: expected {before} as the user wrote it, found {}", after.unwrap_or(&Value::Null)));
        }
    };
    for (name, value) in i.before["spec"].as_object().into_iter().flatten() {
        if !["containers", "initContainers", "volumes", "imagePullSecrets", "shareProcessNamespace"].contains(&name.as_str()) {
            same(format!("spec.{name}"), value, i.after["spec"].get(name));
        }
    }
    for (name, value) in i.before["metadata"]["labels"].as_object().into_iter().flatten() {
        same(format!("label {name}"), value, i.after["metadata"]["labels"].get(name));
    }
    for (name, value) in i.before["metadata"]["annotations"].as_object().into_iter().flatten() {
        let changed = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_").starts_with("prometheus_io_")
            || (i.facts.cni && name.starts_with("traffic."));
        if !changed {
            same(format!("annotation {name}"), value, i.after["metadata"]["annotations"].get(name));
        }
    }
    for volume in items(i.before, "volumes") {
        same(format!("volume {}", volume["name"]), volume, items(i.after, "volumes").iter().find(|other| other["name"] == volume["name"]));
    }
    for container in items(i.before, "containers").iter().chain(items(i.before, "initContainers")) {
        let name = container["name"].as_str().unwrap_or_default();
        let Some(after) = i.container(name).filter(|_| name != "istio-proxy" && name != "istio-init") else { continue };
        for (field, value) in container.as_object().into_iter().flatten() {
            if !field.ends_with("Probe") && field != "lifecycle" {
                same(format!("container {name}: {field}"), value, after.get(field));
            }
        }
    }
    problems
}
