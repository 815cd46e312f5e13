//! VirtualService (`networking.istio.io`): how requests for a host are routed.
//!
//! Field for field the API of Istio; what each does is told in the compiler. Absent wrapper values are `None`; plain
//! numbers and strings have protobuf's zero when absent. What is large and rare is boxed: proxies hold many of these.

use std::time::Duration;

use crate::decode::{Bytes, Decode, Decoder, Path, api_enum, api_struct};
use crate::string_map::StringMap;
use crate::yaml::Node;

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
    /// Conditions for an HTTP request; all must hold.
    pub struct HttpMatchRequest {
        /// Suffix of the route name.
        pub name: String,
        /// Path without query.
        pub uri: Option<StringMatch>,
        /// `http` or `https`.
        pub scheme: Option<StringMatch>,
        /// Method, case-sensitive.
        pub method: Option<StringMatch>,
        /// `:authority` or Host as received.
        pub authority: Option<StringMatch>,
        /// Header conditions; a null value is an error here.
        pub headers: StringMap<Option<StringMatch>>,
        /// Port of the service or gateway server, compared statically; 0 means any.
        pub port: u32,
        /// Labels the client pod must carry.
        pub source_labels: StringMap,
        /// Replaces the gateways of the VirtualService for this block.
        pub gateways: Vec<String>,
        /// Query parameter conditions.
        pub query_params: StringMap<Option<StringMatch>>,
        /// Compare exact and prefix paths without regard to case.
        pub ignore_uri_case: bool,
        /// Negated header conditions; a null value demands absence.
        pub without_headers: StringMap<Option<StringMatch>>,
        /// Namespace of the client pod; empty means any.
        pub source_namespace: String,
        /// Prefix for per-route statistics.
        pub stat_prefix: String,
    }
}

/// A condition on a string.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum StringMatch {
    /// `{}`: the value is present. Only meaningful for headers and query parameters.
    #[default]
    Present,
    /// Equal.
    Exact(String),
    /// Starts with.
    Prefix(String),
    /// The whole value matches this RE2 expression.
    Regex(String),
}

impl Decode for StringMatch {
    fn decode(node: &Node, path: &Path<'_>, cx: &mut Decoder) -> Self {
        let Some(fields) = cx.fields(node, path, &["exact", "prefix", "regex"], &[]) else {
            return StringMatch::Present;
        };
        cx.exclusive(node, path, &["exact", "prefix", "regex"]);
        if let Some(text) = fields.get::<Option<String>>("exact", path, cx) {
            StringMatch::Exact(text)
        } else if let Some(text) = fields.get::<Option<String>>("prefix", path, cx) {
            StringMatch::Prefix(text)
        } else if let Some(text) = fields.get::<Option<String>>("regex", path, cx) {
            StringMatch::Regex(text)
        } else {
            StringMatch::Present
        }
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
    /// A redirect.
    pub struct HttpRedirect {
        /// New path; empty keeps it.
        pub uri: String,
        /// Replacement for the matched prefix.
        pub prefix_rewrite: String,
        /// New host; empty keeps it.
        pub authority: String,
        /// New port.
        pub port: Option<u32>,
        /// How to derive the port when none is given.
        pub derive_port: Option<RedirectPortSelection>,
        /// `http` or `https`; empty keeps it.
        pub scheme: String,
        /// Status; 0 means 301.
        pub redirect_code: u32,
    }
    oneof ["port", "derive_port"]
}

api_enum! {
    /// Where the port of a redirect comes from.
    pub enum RedirectPortSelection {
        /// The default port of the scheme.
        #[default]
        FromProtocolDefault = "FROM_PROTOCOL_DEFAULT",
        /// The port on which the request arrived.
        FromRequestPort = "FROM_REQUEST_PORT",
    }
}

api_struct! {
    /// A response without a backend.
    pub struct HttpDirectResponse {
        /// Status.
        pub status: u32,
        /// Body; absent means empty.
        pub body: Option<HttpBody>,
    }
}

api_struct! {
    /// The body of a direct response.
    pub struct HttpBody {
        /// As text.
        pub string: Option<String>,
        /// As bytes.
        pub bytes: Option<Bytes>,
    }
    oneof ["string", "bytes"]
}

api_struct! {
    /// Change of path and host.
    pub struct HttpRewrite {
        /// Replacement for the matched path or prefix.
        pub uri: String,
        /// New host.
        pub authority: String,
        /// Substitution in the path.
        pub uri_regex_rewrite: Option<RegexRewrite>,
    }
}

api_struct! {
    /// A substitution.
    pub struct RegexRewrite {
        /// RE2 expression.
        pub pattern: String = "match",
        /// Replacement with groups as `\1`.
        pub rewrite: String,
    }
}

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
    /// Conditions for a TLS connection; all must hold.
    pub struct TlsMatchAttributes {
        /// Server names; required.
        pub sni_hosts: Vec<String>,
        /// Original destination addresses.
        pub destination_subnets: Vec<String>,
        /// Port; 0 means any.
        pub port: u32,
        /// Labels of the client pod.
        pub source_labels: StringMap,
        /// Gateways.
        pub gateways: Vec<String>,
        /// Namespace of the client pod.
        pub source_namespace: String,
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

api_struct! {
    /// Conditions for a TCP connection; all must hold.
    pub struct L4MatchAttributes {
        /// Original destination addresses.
        pub destination_subnets: Vec<String>,
        /// Port; 0 means any.
        pub port: u32,
        /// Ignored by Istio's sidecars.
        pub source_subnet: String,
        /// Labels of the client pod.
        pub source_labels: StringMap,
        /// Gateways.
        pub gateways: Vec<String>,
        /// Namespace of the client pod.
        pub source_namespace: String,
    }
}
