//! Which protocol a port speaks: declared by `appProtocol` or by its name, well known, or left to detection.
//!
//! Source: Istio semantics 5.1. A value that is not recognised falls through to the next source, as in Istio.

use serde::Serialize;

use crate::model::{ListenerProtocol, UpstreamProtocol};

/// Ports on which servers speak first by convention; undeclared, they count as TCP.
pub(crate) const WELL_KNOWN_TCP: [u16; 4] = [25, 53, 3306, 27017];

/// The protocol of a Service, ServiceEntry or Gateway port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 in clear text.
    Http2,
    /// gRPC over HTTP/2.
    Grpc,
    /// gRPC-Web.
    GrpcWeb,
    /// TLS of the application's own; terminated HTTP at a gateway.
    Https,
    /// TLS of the application's own.
    Tls,
    /// Opaque bytes.
    Tcp,
    /// Opaque bytes; Istio keeps statistics about them.
    Mongo,
    /// Opaque bytes.
    Redis,
    /// Opaque bytes, and the server speaks first.
    Mysql,
    /// UDP or SCTP: never handled.
    Udp,
    /// Not declared: detected per connection.
    Auto,
}

impl Protocol {
    /// Reads Istio's word for a protocol, whatever its case; `None` when it is none of them.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "http" => Protocol::Http,
            "http2" => Protocol::Http2,
            "grpc" => Protocol::Grpc,
            "grpc-web" => Protocol::GrpcWeb,
            "https" => Protocol::Https,
            "tls" => Protocol::Tls,
            "tcp" => Protocol::Tcp,
            "mongo" => Protocol::Mongo,
            "redis" => Protocol::Redis,
            "mysql" => Protocol::Mysql,
            "udp" => Protocol::Udp,
            _ => return None,
        })
    }

    /// The protocol of a Kubernetes Service port. `transport` is the port's `protocol` (TCP when absent).
    pub fn of_service_port(transport: Option<&str>, app_protocol: Option<&str>, name: Option<&str>, number: u16) -> Self {
        if transport.is_some_and(|transport| !transport.eq_ignore_ascii_case("TCP")) {
            return Protocol::Udp;
        }
        let undeclared = || if WELL_KNOWN_TCP.contains(&number) { Protocol::Tcp } else { Protocol::Auto };
        app_protocol.and_then(of_app_protocol).or_else(|| name.and_then(of_port_name)).unwrap_or_else(undeclared)
    }

    /// Requests are parsed and routed by Host.
    pub fn is_http(self) -> bool {
        matches!(self, Protocol::Http | Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb)
    }

    /// Bytes are the application's own TLS, routed by SNI.
    pub fn is_tls(self) -> bool {
        matches!(self, Protocol::Https | Protocol::Tls)
    }

    /// How a connection to such a port is judged.
    pub fn listener(self) -> ListenerProtocol {
        match self {
            _ if self.is_http() => ListenerProtocol::Http,
            _ if self.is_tls() => ListenerProtocol::Tls,
            Protocol::Auto => ListenerProtocol::Auto,
            _ => ListenerProtocol::Tcp,
        }
    }

    /// The HTTP version spoken to the endpoints.
    pub fn upstream(self) -> UpstreamProtocol {
        match self {
            Protocol::Http => UpstreamProtocol::Http1,
            Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb => UpstreamProtocol::Http2,
            Protocol::Auto => UpstreamProtocol::UseDownstream,
            _ => UpstreamProtocol::Tcp,
        }
    }
}

fn of_app_protocol(word: &str) -> Option<Protocol> {
    match word.to_ascii_lowercase().as_str() {
        "kubernetes.io/ws" => Some(Protocol::Http),
        "kubernetes.io/h2c" => Some(Protocol::Http2),
        "kubernetes.io/wss" => Some(Protocol::Https),
        other => Protocol::parse(other),
    }
}

fn of_port_name(name: &str) -> Option<Protocol> {
    let name = name.to_ascii_lowercase();
    if name == "grpc-web" || name.starts_with("grpc-web-") {
        return Some(Protocol::GrpcWeb);
    }
    let word = name.split('-').next().unwrap_or_default();
    // A port name does not decide the transport: `udp-x` on a TCP port says nothing.
    Protocol::parse(word).filter(|protocol| *protocol != Protocol::Udp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_protocol_then_name_then_well_known_port_then_detection() {
        let of = Protocol::of_service_port;
        for (transport, app_protocol, name, number, expected) in [
            (None, None, Some("http"), 8080, Protocol::Http),
            (None, None, Some("http-web"), 8080, Protocol::Http),
            (None, None, Some("HTTP2-api"), 8080, Protocol::Http2),
            (None, None, Some("httpweb"), 8080, Protocol::Auto),
            (None, None, Some("grpc-web"), 80, Protocol::GrpcWeb),
            (None, None, Some("grpc-web-x"), 80, Protocol::GrpcWeb),
            (None, None, Some("grpc-webx"), 80, Protocol::Grpc),
            (None, None, Some("https-x"), 443, Protocol::Https),
            (None, None, Some("tls"), 443, Protocol::Tls),
            (None, None, Some("mysql"), 1, Protocol::Mysql),
            (Some("TCP"), Some("kubernetes.io/h2c"), Some("http"), 80, Protocol::Http2),
            (Some("TCP"), Some("kubernetes.io/ws"), Some("tcp"), 80, Protocol::Http),
            (Some("TCP"), Some("kubernetes.io/wss"), None, 80, Protocol::Https),
            (Some("TCP"), Some("gRPC"), Some("http"), 80, Protocol::Grpc),
            (Some("TCP"), Some("example.com/own"), Some("tcp-x"), 80, Protocol::Tcp),
            (Some("TCP"), Some("example.com/own"), None, 3306, Protocol::Tcp),
            (Some("UDP"), Some("http"), Some("http"), 80, Protocol::Udp),
            (None, None, None, 27017, Protocol::Tcp),
            (None, None, None, 80, Protocol::Auto),
            (None, None, Some("web"), 443, Protocol::Auto),
        ] {
            assert_eq!(of(transport, app_protocol, name, number), expected, "{app_protocol:?} {name:?} {number}");
        }
    }

    #[test]
    fn the_upstream_version_follows_the_declaration() {
        assert_eq!(Protocol::Http.upstream(), UpstreamProtocol::Http1);
        assert_eq!(Protocol::Grpc.upstream(), UpstreamProtocol::Http2);
        assert_eq!(Protocol::Auto.upstream(), UpstreamProtocol::UseDownstream);
        assert_eq!(Protocol::Https.upstream(), UpstreamProtocol::Tcp);
        assert_eq!(Protocol::Https.listener(), ListenerProtocol::Tls);
        assert_eq!(Protocol::Redis.listener(), ListenerProtocol::Tcp);
    }
}
