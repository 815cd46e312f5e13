//! The model in the JSON of Envoy's API, as far as readers of dumps look: istioctl, people, dashboards.
//!
//! Names and nesting are Envoy's. What Envoy has no field for stands under `metadata.filter_metadata.outrigger` in the
//! model's own form, so that a dump leaves nothing out.

use std::net::SocketAddr;
use std::time::Duration;

use outrigger_config::matcher::{PathMatch, RouteMatch, StringMatch};
use outrigger_config::model::{
    Cluster, Discovery, LbPolicy, Node, Route, RouteAction, RouteConfiguration, TcpRoute, UpstreamTls, VirtualHost,
};
use serde::Serialize;
use serde_json::{Value, json};

/// A node as control planes see it.
pub fn node(node: &Node) -> Value {
    json!({
        "id": node.id(),
        "cluster": format!("{}.{}", node.workload().canonical_name, node.namespace),
        "metadata": {
            "NAME": node.name,
            "NAMESPACE": node.namespace,
            "SERVICE_ACCOUNT": node.service_account,
            "WORKLOAD_NAME": node.workload_name,
            "OWNER": node.owner,
            "CLUSTER_ID": node.cluster_id,
            "MESH_ID": node.mesh_id,
            "INSTANCE_IPS": node.ip_addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            "LABELS": node.labels,
            "ANNOTATIONS": node.annotations,
        },
        "user_agent_name": "outrigger",
    })
}

/// `{"socket_address": {...}}`.
pub fn address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

/// A cluster of `envoy.config.cluster.v3.Cluster`.
pub fn cluster(cluster: &Cluster) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": cluster.name,
        "type": discovery_type(&cluster.discovery),
        "connect_timeout": duration(cluster.connect_timeout),
        "lb_policy": lb_policy(cluster),
        "circuit_breakers": { "thresholds": [{
            "max_connections": cluster.connection_pool.max_connections,
            "max_pending_requests": cluster.connection_pool.max_pending_requests,
            "max_requests": cluster.connection_pool.max_requests,
            "max_retries": cluster.connection_pool.max_retries,
        }] },
        "transport_socket": transport_socket(&cluster.tls),
        "metadata": cluster_metadata(cluster),
    })
}

fn discovery_type(discovery: &Discovery) -> &'static str {
    match discovery {
        Discovery::Endpoints => "EDS",
        Discovery::OriginalDst { .. } | Discovery::Inbound => "ORIGINAL_DST",
        Discovery::StrictDns(_) => "STRICT_DNS",
        Discovery::BlackHole => "STATIC",
    }
}

/// Envoy's word for the balancing policy.
pub fn lb_policy(cluster: &Cluster) -> &'static str {
    match (&cluster.discovery, cluster.lb_policy) {
        (Discovery::OriginalDst { .. } | Discovery::Inbound, _) | (_, LbPolicy::Passthrough) => "CLUSTER_PROVIDED",
        (_, LbPolicy::LeastRequest) => "LEAST_REQUEST",
        (_, LbPolicy::RoundRobin) => "ROUND_ROBIN",
        (_, LbPolicy::Random) => "RANDOM",
    }
}

fn transport_socket(tls: &UpstreamTls) -> Value {
    let tls_context = |mesh: &outrigger_config::model::MeshTls| {
        json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": mesh.sni,
                "common_tls_context": {
                    "combined_validation_context": { "default_validation_context": {
                        "match_subject_alt_names": mesh.sans.iter().map(|san| json!({ "exact": san })).collect::<Vec<_>>(),
                    } },
                    "tls_certificate_sds_secret_configs": [{ "name": "default" }],
                },
            },
        })
    };
    match tls {
        UpstreamTls::Disabled => Value::Null,
        UpstreamTls::Auto(mesh) | UpstreamTls::IstioMutual(mesh) => tls_context(mesh),
        UpstreamTls::Origination(settings) => json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": settings.sni,
            },
        }),
    }
}

fn cluster_metadata(cluster: &Cluster) -> Value {
    let services =
        cluster.service.iter().map(|service| json!({ "host": service.host, "name": service.name, "namespace": service.namespace }));
    json!({ "filter_metadata": {
        "istio": { "services": services.collect::<Vec<_>>(), "default_original_port": cluster.port, "subset": cluster.subset },
        "outrigger": own(cluster),
    } })
}

/// A cluster's endpoints as `envoy.config.endpoint.v3.ClusterLoadAssignment`.
pub fn load_assignment(cluster: &Cluster) -> Value {
    let endpoints = cluster.endpoints.iter().map(|endpoint| {
        json!({
            "endpoint": { "address": address(endpoint.address), "hostname": endpoint.pod },
            "load_balancing_weight": endpoint.weight,
            "health_status": "HEALTHY",
            "metadata": { "filter_metadata": { "istio": { "workload": endpoint.workload.as_ref().map(|workload| format!(
                "{};{};{};{};{}",
                workload.name, workload.namespace, workload.canonical_name, workload.canonical_revision, workload.cluster_id
            )) } } },
        })
    });
    json!({
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": cluster.name,
        "endpoints": [{ "lb_endpoints": endpoints.collect::<Vec<_>>() }],
    })
}

/// A table of `envoy.config.route.v3.RouteConfiguration`.
pub fn route_configuration(table: &RouteConfiguration) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": table.name,
        "virtual_hosts": table.virtual_hosts.iter().map(virtual_host).collect::<Vec<_>>(),
    })
}

fn virtual_host(host: &VirtualHost) -> Value {
    json!({
        "name": host.name,
        "domains": host.domains,
        "routes": host.routes.iter().map(route).collect::<Vec<_>>(),
        "require_tls": if host.require_tls { "ALL" } else { "NONE" },
    })
}

fn route(route: &Route) -> Value {
    let mut shown = json!({
        "name": route.name,
        "match": route_match(&route.matches),
        "decorator": { "operation": route.decorator },
        "metadata": { "filter_metadata": { "outrigger": own(route) } },
    });
    let (key, action) = match &route.action {
        RouteAction::Forward(_) => ("route", forward(route)),
        RouteAction::Redirect(redirect) => (
            "redirect",
            json!({
                "host_redirect": redirect.authority,
                "scheme_redirect": redirect.scheme,
                "response_code": redirect.code,
            }),
        ),
        RouteAction::DirectResponse(answer) => (
            "direct_response",
            json!({
                "status": answer.status,
                "body": { "inline_string": String::from_utf8_lossy(&answer.body) },
            }),
        ),
    };
    if let Some(fields) = shown.as_object_mut() {
        fields.insert(key.to_owned(), action);
    }
    shown
}

fn forward(route: &Route) -> Value {
    let RouteAction::Forward(clusters) = &route.action else { return Value::Null };
    let mut action = match clusters.as_slice() {
        [single] => json!({ "cluster": single.name }),
        several => json!({ "weighted_clusters": {
            "clusters": several.iter().map(|entry| json!({ "name": entry.name, "weight": entry.weight })).collect::<Vec<_>>(),
            "total_weight": several.iter().map(|entry| entry.weight).sum::<u32>(),
        } }),
    };
    let retry = route.retry.as_ref().map(|retry| {
        json!({
            "num_retries": retry.attempts,
            "per_try_timeout": retry.per_try_timeout.map(duration),
            "retry_on": own(&retry.retry_on),
        })
    });
    if let Some(fields) = action.as_object_mut() {
        fields.insert("timeout".to_owned(), Value::from(duration(route.timeout.unwrap_or_default())));
        fields.insert("retry_policy".to_owned(), retry.unwrap_or_default());
    }
    action
}

fn route_match(matches: &RouteMatch) -> Value {
    let (kind, path, ignore_case) = match &matches.path {
        PathMatch::Exact { path, ignore_case } => ("path", json!(path), *ignore_case),
        PathMatch::Prefix { prefix, ignore_case } => ("prefix", json!(prefix), *ignore_case),
        PathMatch::Regex(regex) => ("safe_regex", json!({ "regex": regex.as_str() }), false),
    };
    let special = [(":method", &matches.method), (":scheme", &matches.scheme), (":authority", &matches.authority)];
    let special = special.into_iter().filter_map(|(name, value)| Some(header_match(&json!(name), value.as_ref()?, false)));
    let named = matches.headers.iter().map(|header| header_match(&own(&header.name), &header.value, header.invert));
    let query = matches.query.iter().map(|query| json!({ "name": query.name, "string_match": string_match(&query.value) }));
    json!({
        kind: path,
        "case_sensitive": !ignore_case,
        "headers": special.chain(named).collect::<Vec<_>>(),
        "query_parameters": query.collect::<Vec<_>>(),
    })
}

fn header_match(name: &Value, value: &StringMatch, invert: bool) -> Value {
    match value {
        StringMatch::Present => json!({ "name": name, "present_match": true, "invert_match": invert }),
        value => json!({ "name": name, "string_match": string_match(value), "invert_match": invert }),
    }
}

fn string_match(value: &StringMatch) -> Value {
    match value {
        StringMatch::Exact(text) => json!({ "exact": text }),
        StringMatch::Prefix(text) => json!({ "prefix": text }),
        StringMatch::Regex(regex) => json!({ "safe_regex": { "regex": regex.as_str() } }),
        StringMatch::Present => json!({ "prefix": "" }),
    }
}

/// A TCP proxy's destinations.
pub fn tcp_proxy(route: &TcpRoute) -> Value {
    let clusters = route.clusters.iter().map(|entry| json!({ "name": entry.name, "weight": entry.weight }));
    json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": route.key,
            "weighted_clusters": { "clusters": clusters.collect::<Vec<_>>() },
        },
    })
}

/// An HTTP connection manager that takes its routes from a table.
pub fn connection_manager(route_table: &str) -> Value {
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": route_table,
            "rds": { "route_config_name": route_table },
        },
    })
}

/// A duration in protobuf's JSON.
pub fn duration(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}

/// A value in its own serialisation; nothing in the model can fail to serialise.
pub fn own(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
