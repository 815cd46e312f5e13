//! What is read but has no effect yet, so that nobody is left believing that it had.
//!
//! To make a field work, implement it and delete its line here.

use super::Checker;
use crate::decode::{Path, Step, same_field, steps};
use crate::object::Kind;
use crate::yaml::Node;

/// Fields without effect. In a path `[]` stands for every item of a list and `[*]` for every key of a map.
#[rustfmt::skip]
const WITHOUT_EFFECT: &[(Kind, &str)] = &[
    (Kind::VirtualService, "spec.http[].mirror"),
    (Kind::VirtualService, "spec.http[].mirrors"),
    (Kind::VirtualService, "spec.http[].mirrorPercent"),
    (Kind::VirtualService, "spec.http[].mirrorPercentage"),
    (Kind::VirtualService, "spec.http[].corsPolicy"),
    (Kind::VirtualService, "spec.http[].match[].statPrefix"),
    (Kind::VirtualService, "spec.tcp[].match[].sourceSubnet"),
    (Kind::DestinationRule, "spec.trafficPolicy.loadBalancer.consistentHash"),
    (Kind::DestinationRule, "spec.trafficPolicy.loadBalancer.localityLbSetting"),
    (Kind::DestinationRule, "spec.trafficPolicy.loadBalancer.warmup"),
    (Kind::DestinationRule, "spec.trafficPolicy.loadBalancer.warmupDurationSecs"),
    (Kind::DestinationRule, "spec.trafficPolicy.connectionPool.http.maxConcurrentStreams"),
    (Kind::DestinationRule, "spec.trafficPolicy.connectionPool.http.http2KeepAlive"),
    (Kind::DestinationRule, "spec.trafficPolicy.outlierDetection"),
    (Kind::DestinationRule, "spec.trafficPolicy.tunnel"),
    (Kind::DestinationRule, "spec.trafficPolicy.proxyProtocol"),
    (Kind::DestinationRule, "spec.trafficPolicy.retryBudget"),
    (Kind::DestinationRule, "spec.trafficPolicy.tls.caCrl"),
    (Kind::Gateway, "spec.servers[].defaultEndpoint"),
    (Kind::Gateway, "spec.servers[].tls.caCrl"),
    (Kind::Gateway, "spec.servers[].tls.cipherSuites"),
    (Kind::Gateway, "spec.servers[].tls.verifyCertificateSpki"),
    (Kind::Gateway, "spec.servers[].tls.verifyCertificateHash"),
];

/// Values without effect: an enum value of a field that works otherwise.
#[rustfmt::skip]
const VALUES_WITHOUT_EFFECT: &[(Kind, &str, &str)] = &[
    (Kind::Gateway, "spec.servers[].tls.mode", "AUTO_PASSTHROUGH"),
    (Kind::ServiceEntry, "spec.resolution", "DYNAMIC_DNS"),
];

/// Fields of the mesh configuration without effect.
const MESH_WITHOUT_EFFECT: &[&str] = &[
    "ca",
    "caCertificates",
    "certificates",
    "configSources",
    "defaultConfig.extraStatTags",
    "defaultConfig.gatewayTopology",
    "defaultConfig.proxyHeaders",
    "defaultConfig.proxyStatsMatcher",
    "defaultConfig.tracing",
    "defaultProviders",
    "discoverySelectors",
    "dnsRefreshRate",
    "enableEnvoyAccessLogService",
    "extensionProviders",
    "inboundTrafficPolicy",
    "ingressClass",
    "ingressControllerMode",
    "ingressSelector",
    "ingressService",
    "localityLbSetting",
    "meshMTLS",
    "proxyHttpPort",
    "serviceScopeConfigs",
    "serviceSettings",
    "tlsDefaults",
];

/// Kinds without effect at all.
#[rustfmt::skip]
const KINDS_WITHOUT_EFFECT: &[Kind] = &[
    Kind::Sidecar, Kind::WorkloadGroup, Kind::EnvoyFilter, Kind::Telemetry, Kind::WasmPlugin,
    Kind::TrafficExtension,
];

/// The places of a DestinationRule that hold a traffic policy; its fields without effect are listed for the first.
const POLICY_PLACES: &[&str] = &[
    "spec.trafficPolicy",
    "spec.trafficPolicy.portLevelSettings[]",
    "spec.subsets[].trafficPolicy",
    "spec.subsets[].trafficPolicy.portLevelSettings[]",
];

/// Warns of everything in the object that has no effect yet.
pub(super) fn check(cx: &mut Checker<'_>, kind: Kind) {
    if KINDS_WITHOUT_EFFECT.contains(&kind) {
        return cx.warning(&Path::Root, format!("{kind} has no effect yet"));
    }
    // Most rules have a policy in none of these places, and this is asked of every rule of a mesh.
    let is_written = |place: &&&str| kind == Kind::DestinationRule && !find(cx.node, steps(place), None).is_empty();
    let policies: Vec<&&str> = POLICY_PLACES.iter().filter(is_written).collect();
    for (_, pattern) in WITHOUT_EFFECT.iter().filter(|(of, _)| *of == kind) {
        match pattern.strip_prefix("spec.trafficPolicy.") {
            Some(rest) => policies.iter().for_each(|place| report(cx, steps(place).chain(steps(rest)), None)),
            None => report(cx, steps(pattern), None),
        }
    }
    for (_, pattern, value) in VALUES_WITHOUT_EFFECT.iter().filter(|(of, ..)| *of == kind) {
        report(cx, steps(pattern), Some(value));
    }
}

/// The paths in a mesh configuration that have no effect yet.
pub(super) fn in_mesh(node: &Node) -> Vec<String> {
    MESH_WITHOUT_EFFECT.iter().flat_map(|pattern| find(node, steps(pattern), None)).collect()
}

/// What a field without effect gets said about it.
pub(super) const NO_EFFECT: &str = "this field has no effect yet";

fn report<'p>(cx: &mut Checker<'_>, pattern: impl Iterator<Item = Step<'p>> + Clone, value: Option<&str>) {
    for field in find(cx.node, pattern, value) {
        let message = value.map_or_else(|| NO_EFFECT.to_owned(), |value| format!("{value} has no effect yet"));
        cx.warning(&Path::Root.field(&field), message);
    }
}

/// The paths of a pattern that are written, with this value if one is given.
fn find<'p>(node: &Node, pattern: impl Iterator<Item = Step<'p>> + Clone, value: Option<&str>) -> Vec<String> {
    let mut found = Vec::new();
    walk(node, pattern, &Path::Root, &mut |path, node| {
        if !node.is_null() && value.is_none_or(|value| node.as_str() == Some(value)) {
            found.push(path.to_string());
        }
    });
    found
}

/// Calls `visit` for every node that a pattern leads to.
fn walk<'p, P: Iterator<Item = Step<'p>> + Clone>(node: &Node, mut pattern: P, path: &Path<'_>, visit: &mut dyn FnMut(&Path<'_>, &Node)) {
    match pattern.next() {
        None => visit(path, node),
        Some(Step::Field(name)) => {
            if let Some(entry) = node.entries().iter().find(|entry| same_field(&entry.key, name)) {
                walk(&entry.value, pattern, &path.field(name), visit);
            }
        }
        Some(Step::Bracket("*")) => {
            node.entries().iter().for_each(|entry| walk(&entry.value, pattern.clone(), &path.key(&entry.key), visit));
        }
        Some(Step::Bracket(_)) => {
            node.items().iter().enumerate().for_each(|(index, item)| walk(item, pattern.clone(), &path.index(index), visit));
        }
    }
}
