//! `/config_dump`: the configuration in force in Envoy's shape, with what there is to say about it.
//!
//! Sections come in Envoy's order: bootstrap, clusters, endpoints (`?include_eds`), listeners, routes, secrets; then our
//! own: mesh settings and diagnostics. `?mask=` keeps the named fields, as istioctl asks for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use outrigger_config::model::RouteConfiguration;
use serde_json::{Map, Value, json};

use super::{envoy_json, listeners};
use crate::runtime::Process;
use crate::snapshot::Config;

/// `GET /config_dump`.
pub async fn config_dump(State(process): State<Arc<Process>>, RawQuery(query): RawQuery) -> Json<Value> {
    let query = query.unwrap_or_default();
    let asked = |name: &str| {
        query.split('&').find_map(|pair| pair.strip_prefix(name).and_then(|rest| rest.strip_prefix('=').or(rest.is_empty().then_some(""))))
    };
    let config = process.config.load_full();
    let mut sections = vec![bootstrap(&process), clusters(&config)];
    if asked("include_eds").is_some() {
        sections.push(endpoints(&config));
    }
    sections.extend([listener_section(&process, &config), routes(&config), secrets(&process), mesh(&config), diagnostics(&process)]);
    if let Some(mask) = asked("mask") {
        let fields: Vec<&str> = mask.split(',').flat_map(|field| field.split("%2C")).collect();
        sections = sections.into_iter().filter_map(|section| masked(section, &fields)).collect();
    }
    Json(json!({ "configs": sections }))
}

/// Keeps the named fields of a section; a section without any is left out.
fn masked(section: Value, fields: &[&str]) -> Option<Value> {
    let Value::Object(all) = section else { return None };
    let kept: Map<String, Value> = all.into_iter().filter(|(key, _)| key == "@type" || fields.contains(&key.as_str())).collect();
    (kept.len() > 1).then_some(Value::Object(kept))
}

fn bootstrap(process: &Process) -> Value {
    let settings = &process.settings;
    json!({
        "@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump",
        "bootstrap": {
            "node": envoy_json::node(&settings.node),
            "admin": { "address": { "socket_address": { "address": "127.0.0.1", "port_value": settings.ports.admin } } },
            "static_resources": {},
        },
    })
}

fn clusters(config: &Config) -> Value {
    let version = config.generation.to_string();
    let entries = config.model.clusters.iter().map(|cluster| json!({ "version_info": version, "cluster": envoy_json::cluster(cluster) }));
    json!({
        "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
        "version_info": version,
        "dynamic_active_clusters": entries.collect::<Vec<_>>(),
    })
}

fn endpoints(config: &Config) -> Value {
    let entries = config.model.clusters.iter().map(|cluster| json!({ "endpoint_config": envoy_json::load_assignment(cluster) }));
    json!({
        "@type": "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump",
        "dynamic_endpoint_configs": entries.collect::<Vec<_>>(),
    })
}

fn listener_section(process: &Process, config: &Config) -> Value {
    let version = config.generation.to_string();
    let entries = listeners::all(config, &process.settings.ports)
        .into_iter()
        .map(|listener| json!({ "name": listener.name, "active_state": { "version_info": version, "listener": listener.to_json() } }));
    json!({
        "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
        "version_info": version,
        "dynamic_listeners": entries.collect::<Vec<_>>(),
    })
}

fn routes(config: &Config) -> Value {
    let tables: BTreeMap<&str, &RouteConfiguration> =
        config.model.route_configurations().map(|table| (table.name.as_str(), &**table)).collect();
    let version = config.generation.to_string();
    let entries = tables.values().map(|table| json!({ "version_info": version, "route_config": envoy_json::route_configuration(table) }));
    json!({
        "@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump",
        "dynamic_route_configs": entries.collect::<Vec<_>>(),
    })
}

/// The workload's certificate by name and dates; key material is never part of a dump.
fn secrets(process: &Process) -> Value {
    let status = process.identity.status();
    let secret = status.spiffe_id.map(|spiffe_id| {
        json!({
            "name": "default",
            "version_info": status.generation.to_string(),
            "secret": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
                "name": "default",
                "tls_certificate": { "private_key": { "inline_bytes": "W3JlZGFjdGVkXQ==" } },
                "spiffe_id": spiffe_id,
            },
        })
    });
    json!({
        "@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump",
        "dynamic_active_secrets": secret.into_iter().collect::<Vec<_>>(),
    })
}

fn mesh(config: &Config) -> Value {
    json!({ "@type": "outrigger.MeshSettingsDump", "generation": config.generation, "mesh": envoy_json::own(&config.model.mesh) })
}

fn diagnostics(process: &Process) -> Value {
    let report = process.discovery.report();
    json!({
        "@type": "outrigger.DiagnosticsDump",
        "diagnostics": envoy_json::own(&report.diagnostics),
        "objects": report.objects,
        "updates": report.updates,
        "source_error": report.last_error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_keeps_the_named_fields_and_drops_sections_without_any() {
        let section = json!({ "@type": "t", "version_info": "1", "dynamic_listeners": [1] });
        assert_eq!(masked(section.clone(), &["dynamic_listeners"]), Some(json!({ "@type": "t", "dynamic_listeners": [1] })));
        assert_eq!(masked(section, &["bootstrap"]), None);
    }
}
