//! Which endpoint of a service a request goes to.

use std::time::Duration;

use crate::decode::{api_enum, api_struct};
use crate::string_map::StringMap;

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
