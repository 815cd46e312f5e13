//! Mesh-wide settings as a proxy uses them.
//!
//! Source: Istio semantics 7.2; the differences from Istio are those of the sidecar contract, section 8.

use std::time::Duration;

use super::access_log;
use super::context::Context;
use crate::mesh::{AccessLogEncoding, NormalizationType};
use crate::model::{MeshSettings, PathNormalization};
use crate::registry::PROXY_CONFIG_ANNOTATION;

/// How long a sniffed connection may be silent. Istio waits without limit, so that servers which speak first hang on
/// undeclared ports.
const DETECTION_TIMEOUT: Duration = Duration::from_millis(100);

/// The settings for this workload.
pub(super) fn settings(cx: &Context<'_>) -> MeshSettings {
    let (mesh, node) = (cx.mesh, cx.node);
    let annotation = node.annotations.get(PROXY_CONFIG_ANNOTATION).map(String::as_str);
    let (proxy, _) = cx.registry.proxy_config(&node.namespace, &node.labels, annotation);
    let json = mesh.access_log_encoding == AccessLogEncoding::Json;
    let (access_log, complaint) = access_log::settings(&mesh.access_log_file, json, &mesh.access_log_format);
    if let (Some(complaint), Some(map)) = (complaint, cx.registry.config_maps.get(&mesh.root_namespace, "istio")) {
        cx.report(&map.object, "data[mesh].accessLogFormat".to_owned(), format!("{complaint}; Istio's format is used"));
    }
    let mut trust_domains = vec![node.trust_domain.clone()];
    trust_domains.extend(std::iter::once(&mesh.trust_domain).chain(&mesh.trust_domain_aliases).cloned());
    let mut seen = std::collections::HashSet::new();
    trust_domains.retain(|domain| seen.insert(domain.clone()));
    MeshSettings {
        trust_domains,
        protocol_detection_timeout: Some(mesh.protocol_detection_timeout).filter(|time| !time.is_zero()).unwrap_or(DETECTION_TIMEOUT),
        access_log,
        path_normalization: match mesh.path_normalization {
            NormalizationType::None => PathNormalization::None,
            NormalizationType::Default | NormalizationType::Base => PathNormalization::Base,
            NormalizationType::MergeSlashes => PathNormalization::MergeSlashes,
            NormalizationType::DecodeAndMergeSlashes => PathNormalization::DecodeAndMergeSlashes,
        },
        accept_http10: !matches!(proxy.proxy_metadata.get("ISTIO_META_HTTP10").map(String::as_str), Some("0" | "false")),
        drain_duration: proxy.drain_duration,
        termination_drain_duration: proxy.termination_drain_duration,
        concurrency: proxy.concurrency,
    }
}
