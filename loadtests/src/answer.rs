//! One request's outcome.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// What came of one request. Times are microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Position in the order of sending, from 0.
    pub index: u64,
    /// When it was sent, since the start of the run.
    pub sent_us: u64,
    /// Until the answer was complete.
    pub latency_us: u64,
    /// The HTTP status, once response headers arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Who answered: header `x-version`, else what follows the colon of a body `POD:VERSION`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Who answered: header `x-pod`, else what precedes that colon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// `grpc-status`, from headers or trailers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<String>,
    /// Body bytes received.
    pub bytes: u64,
    /// Response headers in lower case, repeated ones joined by a comma; empty unless the plan keeps them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body's beginning, if the plan keeps bodies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Values of the properties asked for by [`crate::Plan::count_by`], in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Option<String>>,
    /// Present when there was no complete answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

impl Answer {
    /// Whether a complete answer with a status below 400 arrived (or, without HTTP, any complete answer).
    pub fn is_ok(&self) -> bool {
        self.error.is_none() && self.status.is_none_or(|status| status < 400)
    }
}

/// Why there was no complete answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stage that failed.
    pub cause: Cause,
    /// The library's own words.
    pub detail: String,
}

impl Failure {
    pub(crate) fn new(cause: Cause, detail: impl fmt::Display) -> Self {
        Self { cause, detail: detail.to_string() }
    }
}

/// Why a request got no complete answer, in the order in which these can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It was due, but no connection became free for it before the end of the run.
    NotSent,
    /// The host's name did not resolve.
    Dns,
    /// The TCP connection was refused.
    Refused,
    /// No TCP connection within the time for it.
    ConnectTimeout,
    /// No TCP connection for another reason, such as no route or no free local port.
    Connect,
    /// No TLS session, or one that does not speak the protocol asked for.
    Tls,
    /// The connection was reset before the response headers.
    Reset,
    /// The connection ended in order after the request was sent and before response headers.
    Closed,
    /// The connection ended, or the stream was reset, within the response body.
    Body,
    /// Nothing complete within the plan's time.
    Timeout,
    /// The peer broke the protocol.
    Protocol,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSent => "not-sent",
            Self::Dns => "dns",
            Self::Refused => "refused",
            Self::ConnectTimeout => "connect-timeout",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Body => "body",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
        })
    }
}
