//! DestinationRule (`networking.istio.io`): subsets of a service and the policy for traffic to it.

mod connection_pool;
mod load_balancer;
mod tls;

use std::time::Duration;

pub use self::connection_pool::{ConnectionPoolSettings, H2UpgradePolicy, Http2KeepAlive, HttpSettings, TcpKeepalive, TcpSettings};
pub use self::load_balancer::{
    ConsistentHashLb, CookieAttribute, HttpCookie, LoadBalancerSettings, LocalityDistribute, LocalityFailover, LocalityLbSetting, Maglev,
    RingHash, SimpleLb, WarmupConfiguration,
};
pub use self::tls::{ClientTlsMode, ClientTlsSettings};
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
