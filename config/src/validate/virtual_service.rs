//! Rules for VirtualService.

use super::common::{covers, is_dns_label, is_dns_subdomain, is_ip, is_subnet, wildcard_domain};
use super::{Checker, http_route, reachability};
use crate::api::virtual_service::{Destination, RouteDestination, TcpRoute, TlsRoute, VirtualService};
use crate::decode::Path;
use crate::object::ObjectId;
use crate::string_map::StringMap;

pub(super) fn check(cx: &mut Checker<'_>, spec: &Path<'_>, id: &ObjectId, body: &VirtualService) {
    if body.hosts.is_empty() {
        delegate(cx, spec, body);
    }
    hosts(cx, spec, body);
    gateways(cx, &spec.field("gateways"), &body.gateways);
    cx.export_to(&spec.field("exportTo"), &body.export_to, &id.namespace, false);
    let empty = body.http.is_empty() && body.tls.is_empty() && body.tcp.is_empty();
    cx.require(!empty, spec, "expected at least one rule in http, tls or tcp");
    for (index, route) in body.http.iter().enumerate() {
        http_route::check(cx, &spec.field("http").index(index), route, body);
    }
    for (index, route) in body.tls.iter().enumerate() {
        tls_route(cx, &spec.field("tls").index(index), route, &body.hosts);
    }
    for (index, route) in body.tcp.iter().enumerate() {
        tcp_route(cx, &spec.field("tcp").index(index), route);
    }
    reachability::check(cx, &spec.field("http"), &body.http);
}

/// Whether the object acts in sidecars.
pub(super) fn is_for_mesh(body: &VirtualService) -> bool {
    body.gateways.is_empty() || body.gateways.iter().any(|gateway| gateway == "mesh")
}

/// A VirtualService without hosts continues a rule of another.
fn delegate(cx: &mut Checker<'_>, spec: &Path<'_>, body: &VirtualService) {
    let reason = "expected hosts; a VirtualService without hosts is a delegate, which has http rules only";
    cx.require(body.gateways.is_empty() && body.tls.is_empty() && body.tcp.is_empty(), &spec.field("hosts"), reason);
    for (index, route) in body.http.iter().enumerate() {
        cx.require(
            route.delegate.is_none(),
            &spec.field("http").index(index).field("delegate"),
            "a delegate (a VirtualService without hosts) cannot delegate further",
        );
    }
}

fn hosts(cx: &mut Checker<'_>, spec: &Path<'_>, body: &VirtualService) {
    let path = spec.field("hosts");
    cx.unique(&path, body.hosts.iter().map(String::as_str), "host");
    for (index, host) in body.hosts.iter().enumerate() {
        let at = path.index(index);
        if host == "*" && is_for_mesh(body) {
            cx.error(&at, "\"*\" would take over the whole mesh; it needs gateways without \"mesh\"");
        } else if !is_ip(host)
            && let Err(reason) = wildcard_domain(host)
        {
            cx.error(&at, format!("{host:?} is neither a host name nor an IP address: {reason}"));
        }
        let other = body.hosts.iter().find(|other| *other != host && other.starts_with('*') && covers(other, host));
        if let Some(other) = other {
            cx.error(&at, format!("{host:?} is covered by {other:?} in the same list"));
        }
    }
}

/// References to Gateways: `name`, `namespace/name` or `mesh`.
pub(super) fn gateways(cx: &mut Checker<'_>, path: &Path<'_>, gateways: &[String]) {
    for (index, gateway) in gateways.iter().enumerate() {
        let at = path.index(index);
        let (namespace, name) = match gateway.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, gateway.as_str()),
        };
        if namespace.is_none() && name.contains('.') && is_dns_subdomain(name) {
            cx.warning(&at, "write NAMESPACE/NAME; the form with dots is outdated");
        } else if !namespace.is_none_or(is_dns_label) || !is_dns_label(name) {
            cx.error(&at, format!("expected \"mesh\", NAME or NAMESPACE/NAME, found {gateway:?}"));
        }
    }
}

/// A destination of any kind of route.
pub(super) fn destination(cx: &mut Checker<'_>, path: &Path<'_>, destination: &Destination) {
    let host = &path.field("host");
    match destination.host.as_str() {
        "" => cx.error(host, "expected the name of a service"),
        "*" => cx.error(host, "\"*\" is not a destination"),
        name => cx.wildcard_host(host, name),
    }
    if !destination.subset.is_empty() && !is_dns_label(&destination.subset) {
        cx.error(&path.field("subset"), format!("expected the name of a subset (a DNS label), found {:?}", destination.subset));
    }
    if let Some(port) = &destination.port {
        cx.port(&path.field("port").field("number"), port.number);
    }
}

/// Weights: none negative, and together more than 0 when there is a choice.
pub(super) fn weights(cx: &mut Checker<'_>, path: &Path<'_>, weights: &[i32]) {
    for (index, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight < 0) {
        cx.error(&path.index(index).field("weight"), format!("expected 0 or more, found {weight}"));
    }
    let sum: i64 = weights.iter().map(|weight| i64::from(*weight)).sum();
    if weights.len() > 1 && sum == 0 {
        cx.error(path, format!("the weights of these {} destinations sum to 0; expected at least one above 0", weights.len()));
    }
}

fn route_destinations(cx: &mut Checker<'_>, path: &Path<'_>, routes: &[RouteDestination]) {
    cx.require(!routes.is_empty(), path, "expected at least one destination");
    for (index, route) in routes.iter().enumerate() {
        destination(cx, &path.index(index).field("destination"), &route.destination);
    }
    let numbers: Vec<i32> = routes.iter().map(|route| route.weight).collect();
    weights(cx, path, &numbers);
}

fn tls_route(cx: &mut Checker<'_>, path: &Path<'_>, route: &TlsRoute, hosts: &[String]) {
    let matches = &path.field("match");
    cx.require(!route.matches.is_empty(), matches, "expected at least one match with sniHosts");
    for (index, block) in route.matches.iter().enumerate() {
        let at = matches.index(index);
        let sni_hosts = at.field("sniHosts");
        cx.require(!block.sni_hosts.is_empty(), &sni_hosts, "expected at least one server name");
        for (index, sni) in block.sni_hosts.iter().enumerate() {
            let at = sni_hosts.index(index);
            cx.warn_if(is_ip(sni), &at, "clients do not send IP addresses as server name, so this never matches");
            cx.wildcard_host(&at, sni);
            let covered = hosts.iter().any(|host| covers(host, sni));
            cx.require(covered, &at, "a server name must be one of the hosts of this VirtualService, or covered by one");
        }
        l4(cx, &at, &block.destination_subnets, block.port, &block.source_labels, &block.source_namespace);
        gateways(cx, &at.field("gateways"), &block.gateways);
    }
    route_destinations(cx, &path.field("route"), &route.route);
}

fn tcp_route(cx: &mut Checker<'_>, path: &Path<'_>, route: &TcpRoute) {
    for (index, block) in route.matches.iter().enumerate() {
        let matches = path.field("match");
        let at = matches.index(index);
        l4(cx, &at, &block.destination_subnets, block.port, &block.source_labels, &block.source_namespace);
        gateways(cx, &at.field("gateways"), &block.gateways);
    }
    route_destinations(cx, &path.field("route"), &route.route);
}

/// The conditions that TLS and TCP matches share.
fn l4(cx: &mut Checker<'_>, at: &Path<'_>, subnets: &[String], port: u32, labels: &StringMap, namespace: &str) {
    for (index, subnet) in subnets.iter().enumerate().filter(|(_, subnet)| !is_subnet(subnet)) {
        cx.error(
            &at.field("destinationSubnets").index(index),
            format!("expected an IP address or a range such as 10.0.0.0/8, found {subnet:?}"),
        );
    }
    cx.port_or_zero(&at.field("port"), port);
    cx.labels(&at.field("sourceLabels"), labels);
    source_namespace(cx, at, namespace);
}

/// The namespace of the client.
pub(super) fn source_namespace(cx: &mut Checker<'_>, at: &Path<'_>, namespace: &str) {
    if !namespace.is_empty() && !is_dns_label(namespace) {
        cx.error(&at.field("sourceNamespace"), format!("expected a namespace, found {namespace:?}"));
    }
}
