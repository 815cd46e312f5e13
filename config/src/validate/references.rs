//! Rules about more than one object: references that lead nowhere, and objects that contradict each other.
//!
//! Nothing here removes an object. What is missing may still come, and until then the data plane answers as Istio's does.

use std::collections::{HashMap, HashSet};

use super::common::{covers, overlap};
use super::gateway::is_plain_http;
use crate::api::virtual_service::{Destination, VirtualService};
use crate::decode::Path;
use crate::diagnostic::{self, Diagnostic, Severity};
use crate::registry::{Registry, Resource, Service, Transport};
use crate::string_map::StringMap;

type Labels = StringMap;

/// Checks all references between the objects of a registry. The result is ordered by file and line.
pub fn check(registry: &Registry) -> Vec<Diagnostic> {
    let mut references = References::new(registry);
    for object in &registry.virtual_services {
        references.virtual_service(object);
    }
    references.conflicting_hosts();
    references.destination_rules();
    references.gateways();
    references.policies();
    references.service_ports();
    let mut found = references.found;
    diagnostic::sort(&mut found);
    found
}

struct References<'r> {
    registry: &'r Registry,
    /// Labels of pods, and of the templates that make pods, by namespace and by each label they carry.
    pods: HashMap<(&'r str, &'r str, &'r str), Vec<&'r Labels>>,
    /// Services with wildcard hosts.
    wildcards: Vec<&'r Service>,
    /// Subsets by full host, also of wildcard hosts.
    subsets: HashMap<String, HashSet<&'r str>>,
    found: Vec<Diagnostic>,
}

impl<'r> References<'r> {
    fn new(registry: &'r Registry) -> Self {
        let mut subsets: HashMap<String, HashSet<&'r str>> = HashMap::new();
        for rule in &registry.destination_rules {
            let host = registry.resolve_host(&rule.spec.host, rule.namespace());
            subsets.entry(host).or_default().extend(rule.spec.subsets.iter().map(|subset| subset.name.as_str()));
        }
        let services = registry.services().iter().map(|service| &**service);
        let wildcards = services.filter(|service| service.hostname.starts_with('*')).collect();
        References { registry, pods: pod_labels(registry), wildcards, subsets, found: Vec::new() }
    }

    fn report<T>(&mut self, on: &Resource<T>, severity: Severity, code: &'static str, path: &Path<'_>, message: String) {
        self.found.push(on.object.diagnostic(severity, code, path.to_string(), message));
    }

    /// The services a host of a rule stands for: by name, or covered by the wildcard of a ServiceEntry.
    fn service(&self, host: &str) -> Option<&'r Service> {
        let exact = self.registry.service(host);
        let covering = || self.wildcards.iter().find(|service| covers(&service.hostname, host)).copied();
        exact.map(|service| &**service).or_else(covering)
    }

    /// Whether a pod of the namespace carries all labels. Only the pods with the rarest of them are looked at.
    fn selects_pods<'s>(&'s self, namespace: &'s str, selector: &'s Labels) -> bool {
        let with = |(key, value): (&'s String, &'s String)| self.pods.get(&(namespace, key.as_str(), value.as_str()));
        let lists: Option<Vec<_>> = selector.iter().map(with).collect();
        let rarest = lists.and_then(|lists| lists.into_iter().min_by_key(|pods| pods.len()));
        rarest.is_some_and(|pods| pods.iter().any(|labels| has_all(labels, selector)))
    }

    fn virtual_service(&mut self, on: &Resource<VirtualService>) {
        let spec = &Path::Root.field("spec");
        for (index, name) in on.spec.gateways.iter().enumerate().filter(|(_, name)| *name != "mesh") {
            self.gateway_reference(on, &spec.field("gateways").index(index), name);
        }
        let http = &spec.field("http");
        for (index, route) in on.spec.http.iter().enumerate() {
            let at = &http.index(index);
            let routes = &at.field("route");
            for (index, entry) in route.route.iter().enumerate() {
                self.destination(on, &routes.index(index).field("destination"), &entry.destination);
            }
            for mirror in route.mirror.iter().chain(route.mirrors.iter().filter_map(|mirror| mirror.destination.as_ref())) {
                self.destination(on, &at.field("mirror"), mirror);
            }
        }
        let tls = on.spec.tls.iter().map(|route| &route.route).enumerate().map(|(index, route)| ("tls", index, route));
        let tcp = on.spec.tcp.iter().map(|route| &route.route).enumerate().map(|(index, route)| ("tcp", index, route));
        for (list, index, routes) in tls.chain(tcp) {
            for (number, entry) in routes.iter().enumerate() {
                let path = spec.field(list);
                let path = path.index(index);
                let path = path.field("route");
                self.destination(on, &path.index(number).field("destination"), &entry.destination);
            }
        }
    }

    /// A gateway must exist and serve the hosts.
    fn gateway_reference(&mut self, on: &Resource<VirtualService>, path: &Path<'_>, reference: &str) {
        let (namespace, name) = match reference.split_once('/') {
            Some((".", name)) => (&**on.namespace(), name),
            Some((namespace, name)) => (namespace, name),
            None => (&**on.namespace(), reference),
        };
        let Some(gateway) = self.registry.gateways.get(namespace, name) else {
            let message = format!("there is no Gateway {namespace}/{name}; nothing is routed through it");
            return self.report(on, Severity::Error, "IST0101", path, message);
        };
        let served: Vec<&str> = gateway.spec.servers.iter().flat_map(|server| &server.hosts).map(|host| bare(host)).collect();
        let full = |host| self.registry.resolve_host(host, on.namespace());
        if !on.spec.hosts.iter().any(|host| served.iter().any(|served| overlap(served, &full(host)))) {
            let message = format!("no server of Gateway {namespace}/{name} has a host of this object, so it is not routed there");
            self.report(on, Severity::Warning, "IST0132", path, message);
        }
    }

    fn destination(&mut self, on: &Resource<VirtualService>, path: &Path<'_>, destination: &Destination) {
        let host = self.registry.resolve_host(&destination.host, on.namespace());
        let Some(service) = self.service(&host) else {
            let message = format!("there is no service {host:?}; requests sent there get 503");
            return self.report(on, Severity::Error, "IST0101", &path.field("host"), message);
        };
        let tcp_ports = || service.ports.iter().filter(|port| port.transport == Transport::Tcp);
        match &destination.port {
            Some(port) if !tcp_ports().any(|known| u32::from(known.number) == port.number) => {
                let message = format!("service {host:?} has no port {}; requests sent there get 503", port.number);
                self.report(on, Severity::Error, "IST0101", &path.field("port").field("number"), message);
            }
            None if tcp_ports().count() > 1 => {
                let message = format!("service {host:?} has several ports; expected port.number, else the port of the request is taken");
                self.report(on, Severity::Error, "IST0112", &path.field("host"), message);
            }
            _ => {}
        }
        if !destination.subset.is_empty() && !self.has_subset(&host, &destination.subset) {
            let message = format!("no DestinationRule for {host:?} defines subset {:?}; requests sent there get 503", destination.subset);
            self.report(on, Severity::Error, "IST0101", &path.field("subset"), message);
        }
    }

    fn has_subset(&self, host: &str, subset: &str) -> bool {
        let defines = |subsets: &HashSet<&str>| subsets.contains(subset);
        let wildcard =
            || self.subsets.iter().any(|(pattern, subsets)| pattern.starts_with('*') && covers(pattern, host) && defines(subsets));
        self.subsets.get(host).is_some_and(defines) || wildcard()
    }

    /// Where two VirtualServices for one host are visible in the mesh, one of them has no effect.
    fn conflicting_hosts(&mut self) {
        let mut owners: HashMap<String, Vec<&Resource<VirtualService>>> = HashMap::new();
        for on in self.registry.virtual_services.iter().filter(|on| super::virtual_service::is_for_mesh(&on.spec)) {
            for (index, host) in on.spec.hosts.iter().enumerate() {
                let earlier = owners.entry(self.registry.resolve_host(host, on.namespace())).or_default();
                let rival = earlier.iter().copied().find(|owner| !std::ptr::eq(*owner, on) && self.meet(owner, on));
                earlier.push(on);
                if let Some(owner) = rival {
                    let message = format!(
                        "{} comes first (oldest, then by name) and has this host in the mesh; this object's rules for it have no effect where both are visible",
                        owner.object.id
                    );
                    self.report(on, Severity::Error, "IST0109", &Path::Root.field("spec").field("hosts").index(index), message);
                }
            }
        }
    }

    /// Whether some namespace sees both objects.
    fn meet(&self, a: &Resource<VirtualService>, b: &Resource<VirtualService>) -> bool {
        let (a, b) = (self.seen_by(a), self.seen_by(b));
        a.contains(&"*") || b.contains(&"*") || a.iter().any(|namespace| b.contains(namespace))
    }

    fn seen_by<'s>(&'s self, on: &'s Resource<VirtualService>) -> Vec<&'s str> {
        let default = &self.registry.mesh().default_virtual_service_export_to;
        let list = if on.spec.export_to.is_empty() { default } else { &on.spec.export_to };
        list.iter().map(|entry| if entry == "." { on.namespace() } else { entry.as_str() }).collect()
    }

    fn destination_rules(&mut self) {
        for on in &self.registry.destination_rules {
            let spec = &Path::Root.field("spec");
            let host = self.registry.resolve_host(&on.spec.host, on.namespace());
            let covered = || host.starts_with('*') && self.registry.services().iter().any(|service| covers(&host, &service.hostname));
            let known = self.service(&host).is_some() || covered();
            if !known {
                let message = format!("there is no service {host:?}; this rule has no effect");
                self.report(on, Severity::Warning, "IST0174", &spec.field("host"), message);
                continue;
            }
            let Some(service) = self.registry.service(&host).filter(|service| !service.selector.is_empty()) else {
                continue;
            };
            for (index, subset) in on.spec.subsets.iter().enumerate().filter(|(_, subset)| !subset.labels.is_empty()) {
                let mut labels = service.selector.clone();
                labels.extend(subset.labels.clone());
                if !self.selects_pods(&service.namespace, &labels) {
                    let message =
                        format!("no pod of service {host:?} carries the labels of subset {:?}; requests sent there get 503", subset.name);
                    self.report(on, Severity::Error, "IST0173", &spec.field("subsets").index(index).field("labels"), message);
                }
            }
        }
    }

    fn gateways(&mut self) {
        let mut claimed: Vec<(&Labels, u32, &str, &Resource<_>)> = Vec::new();
        for on in &self.registry.gateways {
            let spec = &Path::Root.field("spec");
            let selected = all_labels(self.registry).any(|(_, labels)| has_all(labels, &on.spec.selector));
            // Manifests without any pod say nothing about which gateways run in the cluster they are meant for.
            if !on.spec.selector.is_empty() && !selected && !self.registry.pods.is_empty() {
                let message = "no pod carries these labels, so nothing listens for this Gateway";
                self.report(on, Severity::Error, "IST0101", &spec.field("selector"), message.into());
            }
            for (index, server) in on.spec.servers.iter().enumerate() {
                let Some(port) = server.port.as_ref() else { continue };
                for host in &server.hosts {
                    let conflict = claimed.iter().find(|(selector, number, claimed, other)| {
                        let elsewhere = !std::ptr::eq(*other, on);
                        elsewhere
                            && *number == port.number
                            && *claimed == bare(host)
                            && (has_all(selector, &on.spec.selector) || has_all(&on.spec.selector, selector))
                    });
                    if let Some((.., other)) = conflict.filter(|_| !is_plain_http(&port.protocol)) {
                        let message = format!(
                            "{} is older and serves {host:?} on port {} of the same pods; this server is dropped",
                            other.object.id, port.number
                        );
                        self.report(on, Severity::Error, "IST0145", &spec.field("servers").index(index), message);
                    }
                    claimed.push((&on.spec.selector, port.number, bare(host), on));
                }
            }
        }
    }

    /// A policy for pods that do not exist protects nothing.
    fn policies(&mut self) {
        for on in &self.registry.peer_authentications {
            let selector = on.spec.selector.as_ref().map(|selector| &selector.match_labels);
            if let Some(labels) = selector.filter(|labels| !labels.is_empty() && !self.selects_pods(on.namespace(), labels)) {
                let message = format!("no pod of namespace {} carries {}; the policy has no effect", on.namespace(), show(labels));
                let spec = Path::Root.field("spec");
                self.report(on, Severity::Warning, "IST0127", &spec.field("selector").field("matchLabels"), message);
            }
        }
    }

    /// Ports whose protocol is left to detection.
    fn service_ports(&mut self) {
        for on in &self.registry.kubernetes_services {
            if on.spec.spec.kind == "ExternalName" || matches!(&**on.namespace(), "kube-system" | "kube-public") {
                continue;
            }
            for (index, port) in on.spec.spec.ports.iter().enumerate() {
                let told = port.app_protocol.as_deref().is_some_and(is_protocol_name) || is_protocol_name(prefix(&port.name));
                let implied = matches!(port.port, 25 | 53 | 3306 | 27017) || port.protocol == "UDP";
                if !told && !implied {
                    let message = format!(
                        "the name {:?} does not begin with a protocol (such as \"http-\"), so the protocol is detected per connection",
                        port.name
                    );
                    let spec = Path::Root.field("spec");
                    self.report(on, Severity::Info, "IST0118", &spec.field("ports").index(index).field("name"), message);
                }
            }
        }
    }
}

/// What a Service port name says about the protocol.
fn prefix(name: &str) -> &str {
    if name.starts_with("grpc-web") {
        return "grpc-web";
    }
    name.split('-').next().unwrap_or(name)
}

fn is_protocol_name(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "http",
        "http2",
        "https",
        "grpc",
        "grpc-web",
        "tcp",
        "tls",
        "mongo",
        "mysql",
        "redis",
        "udp",
        "kubernetes.io/h2c",
        "kubernetes.io/ws",
        "kubernetes.io/wss",
    ];
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// The DNS name of a Gateway host.
fn bare(host: &str) -> &str {
    host.split_once('/').map_or(host, |(_, name)| name)
}

fn has_all(labels: &Labels, selector: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn show(labels: &Labels) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn pod_labels(registry: &Registry) -> HashMap<(&str, &str, &str), Vec<&Labels>> {
    let mut pods: HashMap<(&str, &str, &str), Vec<&Labels>> = HashMap::new();
    for (namespace, labels) in all_labels(registry) {
        for (key, value) in labels {
            pods.entry((namespace, key, value)).or_default().push(labels);
        }
    }
    pods
}

/// Namespace and labels of every pod and of every template that makes pods.
fn all_labels(registry: &Registry) -> impl Iterator<Item = (&str, &Labels)> {
    macro_rules! templates {
        ($table:ident) => {
            registry.$table.iter().map(|made| (&**made.namespace(), &made.spec.spec.template.metadata.labels))
        };
    }
    let pods = registry.pods.iter().map(|pod| (&**pod.namespace(), &pod.object.meta.labels));
    pods.chain(templates!(deployments))
        .chain(templates!(stateful_sets))
        .chain(templates!(daemon_sets))
        .chain(templates!(replica_sets))
        .chain(templates!(jobs))
}
