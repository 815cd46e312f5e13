//! Rules for ServiceEntry.

use std::collections::HashSet;

use super::Checker;
use super::common::{domain, is_ip, is_subnet, wildcard_domain};
use super::gateway::{is_plain_http, is_protocol, is_tls};
use crate::api::service_entry::{Resolution, ServiceEntry, WorkloadEntry};
use crate::decode::Path;
use crate::diagnostic::Severity;
use crate::object::ObjectId;

pub(super) fn check(cx: &mut Checker<'_>, spec: &Path<'_>, id: &ObjectId, body: &ServiceEntry) {
    hosts(cx, &spec.field("hosts"), body);
    addresses(cx, &spec.field("addresses"), body);
    ports(cx, &spec.field("ports"), body);
    cx.export_to(&spec.field("exportTo"), &body.export_to, &id.namespace, true);
    let both = body.workload_selector.is_some() && !body.endpoints.is_empty();
    cx.require(!both, &spec.field("endpoints"), "endpoints cannot be combined with workloadSelector");
    let endpoints = &spec.field("endpoints");
    for (index, endpoint) in body.endpoints.iter().enumerate() {
        check_endpoint(cx, &endpoints.index(index), endpoint, body);
    }
    resolution(cx, spec, body);
}

fn hosts(cx: &mut Checker<'_>, path: &Path<'_>, body: &ServiceEntry) {
    cx.require(!body.hosts.is_empty(), path, "expected at least one host");
    for (index, host) in body.hosts.iter().enumerate() {
        let at = path.index(index);
        if host == "*" {
            cx.error(&at, "\"*\" would cover everything; name the hosts");
            continue;
        }
        if let Err(reason) = wildcard_domain(host) {
            cx.error(&at, format!("{host:?} is not a host name: {reason}"));
        }
        let partial = host.starts_with('*') && !host.starts_with("*.");
        cx.warn_if(partial, &at, "clients cannot look up part of a name; expected \"*.SUFFIX\"");
    }
    let many = body.hosts.len() > 1 && body.resolution != Resolution::None;
    let by_name = body.ports.iter().all(|port| is_plain_http(&port.protocol) || is_tls(&port.protocol));
    cx.require(!many || by_name, path, "several hosts can be told apart on HTTP and TLS ports only; expected one host per ServiceEntry");
}

fn addresses(cx: &mut Checker<'_>, path: &Path<'_>, body: &ServiceEntry) {
    for (index, address) in body.addresses.iter().enumerate() {
        let at = path.index(index);
        cx.require(is_subnet(address), &at, "expected an IP address or a range such as 10.0.0.0/24");
        let range = address.contains('/') && !matches!(body.resolution, Resolution::None | Resolution::Static);
        cx.require(!range, &at, "a range of addresses needs resolution NONE or STATIC");
    }
}

fn ports(cx: &mut Checker<'_>, path: &Path<'_>, body: &ServiceEntry) {
    let (mut numbers, mut names) = (HashSet::new(), HashSet::new());
    for (index, port) in body.ports.iter().enumerate() {
        let at = path.index(index);
        cx.port(&at.field("number"), port.number);
        cx.port_or_zero(&at.field("targetPort"), port.target_port);
        cx.require(!port.name.is_empty(), &at.field("name"), "expected a name for the port");
        cx.require(numbers.insert(port.number), &at.field("number"), "this port number is used twice");
        cx.require(names.insert(&port.name), &at.field("name"), "this port name is used twice");
        let known = port.protocol.is_empty() || port.protocol.eq_ignore_ascii_case("UDP") || is_protocol(&port.protocol);
        cx.require(known, &at.field("protocol"), "expected one of HTTP HTTPS GRPC GRPC-WEB HTTP2 MONGO REDIS MYSQL TCP TLS");
        let opaque = known && !port.protocol.is_empty() && !is_plain_http(&port.protocol) && !is_tls(&port.protocol);
        if opaque && body.addresses.is_empty() && body.resolution == Resolution::None {
            let message = "without addresses this port takes all traffic to that number that nobody else claims";
            cx.push(Severity::Warning, "IST0134", &at, message.into());
        }
    }
}

/// The kind WorkloadEntry. Which ports it may name depends on who selects it.
pub(super) fn workload_entry(cx: &mut Checker<'_>, spec: &Path<'_>, body: &WorkloadEntry) {
    address(cx, &spec.field("address"), body);
    for (name, number) in &body.ports {
        cx.port(&spec.field("ports").key(name), *number);
    }
    cx.labels(&spec.field("labels"), &body.labels);
}

/// An address of its own: IP, name or Unix socket.
fn address(cx: &mut Checker<'_>, at: &Path<'_>, endpoint: &WorkloadEntry) {
    match (endpoint.address.as_str(), endpoint.address.strip_prefix("unix://")) {
        ("", _) if endpoint.network.is_empty() => cx.error(at, "expected an address"),
        ("", _) => cx.warning(at, "without an address this endpoint is reached through its network's gateway only"),
        (_, Some(socket)) => cx.require(socket.starts_with('/'), at, "expected unix:// and an absolute path"),
        (text, None) if is_ip(text) => {}
        (text, None) => {
            if let Err(reason) = domain(text) {
                cx.error(at, format!("{text:?} is neither an IP address nor a host name: {reason}"));
            }
        }
    }
}

fn check_endpoint(cx: &mut Checker<'_>, path: &Path<'_>, endpoint: &WorkloadEntry, body: &ServiceEntry) {
    let at = &path.field("address");
    workload_entry(cx, path, endpoint);
    let fixed = body.resolution == Resolution::Static;
    if endpoint.address.starts_with("unix://") {
        cx.require(fixed, at, "a Unix socket needs resolution STATIC");
        let one = body.ports.len() == 1 && endpoint.ports.is_empty();
        cx.require(one, at, "a Unix socket needs exactly one service port and no ports of its own");
    } else if fixed && !is_ip(&endpoint.address) && domain(&endpoint.address).is_ok() {
        cx.error(at, "resolution STATIC needs IP addresses; use DNS for names");
    }
    for name in endpoint.ports.keys() {
        let known = body.ports.iter().any(|port| port.name == *name);
        cx.require(known, &path.field("ports").key(name), "expected the name of a port of this ServiceEntry");
    }
}

fn resolution(cx: &mut Checker<'_>, spec: &Path<'_>, body: &ServiceEntry) {
    let endpoints = &spec.field("endpoints");
    let wildcard = |host: &String| host.starts_with('*');
    match body.resolution {
        Resolution::None => {
            cx.require(body.endpoints.is_empty(), endpoints, "resolution NONE goes where the client goes; expected no endpoints");
            let selector = body.workload_selector.is_some();
            cx.warn_if(selector, &spec.field("workloadSelector"), "with resolution NONE the workloadSelector has no effect");
        }
        Resolution::Static => {}
        Resolution::Dns | Resolution::DnsRoundRobin => {
            let named = !body.endpoints.is_empty() || !body.hosts.iter().any(wildcard);
            cx.require(named, &spec.field("hosts"), "DNS cannot look up a wildcard; give endpoints, or hosts without wildcard");
            let one = body.resolution == Resolution::Dns || body.endpoints.len() <= 1;
            cx.require(one, endpoints, "DNS_ROUND_ROBIN takes at most one endpoint");
        }
        Resolution::DynamicDns => {
            cx.require(body.hosts.iter().all(wildcard), &spec.field("hosts"), "DYNAMIC_DNS is for wildcard hosts");
            cx.require(body.addresses.is_empty(), &spec.field("addresses"), "DYNAMIC_DNS takes no addresses");
            cx.require(body.endpoints.is_empty(), endpoints, "DYNAMIC_DNS takes no endpoints");
            let fits = |protocol: &str| ["HTTP", "HTTP2", "GRPC", "TLS"].iter().any(|known| known.eq_ignore_ascii_case(protocol));
            let ports = body.ports.iter().all(|port| fits(&port.protocol));
            cx.require(ports, &spec.field("ports"), "DYNAMIC_DNS needs ports of protocol HTTP, HTTP2, GRPC or TLS");
        }
    }
}
