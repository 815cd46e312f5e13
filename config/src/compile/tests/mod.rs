//! Tables for the rules of precedence: short manifests, and where a request would go.

mod destination_rule;
mod gateway;
mod inbound;
mod listener;
mod mesh;
mod scale;
mod service;
mod tls;
mod virtual_service;

use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::compile;
use crate::diagnostic::Severity;
use crate::matcher::RequestHead;
use crate::model::{Cluster, GatewayListenerKind, Node, ProxyType, RouteAction, RouteConfiguration, Snapshot, TcpRoute};
use crate::parse::parse;
use crate::registry::Registry;

/// Manifests, indexed. None may be left out.
fn registry(manifests: &str) -> Registry {
    let parsed = parse(Path::new("test.yaml"), manifests);
    let errors = parsed.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    let errors: Vec<String> = errors.map(ToString::to_string).collect();
    assert_eq!(errors, Vec::<String>::new());
    Registry::new(&parsed.objects)
}

/// A workload, `namespace/name`, with labels `key=value,...`.
fn node(proxy_type: ProxyType, pod: &str, labels: &str) -> Node {
    let (namespace, name) = pod.split_once('/').expect("namespace/name");
    let labels = labels.split_terminator(',').filter_map(|label| label.split_once('='));
    Node {
        proxy_type,
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        ip_addresses: vec!["10.1.0.99".parse().expect("an address")],
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        workload_name: name.to_owned(),
        ..Node::default()
    }
}

/// What a sidecar in `namespace` gets.
fn sidecar(manifests: &str, namespace: &str, labels: &str) -> Snapshot {
    compile(&registry(manifests), &node(ProxyType::Sidecar, &format!("{namespace}/client"), labels)).snapshot
}

/// What a gateway pod with `istio: ingressgateway` in `istio-system` gets.
fn router(manifests: &str) -> Snapshot {
    compile(&registry(manifests), &node(ProxyType::Router, "istio-system/gateway", "istio=ingressgateway")).snapshot
}

/// A Kubernetes Service with one address; `ports` as `name:number,...`, an empty name for none.
fn service(name: &str, namespace: &str, address: &str, ports: &str) -> String {
    let ports: Vec<String> = ports
        .split(',')
        .filter_map(|port| port.split_once(':'))
        .map(|(name, number)| format!("{{name: '{name}', port: {number}}}"))
        .collect();
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{clusterIP: {address}, ports: [{}]}}\n",
        ports.join(", ")
    )
}

/// An Istio object of the networking group.
fn istio(kind: &str, name: &str, namespace: &str, spec: &str) -> String {
    aged(kind, name, namespace, "", spec)
}

/// The same with a creation time, `2024-01-01` or empty for none.
fn aged(kind: &str, name: &str, namespace: &str, created: &str, spec: &str) -> String {
    let group = if kind == "PeerAuthentication" { "security" } else { "networking" };
    let created = if created.is_empty() { String::new() } else { format!(", creationTimestamp: '{created}T00:00:00Z'") };
    format!(
        "---\napiVersion: {group}.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}{created}}}\nspec: {spec}\n"
    )
}

/// A mesh configuration.
fn mesh_config(mesh: &str) -> String {
    format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: '{mesh}'\n")
}

/// Where a request to a table goes: `404`, clusters with weights, or the kind of answer; then the route's name.
fn ask(table: &RouteConfiguration, host: &str, path: &str, headers: &[(&'static str, &'static str)]) -> String {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let head = RequestHead { method: "GET", scheme: "http", authority: host, path, query: None, headers: &map };
    if table.virtual_host(host).is_some_and(|host| host.require_tls) {
        return "https".to_owned();
    }
    match table.find(&head).map(|(_, route)| &route.action) {
        None => "404".to_owned(),
        Some(RouteAction::Redirect(redirect)) => format!("redirect {}", redirect.code),
        Some(RouteAction::DirectResponse(response)) => format!("direct {}", response.status),
        Some(RouteAction::Forward(clusters)) => shares(clusters.iter().map(|to| (&to.name, to.cluster.is_some(), to.weight))),
    }
}

/// `name` for one cluster, else `name=weight` joined by spaces; unknown clusters end in `?`.
fn shares<'a>(clusters: impl Iterator<Item = (&'a String, bool, u32)>) -> String {
    let short = |name: &str| name.replace("outbound|", "").replace(".svc.cluster.local", "");
    let all: Vec<(String, u32)> =
        clusters.map(|(name, known, weight)| (format!("{}{}", short(name), if known { "" } else { "?" }), weight)).collect();
    match all.as_slice() {
        [(only, _)] => only.clone(),
        several => several.iter().map(|(name, weight)| format!("{name}={weight}")).collect::<Vec<_>>().join(" "),
    }
}

/// The same for connections.
fn ask_tcp(route: Option<&TcpRoute>) -> String {
    route.map_or_else(|| "unknown".to_owned(), |route| shares(route.clusters.iter().map(|to| (&to.name, to.cluster.is_some(), to.weight))))
}

/// A request through a sidecar, on the HTTP table of a port.
fn get(snapshot: &Snapshot, port: u16, host: &str, path: &str) -> String {
    let listener = snapshot.outbound.by_port.get(&port).and_then(|listener| listener.http.as_ref());
    listener.map_or_else(|| "no table".to_owned(), |table| ask(table, host, path, &[]))
}

/// A request through a gateway's plaintext port.
fn enter(snapshot: &Snapshot, port: u16, host: &str, path: &str) -> String {
    match snapshot.gateways.iter().find(|listener| listener.port == port).map(|listener| &listener.kind) {
        Some(GatewayListenerKind::Http(table)) => ask(table, host, path, &[]),
        Some(_) => "not http".to_owned(),
        None => "closed".to_owned(),
    }
}

/// The cluster of a name without `outbound|` and `.svc.cluster.local`.
fn cluster<'s>(snapshot: &'s Snapshot, name: &str) -> &'s Cluster {
    let wanted = |cluster: &&std::sync::Arc<Cluster>| cluster.name.replace("outbound|", "").replace(".svc.cluster.local", "") == name;
    snapshot.clusters.iter().find(wanted).unwrap_or_else(|| panic!("no cluster {name}"))
}
