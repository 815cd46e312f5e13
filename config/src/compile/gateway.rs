//! Gateway listeners and their route tables.
//!
//! Source: Istio semantics 3.4 (binding), 1.3 (merging of VirtualServices) and 3.5.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::context::Context;
use super::gateway_merge::{self, BoundServer, Family};
use super::tcp_route;
use super::virtual_host::virtual_host;
use super::virtual_service::{Candidate, Scope};
use super::{gateway_tls, host, route};
use crate::model::{
    GatewayListener, GatewayListenerKind, GatewayTlsAction, GatewayTlsChain, RouteConfiguration, SniRoute, TcpRoute, VirtualHost,
};
use crate::protocol::Protocol;

/// The listeners of a router.
pub(super) fn listeners(cx: &Context<'_>) -> Vec<GatewayListener> {
    let listener = |((port, bind), servers): ((u16, Option<std::net::IpAddr>), Vec<BoundServer<'_>>)| {
        let address = bind.map_or_else(|| "0.0.0.0".to_owned(), host::address_domain);
        let table = || bind.map_or_else(|| format!("http.{port}"), |_| format!("http.{port}.{address}"));
        let kind = match servers.first()?.family() {
            Family::Http => GatewayListenerKind::Http(Arc::new(http_table(cx, table(), &servers))),
            Family::Tls => GatewayListenerKind::Tls(servers.iter().map(|server| tls_chain(cx, server)).collect()),
            Family::Tcp => GatewayListenerKind::Tcp(servers.first().and_then(|server| tcp(cx, server))),
        };
        Some(GatewayListener { name: format!("{address}_{port}"), bind, port, kind })
    };
    gateway_merge::servers(cx).into_iter().filter_map(listener).collect()
}

fn tls_chain(cx: &Context<'_>, server: &BoundServer<'_>) -> GatewayTlsChain {
    let action = if server.passes_through() {
        GatewayTlsAction::Passthrough(passthrough(cx, server))
    } else if server.protocol == Protocol::Https {
        let port_name = server.server.port.as_ref().map(|port| port.name.as_str()).unwrap_or_default();
        let name = format!("https.{}.{port_name}.{}.{}", server.number, server.gateway.name(), server.gateway.namespace());
        let routes = Arc::new(http_table(cx, name, std::slice::from_ref(server)));
        GatewayTlsAction::Http { tls: Arc::new(gateway_tls::server(cx, server, true)), routes }
    } else {
        GatewayTlsAction::Tcp { tls: Arc::new(gateway_tls::server(cx, server, false)), route: tcp(cx, server) }
    };
    GatewayTlsChain { sni_hosts: server.names(), action }
}

/// Hosts that a VirtualService and a server share, if the VirtualService is bound to the server.
fn shared_hosts(candidate: &Candidate<'_>, server: &BoundServer<'_>) -> Vec<String> {
    if !candidate.is_bound_to(&server.gateway_name()) {
        return Vec::new();
    }
    let namespace = candidate.object.namespace();
    let admitting = server.hosts.iter().filter(|(from, _)| from == "*" || **from == **namespace);
    let mut shared: Vec<String> = Vec::new();
    for (_, name) in admitting {
        let hosts = candidate.hosts.iter().filter_map(|host| host::intersection(host, name));
        for host in hosts {
            if !shared.iter().any(|known| known == host) {
                shared.push(host.to_owned());
            }
        }
    }
    shared
}

/// What a table knows about one host: the VirtualServices in order of precedence, each with the server it came by.
#[derive(Default)]
struct HostEntry {
    virtual_services: BTreeMap<usize, usize>,
    require_tls: bool,
}

/// The routes of servers that share a table. VirtualServices of one host are joined in order of precedence; routes that
/// match everything then move to the end.
fn http_table(cx: &Context<'_>, name: String, servers: &[BoundServer<'_>]) -> RouteConfiguration {
    let mut hosts: BTreeMap<String, HostEntry> = BTreeMap::new();
    for (position, server) in servers.iter().enumerate() {
        for (index, candidate) in cx.virtual_services.iter().enumerate().filter(|(_, candidate)| !candidate.http.is_empty()) {
            for host in shared_hosts(candidate, server) {
                hosts.entry(host).or_default().virtual_services.entry(index).or_insert(position);
            }
        }
    }
    for server in servers.iter().filter(|server| server.server.tls.as_ref().is_some_and(|tls| tls.https_redirect)) {
        for name in server.names() {
            // Narrower hosts of VirtualServices are this server's too.
            hosts.iter_mut().filter(|(host, _)| host::covers(&name, host)).for_each(|(_, entry)| entry.require_tls = true);
            hosts.entry(name).or_default().require_tls = true;
        }
    }
    let gateways: Vec<String> = servers.iter().map(BoundServer::gateway_name).collect();
    let build = |(host, entry): (String, HostEntry)| host_of(cx, &name, &host, &entry, servers, &gateways);
    let hosts = hosts.into_iter().filter_map(build).collect();
    RouteConfiguration::new(name.clone(), hosts)
}

fn host_of(
    cx: &Context<'_>,
    table: &str,
    name: &str,
    entry: &HostEntry,
    servers: &[BoundServer<'_>],
    gateways: &[String],
) -> Option<VirtualHost> {
    let mut routes = Vec::new();
    for (index, position) in &entry.virtual_services {
        let (Some(candidate), Some(server)) = (cx.virtual_services.get(*index), servers.get(*position)) else { continue };
        let scope = Scope { gateways, port: server.number, node: cx.node };
        routes.extend(route::of_virtual_service(cx, candidate, &scope, &format!("host {name} table {table}")));
    }
    if routes.is_empty() && !entry.require_tls {
        return None;
    }
    routes.sort_by_key(|route| route.matches.is_catch_all());
    let port = servers.first().map_or(0, |server| server.number);
    let mut host = virtual_host(format!("{name}:{port}"), vec![name.to_owned()], routes);
    host.require_tls = entry.require_tls;
    Some(host)
}

/// `tls` rules for a server that passes encrypted bytes through.
fn passthrough(cx: &Context<'_>, server: &BoundServer<'_>) -> Vec<SniRoute> {
    let gateways = [server.gateway_name()];
    let scope = Scope { gateways: &gateways, port: server.number, node: cx.node };
    let place = format!("server {} {}", server.gateway_name(), server.index);
    let bound = cx.virtual_services.iter().map(|candidate| (candidate, shared_hosts(candidate, server)));
    let routes = bound.filter(|(_, hosts)| !hosts.is_empty());
    tcp_route::by_specificity(routes.flat_map(|(candidate, hosts)| tcp_route::tls(cx, candidate, &scope, &hosts, &place)).collect())
}

/// The first `tcp` rule for a server of opaque bytes.
fn tcp(cx: &Context<'_>, server: &BoundServer<'_>) -> Option<TcpRoute> {
    let gateways = [server.gateway_name()];
    let scope = Scope { gateways: &gateways, port: server.number, node: cx.node };
    let place = format!("server {} {}", server.gateway_name(), server.index);
    let bound = cx.virtual_services.iter().filter(|candidate| !shared_hosts(candidate, server).is_empty());
    let own = cx.node.ip_addresses.first().copied();
    bound.map(|candidate| tcp_route::for_address(tcp_route::tcp(cx, candidate, &scope, &place), own)).find_map(|route| route)
}
