//! What happens to requests on their way: retries, faults, copies, and what other origins may do.

use std::time::Duration;

use super::{Destination, Percent, StringMatch};
use crate::decode::{api_enum, api_struct};

api_struct! {
    /// A retry policy.
    pub struct HttpRetry {
        /// Retries after the first try.
        pub attempts: i32,
        /// Limit per try; absent means that of the whole exchange.
        pub per_try_timeout: Option<Duration>,
        /// Conditions, comma-separated; empty means the default list.
        pub retry_on: String,
        /// Move to other localities while retrying.
        pub retry_remote_localities: Option<bool>,
        /// Skip hosts already tried; absent means true.
        pub retry_ignore_previous_hosts: Option<bool>,
        /// Base of the back-off; absent means 25 ms.
        pub backoff: Option<Duration>,
    }
}

api_struct! {
    /// Faults.
    pub struct HttpFaultInjection {
        /// Wait before forwarding.
        pub delay: Option<FaultDelay>,
        /// Answer with an error.
        pub abort: Option<FaultAbort>,
    }
}

api_struct! {
    /// A delay for a share of the requests.
    pub struct FaultDelay {
        /// Deprecated share in whole percent.
        pub percent: i32,
        /// How long.
        pub fixed_delay: Option<Duration>,
        /// Never implemented by Istio.
        pub exponential_delay: Option<Duration>,
        /// Share; absent means none.
        pub percentage: Option<Percent>,
    }
    oneof ["fixed_delay", "exponential_delay"]
}

api_struct! {
    /// An error for a share of the requests.
    pub struct FaultAbort {
        /// HTTP status.
        pub http_status: Option<i32>,
        /// Canonical name of a gRPC status.
        pub grpc_status: Option<String>,
        /// Never implemented by Istio.
        pub http2_error: Option<String>,
        /// Share; absent means none.
        pub percentage: Option<Percent>,
    }
    oneof ["http_status", "grpc_status", "http2_error"]
}

api_struct! {
    /// One destination for copies.
    pub struct HttpMirrorPolicy {
        /// Where.
        pub destination: Option<Destination>,
        /// Share; absent means all.
        pub percentage: Option<Percent>,
    }
}

api_struct! {
    /// Cross-origin policy.
    pub struct CorsPolicy {
        /// Deprecated exact origins.
        pub allow_origin: Vec<String>,
        /// Origins; any one may match.
        pub allow_origins: Vec<StringMatch>,
        /// Methods.
        pub allow_methods: Vec<String>,
        /// Request headers.
        pub allow_headers: Vec<String>,
        /// Response headers scripts may read.
        pub expose_headers: Vec<String>,
        /// How long a preflight answer may be cached.
        pub max_age: Option<Duration>,
        /// Whether credentials are allowed.
        pub allow_credentials: Option<bool>,
        /// What to do with a preflight of another origin.
        pub unmatched_preflights: UnmatchedPreflights,
    }
}

api_enum! {
    /// What to do with a preflight whose origin is not allowed.
    pub enum UnmatchedPreflights {
        /// As [`UnmatchedPreflights::Forward`].
        #[default]
        Unspecified = "UNSPECIFIED",
        /// Send it to the backend.
        Forward = "FORWARD",
        /// Answer it here without allowing anything.
        Ignore = "IGNORE",
    }
}
