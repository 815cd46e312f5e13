//! Application probes go through the proxy's status port (contract 3.7): kubelet has no mesh certificate, so a probe sent straight to
//! the application would be refused where mTLS is STRICT.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::PROXY_CONTAINER;
use crate::pod;

/// Name of the variable that tells the proxy what the probes were.
pub(crate) const VARIABLE: &str = "ISTIO_KUBE_APP_PROBERS";

/// Path -> original probe.
pub(crate) type Probers = BTreeMap<String, Value>;

/// Path -> the port as written, where that is not the number it stands for.
pub(crate) type Ports = BTreeMap<String, Value>;

const PROBES: [(&str, &str); 3] = [("readinessProbe", "readyz"), ("livenessProbe", "livez"), ("startupProbe", "startupz")];
const HOOKS: [(&str, &str); 2] = [("preStop", "prestopz"), ("postStart", "poststartz")];

/// Rewrites the probes and lifecycle hooks of containers; keeps the originals, and a warning for each that had to stay.
pub(crate) struct Rewriter {
    status_port: u16,
    /// The originals, with ports as numbers.
    pub probers: Probers,
    /// Ports that were names.
    pub ports: Ports,
    /// What stays as it is, and why.
    pub warnings: Vec<String>,
}

impl Rewriter {
    /// Nothing rewritten yet.
    pub(crate) fn new(status_port: u16) -> Self {
        Self { status_port, probers: Probers::new(), ports: Ports::new(), warnings: Vec::new() }
    }

    /// Leaves init containers alone that run before the proxy does, whose status port then answers nobody: kubelet would wait for the
    /// container, and the proxy for its turn, for ever.
    pub(crate) fn before_the_proxy(&mut self, containers: &[Value]) {
        let handled = |container: &Value| {
            let probes = PROBES.iter().filter_map(|(field, _)| container.get(*field));
            let hooks = HOOKS.iter().filter_map(|(field, _)| container.get("lifecycle")?.get(*field));
            probes.chain(hooks).any(|handler| ["httpGet", "tcpSocket", "grpc"].iter().any(|kind| handler.get(*kind).is_some()))
        };
        self.warnings.extend(containers.iter().filter(|container| handled(container)).map(|container| {
            let name = pod::name(container);
            format!(
                "init container {name}: it starts before the proxy, so its probes and hooks stay as they are; under STRICT mTLS they fail"
            )
        }));
    }

    /// All containers of a list but the proxy's.
    pub(crate) fn containers(&mut self, containers: &mut [Value]) {
        containers.iter_mut().filter(|container| pod::name(container) != PROXY_CONTAINER).for_each(|container| self.container(container));
    }

    fn container(&mut self, container: &mut Value) {
        let name = pod::name(container).to_owned();
        let ports = named_ports(container);
        for (field, last) in PROBES {
            if let Some(probe) = container.get_mut(field).and_then(Value::as_object_mut) {
                self.handler(probe, &["httpGet", "tcpSocket", "grpc"], format!("/app-health/{name}/{last}"), &ports);
            }
        }
        for (field, last) in HOOKS {
            if let Some(hook) = container.pointer_mut(&format!("/lifecycle/{field}")).and_then(Value::as_object_mut) {
                self.handler(hook, &["httpGet", "tcpSocket"], format!("/app-lifecycle/{name}/{last}"), &ports);
            }
        }
    }

    /// Rewrites one probe or hook, if it is of one of these kinds. A port equal to the status port means that it was rewritten before.
    fn handler(&mut self, handler: &mut Map<String, Value>, kinds: &[&str], path: String, ports: &BTreeMap<String, u64>) {
        let Some((kind, original)) = kinds.iter().find_map(|kind| Some((*kind, handler.get(*kind)?.clone()))) else { return };
        let port = original.get("port").and_then(|port| resolve(port, ports));
        if port == Some(u64::from(self.status_port)) {
            return;
        }
        let Some(port) = port else {
            let named = original.get("port").map_or_else(|| "none".to_owned(), Value::to_string);
            self.warnings.push(format!("probe {path}: no port of the container is called {named}; the probe stays as it is"));
            return;
        };
        if let Some(written) = original.get("port").filter(|written| written.as_u64().is_none()) {
            self.ports.insert(path.clone(), written.clone());
        }
        let mut kept = original.clone();
        set(&mut kept, "port", json!(port));
        let mut prober = json!({ kind: kept });
        if let Some(seconds) = handler.get("timeoutSeconds") {
            set(&mut prober, "timeoutSeconds", seconds.clone());
        }
        handler.remove(kind);
        handler.insert("httpGet".to_owned(), self.redirected(kind, original, &path));
        self.probers.insert(path, prober);
    }

    /// The probe kubelet sends instead: an HTTP probe keeps its headers, any other becomes one without.
    fn redirected(&self, kind: &str, original: Value, path: &str) -> Value {
        let mut probe = if kind == "httpGet" { original } else { json!({}) };
        if probe.get("scheme").and_then(Value::as_str) == Some("HTTPS") {
            set(&mut probe, "scheme", json!("HTTP"));
        }
        set(&mut probe, "path", json!(path));
        set(&mut probe, "port", json!(self.status_port));
        probe
    }
}

/// Puts the originals back.
pub(crate) fn restore(containers: &mut [Value], probers: &Probers, ports: &Ports) {
    for container in containers.iter_mut().filter(|container| pod::name(container) != PROXY_CONTAINER) {
        let name = pod::name(container).to_owned();
        let places = PROBES.map(|(field, last)| (format!("/{field}"), format!("/app-health/{name}/{last}")));
        let hooks = HOOKS.map(|(field, last)| (format!("/lifecycle/{field}"), format!("/app-lifecycle/{name}/{last}")));
        for (place, path) in places.into_iter().chain(hooks) {
            if let (Some(prober), Some(handler)) = (probers.get(&path), container.pointer_mut(&place).and_then(Value::as_object_mut)) {
                restore_handler(handler, prober, &path, ports.get(&path));
            }
        }
    }
}

/// Only what still is as the injector left it.
fn restore_handler(handler: &mut Map<String, Value>, prober: &Value, path: &str, port: Option<&Value>) {
    let kinds = ["httpGet", "tcpSocket", "grpc"];
    let Some((kind, mut original)) = kinds.iter().find_map(|kind| Some((*kind, prober.get(*kind)?.clone()))) else { return };
    if handler.get("httpGet").and_then(|get| get.get("path")).and_then(Value::as_str) != Some(path) {
        return;
    }
    if let Some(port) = port {
        set(&mut original, "port", port.clone());
    }
    handler.remove("httpGet");
    handler.insert(kind.to_owned(), original);
}

fn named_ports(container: &Value) -> BTreeMap<String, u64> {
    let ports = container.get("ports").and_then(Value::as_array).into_iter().flatten();
    ports.filter_map(|port| Some((port.get("name")?.as_str()?.to_owned(), port.get("containerPort")?.as_u64()?))).collect()
}

/// A probe's port is a number, a number in quotes, or the name of a port of the same container.
fn resolve(port: &Value, ports: &BTreeMap<String, u64>) -> Option<u64> {
    let text = port.as_str();
    port.as_u64().or_else(|| text?.parse().ok()).or_else(|| ports.get(text?).copied())
}

fn set(value: &mut Value, field: &str, to: Value) {
    if let Some(fields) = value.as_object_mut() {
        fields.insert(field.to_owned(), to);
    }
}
