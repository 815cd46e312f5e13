//! `istio-proxy`, beside an application or as gateway.

use serde_json::{Value, json};

use super::{Rendering, Role};
use crate::{PROXY_CONTAINER, environment, volumes};

/// The container.
pub(crate) fn proxy_container(rendering: &Rendering<'_>) -> Value {
    let mut container = rendering.container(PROXY_CONTAINER);
    container.insert("args".to_owned(), json!(arguments(rendering)));
    container.insert("ports".to_owned(), json!([{ "containerPort": 15090, "protocol": "TCP", "name": "http-envoy-prom" }]));
    container.insert("env".to_owned(), json!(environment::variables(rendering)));
    container.insert("volumeMounts".to_owned(), json!(volumes::mounts(rendering)));
    container.insert("securityContext".to_owned(), security(rendering));
    if rendering.status_port != 0 {
        let probes = &rendering.wishes.probes;
        if let Some(failures) = probes.startup_failure_threshold.filter(|_| rendering.role == Role::Sidecar) {
            container.insert("startupProbe".to_owned(), probe(0, 1, failures));
        }
        container.insert("readinessProbe".to_owned(), probe(probes.initial_delay, probes.period, probes.failure_threshold));
    }
    if rendering.native {
        container.insert("restartPolicy".to_owned(), json!("Always"));
    }
    if let Some(lifecycle) = lifecycle(rendering) {
        container.insert("lifecycle".to_owned(), lifecycle);
    }
    container.into()
}

fn arguments(rendering: &Rendering<'_>) -> Vec<String> {
    let settings = &rendering.context.settings;
    let mut arguments = vec![
        "proxy".to_owned(),
        if rendering.role == Role::Gateway { "router" } else { "sidecar" }.to_owned(),
        "--domain".to_owned(),
        format!("$(POD_NAMESPACE).svc.{}", settings.cluster_domain),
        format!("--proxyLogLevel={}", rendering.wishes.log_level),
        format!("--proxyComponentLogLevel={}", rendering.wishes.component_log_level),
    ];
    let mut logging = rendering.log_arguments().into_iter();
    arguments.extend(logging.next());
    if settings.sts_port != 0 {
        arguments.push(format!("--stsPort={}", settings.sts_port));
    }
    arguments.extend(logging);
    arguments.extend(settings.outlier_log_path.as_ref().map(|path| format!("--outlierLogPath={path}")));
    arguments
}

/// Capabilities need uid 0 to survive exec; the gid still exempts the proxy from capture.
fn security(rendering: &Rendering<'_>) -> Value {
    let capability = match rendering.interception_mode.as_str() {
        "TPROXY" if rendering.role == Role::Sidecar => Some("NET_ADMIN"),
        _ => None,
    };
    let added: Vec<&str> = capability.into_iter().chain(rendering.wishes.bind_low_ports.then_some("NET_BIND_SERVICE")).collect();
    let root = !added.is_empty();
    let capabilities = if root { json!({ "add": added, "drop": ["ALL"] }) } else { json!({ "drop": ["ALL"] }) };
    json!({
        "allowPrivilegeEscalation": false,
        "privileged": false,
        "capabilities": capabilities,
        "readOnlyRootFilesystem": true,
        "runAsNonRoot": !root,
        "runAsUser": if root { 0 } else { rendering.ids.uid },
        "runAsGroup": rendering.ids.gid,
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
    if let Some(lifecycle) = &rendering.context.settings.lifecycle {
        Some(lifecycle.clone())
    } else if rendering.native {
        let port = format!("--debug-port={}", rendering.status_port);
        let drain = exec(&["pilot-agent", "request", &port, "POST", "drain"]);
        (rendering.status_port != 0).then(|| json!({ "preStop": drain }))
    } else if rendering.hold {
        Some(json!({ "postStart": exec(&["pilot-agent", "wait"]) }))
    } else {
        None
    }
}
