//! Envoy's format operators: the part of a line that changes.

use http::HeaderName;

use super::start_time::TimeFormat;

/// One operator, its argument parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `START_TIME`.
    StartTime(TimeFormat),
    /// `REQ(A?B)`: the first of the two that has a value.
    Request(Source, Option<Source>),
    /// `RESP(A?B)`: positions in the captured response headers.
    Response(usize, Option<usize>),
    /// `RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)`, known without looking at headers.
    UpstreamServiceTime,
    /// `TRAILER(A)`: a position in the captured trailers.
    Trailer(usize),
    /// An operator without argument.
    Fact(Fact),
    /// Not known, or not known yet: always missing.
    Missing,
}

/// Where a `REQ` value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `:METHOD`.
    Method,
    /// `:PATH` and `X-ENVOY-ORIGINAL-PATH`: the path as the client sent it.
    Path,
    /// `:AUTHORITY` and `HOST`.
    Authority,
    /// `:SCHEME`.
    Scheme,
    /// Position in the captured request headers.
    Header(usize),
}

macro_rules! facts {
    ($($text:literal => $name:ident,)*) => {
        /// Operators without argument, named as Envoy names them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each variant is its operator's name")]
        pub enum Fact { $($name,)* }

        impl Fact {
            /// The operator of a name.
            pub fn parse(name: &str) -> Option<Fact> {
                match name { $($text => Some(Fact::$name),)* _ => None }
            }
        }
    };
}

facts! {
    "PROTOCOL" => Protocol,
    "RESPONSE_CODE" => ResponseCode,
    "RESPONSE_FLAGS" => ResponseFlags,
    "RESPONSE_CODE_DETAILS" => ResponseCodeDetails,
    "CONNECTION_TERMINATION_DETAILS" => ConnectionTerminationDetails,
    "UPSTREAM_TRANSPORT_FAILURE_REASON" => UpstreamTransportFailureReason,
    "BYTES_RECEIVED" => BytesReceived,
    "BYTES_SENT" => BytesSent,
    "DURATION" => Duration,
    "RESPONSE_DURATION" => ResponseDuration,
    "UPSTREAM_HOST" => UpstreamHost,
    "UPSTREAM_REMOTE_ADDRESS" => UpstreamRemoteAddress,
    "UPSTREAM_CLUSTER" => UpstreamCluster,
    "UPSTREAM_CLUSTER_RAW" => UpstreamClusterRaw,
    "UPSTREAM_LOCAL_ADDRESS" => UpstreamLocalAddress,
    "UPSTREAM_REQUEST_ATTEMPT_COUNT" => UpstreamRequestAttemptCount,
    "UPSTREAM_PEER_URI_SAN" => UpstreamPeerUriSan,
    "UPSTREAM_LOCAL_URI_SAN" => UpstreamLocalUriSan,
    "DOWNSTREAM_LOCAL_ADDRESS" => DownstreamLocalAddress,
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => DownstreamLocalIp,
    "DOWNSTREAM_LOCAL_PORT" => DownstreamLocalPort,
    "DOWNSTREAM_REMOTE_ADDRESS" => DownstreamRemoteAddress,
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => DownstreamRemoteIp,
    "DOWNSTREAM_REMOTE_PORT" => DownstreamRemotePort,
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => DownstreamDirectRemoteAddress,
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => DownstreamDirectRemoteIp,
    "DOWNSTREAM_PEER_URI_SAN" => DownstreamPeerUriSan,
    "DOWNSTREAM_LOCAL_URI_SAN" => DownstreamLocalUriSan,
    "DOWNSTREAM_PEER_SUBJECT" => DownstreamPeerSubject,
    "DOWNSTREAM_PEER_FINGERPRINT_256" => DownstreamPeerFingerprint,
    "DOWNSTREAM_TLS_VERSION" => DownstreamTlsVersion,
    "REQUESTED_SERVER_NAME" => RequestedServerName,
    "ROUTE_NAME" => RouteName,
    "GRPC_STATUS" => GrpcStatus,
    "GRPC_STATUS_NUMBER" => GrpcStatusNumber,
    "OUTRIGGER_DECISION" => Decision,
}

/// Headers that a format asks for, each once; operators hold positions in these lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedHeaders {
    /// Of the request.
    pub request: Vec<HeaderName>,
    /// Of the response head.
    pub response: Vec<HeaderName>,
    /// Of the response trailers.
    pub trailers: Vec<HeaderName>,
}

impl Operator {
    /// Parses an operator; `None` when there is no such operator.
    pub fn parse(name: &str, argument: Option<&str>, wanted: &mut WantedHeaders) -> Option<Operator> {
        match (name, argument) {
            ("START_TIME", format) => Some(Operator::StartTime(TimeFormat::parse(format))),
            ("REQ", Some(names)) => {
                let (first, second) = alternatives(names);
                Some(Operator::Request(wanted.source(first)?, second.and_then(|name| wanted.source(name))))
            }
            ("RESP", Some(names)) if names.eq_ignore_ascii_case("x-envoy-upstream-service-time") => Some(Operator::UpstreamServiceTime),
            ("RESP", Some(names)) => {
                let (first, second) = alternatives(names);
                let first = position(&mut wanted.response, first)?;
                Some(Operator::Response(first, second.and_then(|name| position(&mut wanted.response, name))))
            }
            ("TRAILER", Some(name)) => position(&mut wanted.trailers, name).map(Operator::Trailer),
            (name, None) => Fact::parse(name).map(Operator::Fact),
            _ => None,
        }
    }
}

impl WantedHeaders {
    fn source(&mut self, name: &str) -> Option<Source> {
        match name.to_ascii_lowercase().as_str() {
            ":method" => Some(Source::Method),
            ":path" | "x-envoy-original-path" => Some(Source::Path),
            ":authority" | "host" => Some(Source::Authority),
            ":scheme" => Some(Source::Scheme),
            name => position(&mut self.request, name).map(Source::Header),
        }
    }
}

fn alternatives(names: &str) -> (&str, Option<&str>) {
    names.split_once('?').map_or((names, None), |(first, second)| (first, Some(second)))
}

fn position(list: &mut Vec<HeaderName>, name: &str) -> Option<usize> {
    let name: HeaderName = name.parse().ok()?;
    Some(list.iter().position(|known| *known == name).unwrap_or_else(|| {
        list.push(name);
        list.len() - 1
    }))
}
