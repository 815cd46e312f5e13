//! Transport sockets: how connections are secured on either side.
//!
//! Key material is held as PEM and shows only its origin in `Debug` output and in dumps.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// Inbound mTLS mode of a port: the effective PeerAuthentication (Istio semantics 6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MtlsMode {
    /// Plaintext and Istio mTLS are accepted.
    #[default]
    Permissive,
    /// Istio mTLS only.
    Strict,
    /// Plaintext; TLS that arrives is data.
    Disable,
}

/// Transport security from this proxy to a cluster's endpoints (Istio semantics 2.10).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum UpstreamTls {
    /// Plaintext always.
    Disabled,
    /// Auto mTLS: mesh mTLS to endpoints that are capable ([`super::Endpoint::mtls`]), plaintext to the others.
    Auto(MeshTls),
    /// `ISTIO_MUTUAL`: mesh mTLS to every endpoint.
    IstioMutual(MeshTls),
    /// `SIMPLE` or `MUTUAL`.
    Origination(Arc<TlsOrigination>),
}

/// Mesh mTLS as a client does it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MeshTls {
    /// `outbound_.<port>_.<subset>_.<fqdn>` unless a DestinationRule says otherwise.
    pub sni: String,
    /// Accepted SPIFFE URIs of the peer, used when the endpoint's own identity is unknown or when
    /// `explicit_sans` is set; empty = any identity of the trust domain.
    pub sans: Vec<String>,
    /// True when `sans` comes from a DestinationRule's `subjectAltNames`, which replaces the endpoint's identity.
    pub explicit_sans: bool,
}

/// TLS origination to a server outside the mesh's own mTLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TlsOrigination {
    /// ClientHello name; `None` = the request's Host (HTTP) or the service host (TCP).
    pub sni: Option<String>,
    /// Accepted names; empty with `sni: None` = the name dialled, empty with `sni: Some` = chain only.
    pub subject_alt_names: Vec<String>,
    /// Neither chain nor name is checked.
    pub insecure_skip_verify: bool,
    /// Trusted roots; `None` = the operating system's store.
    pub ca: Option<Pem>,
    /// Certificate shown to the server (`MUTUAL`).
    pub client: Option<CertificatePair>,
}

/// Server side of a TLS-terminating Gateway server (Istio semantics 3.1, 3.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerTls {
    /// What is asked of clients.
    pub mode: ServerTlsMode,
    /// The server's certificates (RSA and ECDSA may stand side by side); empty = the secret is missing, and handshakes
    /// fail until it appears. Unused with [`ServerTlsMode::IstioMutual`].
    pub certificates: Vec<CertificatePair>,
    /// Roots against which client certificates are checked.
    pub client_ca: Option<Pem>,
    /// Client SANs accepted; empty = any.
    pub subject_alt_names: Vec<String>,
    /// Lowest version; default TLS 1.2.
    pub min_version: TlsVersion,
    /// Highest version; default TLS 1.3.
    pub max_version: TlsVersion,
    /// ALPN values offered, best first.
    pub alpn: Vec<String>,
}

/// Client authentication at a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServerTlsMode {
    /// No client certificate is asked for.
    Simple,
    /// A valid client certificate is required.
    Mutual,
    /// Asked for; absence is fine, an invalid one is not.
    OptionalMutual,
    /// The workload's own identity; mesh identity of the client required.
    IstioMutual,
}

/// TLS versions a modern stack speaks; older ones requested in configuration are raised to 1.2 with a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// Certificate chain and private key of one identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificatePair {
    /// Leaf first.
    pub chain: Pem,
    /// Private key; never printed.
    pub key: Pem,
}

/// PEM text or the file that holds it, with the name of its origin for messages.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    /// Where it came from: `Secret ns/name key tls.crt`, or a file path.
    pub origin: String,
    /// The bytes, or `None` when `origin` is a path the proxy reads itself.
    pub bytes: Option<Arc<[u8]>>,
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pem({})", self.origin)
    }
}

impl Serialize for Pem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.origin)
    }
}
