//! Outbound HTTP tables: one virtual host for each service of a port, and the catch-all for unknown hosts.
//!
//! Source: Istio semantics 1.2.

use std::collections::HashSet;

use super::context::Context;
use super::service::{Port, Service, ServiceKind};
use super::virtual_service::{ByHost, MESH, Scope};
use super::{host, route};
use crate::mesh::OutboundTrafficMode;
use crate::model::{Route, RouteConfiguration, VirtualHost};

/// VirtualService hosts that no service has take effect on this port only.
const PORT_OF_UNKNOWN_HOSTS: u16 = 80;

/// What the tables of all ports share.
pub(super) struct Tables<'c, 'r> {
    cx: &'c Context<'r>,
    by_host: ByHost,
    gateways: [String; 1],
    /// Hosts of VirtualServices with HTTP rules that no service has, in order of precedence.
    unknown_hosts: Vec<&'c str>,
}

impl<'c, 'r> Tables<'c, 'r> {
    /// Files the VirtualServices of the mesh.
    pub(super) fn new(cx: &'c Context<'r>) -> Self {
        let by_host = ByHost::new(&cx.virtual_services, MESH);
        Tables { cx, by_host, gateways: [MESH.to_owned()], unknown_hosts: unknown_hosts(cx) }
    }

    /// VirtualServices for a host, best first.
    pub(super) fn virtual_services(&self, host: &str) -> impl Iterator<Item = &'c super::virtual_service::Candidate<'r>> {
        self.by_host.find(host).iter().filter_map(|index| self.cx.virtual_services.get(*index))
    }

    /// The same for connections, where a rule for one name also serves a service that is a wildcard.
    pub(super) fn virtual_services_of_connections(&self, host: &str) -> Vec<&'c super::virtual_service::Candidate<'r>> {
        if !host.starts_with('*') {
            return self.virtual_services(host).collect();
        }
        let shares = |candidate: &&super::virtual_service::Candidate<'r>| {
            candidate.is_bound_to(MESH) && candidate.hosts.iter().any(|name| host::intersection(name, host).is_some())
        };
        self.cx.virtual_services.iter().filter(shares).collect()
    }

    /// Where rules for a port are evaluated.
    pub(super) fn scope(&self, port: u16) -> Scope<'_> {
        Scope { gateways: &self.gateways, port, node: self.cx.node }
    }

    /// Whether VirtualServices name hosts that are no services: they get a virtual host on port 80.
    pub(super) fn has_unknown_hosts(&self) -> bool {
        !self.unknown_hosts.is_empty()
    }

    /// The table shared by all services with HTTP, or detected, traffic on a port.
    pub(super) fn of_port(&self, port: u16, services: &[(&Service<'r>, &Port<'r>)]) -> RouteConfiguration {
        let table = port.to_string();
        let mut hosts: Vec<VirtualHost> =
            services.iter().map(|(service, port)| self.of_service(service, port, &table, domains(self.cx, service))).collect();
        if port == PORT_OF_UNKNOWN_HOSTS {
            hosts.extend(self.unknown_hosts.iter().filter_map(|host| self.of_unknown_host(host, &table)));
        }
        hosts.push(self.catch_all(&table));
        RouteConfiguration::new(table, hosts)
    }

    /// The table of one service with detected traffic at its own address: every Host leads there.
    pub(super) fn of_address(&self, service: &Service<'r>, port: &Port<'r>) -> RouteConfiguration {
        let table = format!("{}:{}", service.host(), port.number);
        let host = self.of_service(service, port, &table, vec!["*".to_owned()]);
        RouteConfiguration::new(table, vec![host])
    }

    fn of_service(&self, service: &Service<'r>, port: &Port<'r>, table: &str, domains: Vec<String>) -> VirtualHost {
        let place = format!("host {} table {table}", service.host());
        let routes = self.routes(service.host(), port.number, &place);
        let routes = routes.unwrap_or_else(|| vec![route::of_service(self.cx, service, port, &place)]);
        virtual_host(format!("{}:{}", service.host(), port.number), domains, routes)
    }

    fn of_unknown_host(&self, name: &str, table: &str) -> Option<VirtualHost> {
        let routes = self.routes(name, PORT_OF_UNKNOWN_HOSTS, &format!("host {name} table {table}"))?;
        let domains = host::names(name, &self.cx.node.namespace, &self.cx.node.cluster_domain);
        Some(virtual_host(format!("{name}:{PORT_OF_UNKNOWN_HOSTS}"), domains, routes))
    }

    /// The routes of the first VirtualService that has any for this host and port.
    fn routes(&self, host: &str, port: u16, place: &str) -> Option<Vec<Route>> {
        let scope = self.scope(port);
        let mut routes = self.virtual_services(host).map(|candidate| route::of_virtual_service(self.cx, candidate, &scope, place));
        routes.find(|routes| !routes.is_empty())
    }

    fn catch_all(&self, table: &str) -> VirtualHost {
        let route = match self.cx.mesh.outbound_traffic_policy {
            OutboundTrafficMode::RegistryOnly => route::block_all(self.cx, &format!("table {table}")),
            _ => route::allow_any(self.cx, &format!("table {table}")),
        };
        virtual_host(route.name.clone(), vec!["*".to_owned()], vec![route])
    }
}

fn unknown_hosts<'c>(cx: &'c Context<'_>) -> Vec<&'c str> {
    let bound = cx.virtual_services.iter().filter(|candidate| candidate.is_bound_to(MESH) && !candidate.http.is_empty());
    let mut seen = HashSet::new();
    let known = |host: &str| match host.starts_with('*') {
        true => host == "*" || cx.services.iter().any(|service| host::covers(host, service.host())),
        false => cx.services.get(host).is_some(),
    };
    let hosts = bound.flat_map(|candidate| &candidate.hosts).map(String::as_str);
    hosts.filter(|host| seen.insert(*host) && !known(host)).collect()
}

/// A virtual host; the table that takes it in builds its index.
pub(super) fn virtual_host(name: String, domains: Vec<String>, routes: Vec<Route>) -> VirtualHost {
    VirtualHost { name, domains: domains.into_iter().collect(), routes, index: Default::default(), require_tls: false }
}

/// Everything a Host header may say to mean a service.
fn domains(cx: &Context<'_>, service: &Service<'_>) -> Vec<String> {
    let names = |host: &str| host::names(host, &cx.node.namespace, &cx.node.cluster_domain);
    let mut domains: Vec<String> = std::iter::once(service.host()).chain(service.aliases.iter().copied()).flat_map(names).collect();
    if service.kind == ServiceKind::Headless {
        let pods: Vec<String> = domains.iter().map(|name| format!("*.{name}")).collect();
        domains.extend(pods);
    }
    domains.extend(service.addresses.iter().map(|address| host::address_domain(*address)));
    domains
}
