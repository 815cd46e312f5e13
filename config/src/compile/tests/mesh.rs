//! Istio semantics 7.2: mesh-wide settings, and where we differ from Istio's defaults.

use std::time::Duration;

use super::*;
use crate::model::{AccessLogFormat, MeshSettings, PathNormalization};

fn settings(manifests: &str) -> MeshSettings {
    sidecar(manifests, "shop", "").mesh
}

#[test]
fn defaults_are_istios_but_for_detection_and_http_1_0() {
    let mesh = settings("");
    assert_eq!(mesh.trust_domains, ["cluster.local"]);
    assert_eq!((mesh.access_log, mesh.path_normalization), (None, PathNormalization::Base));
    assert_eq!((mesh.drain_duration, mesh.termination_drain_duration), (Duration::from_secs(45), Duration::from_secs(5)));
    assert_eq!((mesh.protocol_detection_timeout, mesh.accept_http10), (Duration::from_millis(100), true));
}

#[test]
fn mesh_config_and_proxy_config_change_them() {
    let mesh = settings(&mesh_config(
        "{trustDomain: td, trustDomainAliases: [old], accessLogFile: /dev/stdout, accessLogEncoding: JSON, protocolDetectionTimeout: 5s, \
        pathNormalization: {normalization: NONE}, defaultConfig: {terminationDrainDuration: 9s, proxyMetadata: {ISTIO_META_HTTP10: \"0\"}}}",
    ));
    assert_eq!(mesh.trust_domains, ["cluster.local", "td", "old"], "the certificate's own comes first");
    assert!(matches!(mesh.access_log.map(|log| log.format), Some(AccessLogFormat::Json(keys)) if keys.len() == 24));
    assert_eq!((mesh.protocol_detection_timeout, mesh.path_normalization), (Duration::from_secs(5), PathNormalization::None));
    assert_eq!((mesh.termination_drain_duration, mesh.accept_http10), (Duration::from_secs(9), false));
}

#[test]
fn a_broken_log_format_is_told_and_istios_used() {
    let manifests = mesh_config("{accessLogFile: /dev/stdout, accessLogFormat: \"50%\"}");
    let result = compile(&registry(&manifests), &node(ProxyType::Sidecar, "shop/client", ""));
    assert_eq!(result.snapshot.mesh.access_log, settings(&mesh_config("{accessLogFile: /dev/stdout}")).access_log);
    let told: Vec<String> = result.diagnostics.iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].contains("accessLogFormat") && told[0].contains("Istio's format is used"), "{told:?}");
}
