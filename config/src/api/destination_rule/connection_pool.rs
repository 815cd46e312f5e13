//! How many connections and requests a service may have at a time, and for how long.

use std::time::Duration;

use crate::decode::{api_enum, api_struct};

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
