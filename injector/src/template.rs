//! The two containers Istio's template `sidecar` adds, with exactly its names, arguments and numbers (contract 3.5).

use serde_json::{Map, Value, json};

use crate::annotations::Wishes;
use crate::owner::Owner;
use crate::proxy_config::PodProxyConfig;
use crate::settings::Context;
use crate::{INIT_CONTAINER, PROXY_CONTAINER, environment, volumes};

/// uid and gid of the proxy.
const PROXY_ID: u32 = 1337;

/// Everything the template looks at.
pub(crate) struct Rendering<'a> {
    /// Namespace and settings.
    pub context: &'a Context,
    /// The pod without anything injected.
    pub pod: &'a Value,
    /// Its annotations.
    pub wishes: &'a Wishes,
    /// Its ProxyConfig.
    pub proxy_config: &'a PodProxyConfig,
    /// Its owner.
    pub owner: &'a Owner,
    /// Name of its workload.
    pub workload: String,
    /// REDIRECT or NONE.
    pub interception_mode: String,
    /// Port of the status server; 0 means none.
    pub status_port: u16,
    /// Whether the application waits for the proxy.
    pub hold: bool,
}

/// `istio-init`: writes the capture rules and ends.
pub(crate) fn init_container(rendering: &Rendering<'_>) -> Value {
    let mut container = container(rendering, INIT_CONTAINER);
    container.insert("args".to_owned(), json!(init_arguments(rendering)));
    let env = environment::proxy_metadata(rendering);
    if !env.is_empty() {
        container.insert("env".to_owned(), json!(env));
    }
    let security = json!({
        "allowPrivilegeEscalation": false,
        "privileged": false,
        "capabilities": { "add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"] },
        "readOnlyRootFilesystem": false,
        "runAsUser": 0,
        "runAsGroup": 0,
        "runAsNonRoot": false,
    });
    container.insert("securityContext".to_owned(), security);
    container.into()
}

fn init_arguments(rendering: &Rendering<'_>) -> Vec<String> {
    let capture = &rendering.wishes.capture;
    let or = |value: &Option<String>, default: &str| value.clone().unwrap_or_else(|| default.to_owned());
    let excluded = format!("15090,15021,{}", excluded_inbound_ports(rendering));
    let mut flags = vec![
        ("-p", "15001".to_owned()),
        ("-z", "15006".to_owned()),
        ("-u", PROXY_ID.to_string()),
        ("-m", rendering.interception_mode.clone()),
        ("-i", or(&capture.include_outbound_ranges, "*")),
        ("-x", or(&capture.exclude_outbound_ranges, "")),
        ("-b", or(&capture.include_inbound_ports, "*")),
        ("-d", excluded.trim_end_matches(',').to_owned()),
    ];
    let optional = [("-q", &capture.include_outbound_ports), ("-o", &capture.exclude_outbound_ports), ("-c", &capture.exclude_interfaces)];
    flags.extend(optional.into_iter().filter_map(|(flag, value)| Some((flag, value.clone()?))));
    let mut arguments = vec!["istio-iptables".to_owned()];
    arguments.extend(flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]));
    arguments.extend(log_arguments(rendering));
    if rendering.context.settings.force_apply_iptables {
        arguments.push("--force-apply".to_owned());
    }
    arguments
}

/// The annotated ports with the status port appended, unless it is among them or there is no status server.
fn excluded_inbound_ports(rendering: &Rendering<'_>) -> String {
    let annotated = rendering.wishes.capture.exclude_inbound_ports.as_deref().unwrap_or_default();
    let mut ports: Vec<String> = annotated.split(',').map(str::trim).filter(|port| !port.is_empty()).map(str::to_owned).collect();
    let status_port = rendering.status_port.to_string();
    if rendering.status_port != 0 && !ports.contains(&status_port) {
        ports.push(status_port);
    }
    ports.join(",")
}

/// `istio-proxy`.
pub(crate) fn proxy_container(rendering: &Rendering<'_>) -> Value {
    let mut container = container(rendering, PROXY_CONTAINER);
    container.insert("args".to_owned(), json!(proxy_arguments(rendering)));
    container.insert("ports".to_owned(), json!([{ "containerPort": 15090, "protocol": "TCP", "name": "http-envoy-prom" }]));
    container.insert("env".to_owned(), json!(environment::variables(rendering)));
    container.insert("volumeMounts".to_owned(), json!(volumes::mounts(rendering)));
    container.insert("securityContext".to_owned(), proxy_security(rendering));
    if rendering.status_port != 0 {
        let readiness = &rendering.wishes.readiness;
        container.insert("startupProbe".to_owned(), probe(0, 1, 600));
        container.insert("readinessProbe".to_owned(), probe(readiness.initial_delay, readiness.period, readiness.failure_threshold));
    }
    if rendering.wishes.native {
        container.insert("restartPolicy".to_owned(), json!("Always"));
    }
    if let Some(lifecycle) = lifecycle(rendering) {
        container.insert("lifecycle".to_owned(), lifecycle);
    }
    container.into()
}

fn proxy_arguments(rendering: &Rendering<'_>) -> Vec<String> {
    let mut arguments = vec![
        "proxy".to_owned(),
        "sidecar".to_owned(),
        "--domain".to_owned(),
        format!("$(POD_NAMESPACE).svc.{}", rendering.context.settings.cluster_domain),
        format!("--proxyLogLevel={}", rendering.wishes.log_level),
        format!("--proxyComponentLogLevel={}", rendering.wishes.component_log_level),
    ];
    arguments.extend(log_arguments(rendering));
    arguments
}

fn log_arguments(rendering: &Rendering<'_>) -> Vec<String> {
    let mut arguments = vec![format!("--log_output_level={}", rendering.wishes.agent_log_level)];
    if rendering.context.settings.log_as_json {
        arguments.push("--log_as_json".to_owned());
    }
    arguments
}

/// Binding ports below 1024 needs the capability, and the capability needs uid 0 to survive exec; the gid still exempts the
/// proxy from capture.
fn proxy_security(rendering: &Rendering<'_>) -> Value {
    let low_ports = rendering.wishes.bind_low_ports;
    let capabilities = if low_ports { json!({ "add": ["NET_BIND_SERVICE"], "drop": ["ALL"] }) } else { json!({ "drop": ["ALL"] }) };
    json!({
        "allowPrivilegeEscalation": false,
        "privileged": false,
        "capabilities": capabilities,
        "readOnlyRootFilesystem": true,
        "runAsNonRoot": !low_ports,
        "runAsUser": if low_ports { 0 } else { PROXY_ID },
        "runAsGroup": PROXY_ID,
    })
}

fn probe(initial_delay: u32, period: u32, failure_threshold: u32) -> Value {
    json!({
        "httpGet": { "path": "/healthz/ready", "port": 15021 },
        "initialDelaySeconds": initial_delay,
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failure_threshold,
    })
}

/// Holding works because kubelet starts containers in order and waits for `postStart`; a native sidecar has its start-up probe for that.
fn lifecycle(rendering: &Rendering<'_>) -> Option<Value> {
    let exec = |command: &[&str]| json!({ "exec": { "command": command } });
    if rendering.wishes.native {
        let port = format!("--debug-port={}", rendering.status_port);
        Some(json!({ "preStop": exec(&["pilot-agent", "request", &port, "POST", "drain"]) }))
    } else if rendering.hold {
        Some(json!({ "postStart": exec(&["pilot-agent", "wait"]) }))
    } else {
        None
    }
}

/// What both containers have in common.
fn container(rendering: &Rendering<'_>, name: &str) -> Map<String, Value> {
    let settings = &rendering.context.settings;
    let mut container = Map::new();
    container.insert("name".to_owned(), json!(name));
    container.insert("image".to_owned(), json!(rendering.wishes.image.as_ref().unwrap_or(&settings.image)));
    if let Some(policy) = &settings.image_pull_policy {
        container.insert("imagePullPolicy".to_owned(), json!(policy));
    }
    container.insert("resources".to_owned(), resources(rendering));
    container
}

/// An annotation changes the one value it names. Istio drops all defaults as soon as any of the four is given (contract section 8, item 6).
fn resources(rendering: &Rendering<'_>) -> Value {
    let (asked, default) = (&rendering.wishes.resources, &rendering.context.settings.resources);
    let or = |asked: &Option<String>, default: &String| asked.clone().unwrap_or_else(|| default.clone());
    json!({
        "requests": { "cpu": or(&asked.cpu, &default.cpu), "memory": or(&asked.memory, &default.memory) },
        "limits": { "cpu": or(&asked.cpu_limit, &default.cpu_limit), "memory": or(&asked.memory_limit, &default.memory_limit) },
    })
}
