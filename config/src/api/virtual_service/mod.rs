//! VirtualService (`networking.istio.io`): how requests for a host are routed.
//!
//! Field for field the API of Istio; what each does is told in the compiler. Absent wrapper values are `None`; plain
//! numbers and strings have protobuf's zero when absent. What is large and rare is boxed: proxies hold many of these.

mod action;
mod condition;
mod policy;

use std::time::Duration;

pub use self::action::{HttpBody, HttpDirectResponse, HttpRedirect, HttpRewrite, RedirectPortSelection, RegexRewrite};
pub use self::condition::{HttpMatchRequest, L4MatchAttributes, StringMatch, TlsMatchAttributes};
pub use self::policy::{CorsPolicy, FaultAbort, FaultDelay, HttpFaultInjection, HttpMirrorPolicy, HttpRetry, UnmatchedPreflights};
use crate::decode::api_struct;
use crate::string_map::StringMap;

api_struct! {
    /// The spec of a VirtualService.
    pub struct VirtualService {
        /// Destinations as the client addresses them: names, wildcards or IP addresses. Empty in a delegate.
        pub hosts: Vec<String>,
        /// `mesh`, `NAME` or `NAMESPACE/NAME`; absent means `mesh`.
        pub gateways: Vec<String>,
        /// Routes for HTTP, in order.
        pub http: Vec<HttpRoute>,
        /// Routes for TLS that is passed through, in order.
        pub tls: Vec<TlsRoute>,
        /// Routes for opaque TCP, in order.
        pub tcp: Vec<TcpRoute>,
        /// Namespaces that see this object; absent means the mesh default.
        pub export_to: Vec<String>,
    }
}

api_struct! {
    /// One HTTP rule: conditions and what to do.
    pub struct HttpRoute {
        /// Name for logs.
        pub name: String,
        /// Alternatives, tried in order; empty matches every request.
        pub matches: Vec<HttpMatchRequest> = "match",
        /// Where to send the request, by weight.
        pub route: Vec<HttpRouteDestination>,
        /// Answer with a redirect.
        pub redirect: Option<HttpRedirect>,
        /// Answer with a fixed response.
        pub direct_response: Option<HttpDirectResponse>,
        /// Another VirtualService that continues this rule.
        pub delegate: Option<Delegate>,
        /// Change of path and host before forwarding.
        pub rewrite: Option<HttpRewrite>,
        /// Limit for the whole exchange, retries included.
        pub timeout: Option<Duration>,
        /// Retry policy; absent means the mesh default.
        pub retries: Option<HttpRetry>,
        /// Faults to inject.
        pub fault: Option<HttpFaultInjection>,
        /// Where to send a copy of the request.
        pub mirror: Option<Destination>,
        /// Several destinations for copies.
        pub mirrors: Vec<HttpMirrorPolicy>,
        /// Deprecated share of copies.
        pub mirror_percent: Option<u32>,
        /// Share of copies.
        pub mirror_percentage: Option<Percent>,
        /// Cross-origin policy.
        pub cors_policy: Option<CorsPolicy>,
        /// Header operations for all destinations of the rule.
        pub headers: Option<Headers>,
    }
}

api_struct! {
    /// Reference to a delegate VirtualService.
    pub struct Delegate {
        /// Name.
        pub name: String,
        /// Namespace; empty means that of the root.
        pub namespace: String,
    }
}

api_struct! {
    /// One weighted destination of an HTTP rule.
    pub struct HttpRouteDestination {
        /// Where.
        pub destination: Destination,
        /// Share; 0 or absent.
        pub weight: i32,
        /// Header operations for this destination.
        pub headers: Option<Headers>,
    }
}

api_struct! {
    /// One weighted destination of a TLS or TCP rule.
    pub struct RouteDestination {
        /// Where.
        pub destination: Destination,
        /// Share; 0 or absent.
        pub weight: i32,
    }
}

api_struct! {
    /// A service, one of its subsets, one of its ports.
    pub struct Destination {
        /// Name of the service; short names are completed with the namespace of the VirtualService.
        pub host: String,
        /// Subset that a DestinationRule defines; empty means all of the service.
        pub subset: String,
        /// Service port.
        pub port: Option<PortSelector>,
    }
}

api_struct! {
    /// A port by number.
    pub struct PortSelector {
        /// Number of the service port.
        pub number: u32,
    }
}

api_struct! {
    /// A percentage.
    pub struct Percent {
        /// From 0 to 100.
        pub value: f64,
    }
}

api_struct! {
    /// Operations on request and response headers.
    pub struct Headers {
        /// Before the request is forwarded.
        pub request: Option<HeaderOperations>,
        /// Before the response is returned.
        pub response: Option<HeaderOperations>,
    }
}

api_struct! {
    /// Remove, then add and set.
    pub struct HeaderOperations {
        /// Overwrite.
        pub set: StringMap,
        /// Append a value.
        pub add: StringMap,
        /// Delete all values.
        pub remove: Vec<String>,
    }
}

api_struct! {
    /// One rule for TLS passed through.
    pub struct TlsRoute {
        /// Alternatives; required.
        pub matches: Vec<TlsMatchAttributes> = "match",
        /// Destinations by weight.
        pub route: Vec<RouteDestination>,
    }
}

api_struct! {
    /// One rule for opaque TCP.
    pub struct TcpRoute {
        /// Alternatives; empty matches all.
        pub matches: Vec<L4MatchAttributes> = "match",
        /// Destinations by weight.
        pub route: Vec<RouteDestination>,
    }
}
