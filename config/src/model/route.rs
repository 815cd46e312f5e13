//! Route configurations: from a request head to an action, compiled.
//!
//! Source: Istio semantics 1 (VirtualService) and 8.4 to 8.8 (what a proxy answers by itself).

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use serde::Serialize;

use super::ClusterId;
use crate::matcher::{HostMap, RequestHead, RouteMatch, RuleIndex};
use crate::string_list::StringList;

/// Dense number of a route (HTTP or TCP) within one snapshot, below [`super::Snapshot::route_count`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct RouteId(pub u32);

/// A table of virtual hosts: one outbound HTTP port, one gateway server, or one inbound port.
#[derive(Clone, Debug, Serialize)]
pub struct RouteConfiguration {
    /// Istio's name: `80`, `http.8080`, `https.443.name.gateway.ns`, `inbound|8080||`.
    pub name: String,
    /// Domains to positions in `virtual_hosts`: exact, then the longest suffix wildcard, then `*`.
    #[serde(skip)]
    pub hosts: HostMap,
    /// The hosts in order of declaration.
    pub virtual_hosts: Vec<VirtualHost>,
}

impl RouteConfiguration {
    /// Builds the host table and the rule indexes. A domain that two hosts name belongs to the first.
    pub fn new(name: impl Into<String>, mut virtual_hosts: Vec<VirtualHost>) -> Self {
        let mut hosts = HostMap::default();
        for (position, host) in virtual_hosts.iter_mut().enumerate() {
            host.domains = host.domains.iter().filter(|domain| hosts.insert(domain, position)).collect();
            host.index = RuleIndex::new(&host.routes);
        }
        hosts.shrink_to_fit();
        virtual_hosts.shrink_to_fit();
        RouteConfiguration { name: name.into(), hosts, virtual_hosts }
    }

    /// The virtual host for a Host header value; its port, if any, is ignored and case does not count.
    pub fn virtual_host(&self, authority: &str) -> Option<&VirtualHost> {
        self.virtual_hosts.get(self.hosts.find(authority)?)
    }

    /// The first matching route of the matching virtual host. No match means 404 NR: there is no fall back to another
    /// virtual host (Istio semantics 1.5).
    pub fn find(&self, head: &RequestHead<'_>) -> Option<(&VirtualHost, &Route)> {
        let host = self.virtual_host(head.authority)?;
        let rule = host.index.find(head, &host.routes)?;
        host.routes.get(rule).map(|route| (host, route))
    }
}

/// Routes for a set of host names.
#[derive(Clone, Debug, Serialize)]
pub struct VirtualHost {
    /// `reviews.default.svc.cluster.local:80`, `allow_any`, `block_all`, `inbound|http|8080`.
    pub name: String,
    /// Domains that select it.
    pub domains: StringList,
    /// Routes in order: the first match wins.
    pub routes: Vec<Route>,
    /// Prefilter over `routes`; yields the same answer as trying them in order.
    #[serde(skip)]
    pub index: RuleIndex,
    /// Answer 301 to https for every request, before any route (Gateway `httpsRedirect`).
    pub require_tls: bool,
}

/// One rule: what it matches and what is done then. There is one for every service a proxy knows, most of them never
/// called: what is rare is boxed, and what is equal is shared.
#[derive(Clone, Debug, Serialize)]
pub struct Route {
    /// Position of run-time state (split cursor, statistics) beside the snapshot.
    pub id: RouteId,
    /// Stable identity across snapshots, such as `VirtualService shop/frontend http[0].match[1] table 80`.
    pub key: String,
    /// Name in access logs: `default`, the HTTPRoute's name, `allow_any`, `block_all`.
    pub name: String,
    /// Conditions.
    pub matches: RouteMatch,
    /// What is done.
    pub action: RouteAction,
    /// From the end of the request to the end of the response, retries included; `None` = no limit.
    pub timeout: Option<Duration>,
    /// Effective retry policy, one for all routes that have the same; `None` = no retries.
    pub retry: Option<Arc<RetryPolicy>>,
    /// Injected faults.
    pub fault: Option<Box<Fault>>,
    /// Path or Host changes before forwarding.
    pub rewrite: Option<Box<Rewrite>>,
    /// Header operations of the rule, request side.
    pub request_headers: RouteHeaders,
    /// Header operations of the rule, response side; local replies of the route included.
    pub response_headers: RouteHeaders,
    /// Value of `x-envoy-decorator-operation`, `svc.ns.svc.cluster.local:80/*`.
    pub decorator: String,
}

/// What a matching rule does.
#[derive(Clone, Debug, Serialize)]
pub enum RouteAction {
    /// Send the request on. Entries with weight 0 are left out unless there is only one.
    Forward(Vec<WeightedCluster>),
    /// Answer with a redirect.
    Redirect(Box<Redirect>),
    /// Answer from the configuration.
    DirectResponse(DirectResponse),
}

/// One destination of a forwarding route.
#[derive(Clone, Debug, Serialize)]
pub struct WeightedCluster {
    /// Name as routed, `outbound|80|v1|...`; kept for the log when the cluster does not exist.
    pub name: String,
    /// The cluster, or `None`: 503 NC, empty body, `cluster_not_found`.
    pub cluster: Option<ClusterId>,
    /// Relative weight; the sum need not be 100.
    pub weight: u32,
    /// Operations of this destination, applied per Istio semantics 1.9.
    pub request_headers: RouteHeaders,
    /// The same for responses.
    pub response_headers: RouteHeaders,
}

/// A redirect (Istio semantics 1.6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub code: u16,
    /// New scheme.
    pub scheme: Option<String>,
    /// New host, possibly with a port.
    pub authority: Option<String>,
    /// New port.
    pub port: RedirectPort,
    /// New path.
    pub path: PathRewrite,
}

/// Port of a redirect's Location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum RedirectPort {
    /// As in the request's Host, minus a default port that no longer fits the scheme.
    Keep,
    /// `port`.
    Number(u16),
    /// `derivePort: FROM_PROTOCOL_DEFAULT`.
    ProtocolDefault,
    /// `derivePort: FROM_REQUEST_PORT`: the listener's port.
    Request,
}

/// How a path changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum PathRewrite {
    /// Not at all.
    Keep,
    /// The whole path.
    Full(String),
    /// The matched prefix (of the given length in bytes); the rest stays verbatim.
    Prefix {
        /// Length of the prefix that the route matched.
        matched: usize,
        /// Replacement.
        with: String,
    },
    /// RE2 substitution over the path without query, `\1` style groups.
    Regex(crate::matcher::Substitution),
}

/// `rewrite` of an HTTPRoute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rewrite {
    /// Path change.
    pub path: PathRewrite,
    /// New Host.
    pub authority: Option<String>,
}

/// An answer from the configuration (Istio semantics 1.7; also `block_all`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DirectResponse {
    /// Status, 200 to 599.
    pub status: u16,
    /// Body; `text/plain` unless a header operation says otherwise.
    pub body: Vec<u8>,
}

/// When and how often a request is tried again (Istio semantics 1.11).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RetryPolicy {
    /// Retries after the first try; at least 1.
    pub attempts: u32,
    /// Time for one try; `None` = the route's.
    pub per_try_timeout: Option<Duration>,
    /// Conditions under which a retry happens.
    pub retry_on: RetryOn,
    /// True when the conditions stand in the user's VirtualService or mesh configuration rather than in the built-in
    /// default: the user's word allows resending a request that may have been executed (design, section 4).
    pub explicit: bool,
    /// Skip endpoints that were tried already.
    pub ignore_previous_hosts: bool,
    /// After every two attempts, leave out localities already used.
    pub retry_remote_localities: bool,
    /// Base of the back-off; the maximum is ten times as long. Default 25 ms.
    pub backoff: Duration,
}

/// `retryOn`, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RetryOn {
    /// `5xx`.
    pub five_xx: bool,
    /// `gateway-error`.
    pub gateway_error: bool,
    /// `reset`.
    pub reset: bool,
    /// `reset-before-request`.
    pub reset_before_request: bool,
    /// `connect-failure`.
    pub connect_failure: bool,
    /// `refused-stream`.
    pub refused_stream: bool,
    /// `retriable-4xx`: 409.
    pub retriable_4xx: bool,
    /// `envoy-ratelimited`.
    pub envoy_ratelimited: bool,
    /// `retriable-status-codes` and numbers in the list.
    pub status_codes: Vec<u16>,
    /// gRPC status codes in response headers: `cancelled` 1, `deadline-exceeded` 4, `resource-exhausted` 8,
    /// `internal` 13, `unavailable` 14.
    pub grpc_status: Vec<u8>,
}

/// Faults of a route (Istio semantics 1.12). Draws are independent; the delay comes first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Delay before the request goes on.
    pub delay: Option<FaultDelay>,
    /// Answer instead of forwarding.
    pub abort: Option<FaultAbort>,
}

/// A delay and its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FaultDelay {
    /// Parts per million of requests.
    pub per_million: u32,
    /// How long.
    pub duration: Duration,
}

/// An abort and its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FaultAbort {
    /// Parts per million of requests.
    pub per_million: u32,
    /// The answer.
    pub status: AbortStatus,
}

/// Status of an abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum AbortStatus {
    /// `httpStatus`; becomes a gRPC status for gRPC requests.
    Http(u16),
    /// `grpcStatus`: HTTP 200 with this grpc-status.
    Grpc(u8),
}

/// `headers.request` or `headers.response`, names parsed (Istio semantics 1.9). Removal first, then set, then add.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderOperations {
    /// Deleted.
    pub remove: Vec<HeaderName>,
    /// Replaced or created.
    pub set: Vec<(HeaderName, HeaderFormat)>,
    /// Appended.
    pub add: Vec<(HeaderName, HeaderFormat)>,
    /// New Host, from a `set` or `add` of `host` / `:authority` (request side only).
    pub authority: Option<HeaderFormat>,
}

impl HeaderOperations {
    /// Whether a value depends on the request or connection.
    pub fn has_templates(&self) -> bool {
        self.set.iter().chain(&self.add).any(|(_, format)| matches!(format, HeaderFormat::Template(_)))
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty() && self.authority.is_none()
    }
}

/// The header operations of a route or destination; those without any take the space of a pointer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteHeaders(Option<Box<HeaderOperations>>);

static NO_OPERATIONS: HeaderOperations = HeaderOperations { remove: Vec::new(), set: Vec::new(), add: Vec::new(), authority: None };

impl From<HeaderOperations> for RouteHeaders {
    fn from(operations: HeaderOperations) -> Self {
        RouteHeaders((!operations.is_empty()).then(|| Box::new(operations)))
    }
}

impl Deref for RouteHeaders {
    type Target = HeaderOperations;

    fn deref(&self) -> &HeaderOperations {
        self.0.as_deref().unwrap_or(&NO_OPERATIONS)
    }
}

impl DerefMut for RouteHeaders {
    fn deref_mut(&mut self) -> &mut HeaderOperations {
        self.0.get_or_insert_default()
    }
}

impl Serialize for RouteHeaders {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        HeaderOperations::serialize(self, serializer)
    }
}

impl Serialize for HeaderOperations {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let pairs = |list: &[(HeaderName, HeaderFormat)]| -> Vec<(String, String)> {
            list.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
        };
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("remove", &self.remove.iter().map(HeaderName::as_str).collect::<Vec<_>>())?;
        map.serialize_entry("set", &pairs(&self.set))?;
        map.serialize_entry("add", &pairs(&self.add))?;
        map.end()
    }
}

/// A header value with Envoy's `%VAR%` format strings, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderFormat {
    /// No variables: the value as it is.
    Literal(HeaderValue),
    /// Pieces to be joined per request.
    Template(Vec<FormatPiece>),
}

impl std::fmt::Display for HeaderFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HeaderFormat::Literal(value) => f.write_str(&String::from_utf8_lossy(value.as_bytes())),
            HeaderFormat::Template(pieces) => pieces.iter().try_for_each(|piece| match piece {
                FormatPiece::Text(text) => f.write_str(text),
                FormatPiece::Command { name, argument: Some(argument) } => write!(f, "%{name}({argument})%"),
                FormatPiece::Command { name, argument: None } => write!(f, "%{name}%"),
            }),
        }
    }
}

/// A piece of a format string (header operations and access logs).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum FormatPiece {
    /// Verbatim.
    Text(String),
    /// `%NAME%` or `%NAME(argument)%`; a trailing `:N` length limit stays within the name's text.
    Command {
        /// Command, for example `DOWNSTREAM_REMOTE_ADDRESS` or `REQ`.
        name: String,
        /// Text between the parentheses.
        argument: Option<String>,
    },
}
