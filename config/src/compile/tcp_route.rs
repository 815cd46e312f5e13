//! VirtualService `tcp` and `tls` rules, and the plain route of a service.
//!
//! Source: Istio semantics 1.15. Conditions on the destination address are decided here where the listener has one.

use std::net::IpAddr;

use ipnet::IpNet;

use super::context::Context;
use super::virtual_service::{Candidate, Scope};
use super::{destination, host};
use crate::model::{SniRoute, TcpDestination, TcpRoute};

/// A route of connections with the destinations it is limited to; empty = any.
pub(super) struct SubnetRoute {
    /// CIDR blocks of the original destination.
    pub(super) subnets: Vec<IpNet>,
    /// Where matching connections go.
    pub(super) route: TcpRoute,
}

/// The `tcp` rules of a VirtualService that apply at a place, in order, up to the first that takes everything.
pub(super) fn tcp(cx: &Context<'_>, candidate: &Candidate<'_>, scope: &Scope<'_>, place: &str) -> Vec<SubnetRoute> {
    let namespace = candidate.object.namespace();
    let mut routes: Vec<SubnetRoute> = Vec::new();
    for (index, rule) in candidate.object.tcp.iter().enumerate() {
        let admitted = rule.matches.iter().enumerate().filter(|(_, condition)| scope.admits_tcp(condition, namespace));
        let mut predicates: Vec<(String, Vec<IpNet>)> =
            admitted.map(|(number, condition)| (format!(".match[{number}]"), subnets(&condition.destination_subnets))).collect();
        if rule.matches.is_empty() {
            predicates.push((String::new(), Vec::new()));
        }
        for (entry, subnets) in predicates {
            let key = format!("{} tcp[{index}]{entry} {place}", candidate.object.object.id);
            let ends = subnets.is_empty();
            let clusters = destination::tcp(cx, &rule.route, namespace, scope.port);
            routes.push(SubnetRoute { subnets, route: TcpRoute { id: cx.route_id(), key, clusters } });
            if ends {
                return routes;
            }
        }
    }
    routes
}

/// The first route for an address, or of those without conditions when the address is not fixed.
pub(super) fn for_address(routes: Vec<SubnetRoute>, address: Option<IpAddr>) -> Option<TcpRoute> {
    let fits = |route: &SubnetRoute| {
        route.subnets.is_empty() || address.is_some_and(|address| route.subnets.iter().any(|subnet| subnet.contains(&address)))
    };
    routes.into_iter().find(fits).map(|route| route.route)
}

/// The `tls` rules of a VirtualService that apply at a place. `served` limits server names to those of a gateway server;
/// empty = no limit.
pub(super) fn tls(cx: &Context<'_>, candidate: &Candidate<'_>, scope: &Scope<'_>, served: &[String], place: &str) -> Vec<SniRoute> {
    let namespace = candidate.object.namespace();
    let mut routes = Vec::new();
    for (index, rule) in candidate.object.tls.iter().enumerate() {
        for (number, condition) in rule.matches.iter().enumerate().filter(|(_, condition)| scope.admits_tls(condition, namespace)) {
            let sni_hosts = server_names(&condition.sni_hosts, served);
            if sni_hosts.is_empty() {
                continue;
            }
            let key = format!("{} tls[{index}].match[{number}] {place}", candidate.object.object.id);
            let clusters = destination::tcp(cx, &rule.route, namespace, scope.port);
            let route = TcpRoute { id: cx.route_id(), key, clusters };
            routes.push(SniRoute { sni_hosts, destination_subnets: subnets(&condition.destination_subnets), route });
        }
    }
    routes
}

/// Routes with a longer destination prefix come first, then exact names, then longer wildcards: the order in which
/// filter chains are chosen. Equal ones keep their order.
pub(super) fn by_specificity(mut routes: Vec<SniRoute>) -> Vec<SniRoute> {
    let mut single: Vec<SniRoute> = Vec::new();
    for route in routes.drain(..) {
        for name in &route.sni_hosts {
            single.push(SniRoute { sni_hosts: vec![name.clone()], ..route.clone() });
        }
    }
    let prefix = |route: &SniRoute| route.destination_subnets.iter().map(IpNet::prefix_len).max().unwrap_or(0);
    let name = |route: &SniRoute| match route.sni_hosts.first().map(String::as_str) {
        Some(name) if !name.starts_with('*') => usize::MAX,
        Some(name) => name.len(),
        None => 0,
    };
    single.sort_by_key(|route| std::cmp::Reverse((prefix(route), name(route))));
    single
}

fn server_names(names: &[String], served: &[String]) -> Vec<String> {
    let lower = names.iter().map(|name| name.to_ascii_lowercase());
    if served.is_empty() {
        return lower.collect();
    }
    lower
        .flat_map(|name| served.iter().filter_map(move |host| host::intersection(&name, host).map(str::to_owned)).collect::<Vec<_>>())
        .collect()
}

/// CIDR blocks; a plain address is a block of its own. What cannot be read is the validator's to report.
fn subnets(texts: &[String]) -> Vec<IpNet> {
    let parse = |text: &String| text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    texts.iter().filter_map(parse).collect()
}

/// A route to one cluster.
pub(super) fn plain(cx: &Context<'_>, cluster: String, place: &str) -> TcpRoute {
    let destination = TcpDestination { cluster: cx.cluster(&cluster), name: cluster.clone(), weight: 1 };
    TcpRoute { id: cx.route_id(), key: format!("{cluster} {place}"), clusters: vec![destination] }
}
