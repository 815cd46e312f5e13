//! MeshConfig and ProxyConfig as written: everything optional, for defaults come from [`crate::mesh`].

use std::time::Duration;

use super::destination_rule::{H2UpgradePolicy, LocalityLbSetting, TcpKeepalive, TrafficPolicy, WorkloadSelector};
use super::gateway::TlsProtocol;
use super::virtual_service::HttpRetry;
use crate::decode::{Json, api_enum, api_struct};
use crate::string_map::StringMap;

api_struct! {
    /// The key `mesh` of the ConfigMap `istio`.
    pub struct MeshConfigSpec {
        /// File for the access log; empty means off.
        pub access_log_file: Option<String>,
        /// Form of the access log.
        pub access_log_encoding: Option<AccessLogEncoding>,
        /// Format of the access log; empty means built in.
        pub access_log_format: Option<String>,
        /// Whether traces are reported.
        pub enable_tracing: Option<bool>,
        /// How long to wait for bytes that tell the protocol; 0 means without limit.
        pub protocol_detection_timeout: Option<Duration>,
        /// Limit for connecting.
        pub connect_timeout: Option<Duration>,
        /// Keep-alive probes.
        pub tcp_keepalive: Option<TcpKeepalive>,
        /// Whether to speak HTTP/2 to servers declared HTTP/1.
        pub h2_upgrade_policy: Option<H2UpgradePolicy>,
        /// How often names are resolved when answers carry no usable lifetime.
        pub dns_refresh_rate: Option<Duration>,
        /// How paths are cleaned.
        pub path_normalization: Option<PathNormalization>,
        /// Retry policy where a route has none.
        pub default_http_retry_policy: Option<HttpRetry>,
        /// Retry policy towards the application.
        pub default_inbound_http_retry_policy: Option<HttpRetry>,
        /// Blocks of traffic policy where nobody sets them.
        pub default_traffic_policy: Option<TrafficPolicy>,
        /// Trust domain of the mesh.
        pub trust_domain: Option<String>,
        /// Former trust domains.
        pub trust_domain_aliases: Vec<String>,
        /// Whether clients use mTLS where the server can.
        pub enable_auto_mtls: Option<bool>,
        /// What happens to traffic for unknown destinations.
        pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
        /// How the application is addressed.
        pub inbound_traffic_policy: Option<InboundTrafficPolicy>,
        /// Locality preferences.
        pub locality_lb_setting: Option<LocalityLbSetting>,
        /// Namespace of mesh-wide objects.
        pub root_namespace: Option<String>,
        /// Port of outbound capture.
        pub proxy_listen_port: Option<u16>,
        /// Port of inbound capture.
        pub proxy_inbound_listen_port: Option<u16>,
        /// Port of the HTTP proxy; 0 means off.
        pub proxy_http_port: Option<u16>,
        /// Visibility of Services and ServiceEntries without `exportTo`.
        pub default_service_export_to: Vec<String>,
        /// Visibility of VirtualServices without `exportTo`.
        pub default_virtual_service_export_to: Vec<String>,
        /// Visibility of DestinationRules without `exportTo`.
        pub default_destination_rule_export_to: Vec<String>,
        /// TLS of mTLS connections.
        pub mesh_mtls: Option<TlsConfig> = "meshMTLS",
        /// TLS of other connections.
        pub tls_defaults: Option<TlsConfig>,
        /// Whether the application's metrics are merged into the proxy's.
        pub enable_prometheus_merge: Option<bool>,
        /// Defaults for proxies.
        pub default_config: Option<ProxyConfigSpec>,
        /// Which providers telemetry uses.
        pub default_providers: Option<Json>,
        /// Providers.
        pub extension_providers: Vec<Json>,
    }
    also [
        "ca", "caCertificates", "certificates", "configSources", "defaultHttpRetryPolicy", "disableEnvoyListenerLog",
        "discoverySelectors", "dnsRefreshRate", "enableEnvoyAccessLogService", "gatewayTopology", "ingressClass",
        "ingressControllerMode", "ingressSelector", "ingressService", "serviceScopeConfigs", "serviceSettings",
        "thriftConfig", "verifyCertificateAtClient", "defaultProviders", "hboneIdleTimeout",
    ]
}

api_enum! {
    /// Form of the access log.
    pub enum AccessLogEncoding {
        /// Lines of text.
        #[default]
        Text = "TEXT",
        /// JSON objects.
        Json = "JSON",
    }
}

api_struct! {
    /// How paths are cleaned.
    pub struct PathNormalization {
        /// The steps.
        pub normalization: NormalizationType,
    }
}

api_enum! {
    /// Steps of path cleaning.
    pub enum NormalizationType {
        /// As [`NormalizationType::Base`].
        #[default]
        Default = "DEFAULT",
        /// Nothing.
        None = "NONE",
        /// RFC 3986, and `\` becomes `/`.
        Base = "BASE",
        /// And `//` becomes `/`.
        MergeSlashes = "MERGE_SLASHES",
        /// And encoded slashes are decoded first.
        DecodeAndMergeSlashes = "DECODE_AND_MERGE_SLASHES",
    }
}

api_struct! {
    /// Traffic for unknown destinations.
    pub struct OutboundTrafficPolicy {
        /// What happens.
        pub mode: OutboundTrafficMode,
    }
}

api_enum! {
    /// What happens to traffic for unknown destinations.
    pub enum OutboundTrafficMode {
        /// It is refused.
        #[default]
        RegistryOnly = "REGISTRY_ONLY",
        /// It is passed through.
        AllowAny = "ALLOW_ANY",
        /// HTTP is sent where its Host header resolves to.
        AllowAnyDynamicDns = "ALLOW_ANY_DYNAMIC_DNS",
    }
}

api_struct! {
    /// How the application is addressed.
    pub struct InboundTrafficPolicy {
        /// At which address.
        pub mode: InboundTrafficMode,
    }
}

api_enum! {
    /// At which address the application is called.
    pub enum InboundTrafficMode {
        /// The address the client dialled.
        #[default]
        Passthrough = "PASSTHROUGH",
        /// 127.0.0.1.
        Localhost = "LOCALHOST",
    }
}

api_struct! {
    /// TLS limits.
    pub struct TlsConfig {
        /// Lowest version.
        pub min_protocol_version: TlsProtocol,
        /// Curves.
        pub ecdh_curves: Vec<String>,
        /// Suites for TLS 1.2.
        pub cipher_suites: Vec<String>,
    }
}

api_struct! {
    /// Settings of proxies, from `defaultConfig` or the annotation `proxy.istio.io/config`.
    pub struct ProxyConfigSpec {
        /// Worker threads; 0 means all cores.
        pub concurrency: Option<u32>,
        /// How long open connections may go on after SIGTERM starts the drain.
        pub drain_duration: Option<Duration>,
        /// How long the process drains before it ends.
        pub termination_drain_duration: Option<Duration>,
        /// Control plane.
        pub discovery_address: Option<String>,
        /// Port of the admin server.
        pub proxy_admin_port: Option<u16>,
        /// Port of the status server.
        pub status_port: Option<u16>,
        /// How traffic is captured.
        pub interception_mode: Option<InterceptionMode>,
        /// Whether applications wait for the proxy.
        pub hold_application_until_proxy_starts: Option<bool>,
        /// Environment of the proxy.
        pub proxy_metadata: StringMap,
        /// Tracing, as JSON.
        pub tracing: Option<Json>,
        /// Header policy, as JSON.
        pub proxy_headers: Option<Json>,
        /// What stands before a gateway, as JSON.
        pub gateway_topology: Option<Json>,
        /// Which Envoy statistics are kept, as JSON.
        pub proxy_stats_matcher: Option<Json>,
        /// Further labels of Istio's metrics.
        pub extra_stat_tags: Vec<String>,
        /// Image.
        pub image: Option<Json>,
    }
    also [
        "availabilityZone", "binaryPath", "caCertificatesPem", "configPath", "connectionSettings", "controlPlaneAuthPolicy",
        "customConfigFile", "envoyAccessLogService", "envoyMetricsService", "envoyMetricsServiceAddress",
        "fileFlushInterval", "fileFlushMinSizeKb", "meshId", "privateKeyProvider", "proxyBootstrapTemplatePath",
        "proxyXdsVia", "readinessProbe", "runtimeValues", "sds", "serviceCluster", "statNameLength", "statsCompression",
        "statsdUdpAddress", "tracingServiceName", "zipkinAddress",
    ]
}

api_enum! {
    /// How traffic is captured.
    pub enum InterceptionMode {
        /// By NAT.
        #[default]
        Redirect = "REDIRECT",
        /// With the client's address kept.
        Tproxy = "TPROXY",
        /// Not at all.
        None = "NONE",
    }
}

api_struct! {
    /// The spec of the kind ProxyConfig.
    pub struct ProxyConfigResource {
        /// Workloads; absent means the namespace, in the root namespace the mesh.
        pub selector: Option<WorkloadSelector>,
        /// Worker threads.
        pub concurrency: Option<u32>,
        /// Environment of the proxy.
        pub environment_variables: StringMap,
        /// Image.
        pub image: Option<Json>,
    }
}
