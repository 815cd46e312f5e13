//! DestinationRule (`networking.istio.io`): subsets of a service and the policy for traffic to it.

use std::time::Duration;

use super::virtual_service::PortSelector;
use crate::decode::{api_enum, api_struct};
use crate::string_map::StringMap;

api_struct! {
    /// The spec of a DestinationRule.
    pub struct DestinationRule {
        /// Service name or wildcard; short names are completed with the rule's namespace.
        pub host: String,
        /// Policy for the service; port and subset policies override it.
        pub traffic_policy: Option<Box<TrafficPolicy>>,
        /// Named groups of the endpoints.
        pub subsets: Vec<Subset>,
        /// Namespaces that see this object; absent means the mesh default.
        pub export_to: Vec<String>,
        /// Client workloads to which the rule applies; absent means all.
        pub workload_selector: Option<WorkloadSelector>,
    }
}

api_struct! {
    /// A selector on workload labels.
    pub struct WorkloadSelector {
        /// All must be carried.
        pub match_labels: StringMap,
    }
}

api_struct! {
    /// A group of endpoints.
    pub struct Subset {
        /// Name used by routes.
        pub name: String,
        /// Labels of its endpoints; empty means all.
        pub labels: StringMap,
        /// Policy blocks that replace those of the rule.
        pub traffic_policy: Option<Box<TrafficPolicy>>,
    }
}

api_struct! {
    /// Policy for traffic to a service or subset.
    pub struct TrafficPolicy {
        /// Balancing.
        pub load_balancer: Option<LoadBalancerSettings>,
        /// Limits.
        pub connection_pool: Option<ConnectionPoolSettings>,
        /// Ejection of failing endpoints.
        pub outlier_detection: Option<OutlierDetection>,
        /// TLS towards the endpoints; absent leaves it to automatic mTLS.
        pub tls: Option<ClientTlsSettings>,
        /// Policies per service port; each replaces the four blocks above whole.
        pub port_level_settings: Vec<PortTrafficPolicy>,
        /// Tunnelling of TCP through the destination.
        pub tunnel: Option<TunnelSettings>,
        /// PROXY protocol towards the destination.
        pub proxy_protocol: Option<ProxyProtocol>,
        /// Limit for concurrent retries.
        pub retry_budget: Option<RetryBudget>,
    }
}

api_struct! {
    /// Policy for one service port.
    pub struct PortTrafficPolicy {
        /// The port; required.
        pub port: Option<PortSelector>,
        /// Balancing.
        pub load_balancer: Option<LoadBalancerSettings>,
        /// Limits.
        pub connection_pool: Option<ConnectionPoolSettings>,
        /// Ejection.
        pub outlier_detection: Option<OutlierDetection>,
        /// TLS.
        pub tls: Option<ClientTlsSettings>,
    }
}

api_struct! {
    /// Balancing.
    pub struct LoadBalancerSettings {
        /// A standard algorithm.
        pub simple: Option<SimpleLb>,
        /// Affinity by hash.
        pub consistent_hash: Option<Box<ConsistentHashLb>>,
        /// Locality preferences.
        pub locality_lb_setting: Option<Box<LocalityLbSetting>>,
        /// Deprecated form of `warmup.duration`.
        pub warmup_duration_secs: Option<Duration>,
        /// Slow start.
        pub warmup: Option<WarmupConfiguration>,
    }
    oneof ["simple", "consistent_hash"]
}

api_enum! {
    /// A standard balancing algorithm.
    pub enum SimpleLb {
        /// The proxy's default: LEAST_REQUEST.
        #[default]
        Unspecified = "UNSPECIFIED",
        /// Deprecated name of LEAST_REQUEST.
        LeastConn = "LEAST_CONN",
        /// Uniformly random.
        Random = "RANDOM",
        /// The address the client dialled.
        Passthrough = "PASSTHROUGH",
        /// In turn.
        RoundRobin = "ROUND_ROBIN",
        /// The less busy of two random endpoints.
        LeastRequest = "LEAST_REQUEST",
    }
}

api_struct! {
    /// Affinity by hash.
    pub struct ConsistentHashLb {
        /// Key: a header.
        pub http_header_name: Option<String>,
        /// Key: a cookie.
        pub http_cookie: Option<HttpCookie>,
        /// Key: the client's address.
        pub use_source_ip: Option<bool>,
        /// Key: a query parameter.
        pub http_query_parameter_name: Option<String>,
        /// Algorithm: ring hash.
        pub ring_hash: Option<RingHash>,
        /// Algorithm: Maglev.
        pub maglev: Option<Maglev>,
        /// Deprecated form of `ringHash.minimumRingSize`.
        pub minimum_ring_size: u64,
    }
    oneof ["http_header_name", "http_cookie", "use_source_ip", "http_query_parameter_name"]
    oneof ["ring_hash", "maglev"]
}

api_struct! {
    /// A cookie that keeps a client at one endpoint.
    pub struct HttpCookie {
        /// Name.
        pub name: String,
        /// Path attribute.
        pub path: String,
        /// Lifetime; absent means that no cookie is generated.
        pub ttl: Option<Duration>,
        /// Further attributes.
        pub attributes: Vec<CookieAttribute>,
    }
}

api_struct! {
    /// An attribute of a generated cookie.
    pub struct CookieAttribute {
        /// Name.
        pub name: String,
        /// Value; empty means none.
        pub value: String,
    }
}

api_struct! {
    /// Ring hash.
    pub struct RingHash {
        /// Entries of the ring; 0 means 1024.
        pub minimum_ring_size: u64,
    }
}

api_struct! {
    /// Maglev.
    pub struct Maglev {
        /// Prime size of the table; required.
        pub table_size: u64,
    }
}

api_struct! {
    /// Slow start.
    pub struct WarmupConfiguration {
        /// Window; required.
        pub duration: Option<Duration>,
        /// Floor of the weight in percent; absent means 10.
        pub minimum_percent: Option<f64>,
        /// Shape of the curve; absent means 1.
        pub aggression: Option<f64>,
    }
}

api_struct! {
    /// Locality preferences.
    pub struct LocalityLbSetting {
        /// Explicit shares.
        pub distribute: Vec<LocalityDistribute>,
        /// Where a region's traffic goes when it fails.
        pub failover: Vec<LocalityFailover>,
        /// Labels that order endpoints.
        pub failover_priority: Vec<String>,
        /// Whether locality counts at all; absent means true.
        pub enabled: Option<bool>,
    }
}

api_struct! {
    /// Shares for clients of one locality.
    pub struct LocalityDistribute {
        /// Locality of the client, `region/zone/subzone` with `*` at the end.
        pub from: String,
        /// Weight per locality.
        pub to: StringMap<u32>,
    }
}

api_struct! {
    /// Fail-over between regions.
    pub struct LocalityFailover {
        /// Region of the client.
        pub from: String,
        /// Region that takes over.
        pub to: String,
    }
}

api_struct! {
    /// Limits for connections and requests.
    pub struct ConnectionPoolSettings {
        /// For both TCP and HTTP.
        pub tcp: Option<TcpSettings>,
        /// For HTTP.
        pub http: Option<HttpSettings>,
    }
}

api_struct! {
    /// Connection limits.
    pub struct TcpSettings {
        /// Connections per cluster and proxy; 0 means no limit.
        pub max_connections: i32,
        /// Limit for connecting; absent means the mesh default.
        pub connect_timeout: Option<Duration>,
        /// Keep-alive probes.
        pub tcp_keepalive: Option<TcpKeepalive>,
        /// Age limit of a connection.
        pub max_connection_duration: Option<Duration>,
        /// Idle limit; absent means one hour, 0 none.
        pub idle_timeout: Option<Duration>,
    }
}

api_struct! {
    /// TCP keep-alive.
    pub struct TcpKeepalive {
        /// Probes before the connection is given up; 0 means the system's.
        pub probes: u32,
        /// Idle time before the first probe; absent means the system's.
        pub time: Option<Duration>,
        /// Time between probes; absent means the system's.
        pub interval: Option<Duration>,
    }
}

api_struct! {
    /// Request limits.
    pub struct HttpSettings {
        /// Requests waiting for a connection; 0 means no limit.
        pub http1_max_pending_requests: i32,
        /// Active requests, of every HTTP version; 0 means no limit.
        pub http2_max_requests: i32,
        /// Requests per connection; 0 means no limit.
        pub max_requests_per_connection: i32,
        /// Concurrent retries; 0 means no limit.
        pub max_retries: i32,
        /// Idle limit; absent means one hour.
        pub idle_timeout: Option<Duration>,
        /// Whether to speak HTTP/2 to a server declared HTTP/1.
        pub h2_upgrade_policy: H2UpgradePolicy,
        /// Speak upstream what the client speaks.
        pub use_client_protocol: bool,
        /// HTTP/2 streams per connection; 0 means no limit.
        pub max_concurrent_streams: i32,
        /// HTTP/2 pings.
        pub http2_keep_alive: Option<Http2KeepAlive>,
    }
}

api_enum! {
    /// Whether to upgrade to HTTP/2.
    pub enum H2UpgradePolicy {
        /// As the mesh says.
        #[default]
        Default = "DEFAULT",
        /// Never.
        DoNotUpgrade = "DO_NOT_UPGRADE",
        /// Always.
        Upgrade = "UPGRADE",
    }
}

api_struct! {
    /// HTTP/2 pings.
    pub struct Http2KeepAlive {
        /// Time between pings; required.
        pub interval: Option<Duration>,
        /// How long to wait for the answer; required.
        pub timeout: Option<Duration>,
    }
    also ["interval_jitter", "connection_idle_interval"]
}

api_struct! {
    /// Ejection of failing endpoints.
    pub struct OutlierDetection {
        /// Removed by Istio; ignored.
        pub consecutive_errors: i32,
        /// Tell local failures from answers.
        pub split_external_local_origin_errors: bool,
        /// Local failures in a row; absent means 5.
        pub consecutive_local_origin_failures: Option<u32>,
        /// 502, 503, 504 in a row; absent or 0 means off.
        pub consecutive_gateway_errors: Option<u32>,
        /// 5xx in a row; absent means 5, 0 off.
        pub consecutive_5xx_errors: Option<u32>,
        /// Time between sweeps; absent means 10 s.
        pub interval: Option<Duration>,
        /// First ejection; absent means 30 s.
        pub base_ejection_time: Option<Duration>,
        /// Largest share ejected in percent; 0 means 10.
        pub max_ejection_percent: i32,
        /// Below this share of healthy endpoints all are used.
        pub min_health_percent: i32,
        /// Status codes counted as errors; empty means 5xx.
        pub outlier_detection_http_error_codes: Vec<u32>,
    }
}

api_struct! {
    /// TLS towards the endpoints.
    pub struct ClientTlsSettings {
        /// Mode.
        pub mode: ClientTlsMode,
        /// File with the client's chain.
        pub client_certificate: String,
        /// File with the client's key.
        pub private_key: String,
        /// File with the roots for the server.
        pub ca_certificates: String,
        /// Secret with all three.
        pub credential_name: String,
        /// Accepted names of the server.
        pub subject_alt_names: Vec<String>,
        /// Server name to send.
        pub sni: String,
        /// Do not verify the server.
        pub insecure_skip_verify: Option<bool>,
        /// File with a revocation list.
        pub ca_crl: String,
    }
}

api_enum! {
    /// TLS mode of a client.
    pub enum ClientTlsMode {
        /// Plaintext.
        #[default]
        Disable = "DISABLE",
        /// TLS without client certificate.
        Simple = "SIMPLE",
        /// TLS with a given client certificate.
        Mutual = "MUTUAL",
        /// TLS with the workload's own identity.
        IstioMutual = "ISTIO_MUTUAL",
    }
}

api_struct! {
    /// Tunnel through the destination.
    pub struct TunnelSettings {
        /// `CONNECT` (also when empty) or `POST`.
        pub protocol: String,
        /// Host to reach.
        pub target_host: String,
        /// Port to reach.
        pub target_port: u32,
    }
}

api_struct! {
    /// PROXY protocol.
    pub struct ProxyProtocol {
        /// Version.
        pub version: ProxyProtocolVersion,
    }
}

api_enum! {
    /// Version of the PROXY protocol.
    pub enum ProxyProtocolVersion {
        /// Text.
        #[default]
        V1 = "V1",
        /// Binary.
        V2 = "V2",
    }
}

api_struct! {
    /// Limit for concurrent retries.
    pub struct RetryBudget {
        /// Share of active and pending requests; absent means 20.
        pub percent: Option<f64>,
        /// Retries always allowed; absent means 3.
        pub min_retry_concurrency: Option<u32>,
        /// Window; absent means none.
        pub budget_interval: Option<Duration>,
    }
}
