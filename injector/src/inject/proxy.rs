//! Last touches to the proxy: what depends on the user's own fields for it, and on the application's probes and metrics.

use serde_json::{Value, json};

use super::compose::Composition;
use crate::complaints::Complaints;
use crate::environment::plain;
use crate::merge::Overrides;
use crate::template::{self, Rendering, Role};
use crate::{InjectError, PROXY_CONTAINER, VALIDATION_CONTAINER, pod, probes, prometheus};

/// After the user's fields have been laid over: the uid that counts.
pub(super) fn finish(composition: &mut Composition, rendering: &Rendering<'_>, overrides: &Overrides) {
    let tproxy = rendering.interception_mode == "TPROXY" && rendering.role == Role::Sidecar;
    let Some(proxy) = composition.proxy() else { return };
    if tproxy && let Some(security) = proxy.get_mut("securityContext").and_then(Value::as_object_mut) {
        security.insert("runAsUser".to_owned(), json!(0));
    }
    let uid = proxy.pointer("/securityContext/runAsUser").and_then(Value::as_u64);
    if let Some(uid) = uid.filter(|uid| *uid != 0 && *uid != rendering.ids.uid && rendering.captures()) {
        follow_uid(composition, rendering, overrides, uid);
    }
}

/// The user's own uid for the proxy is the one whose traffic is left alone.
fn follow_uid(composition: &mut Composition, rendering: &Rendering<'_>, overrides: &Overrides, uid: u64) {
    let fresh = template::init_container(rendering, uid);
    let name = pod::name(&fresh).to_owned();
    let Some(init) = composition.init_containers.iter_mut().find(|container| pod::name(container) == name) else { return };
    for field in if name == VALIDATION_CONTAINER { &["args", "securityContext"][..] } else { &["args"] } {
        if let (Some(target), Some(value)) = (init.as_object_mut(), fresh.get(*field)) {
            target.insert((*field).to_owned(), value.clone());
        }
    }
    overrides.lay_over(init);
}

/// Prometheus scrapes the proxy instead of the application.
pub(super) fn merge_prometheus(
    pod: &mut Value,
    composition: &mut Composition,
    rendering: &Rendering<'_>,
    complaints: &mut Complaints,
) -> Result<(), InjectError> {
    let Some(proxy) = composition.proxy().filter(|_| rendering.wishes.merge_metrics) else { return Ok(()) };
    let Some(merged) = prometheus::merge(&pod::strings(pod, "annotations"), rendering.status_port, complaints) else { return Ok(()) };
    let target = pod::strings_mut(pod, "annotations")?;
    for name in &merged.remove {
        target.remove(name);
    }
    target.extend(merged.add.into_iter().map(|(name, value)| (name, json!(value))));
    if let Some(value) = merged.variable {
        add_variable(proxy, prometheus::VARIABLE, &value);
    }
    Ok(())
}

/// kubelet probes the proxy instead of the application. Returns the ports that were names.
pub(super) fn rewrite_probes(pod: &mut Value, rendering: &Rendering<'_>, warnings: &mut Vec<String>) -> Result<probes::Ports, InjectError> {
    if !rendering.wishes.rewrite_probes || rendering.status_port == 0 || !has_proxy(pod) {
        return Ok(probes::Ports::new());
    }
    let mut rewriter = probes::Rewriter::new(rendering.status_port);
    let init = pod::list(pod, "initContainers");
    if init.iter().any(|container| pod::name(container) == PROXY_CONTAINER) {
        rewriter.containers(pod::list_mut(pod, "initContainers")?);
    } else {
        rewriter.before_the_proxy(init);
    }
    rewriter.containers(pod::list_mut(pod, "containers")?);
    warnings.extend(rewriter.warnings);
    if !rewriter.probers.is_empty() {
        let text = json!(rewriter.probers).to_string();
        for list in ["initContainers", "containers"] {
            let containers = pod.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut).into_iter().flatten();
            containers
                .filter(|container| pod::name(container) == PROXY_CONTAINER)
                .for_each(|proxy| add_variable(proxy, probes::VARIABLE, &text));
        }
    }
    Ok(rewriter.ports)
}

fn has_proxy(pod: &Value) -> bool {
    let mut containers = pod::list(pod, "initContainers").iter().chain(pod::list(pod, "containers"));
    containers.any(|container| pod::name(container) == PROXY_CONTAINER)
}

/// Appends a variable; an earlier one of this name goes.
fn add_variable(container: &mut Value, name: &str, value: &str) {
    if let Some(variables) = container.get_mut("env").and_then(Value::as_array_mut) {
        variables.retain(|variable| pod::name(variable) != name);
        variables.push(plain(name, value));
    }
}
