//! The ProxyConfig of one pod: the mesh's default, overlaid by annotation `proxy.istio.io/config` (contract 6.1, 6.2).
//!
//! Kept as JSON besides the typed form, because `PROXY_CONFIG` passes on fields which only the proxy, or only Istio's, understands.

use std::time::Duration;

use outrigger_config::decode::camel;
use outrigger_config::diagnostic::Severity;
use outrigger_config::mesh::{self, ProxyConfig, ProxyConfigSpec};
use outrigger_config::yaml;
use serde_json::{Map, Value, json};

use crate::complaints::Complaints;

/// The annotation.
pub const ANNOTATION: &str = "proxy.istio.io/config";

/// The settings that hold for one pod.
#[derive(Clone, Debug, PartialEq)]
pub struct PodProxyConfig {
    /// Typed, defaults applied.
    pub typed: ProxyConfig,
    /// As written by mesh and annotation together.
    pub given: Map<String, Value>,
    /// What in the annotation is unknown or has no effect.
    pub warnings: Vec<String>,
}

impl PodProxyConfig {
    /// `statusPort`, if mesh or pod give one.
    pub(crate) fn status_port_given(&self) -> Option<u16> {
        self.given.get("statusPort").map(|_| self.typed.status_port)
    }

    /// The proxy learns of annotations of their own through its configuration, without reading the pod's annotations.
    pub(crate) fn with_annotations(mut self, status_port: Option<u16>, discovery_address: Option<&str>) -> Self {
        if let Some(port) = status_port {
            self.given.insert("statusPort".to_owned(), json!(port));
        }
        if let Some(address) = discovery_address {
            self.given.insert("discoveryAddress".to_owned(), json!(address));
        }
        self
    }
}

/// Overlays the annotation on the mesh's `defaultConfig`. An annotation that is no YAML mapping, or has a field that cannot be understood,
/// counts as not given.
pub(crate) fn read(default_config: &Map<String, Value>, annotation: Option<&str>, complaints: &mut Complaints) -> PodProxyConfig {
    let mut given = default_config.clone();
    let mut warnings = Vec::new();
    if let Some(text) = annotation {
        match overrides(text) {
            Ok((fields, told)) => {
                fields.into_iter().for_each(|(field, value)| overlay(&mut given, &field, value));
                warnings = told;
            }
            Err(reason) => complaints.annotation(ANNOTATION, text, &reason),
        }
    }
    let (spec, _) = mesh::read::<ProxyConfigSpec>(&Value::Object(given.clone()).to_string());
    PodProxyConfig { typed: ProxyConfig::layered([&spec]), given, warnings }
}

/// The annotation's fields, and what in them is unknown or has no effect.
fn overrides(text: &str) -> Result<(Map<String, Value>, Vec<String>), String> {
    let mut warnings = Vec::new();
    let (_, problems) = mesh::read::<ProxyConfigSpec>(text);
    for problem in problems {
        let said = format!("{}: {}", problem.field, problem.message);
        if problem.severity >= Severity::Error {
            return Err(said);
        }
        warnings.push(format!("annotation {ANNOTATION}: {said}"));
    }
    Ok((mapping(text)?, warnings))
}

/// The annotation's fields, named in lowerCamelCase; protobuf takes snake_case as well.
fn mapping(text: &str) -> Result<Map<String, Value>, String> {
    let value = match yaml::documents(text).into_iter().next().map(|document| document.node) {
        None => return Ok(Map::new()),
        Some(node) => node.map_err(|error| error.message)?.to_json(),
    };
    match value {
        Value::Object(fields) => Ok(camel_keys(fields)),
        _ => Err("expected a mapping of ProxyConfig fields".to_owned()),
    }
}

/// The same fields, named in lowerCamelCase.
pub(crate) fn camel_keys(fields: Map<String, Value>) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (camel(&name).collect(), value)).collect()
}

/// Fields replace, the maps of `proxyMetadata` are united.
fn overlay(given: &mut Map<String, Value>, field: &str, value: Value) {
    match (given.get_mut(field), value) {
        (Some(Value::Object(old)), Value::Object(new)) if field == "proxyMetadata" => old.extend(new),
        (_, value) => {
            given.insert(field.to_owned(), value);
        }
    }
}

/// Value of `PROXY_CONFIG`: the fields that differ from their defaults.
#[must_use]
pub fn non_default(given: &Map<String, Value>) -> Value {
    let defaults = json!({
        "configPath": "./etc/istio/proxy",
        "binaryPath": "/usr/local/bin/envoy",
        "serviceCluster": "istio-proxy",
        "drainDuration": "45s",
        "terminationDrainDuration": "5s",
        "discoveryAddress": "istiod.istio-system.svc:15012",
        "proxyAdminPort": 15000,
        "statusPort": 15020,
        "controlPlaneAuthPolicy": "MUTUAL_TLS",
        "statNameLength": 189,
        "interceptionMode": "REDIRECT",
        "holdApplicationUntilProxyStarts": false,
        "fileFlushInterval": "1s",
        "fileFlushMinSizeKb": 64,
        "statsCompression": true,
    });
    let differs = |(name, value): &(&String, &Value)| !value.is_null() && defaults.get(name.as_str()) != Some(value);
    given.iter().filter(differs).map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>().into()
}

/// A typed spec as JSON, for [`crate::Settings::proxy_config`].
#[must_use]
pub fn to_json(spec: &ProxyConfigSpec) -> Map<String, Value> {
    let duration = |value: Option<Duration>| value.map(|value| json!(format!("{}s", value.as_secs_f64())));
    let as_is = |value: &Option<outrigger_config::decode::Json>| value.as_ref().map(|json| json.0.clone());
    let mode = spec.interception_mode.map(|mode| json!(mode.as_str()));
    let metadata = Some(json!(spec.proxy_metadata)).filter(|_| !spec.proxy_metadata.is_empty());
    let tags = Some(json!(spec.extra_stat_tags)).filter(|_| !spec.extra_stat_tags.is_empty());
    let fields = [
        ("concurrency", spec.concurrency.map(Value::from)),
        ("drainDuration", duration(spec.drain_duration)),
        ("terminationDrainDuration", duration(spec.termination_drain_duration)),
        ("discoveryAddress", spec.discovery_address.clone().map(Value::from)),
        ("proxyAdminPort", spec.proxy_admin_port.map(Value::from)),
        ("statusPort", spec.status_port.map(Value::from)),
        ("interceptionMode", mode),
        ("holdApplicationUntilProxyStarts", spec.hold_application_until_proxy_starts.map(Value::from)),
        ("proxyMetadata", metadata),
        ("tracing", as_is(&spec.tracing)),
        ("proxyHeaders", as_is(&spec.proxy_headers)),
        ("gatewayTopology", as_is(&spec.gateway_topology)),
        ("proxyStatsMatcher", as_is(&spec.proxy_stats_matcher)),
        ("extraStatTags", tags),
        ("image", as_is(&spec.image)),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use outrigger_config::mesh::{self, ProxyConfigSpec};
    use serde_json::{Value, json};

    use super::{non_default, read, to_json};
    use crate::complaints::Complaints;

    #[test]
    fn a_typed_spec_survives_being_written_and_read_again() {
        let text = "{concurrency: 3, drainDuration: 1.5s, statusPort: 16020, interceptionMode: NONE, proxyMetadata: {A: b}, tracing: {sampling: 5}, extraStatTags: [x]}";
        let (spec, _) = mesh::read::<ProxyConfigSpec>(text);
        let json = to_json(&spec);
        assert_eq!(json.get("drainDuration"), Some(&json!("1.5s")));
        let (again, problems) = mesh::read::<ProxyConfigSpec>(&Value::Object(json).to_string());
        assert_eq!((again, problems.len()), (spec, 0));
    }

    #[test]
    fn the_annotation_replaces_fields_unites_metadata_and_only_differences_are_passed_on() {
        let mesh = json!({ "concurrency": 4, "statusPort": 16020, "meshId": "m", "proxyMetadata": { "A": "1", "B": "1" } });
        let annotation = "concurrency: 2\nstatus_port: 15020\nproxyMetadata: {B: '2'}\n";
        let config = read(mesh.as_object().unwrap(), Some(annotation), &mut Complaints::default());
        assert_eq!(config.typed.concurrency, Some(2));
        let expected = json!({ "concurrency": 2, "meshId": "m", "proxyMetadata": { "A": "1", "B": "2" } });
        assert_eq!(non_default(&config.given), expected);
    }
}
