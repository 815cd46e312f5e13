//! VirtualServices: which apply here, in which order, and which of their rules survive the static conditions.
//!
//! Source: Istio semantics 1.2 (mesh) and 1.3 (gateways).

use std::collections::HashMap;

use super::delegate::{Delegates, HttpRule};
use super::host;
use crate::api::virtual_service::{HttpMatchRequest, L4MatchAttributes, TlsMatchAttributes, VirtualService};
use crate::matcher::HostMap;
use crate::model::Node;
use crate::registry::Resource;
use crate::string_map::StringMap;
use crate::visibility::Visibility;

/// The reserved gateway name for all sidecars.
pub(super) const MESH: &str = "mesh";

/// A VirtualService that is visible to the client.
pub(super) struct Candidate<'r> {
    /// Object and spec.
    pub(super) object: &'r Resource<VirtualService>,
    /// Hosts, completed and in lower case.
    pub(super) hosts: Vec<String>,
    /// HTTP rules, delegated ones included.
    pub(super) http: Vec<HttpRule<'r>>,
    /// `mesh` or `namespace/name` of Gateways.
    gateways: Vec<String>,
}

impl Candidate<'_> {
    /// Whether the VirtualService is bound to a gateway (`mesh` or `namespace/name`).
    pub(super) fn is_bound_to(&self, gateway: &str) -> bool {
        self.gateways.iter().any(|name| name == gateway)
    }
}

/// Visible VirtualServices in order of precedence: private ones of the client's namespace, those exported to it by
/// name, public ones; each group oldest first.
pub(super) fn candidates<'r>(
    objects: impl Iterator<Item = &'r Resource<VirtualService>> + Clone,
    node: &Node,
    default_export_to: &'r [String],
) -> Vec<Candidate<'r>> {
    let delegates = Delegates::new(objects.clone(), default_export_to);
    let mut ranked: Vec<(u8, Candidate<'r>)> = Vec::new();
    for object in objects.filter(|object| !object.hosts.is_empty()) {
        let visibility = Visibility::of(&object.export_to, default_export_to, object.namespace());
        if visibility.admits(object.namespace(), &node.namespace) {
            let rank = match visibility {
                Visibility::Private => 0,
                Visibility::Namespaces(_) => 1,
                Visibility::Public | Visibility::Nobody => 2,
            };
            ranked.push((rank, candidate(object, &delegates, node)));
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, candidate)| candidate).collect()
}

fn candidate<'r>(object: &'r Resource<VirtualService>, delegates: &Delegates<'r>, node: &Node) -> Candidate<'r> {
    let hosts = object.hosts.iter().map(|name| host::expand(name, object.namespace(), &node.cluster_domain)).collect();
    let gateways = match object.gateways.as_slice() {
        [] => vec![MESH.to_owned()],
        names => names.iter().map(|name| gateway_name(name, object.namespace())).collect(),
    };
    Candidate { object, hosts, http: delegates.rules(object), gateways }
}

/// `name` and `./name` mean the own namespace.
fn gateway_name(name: &str, namespace: &str) -> String {
    match name.strip_prefix("./").or((name != MESH && !name.contains('/')).then_some(name)) {
        Some(local) => format!("{namespace}/{local}"),
        None => name.to_owned(),
    }
}

/// VirtualServices of one gateway (or of the mesh) by host, for lookup by service.
#[derive(Default)]
pub(super) struct ByHost {
    hosts: Vec<Vec<usize>>,
    map: HostMap,
}

impl ByHost {
    /// Files the candidates bound to `gateway` by their hosts.
    pub(super) fn new(candidates: &[Candidate<'_>], gateway: &str) -> Self {
        let mut by_host = ByHost::default();
        let mut positions: HashMap<&str, usize> = HashMap::new();
        for (index, candidate) in candidates.iter().enumerate().filter(|(_, candidate)| candidate.is_bound_to(gateway)) {
            for name in &candidate.hosts {
                let next = by_host.hosts.len();
                let position = *positions.entry(name).or_insert(next);
                if position == next {
                    by_host.map.insert(name, position);
                    by_host.hosts.push(Vec::new());
                }
                by_host.hosts[position].push(index);
            }
        }
        by_host
    }

    /// The VirtualServices for a service, best first: those with the most specific host that covers it, and no others.
    pub(super) fn find(&self, service_host: &str) -> &[usize] {
        let position = self.map.find(service_host);
        position.and_then(|position| self.hosts.get(position)).map_or(&[], Vec::as_slice)
    }
}

/// Where rules are evaluated: conditions that do not depend on the request are decided against this.
pub(super) struct Scope<'a> {
    /// `mesh`, or the Gateways whose servers share the table.
    pub(super) gateways: &'a [String],
    /// Service port (sidecar) or Gateway server port.
    pub(super) port: u16,
    /// The client pod, or the gateway pod.
    pub(super) node: &'a Node,
}

impl Scope<'_> {
    /// HTTP: a block that names gateways is not asked about its source.
    pub(super) fn admits_http(&self, condition: &HttpMatchRequest, namespace: &str) -> bool {
        let source = if condition.gateways.is_empty() {
            self.is_source(&condition.source_labels, &condition.source_namespace)
        } else {
            self.is_gateway(&condition.gateways, namespace)
        };
        source && self.is_port(condition.port)
    }

    /// TLS: all conditions count.
    pub(super) fn admits_tls(&self, condition: &TlsMatchAttributes, namespace: &str) -> bool {
        self.is_port(condition.port)
            && self.is_source(&condition.source_labels, &condition.source_namespace)
            && (condition.gateways.is_empty() || self.is_gateway(&condition.gateways, namespace))
    }

    /// TCP: all conditions count, except the source address, which Istio's sidecars ignore.
    pub(super) fn admits_tcp(&self, condition: &L4MatchAttributes, namespace: &str) -> bool {
        self.is_port(condition.port)
            && self.is_source(&condition.source_labels, &condition.source_namespace)
            && (condition.gateways.is_empty() || self.is_gateway(&condition.gateways, namespace))
    }

    fn is_port(&self, port: u32) -> bool {
        port == 0 || port == u32::from(self.port)
    }

    fn is_source(&self, labels: &StringMap, namespace: &str) -> bool {
        let carried = labels.iter().all(|(key, value)| self.node.labels.get(key) == Some(value));
        carried && (namespace.is_empty() || namespace == self.node.namespace)
    }

    fn is_gateway(&self, names: &[String], namespace: &str) -> bool {
        names.iter().any(|name| self.gateways.contains(&gateway_name(name, namespace)))
    }
}
