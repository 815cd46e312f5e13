//! The one error value of the request path: who failed, what, and whether anything was sent.
//!
//! Stages below the router only state facts here. The router alone turns them into a retry verdict
//! ([`crate::router::retry`]), a status, a body, a response flag and response code details, so that the client, the log
//! and the metrics never tell different stories. Texts and flags: Istio semantics 8.8 and 8.9.

use std::borrow::Cow;
use std::fmt::Write;

use crate::telemetry::ResponseFlags;

/// What failed, in the words of Envoy's stream reset reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// TCP refused or unreachable, or the TLS handshake failed.
    ConnectFailure,
    /// Our own socket could not be created or bound.
    LocalConnectFailure,
    /// TCP and TLS together took longer than the cluster's connect timeout.
    ConnectTimeout,
    /// The upstream closed the connection before answering.
    Terminated,
    /// The upstream reset the stream.
    Reset,
    /// The upstream reset the stream with REFUSED_STREAM, or never looked at it (GOAWAY).
    RefusedStream,
    /// The upstream's bytes are not HTTP as we may forward it.
    Protocol,
    /// A limit of the cluster's connection pool.
    Overflow,
    /// The cluster has no usable endpoint.
    NoHealthyUpstream,
    /// One try took longer than the policy's per-try timeout.
    PerTryTimeout,
    /// The whole exchange took longer than the route's timeout.
    RouteTimeout,
    /// The client went away, or its request body broke off.
    Downstream,
}

/// How far a request got before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sent {
    /// Not one byte of it left: resending is always safe.
    Nothing,
    /// Bytes left and no answer came: it may have been executed.
    Unanswered,
    /// The response had begun: resending is never possible.
    Answered,
}

/// A failed attempt.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.reason())]
pub struct Error {
    /// What failed.
    pub failure: Failure,
    /// How far the request got.
    pub sent: Sent,
    /// Whether the connection had served a request before; such a connection may be closed by its server at any time.
    pub reused: bool,
    /// What the transport said (`delayed connect error: Connection refused`, `TLS_error: ...`), for the log.
    pub transport: Option<String>,
}

impl Error {
    /// A failure before anything was sent, without a transport's comment.
    pub fn unsent(failure: Failure) -> Self {
        Error { failure, sent: Sent::Nothing, reused: false, transport: None }
    }

    /// Adds what the transport said.
    #[must_use]
    pub fn with_transport(mut self, text: impl Into<String>) -> Self {
        self.transport = Some(text.into());
        self
    }

    /// Envoy's text for the reset reason.
    pub fn reason(&self) -> &'static str {
        match self.failure {
            Failure::ConnectFailure => "remote connection failure",
            Failure::LocalConnectFailure => "local connection failure",
            Failure::ConnectTimeout => "connection timeout",
            Failure::Terminated => "connection termination",
            Failure::Reset => "remote reset",
            Failure::RefusedStream => "remote refused-stream reset",
            Failure::Protocol => "protocol error",
            Failure::Overflow => "overflow",
            Failure::NoHealthyUpstream => "no healthy upstream",
            Failure::PerTryTimeout | Failure::RouteTimeout => "upstream request timeout",
            Failure::Downstream => "downstream remote disconnect",
        }
    }

    /// The flag that access logs and metrics carry.
    pub fn flags(&self) -> ResponseFlags {
        match self.failure {
            Failure::ConnectFailure | Failure::LocalConnectFailure | Failure::ConnectTimeout => ResponseFlags::UF,
            Failure::Terminated => ResponseFlags::UC,
            Failure::Reset | Failure::RefusedStream => ResponseFlags::UR,
            Failure::Protocol => ResponseFlags::UPE,
            Failure::Overflow => ResponseFlags::UO,
            Failure::NoHealthyUpstream => ResponseFlags::UH,
            Failure::PerTryTimeout | Failure::RouteTimeout => ResponseFlags::UT,
            Failure::Downstream => ResponseFlags::DC,
        }
    }

    /// The status a client gets.
    pub fn status(&self) -> http::StatusCode {
        match self.failure {
            Failure::Protocol => http::StatusCode::BAD_GATEWAY,
            Failure::PerTryTimeout | Failure::RouteTimeout => http::StatusCode::GATEWAY_TIMEOUT,
            _ => http::StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The body a client gets; `retried` when more than one attempt was made.
    pub fn body(&self, retried: bool) -> Cow<'static, str> {
        if !self.is_reset() {
            return Cow::Borrowed(self.reason());
        }
        let retried = if retried { "retried and the latest " } else { "" };
        let mut body = format!("upstream connect error or disconnect/reset before headers. {retried}reset reason: {}", self.reason());
        if let Some(transport) = &self.transport {
            let _ = write!(body, ", transport failure reason: {transport}");
        }
        Cow::Owned(body)
    }

    /// Response code details, without spaces.
    pub fn details(&self) -> Cow<'static, str> {
        match self.failure {
            Failure::NoHealthyUpstream => Cow::Borrowed("no_healthy_upstream"),
            Failure::PerTryTimeout => Cow::Borrowed("upstream_per_try_timeout"),
            Failure::RouteTimeout => Cow::Borrowed("response_timeout"),
            Failure::Downstream => Cow::Borrowed("downstream_remote_disconnect"),
            _ => Cow::Owned(self.reset_details("upstream_reset_before_response_started")),
        }
    }

    /// The same for a failure after the response had begun.
    pub fn details_after_headers(&self) -> Cow<'static, str> {
        match self.failure {
            Failure::RouteTimeout | Failure::PerTryTimeout | Failure::Downstream => self.details(),
            _ => Cow::Owned(self.reset_details("upstream_reset_after_response_started")),
        }
    }

    fn reset_details(&self, prefix: &str) -> String {
        let transport = self.transport.as_deref().map(|text| format!("|{text}")).unwrap_or_default();
        format!("{prefix}{{{}{transport}}}", self.reason()).replace(' ', "_")
    }

    fn is_reset(&self) -> bool {
        !matches!(self.failure, Failure::NoHealthyUpstream | Failure::PerTryTimeout | Failure::RouteTimeout | Failure::Downstream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_connection_reads_as_in_envoy() {
        let error = Error::unsent(Failure::ConnectFailure).with_transport("delayed connect error: Connection refused");
        let expected = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, \
                        transport failure reason: delayed connect error: Connection refused";
        assert_eq!(error.body(false), expected);
        let details = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}";
        assert_eq!(error.details(), details);
        assert_eq!((error.status().as_u16(), error.flags()), (503, ResponseFlags::UF));
    }

    #[test]
    fn a_retried_failure_says_so_and_a_timeout_has_its_own_body() {
        let error = Error::unsent(Failure::Terminated);
        assert!(error.body(true).contains("headers. retried and the latest reset reason: connection termination"));
        let timeout = Error::unsent(Failure::RouteTimeout);
        assert_eq!((timeout.status().as_u16(), timeout.body(true).as_ref()), (504, "upstream request timeout"));
        assert_eq!(timeout.details(), "response_timeout");
    }
}
