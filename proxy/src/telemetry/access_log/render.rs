//! One record to one line.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{HeaderValue, Version};

use super::format::{Piece, Template};
use super::operator::{Fact, Operator, Source};
use super::{AccessLog, CapturedHeaders, json, text};
use crate::listener::Downstream;
use crate::telemetry::{HttpRecord, ResponseFlags, TcpRecord, UpstreamFacts};

/// Appends the line of an exchange.
pub fn render_http(out: &mut Vec<u8>, captured: &CapturedHeaders, record: &HttpRecord) {
    render(out, &captured.log, &Subject::Http(record, captured));
}

/// Appends the line of a connection.
pub fn render_tcp(out: &mut Vec<u8>, log: &Arc<AccessLog>, record: &TcpRecord) {
    render(out, log, &Subject::Tcp(record));
}

/// What a line is about.
enum Subject<'a> {
    Http(&'a HttpRecord, &'a CapturedHeaders),
    Tcp(&'a TcpRecord),
}

/// What an operator wrote.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Nothing,
    Text,
    Number,
}

fn render(out: &mut Vec<u8>, log: &AccessLog, subject: &Subject<'_>) {
    match &log.template {
        Template::Text(pieces) => write_text(out, pieces, subject),
        Template::Json(fields) => {
            let mut separator = b'{';
            for (key, pieces) in fields {
                out.push(separator);
                out.extend_from_slice(key.as_bytes());
                write_json_value(out, pieces, subject);
                separator = b',';
            }
            out.extend_from_slice(if fields.is_empty() { b"{}\n" } else { b"}\n" });
        }
    }
}

fn write_text(out: &mut Vec<u8>, pieces: &[Piece], subject: &Subject<'_>) {
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Operator(operator, limit) => {
                if write_operator(out, operator, *limit, subject) == Written::Nothing {
                    out.push(b'-');
                }
            }
        }
    }
}

/// A value that is one operator keeps its type; anything else is a string.
fn write_json_value(out: &mut Vec<u8>, pieces: &[Piece], subject: &Subject<'_>) {
    let start = out.len();
    let written = match pieces {
        [Piece::Operator(operator, limit)] => write_operator(out, operator, *limit, subject),
        pieces => {
            write_text(out, pieces, subject);
            Written::Text
        }
    };
    match written {
        Written::Nothing => out.extend_from_slice(b"null"),
        Written::Number => {}
        Written::Text => {
            let value = out.split_off(start);
            out.push(b'"');
            json::escape_into(out, &value);
            out.push(b'"');
        }
    }
}

fn write_operator(out: &mut Vec<u8>, operator: &Operator, limit: Option<usize>, subject: &Subject<'_>) -> Written {
    let start = out.len();
    let written = subject.write(out, operator);
    if let Some(limit) = limit.filter(|_| written == Written::Text) {
        out.truncate(start.saturating_add(limit).min(out.len()));
    }
    written
}

impl Subject<'_> {
    fn write(&self, out: &mut Vec<u8>, operator: &Operator) -> Written {
        match operator {
            Operator::StartTime(format) => {
                let start = match self {
                    Subject::Http(record, _) => record.start,
                    Subject::Tcp(record) => record.downstream.accepted_at,
                };
                format.write(out, start);
                Written::Text
            }
            Operator::Request(first, second) => self.request(out, *first, *second),
            Operator::Response(first, second) => {
                let headers = self.captured().map(|captured| captured.response.as_slice());
                value(out, header(headers, *first).or_else(|| header(headers, (*second)?)))
            }
            Operator::Trailer(position) => value(out, header(self.captured().map(|captured| captured.trailers.as_slice()), *position)),
            Operator::UpstreamServiceTime => number(out, self.service_time()),
            Operator::Fact(fact) => self.fact(out, *fact),
            Operator::Missing => Written::Nothing,
        }
    }

    fn request(&self, out: &mut Vec<u8>, first: Source, second: Option<Source>) -> Written {
        let Subject::Http(record, captured) = self else { return Written::Nothing };
        let found = |source: Source| -> Option<&[u8]> {
            match source {
                Source::Method => Some(record.method.as_str().as_bytes()),
                Source::Path => Some(record.path.as_str().as_bytes()),
                Source::Authority => Some(record.authority.as_bytes()).filter(|authority| !authority.is_empty()),
                Source::Scheme => Some(if record.downstream.tls.is_some() { b"https".as_slice() } else { b"http" }),
                Source::Header(position) => header(Some(&captured.request), position),
            }
        };
        value(out, found(first).or_else(|| found(second?)))
    }

    fn fact(&self, out: &mut Vec<u8>, fact: Fact) -> Written {
        let downstream = self.downstream();
        let tls = downstream.tls.as_ref();
        let upstream = self.upstream();
        match fact {
            Fact::BytesReceived => number(out, Some(self.bytes().0)),
            Fact::BytesSent => number(out, Some(self.bytes().1)),
            Fact::ResponseFlags => self.flags(out),
            Fact::UpstreamTransportFailureReason => value(out, upstream.and_then(|up| up.transport_failure.as_deref())),
            Fact::UpstreamHost | Fact::UpstreamRemoteAddress => address(out, upstream.and_then(|up| up.address)),
            Fact::UpstreamCluster | Fact::UpstreamClusterRaw => value(out, upstream.map(|up| &*up.cluster)),
            Fact::UpstreamLocalAddress => address(out, upstream.and_then(|up| up.local)),
            Fact::UpstreamPeerUriSan => value(out, upstream.and_then(|up| up.peer_identity.as_deref())),
            Fact::UpstreamLocalUriSan => value(out, upstream.and_then(|up| up.local_identity.as_deref())),
            Fact::DownstreamLocalAddress => address(out, Some(downstream.destination)),
            Fact::DownstreamLocalIp => ip(out, downstream.destination.ip()),
            Fact::DownstreamLocalPort => number(out, Some(u64::from(downstream.destination.port()))),
            Fact::DownstreamRemoteAddress | Fact::DownstreamDirectRemoteAddress => address(out, Some(downstream.peer)),
            Fact::DownstreamRemoteIp | Fact::DownstreamDirectRemoteIp => ip(out, downstream.peer.ip()),
            Fact::DownstreamRemotePort => number(out, Some(u64::from(downstream.peer.port()))),
            Fact::DownstreamPeerUriSan => value(out, tls.and_then(|tls| tls.peer_identity.as_deref())),
            Fact::DownstreamLocalUriSan => value(out, tls.and_then(|tls| tls.local_identity.as_deref())),
            Fact::DownstreamPeerSubject => value(out, tls.map(|tls| tls.peer_subject.as_str())),
            Fact::DownstreamPeerFingerprint => value(out, tls.map(|tls| tls.peer_certificate_hash.as_str())),
            Fact::DownstreamTlsVersion => value(out, tls.map(|tls| tls.version)),
            Fact::RequestedServerName => value(out, downstream.sni.as_deref()),
            fact => self.outcome(out, fact),
        }
    }

    /// Facts that an exchange and a connection know differently, or one of them not at all.
    fn outcome(&self, out: &mut Vec<u8>, fact: Fact) -> Written {
        match (self, fact) {
            (Subject::Http(record, _), Fact::Duration) => number(out, Some(millis(record.duration))),
            (Subject::Tcp(record), Fact::Duration) => number(out, Some(millis(record.duration))),
            (Subject::Http(record, _), Fact::ResponseCode) => number(out, Some(u64::from(record.status))),
            (Subject::Tcp(_), Fact::ResponseCode) => number(out, Some(0)),
            (Subject::Tcp(record), Fact::ConnectionTerminationDetails) => {
                value(out, Some(&*record.termination_details).filter(|details| *details != "-"))
            }
            (Subject::Http(record, _), Fact::ResponseCodeDetails) => value(out, Some(&*record.details)),
            (Subject::Http(record, _), Fact::Protocol) => value(out, protocol(record.version)),
            (Subject::Http(record, _), Fact::RouteName) => value(out, Some(&*record.route_name)),
            (Subject::Http(_, _), Fact::ResponseDuration) => number(out, self.service_time()),
            (Subject::Http(record, _), Fact::UpstreamRequestAttemptCount) => number(out, Some(u64::from(record.attempts))),
            (Subject::Http(record, _), Fact::GrpcStatusNumber) => number(out, record.grpc_status.map(u64::from)),
            (Subject::Http(record, _), Fact::GrpcStatus) => value(out, record.grpc_status.map(grpc_status_name)),
            (Subject::Http(record, _), Fact::Decision) => number(out, Some(record.decision).filter(|decision| *decision > 0)),
            _ => Written::Nothing,
        }
    }

    fn flags(&self, out: &mut Vec<u8>) -> Written {
        let flags = match self {
            Subject::Http(record, _) => record.flags,
            Subject::Tcp(record) => record.flags,
        };
        if flags == ResponseFlags::NONE { Written::Nothing } else { display(out, flags) }
    }

    fn service_time(&self) -> Option<u64> {
        self.upstream()?.service_time.map(millis)
    }

    fn captured(&self) -> Option<&CapturedHeaders> {
        match self {
            Subject::Http(_, captured) => Some(captured),
            Subject::Tcp(_) => None,
        }
    }

    fn downstream(&self) -> &Downstream {
        match self {
            Subject::Http(record, _) => &record.downstream,
            Subject::Tcp(record) => &record.downstream,
        }
    }

    fn upstream(&self) -> Option<&UpstreamFacts> {
        match self {
            Subject::Http(record, _) => record.upstream.as_ref(),
            Subject::Tcp(record) => record.upstream.as_ref(),
        }
    }

    fn bytes(&self) -> (u64, u64) {
        match self {
            Subject::Http(record, _) => (record.bytes_received, record.bytes_sent),
            Subject::Tcp(record) => (record.bytes_received, record.bytes_sent),
        }
    }
}

fn header(values: Option<&[Option<HeaderValue>]>, position: usize) -> Option<&[u8]> {
    values?.get(position)?.as_ref().map(HeaderValue::as_bytes)
}

/// An empty value counts as missing, as in Envoy.
fn value(out: &mut Vec<u8>, value: Option<impl AsRef<[u8]>>) -> Written {
    match value {
        Some(value) if !value.as_ref().is_empty() => {
            out.extend_from_slice(value.as_ref());
            Written::Text
        }
        _ => Written::Nothing,
    }
}

fn number(out: &mut Vec<u8>, value: Option<u64>) -> Written {
    let Some(value) = value else { return Written::Nothing };
    text::number(out, value);
    Written::Number
}

fn ip(out: &mut Vec<u8>, value: IpAddr) -> Written {
    text::ip(out, value);
    Written::Text
}

fn display(out: &mut Vec<u8>, value: impl std::fmt::Display) -> Written {
    let _ = write!(out, "{value}");
    Written::Text
}

fn address(out: &mut Vec<u8>, value: Option<SocketAddr>) -> Written {
    let Some(value) = value else { return Written::Nothing };
    text::address(out, value);
    Written::Text
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn protocol(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("HTTP/1.0"),
        Version::HTTP_11 => Some("HTTP/1.1"),
        Version::HTTP_2 => Some("HTTP/2"),
        _ => None,
    }
}

fn grpc_status_name(status: u16) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    NAMES.get(usize::from(status)).copied().unwrap_or("InvalidCode")
}
