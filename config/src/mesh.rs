//! Mesh-wide settings with their defaults applied, and the settings of one proxy.
//!
//! Source of the defaults: Istio's MeshConfig and ProxyConfig references.

use std::time::Duration;

use crate::api::destination_rule::{H2UpgradePolicy, LocalityLbSetting, TcpKeepalive, TrafficPolicy};
use crate::api::gateway::TlsProtocol;
pub use crate::api::mesh::{
    AccessLogEncoding, InboundTrafficMode, InterceptionMode, MeshConfigSpec, NormalizationType, OutboundTrafficMode, ProxyConfigResource,
    ProxyConfigSpec, TlsConfig,
};
use crate::api::virtual_service::HttpRetry;
use crate::decode::{Decode, Decoder, Dialect, Problem};
use crate::diagnostic::Severity;
use crate::string_map::StringMap;
use crate::yaml;

/// Settings for the whole mesh.
#[derive(Debug, Clone, PartialEq)]
pub struct MeshConfig {
    /// File for the access log; empty (the default) means off.
    pub access_log_file: String,
    /// Form of the access log; TEXT by default.
    pub access_log_encoding: AccessLogEncoding,
    /// Format of the access log; empty (the default) means Istio's.
    pub access_log_format: String,
    /// Whether traces are reported; true by default.
    pub enable_tracing: bool,
    /// How long to wait for bytes that tell the protocol; 0 (the default) means without limit.
    pub protocol_detection_timeout: Duration,
    /// Limit for connecting; 10 s by default.
    pub connect_timeout: Duration,
    /// Keep-alive probes; none by default.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Whether to speak HTTP/2 to servers declared HTTP/1; DO_NOT_UPGRADE by default.
    pub h2_upgrade_policy: H2UpgradePolicy,
    /// Fallback for how often names are resolved; 60 s by default.
    pub dns_refresh_rate: Duration,
    /// How paths are cleaned; BASE by default (DEFAULT is resolved to it).
    pub path_normalization: NormalizationType,
    /// Retry policy where a route has none; `None` means Istio's.
    pub default_http_retry_policy: Option<HttpRetry>,
    /// Retry policy towards the application; `None` means Istio's.
    pub default_inbound_http_retry_policy: Option<HttpRetry>,
    /// Blocks of traffic policy where nobody sets them.
    pub default_traffic_policy: Option<TrafficPolicy>,
    /// Trust domain; `cluster.local` by default.
    pub trust_domain: String,
    /// Former trust domains.
    pub trust_domain_aliases: Vec<String>,
    /// Whether clients use mTLS where the server can; true by default.
    pub enable_auto_mtls: bool,
    /// Traffic for unknown destinations; ALLOW_ANY by default.
    pub outbound_traffic_policy: OutboundTrafficMode,
    /// Address of the application; PASSTHROUGH by default.
    pub inbound_traffic_policy: InboundTrafficMode,
    /// Locality preferences; absent means enabled without shares.
    pub locality_lb_setting: Option<LocalityLbSetting>,
    /// Namespace of mesh-wide objects; `istio-system` by default.
    pub root_namespace: String,
    /// Port of outbound capture; 15001 by default.
    pub proxy_listen_port: u16,
    /// Port of inbound capture; 15006 by default.
    pub proxy_inbound_listen_port: u16,
    /// Port of the HTTP proxy; 0 (the default) means off.
    pub proxy_http_port: u16,
    /// Visibility of services without `exportTo`; `["*"]` by default.
    pub default_service_export_to: Vec<String>,
    /// Visibility of VirtualServices without `exportTo`; `["*"]` by default.
    pub default_virtual_service_export_to: Vec<String>,
    /// Visibility of DestinationRules without `exportTo`; `["*"]` by default.
    pub default_destination_rule_export_to: Vec<String>,
    /// TLS of mTLS connections; at least 1.2 by default.
    pub mesh_mtls: TlsConfig,
    /// TLS of other connections.
    pub tls_defaults: TlsConfig,
    /// Whether the application's metrics are merged into the proxy's; true by default.
    pub enable_prometheus_merge: bool,
    /// Defaults for proxies, as written.
    pub default_config: ProxyConfigSpec,
}

impl Default for MeshConfig {
    fn default() -> Self {
        MeshConfig::from(MeshConfigSpec::default())
    }
}

impl From<MeshConfigSpec> for MeshConfig {
    fn from(spec: MeshConfigSpec) -> Self {
        let everyone = |list: Vec<String>| if list.is_empty() { vec!["*".to_owned()] } else { list };
        let path_normalization = spec.path_normalization.map(|path| path.normalization).unwrap_or_default();
        MeshConfig {
            access_log_file: spec.access_log_file.unwrap_or_default(),
            access_log_encoding: spec.access_log_encoding.unwrap_or_default(),
            access_log_format: spec.access_log_format.unwrap_or_default(),
            enable_tracing: spec.enable_tracing.unwrap_or(true),
            protocol_detection_timeout: spec.protocol_detection_timeout.unwrap_or_default(),
            connect_timeout: spec.connect_timeout.unwrap_or(Duration::from_secs(10)),
            tcp_keepalive: spec.tcp_keepalive,
            h2_upgrade_policy: match spec.h2_upgrade_policy {
                Some(H2UpgradePolicy::Upgrade) => H2UpgradePolicy::Upgrade,
                _ => H2UpgradePolicy::DoNotUpgrade,
            },
            dns_refresh_rate: spec.dns_refresh_rate.unwrap_or(Duration::from_secs(60)),
            path_normalization: match path_normalization {
                NormalizationType::Default => NormalizationType::Base,
                other => other,
            },
            default_http_retry_policy: spec.default_http_retry_policy,
            default_inbound_http_retry_policy: spec.default_inbound_http_retry_policy,
            default_traffic_policy: spec.default_traffic_policy,
            trust_domain: spec.trust_domain.unwrap_or_else(|| "cluster.local".into()),
            trust_domain_aliases: spec.trust_domain_aliases,
            enable_auto_mtls: spec.enable_auto_mtls.unwrap_or(true),
            outbound_traffic_policy: spec.outbound_traffic_policy.map_or(OutboundTrafficMode::AllowAny, |policy| policy.mode),
            inbound_traffic_policy: spec.inbound_traffic_policy.map(|policy| policy.mode).unwrap_or_default(),
            locality_lb_setting: spec.locality_lb_setting,
            root_namespace: spec.root_namespace.unwrap_or_else(|| DEFAULT_ROOT_NAMESPACE.into()),
            proxy_listen_port: spec.proxy_listen_port.unwrap_or(15001),
            proxy_inbound_listen_port: spec.proxy_inbound_listen_port.unwrap_or(15006),
            proxy_http_port: spec.proxy_http_port.unwrap_or(0),
            default_service_export_to: everyone(spec.default_service_export_to),
            default_virtual_service_export_to: everyone(spec.default_virtual_service_export_to),
            default_destination_rule_export_to: everyone(spec.default_destination_rule_export_to),
            mesh_mtls: with_floor(spec.mesh_mtls),
            tls_defaults: with_floor(spec.tls_defaults),
            enable_prometheus_merge: spec.enable_prometheus_merge.unwrap_or(true),
            default_config: spec.default_config.unwrap_or_default(),
        }
    }
}

/// The namespace in which the ConfigMap `istio` is looked for, and whose objects are mesh-wide.
pub const DEFAULT_ROOT_NAMESPACE: &str = "istio-system";
/// The ConfigMap with the mesh-wide settings.
pub const MESH_CONFIG_MAP: &str = "istio";
/// Its key.
pub const MESH_CONFIG_KEY: &str = "mesh";

fn with_floor(tls: Option<TlsConfig>) -> TlsConfig {
    let mut tls = tls.unwrap_or_default();
    if tls.min_protocol_version == TlsProtocol::Auto {
        tls.min_protocol_version = TlsProtocol::V1_2;
    }
    tls
}

/// Reads a value of `T` (a [`MeshConfigSpec`] or [`ProxyConfigSpec`]) from YAML text of its own: a ConfigMap key, an
/// annotation, an environment variable. Positions of the problems count from the start of `text`.
pub fn read<T: Decode>(text: &str) -> (T, Vec<Problem>) {
    let mut cx = Decoder::new(Dialect::Istio);
    let value = match yaml::documents(text).into_iter().next().map(|document| document.node) {
        Some(Ok(node)) => T::decode(&node, &crate::decode::Path::Root, &mut cx),
        Some(Err(error)) => {
            cx.error(error.position, &crate::decode::Path::Root, error.message);
            T::default()
        }
        None => T::default(),
    };
    (value, cx.into_problems())
}

/// Reads a mesh configuration (`--meshConfig`, the ConfigMap `istio`). With an error in it all settings are at their defaults.
pub fn read_mesh_config(text: &str) -> (MeshConfig, Vec<Problem>) {
    let (spec, problems) = read::<MeshConfigSpec>(text);
    let usable = problems.iter().all(|problem| problem.severity < Severity::Error);
    (if usable { spec.into() } else { MeshConfig::default() }, problems)
}

/// Settings of one proxy, defaults applied.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxyConfig {
    /// Worker threads: `None` leaves it to the CPU limit, 0 means all cores.
    pub concurrency: Option<u32>,
    /// How long open connections may go on once draining; 45 s by default.
    pub drain_duration: Duration,
    /// How long the process drains before it ends; 5 s by default.
    pub termination_drain_duration: Duration,
    /// Control plane; `istiod.istio-system.svc:15012` by default.
    pub discovery_address: String,
    /// Port of the admin server; 15000 by default.
    pub proxy_admin_port: u16,
    /// Port of the status server; 15020 by default.
    pub status_port: u16,
    /// How traffic is captured; REDIRECT by default.
    pub interception_mode: InterceptionMode,
    /// Whether applications wait for the proxy; false by default.
    pub hold_application_until_proxy_starts: bool,
    /// Environment of the proxy.
    pub proxy_metadata: StringMap,
    /// Share of traced requests in percent; 1 by default.
    pub tracing_sampling: f64,
    /// Further labels of Istio's metrics.
    pub extra_stat_tags: Vec<String>,
    /// `proxyHeaders`, as written.
    pub proxy_headers: Option<serde_json::Value>,
    /// `gatewayTopology`, as written.
    pub gateway_topology: Option<serde_json::Value>,
    /// `proxyStatsMatcher`, as written.
    pub proxy_stats_matcher: Option<serde_json::Value>,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        ProxyConfig::layered([])
    }
}

impl ProxyConfig {
    /// Lays settings over each other, later ones winning field by field; `proxyMetadata` is united.
    /// The order: mesh `defaultConfig`, ProxyConfig objects (root, namespace, workload), annotation `proxy.istio.io/config`.
    pub fn layered<'a>(layers: impl IntoIterator<Item = &'a ProxyConfigSpec>) -> Self {
        let mut all = ProxyConfigSpec::default();
        for layer in layers {
            all = overlay(all, layer);
        }
        let sampling = all.tracing.as_ref().and_then(|tracing| tracing.0.get("sampling")?.as_f64());
        ProxyConfig {
            concurrency: all.concurrency,
            drain_duration: all.drain_duration.unwrap_or(Duration::from_secs(45)),
            termination_drain_duration: all.termination_drain_duration.unwrap_or(Duration::from_secs(5)),
            discovery_address: all.discovery_address.unwrap_or_else(|| "istiod.istio-system.svc:15012".into()),
            proxy_admin_port: all.proxy_admin_port.unwrap_or(15000),
            status_port: all.status_port.unwrap_or(15020),
            interception_mode: all.interception_mode.unwrap_or_default(),
            hold_application_until_proxy_starts: all.hold_application_until_proxy_starts.unwrap_or(false),
            proxy_metadata: all.proxy_metadata,
            tracing_sampling: sampling.unwrap_or(1.0),
            extra_stat_tags: all.extra_stat_tags,
            proxy_headers: all.proxy_headers.map(|json| json.0),
            gateway_topology: all.gateway_topology.map(|json| json.0),
            proxy_stats_matcher: all.proxy_stats_matcher.map(|json| json.0),
        }
    }
}

/// `under` with every field that `over` sets replaced.
fn overlay(mut under: ProxyConfigSpec, over: &ProxyConfigSpec) -> ProxyConfigSpec {
    macro_rules! replace {
        ($($field:ident)*) => { $( if over.$field.is_some() { under.$field = over.$field.clone(); } )* };
    }
    replace!(concurrency drain_duration termination_drain_duration discovery_address proxy_admin_port status_port
        interception_mode hold_application_until_proxy_starts tracing proxy_headers gateway_topology proxy_stats_matcher image);
    under.proxy_metadata.extend(over.proxy_metadata.clone());
    if !over.extra_stat_tags.is_empty() {
        under.extra_stat_tags.clone_from(&over.extra_stat_tags);
    }
    under
}

impl ProxyConfigResource {
    /// The same settings in the form of `defaultConfig`.
    pub fn to_spec(&self) -> ProxyConfigSpec {
        ProxyConfigSpec {
            concurrency: self.concurrency,
            proxy_metadata: self.environment_variables.clone(),
            image: self.image.clone(),
            ..ProxyConfigSpec::default()
        }
    }
}
