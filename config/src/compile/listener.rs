//! Outbound listeners: which addresses and ports lead to which services.
//!
//! Source: Istio semantics 5.3. HTTP services share one listener for each port, and the Host decides. All others have
//! listeners of their own at their addresses; those without an address share the port.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use super::context::Context;
use super::host;
use super::service::{Port, Service, ServiceKind};
use super::tcp_route::{self, SubnetRoute};
use super::virtual_host::Tables;
use crate::model::{ClusterId, Listener, ListenerProtocol, Outbound, SniRoute, TcpRoute};
use crate::protocol::{Protocol, WELL_KNOWN_TCP};
use crate::registry::Address;

/// All listeners of a sidecar.
pub(super) fn outbound(cx: &Context<'_>, unknown: ClusterId) -> Outbound {
    let mut builder =
        Builder { cx, tables: Tables::new(cx), outbound: Outbound { unknown, ..Outbound::default() }, ports: BTreeMap::new() };
    for service in cx.services.iter() {
        for port in &service.ports {
            builder.add(service, port);
        }
    }
    if builder.tables.has_unknown_hosts() {
        builder.ports.entry(80).or_default().claim(80, ListenerProtocol::Http);
    }
    builder.finish()
}

struct Builder<'c, 'r> {
    cx: &'c Context<'r>,
    tables: Tables<'c, 'r>,
    outbound: Outbound,
    ports: BTreeMap<u16, SharedPort<'c, 'r>>,
}

/// What services without an address of their own, and all HTTP services, want on a port.
#[derive(Default)]
struct SharedPort<'c, 'r> {
    /// The first claim; on well-known ports others are dropped.
    first: Option<ListenerProtocol>,
    /// Whether a listener must parse HTTP.
    http: bool,
    /// Services in the HTTP table; a table is built only where a listener needs it.
    services: Vec<(&'c Service<'r>, &'c Port<'r>)>,
    tls: Vec<SniRoute>,
    tcp: Option<TcpRoute>,
}

impl SharedPort<'_, '_> {
    /// Notes a claim; false when the port is left to the first one. HTTP cannot be told from a server that speaks first
    /// on ports where that is the custom.
    fn claim(&mut self, port: u16, protocol: ListenerProtocol) -> bool {
        let http = protocol == ListenerProtocol::Http;
        let first = *self.first.get_or_insert(protocol);
        if WELL_KNOWN_TCP.contains(&port) && (first == ListenerProtocol::Http) != http {
            return false;
        }
        self.http |= matches!(protocol, ListenerProtocol::Http | ListenerProtocol::Auto);
        true
    }
}

impl<'c, 'r> Builder<'c, 'r> {
    fn add(&mut self, service: &'c Service<'r>, port: &'c Port<'r>) {
        let protocol = port.protocol.listener();
        if matches!(protocol, ListenerProtocol::Http | ListenerProtocol::Auto) {
            self.ports.entry(port.number).or_default().services.push((service, port));
        }
        if protocol == ListenerProtocol::Http {
            self.ports.entry(port.number).or_default().claim(port.number, protocol);
            return;
        }
        let addresses = addresses(service, port);
        for address in &addresses {
            let socket = SocketAddr::new(*address, port.number);
            if !self.outbound.by_address.contains_key(&socket) {
                let listener = self.own_listener(service, port, *address);
                self.outbound.by_address.insert(socket, Arc::new(listener));
            }
        }
        for network in &service.networks {
            self.add_network(service, port, *network);
        }
        if addresses.is_empty() && service.networks.is_empty() && service.kind != ServiceKind::Headless {
            self.share(service, port);
        }
    }

    /// The listener of a service at one of its addresses.
    fn own_listener(&self, service: &Service<'r>, port: &Port<'r>, address: IpAddr) -> Listener {
        let name = format!("{}_{}", host::address_domain(address), port.number);
        let place = format!("listener {name}");
        let protocol = port.protocol.listener();
        let tls = self.tls(service, port, &place).into_iter().filter(|route| {
            route.destination_subnets.is_empty() || route.destination_subnets.iter().any(|subnet| subnet.contains(&address))
        });
        let tls = tcp_route::by_specificity(tls.collect());
        let ruled = if port.protocol.is_tls() { None } else { tcp_route::for_address(self.tcp(service, port, &place), Some(address)) };
        // Rules by server name leave no room for connections that none of them takes.
        let plain = || (tls.is_empty() || !port.protocol.is_tls()).then(|| self.plain(service, port, &place));
        let tcp = ruled.or_else(plain);
        let http = (protocol == ListenerProtocol::Auto).then(|| Arc::new(self.tables.of_address(service, port)));
        Listener { name, protocol, http, tls, tcp }
    }

    fn add_network(&mut self, service: &Service<'r>, port: &Port<'r>, network: IpNet) {
        let mut listener = self.own_listener(service, port, network.addr());
        listener.name = format!("0.0.0.0_{}", port.number);
        if port.protocol.is_tls() && listener.tls.is_empty() {
            listener.tls.extend(listener.tcp.take().map(|route| by_host(service, route)));
        }
        self.outbound.by_network.push((network, port.number, Arc::new(listener)));
    }

    /// A service without an address: it shares the port with others.
    fn share(&mut self, service: &'c Service<'r>, port: &'c Port<'r>) {
        let place = format!("listener 0.0.0.0_{} {}", port.number, service.host());
        let tls = self.tls(service, port, &place);
        let ruled = if port.protocol.is_tls() { Vec::new() } else { self.tcp(service, port, &place) };
        let plain = self.plain(service, port, &place);
        let shared = self.ports.entry(port.number).or_default();
        if !shared.claim(port.number, port.protocol.listener()) {
            return;
        }
        if port.protocol.is_tls() {
            shared.tls.extend(if tls.is_empty() { vec![by_host(service, plain)] } else { tls });
            return;
        }
        shared.tls.extend(tls);
        let (limited, open): (Vec<SubnetRoute>, Vec<SubnetRoute>) = ruled.into_iter().partition(|route| !route.subnets.is_empty());
        let tcp = tcp_route::for_address(open, None).unwrap_or(plain);
        shared.tcp.get_or_insert(tcp);
        self.add_subnets(port.number, limited);
    }

    /// Rules for destination blocks on a port that has no address: listeners for those blocks.
    fn add_subnets(&mut self, port: u16, routes: Vec<SubnetRoute>) {
        for SubnetRoute { subnets, route } in routes {
            let name = format!("0.0.0.0_{port}");
            let listener = Listener { name, protocol: ListenerProtocol::Tcp, http: None, tls: Vec::new(), tcp: Some(route) };
            let listener = Arc::new(listener);
            self.outbound.by_network.extend(subnets.into_iter().map(|subnet| (subnet, port, listener.clone())));
        }
    }

    /// `tls` rules of the first VirtualService that has any here.
    fn tls(&self, service: &Service<'r>, port: &Port<'r>, place: &str) -> Vec<SniRoute> {
        if !port.protocol.is_tls() && port.protocol != Protocol::Auto {
            return Vec::new();
        }
        let scope = self.tables.scope(port.number);
        let candidates = self.tables.virtual_services_of_connections(service.host()).into_iter();
        candidates
            .map(|candidate| tcp_route::tls(self.cx, candidate, &scope, &[], place))
            .find(|routes| !routes.is_empty())
            .unwrap_or_default()
    }

    /// `tcp` rules, likewise.
    fn tcp(&self, service: &Service<'r>, port: &Port<'r>, place: &str) -> Vec<SubnetRoute> {
        let scope = self.tables.scope(port.number);
        let candidates = self.tables.virtual_services_of_connections(service.host()).into_iter();
        candidates.map(|candidate| tcp_route::tcp(self.cx, candidate, &scope, place)).find(|routes| !routes.is_empty()).unwrap_or_default()
    }

    fn plain(&self, service: &Service<'r>, port: &Port<'r>, place: &str) -> TcpRoute {
        tcp_route::plain(self.cx, host::outbound_cluster(port.number, "", service.host()), place)
    }

    fn finish(mut self) -> Outbound {
        for (port, shared) in std::mem::take(&mut self.ports) {
            let Some(protocol) = shared_protocol(&shared) else { continue };
            let http = shared.http.then(|| Arc::new(self.tables.of_port(port, &shared.services)));
            let tls = tcp_route::by_specificity(shared.tls);
            let listener = Listener { name: format!("0.0.0.0_{port}"), protocol, http, tls, tcp: shared.tcp };
            self.outbound.by_port.insert(port, Arc::new(listener));
        }
        self.outbound.by_network.sort_by_key(|(network, _, _)| std::cmp::Reverse(network.prefix_len()));
        self.outbound
    }
}

/// One kind of claim gives its protocol, several are told apart by detection.
fn shared_protocol(shared: &SharedPort<'_, '_>) -> Option<ListenerProtocol> {
    match (shared.http, !shared.tls.is_empty(), shared.tcp.is_some()) {
        (false, false, false) => None,
        (true, false, false) => Some(ListenerProtocol::Http),
        (false, true, false) => Some(ListenerProtocol::Tls),
        (false, false, true) => Some(ListenerProtocol::Tcp),
        _ => Some(ListenerProtocol::Auto),
    }
}

/// Where a listener of its own stands: virtual addresses, or the pods of a headless service.
fn addresses(service: &Service<'_>, port: &Port<'_>) -> Vec<IpAddr> {
    if service.kind != ServiceKind::Headless {
        return service.addresses.clone();
    }
    let pods = service.definition.usable_endpoints(port.definition).filter_map(|endpoint| match endpoint.address {
        Address::Ip(address) => Some(address),
        _ => None,
    });
    let mut addresses: Vec<IpAddr> = pods.collect();
    addresses.sort();
    addresses.dedup();
    addresses
}

/// On a port shared by several services the server name must be the service's.
fn by_host(service: &Service<'_>, route: TcpRoute) -> SniRoute {
    SniRoute { sni_hosts: vec![service.host().to_owned()], destination_subnets: Vec::new(), route }
}
