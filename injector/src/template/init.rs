//! `istio-init`, which writes the capture rules and ends; or `istio-validation`, which proves that a CNI plugin wrote them.

use serde_json::{Value, json};

use super::Rendering;
use crate::{INIT_CONTAINER, VALIDATION_CONTAINER, environment};

/// Its name.
pub(crate) fn name(rendering: &Rendering<'_>) -> &'static str {
    if rendering.by_cni() { VALIDATION_CONTAINER } else { INIT_CONTAINER }
}

/// The container; `uid` is the one whose traffic is left alone.
pub(crate) fn init_container(rendering: &Rendering<'_>, uid: u64) -> Value {
    let mut container = rendering.container(name(rendering));
    container.insert("args".to_owned(), json!(arguments(rendering, uid)));
    let env = environment::proxy_metadata(rendering);
    if !env.is_empty() {
        container.insert("env".to_owned(), json!(env));
    }
    container.insert("securityContext".to_owned(), if rendering.by_cni() { unprivileged(rendering, uid) } else { privileged() });
    container.into()
}

fn privileged() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "privileged": false,
        "capabilities": { "add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"] },
        "readOnlyRootFilesystem": false,
        "runAsUser": 0,
        "runAsGroup": 0,
        "runAsNonRoot": false,
    })
}

/// The validation dials as the proxy would, so that a plugin which does not know the proxy's uid is found out.
fn unprivileged(rendering: &Rendering<'_>, uid: u64) -> Value {
    let gid = if uid == rendering.ids.uid { rendering.ids.gid } else { uid };
    json!({
        "allowPrivilegeEscalation": false,
        "privileged": false,
        "capabilities": { "drop": ["ALL"] },
        "readOnlyRootFilesystem": true,
        "runAsUser": uid,
        "runAsGroup": gid,
        "runAsNonRoot": true,
    })
}

fn arguments(rendering: &Rendering<'_>, uid: u64) -> Vec<String> {
    let capture = &rendering.wishes.capture;
    let or = |value: &Option<String>, default: &str| value.clone().unwrap_or_else(|| default.to_owned());
    let excluded = format!("15090,15021,{}", excluded_inbound_ports(rendering));
    let mut flags = vec![
        ("-p", "15001".to_owned()),
        ("-z", "15006".to_owned()),
        ("-u", uid.to_string()),
        ("-m", rendering.interception_mode.clone()),
        ("-i", or(&capture.include_outbound_ranges, "*")),
        ("-x", or(&capture.exclude_outbound_ranges, "")),
        ("-b", or(&capture.include_inbound_ports, "*")),
        ("-d", excluded.trim_end_matches(',').to_owned()),
    ];
    if rendering.ids.gid != rendering.ids.uid {
        flags.insert(3, ("-g", rendering.ids.gid.to_string()));
    }
    let optional = [
        ("-q", &capture.include_outbound_ports),
        ("-o", &capture.exclude_outbound_ports),
        ("-k", &capture.virtual_interfaces),
        ("-c", &capture.exclude_interfaces),
    ];
    flags.extend(optional.into_iter().filter_map(|(flag, value)| Some((flag, value.clone()?))));
    let mut arguments = vec!["istio-iptables".to_owned()];
    arguments.extend(flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]));
    arguments.extend(rendering.log_arguments());
    arguments.extend(switches(rendering).into_iter().map(str::to_owned));
    arguments
}

fn switches(rendering: &Rendering<'_>) -> Vec<&'static str> {
    let settings = &rendering.context.settings;
    let mut switches = Vec::new();
    if rendering.by_cni() {
        switches.extend(["--run-validation", "--skip-rule-apply"]);
    } else if settings.force_apply_iptables {
        switches.push("--force-apply");
    }
    if settings.native_nftables {
        switches.push("--native-nftables");
    }
    switches
}

/// The annotated ports with the status port appended, unless it is among them or there is no status server.
pub(crate) fn excluded_inbound_ports(rendering: &Rendering<'_>) -> String {
    let annotated = rendering.wishes.capture.exclude_inbound_ports.as_deref().unwrap_or_default();
    let mut ports: Vec<String> = annotated.split(',').map(str::trim).filter(|port| !port.is_empty()).map(str::to_owned).collect();
    let status_port = rendering.status_port.to_string();
    if rendering.status_port != 0 && !ports.contains(&status_port) {
        ports.push(status_port);
    }
    ports.join(",")
}
