//! Services as this client sees them: visible ones, one for each host, with protocols decided.
//!
//! Source: Istio semantics 4.2 (conflicts between definitions), 5.1 and 5.4 (protocols and variants).

use std::net::IpAddr;

use foldhash::{HashMap, HashMapExt};

use ipnet::IpNet;

use crate::model::{Node, ProxyType, ServiceRef};
use crate::protocol::Protocol;
use crate::registry::{self, Registry, Resolution, ServicePort, Transport};
use crate::visibility::Visibility;

/// A service that the client can address.
pub(super) struct Service<'r> {
    /// What the registry knows.
    pub(super) definition: &'r registry::Service,
    /// How endpoints are found by this client.
    pub(super) kind: ServiceKind<'r>,
    /// Addresses at which clients reach it.
    pub(super) addresses: Vec<IpAddr>,
    /// CIDR blocks in the place of addresses.
    pub(super) networks: Vec<IpNet>,
    /// Ports that a proxy handles.
    pub(super) ports: Vec<Port<'r>>,
    /// Hosts of ExternalName Services that stand for this one.
    pub(super) aliases: Vec<&'r str>,
}

/// How a service finds its endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServiceKind<'r> {
    /// Known endpoints behind a virtual address or a name.
    Endpoints,
    /// The client has chosen a pod already: a headless Service.
    Headless,
    /// The address the client dialled: ServiceEntry resolution NONE. DYNAMIC_DNS too, for the client has resolved the
    /// name of its request itself.
    OriginalDst,
    /// Names resolved by the proxy.
    Dns,
    /// An ExternalName that is no service of the mesh: this name is resolved.
    External(&'r str),
}

/// A port of a service.
pub(super) struct Port<'r> {
    /// Service port.
    pub(super) number: u16,
    /// Declared, or to be detected.
    pub(super) protocol: Protocol,
    /// What the registry knows.
    pub(super) definition: &'r ServicePort,
}

impl<'r> Service<'r> {
    fn new(definition: &'r registry::Service, node: &Node) -> Self {
        let full = |net: &IpNet| net.prefix_len() == net.max_prefix_len();
        let (addresses, networks): (Vec<IpNet>, Vec<IpNet>) = definition.addresses.iter().partition(|net| full(net));
        let ports = definition.ports.iter().filter(|port| port.transport == Transport::Tcp);
        let ports = ports.map(|port| Port { number: port.number, protocol: protocol(definition, port), definition: port });
        Service {
            definition,
            kind: kind(definition, node.proxy_type),
            addresses: addresses.into_iter().map(|net| net.addr()).collect(),
            networks,
            ports: ports.filter(|port| port.protocol != Protocol::Udp).collect(),
            aliases: Vec::new(),
        }
    }

    /// FQDN, or the ServiceEntry's host; lower case, perhaps a wildcard.
    pub(super) fn host(&self) -> &'r str {
        &self.definition.hostname
    }

    /// As metric labels name it.
    pub(super) fn reference(&self) -> ServiceRef {
        reference(self.definition)
    }
}

/// A service as metric labels name it.
pub(super) fn reference(service: &registry::Service) -> ServiceRef {
    ServiceRef { host: service.hostname.to_string(), name: service.name.to_string(), namespace: service.namespace.to_string() }
}

/// The protocol of a port. A ServiceEntry says it in so many words; port names and numbers mean nothing there.
pub(super) fn protocol(service: &registry::Service, port: &ServicePort) -> Protocol {
    if !service.is_kubernetes() {
        return Protocol::parse(&port.app_protocol).unwrap_or(Protocol::Auto);
    }
    let text = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
    Protocol::of_service_port(None, text(&port.app_protocol).as_deref(), text(&port.name).as_deref(), port.number)
}

fn kind(service: &registry::Service, proxy: ProxyType) -> ServiceKind<'_> {
    match &service.resolution {
        Resolution::ClientSide => ServiceKind::Endpoints,
        // Nobody dialled an address at a gateway: it balances over what is known.
        Resolution::Passthrough | Resolution::DynamicDns if proxy == ProxyType::Router => ServiceKind::Endpoints,
        Resolution::Passthrough if service.is_kubernetes() => ServiceKind::Headless,
        Resolution::Passthrough | Resolution::DynamicDns => ServiceKind::OriginalDst,
        Resolution::Dns | Resolution::DnsRoundRobin => ServiceKind::Dns,
        Resolution::Alias(target) => ServiceKind::External(target),
    }
}

/// All services that the client sees, at most one for each host.
pub(super) struct Services<'r> {
    list: Vec<Service<'r>>,
    /// Hosts, ExternalName hosts of the mesh included, to positions.
    by_host: HashMap<&'r str, usize>,
}

impl<'r> Services<'r> {
    /// Collects what is visible. Of several definitions of a host the client's namespace has the first choice, then the
    /// registry's order counts: Kubernetes Services, then ServiceEntries, each oldest first.
    pub(super) fn new(registry: &'r Registry, node: &Node) -> Self {
        let visible = |service: &&'r registry::Service| {
            let visibility = Visibility::of(&service.export_to, &[], &service.namespace);
            visibility.admits(&service.namespace, &node.namespace)
        };
        let mut services = Services { list: Vec::new(), by_host: HashMap::new() };
        let mut aliases = Vec::new();
        for definition in registry.services().iter().map(AsRef::as_ref).filter(visible) {
            match &definition.resolution {
                Resolution::Alias(target) => aliases.push((definition, target)),
                _ => services.add(definition, node),
            }
        }
        for (definition, target) in aliases {
            match services.by_host.get(target.as_str()).copied() {
                Some(position) => services.alias(definition, position),
                None => services.add(definition, node),
            }
        }
        services
    }

    fn add(&mut self, definition: &'r registry::Service, node: &Node) {
        match self.by_host.get(&*definition.hostname).copied() {
            None => {
                self.by_host.insert(&definition.hostname, self.list.len());
                self.list.push(Service::new(definition, node));
            }
            Some(position) => {
                let Some(known) = self.list.get_mut(position) else { return };
                let foreign = !known.definition.is_kubernetes() && *known.definition.namespace != *node.namespace;
                if foreign && *definition.namespace == *node.namespace {
                    *known = Service::new(definition, node);
                }
            }
        }
    }

    fn alias(&mut self, definition: &'r registry::Service, position: usize) {
        if let Some(target) = self.list.get_mut(position) {
            target.aliases.push(&definition.hostname);
            self.by_host.insert(&definition.hostname, position);
        }
    }

    /// The service of a host; an ExternalName Service leads to its target.
    pub(super) fn get(&self, host: &str) -> Option<&Service<'r>> {
        self.list.get(*self.by_host.get(host)?)
    }

    /// All services, in the registry's order.
    pub(super) fn iter(&self) -> std::slice::Iter<'_, Service<'r>> {
        self.list.iter()
    }
}
