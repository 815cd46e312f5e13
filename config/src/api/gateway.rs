//! Gateway (`networking.istio.io`): what a gateway workload listens on.

use crate::decode::{api_enum, api_struct};
use crate::string_map::StringMap;

api_struct! {
    /// The spec of a Gateway.
    pub struct Gateway {
        /// What to listen on.
        pub servers: Vec<Server>,
        /// Labels of the gateway pods; empty means every gateway workload.
        pub selector: StringMap,
    }
}

api_struct! {
    /// One port with the hosts it serves.
    pub struct Server {
        /// Port; required.
        pub port: Option<Port>,
        /// Address to bind; empty means all.
        pub bind: String,
        /// `DNSNAME` or `NAMESPACE/DNSNAME`.
        pub hosts: Vec<String>,
        /// TLS.
        pub tls: Option<ServerTlsSettings>,
        /// Never implemented by Istio.
        pub default_endpoint: String,
        /// Name for statistics.
        pub name: String,
    }
}

api_struct! {
    /// A port.
    pub struct Port {
        /// Number of the gateway Service's port.
        pub number: u32,
        /// `HTTP`, `HTTPS`, `HTTP2`, `GRPC`, `GRPC-WEB`, `TLS`, `TCP`, `MONGO`, `REDIS`, `MYSQL`; case does not matter.
        pub protocol: String,
        /// Name, unique in the Gateway.
        pub name: String,
        /// Deprecated.
        pub target_port: u32,
    }
}

api_struct! {
    /// TLS of a server.
    pub struct ServerTlsSettings {
        /// Answer everything with a redirect to https.
        pub https_redirect: bool,
        /// Mode.
        pub mode: ServerTlsMode,
        /// File with the server's chain.
        pub server_certificate: String,
        /// File with the server's key.
        pub private_key: String,
        /// File with the roots for clients.
        pub ca_certificates: String,
        /// File with a revocation list.
        pub ca_crl: String,
        /// Secret with chain, key and perhaps roots.
        pub credential_name: String,
        /// Several secrets: one per key type.
        pub credential_names: Vec<String>,
        /// Several pairs of files.
        pub tls_certificates: Vec<TlsCertificate>,
        /// Secret with the roots for clients.
        pub ca_cert_credential_name: String,
        /// Accepted names of clients.
        pub subject_alt_names: Vec<String>,
        /// Accepted key pins of clients.
        pub verify_certificate_spki: Vec<String>,
        /// Accepted certificate pins of clients.
        pub verify_certificate_hash: Vec<String>,
        /// Lowest version.
        pub min_protocol_version: TlsProtocol,
        /// Highest version.
        pub max_protocol_version: TlsProtocol,
        /// Suites for TLS 1.2; empty means the default list.
        pub cipher_suites: Vec<String>,
        /// Accept any client certificate.
        pub insecure_skip_verify: Option<bool>,
    }
}

api_struct! {
    /// A pair of files.
    pub struct TlsCertificate {
        /// File with the chain.
        pub server_certificate: String,
        /// File with the key.
        pub private_key: String,
        /// File with the roots for clients.
        pub ca_certificates: String,
    }
}

api_enum! {
    /// TLS mode of a server.
    pub enum ServerTlsMode {
        /// Route by server name, do not terminate.
        #[default]
        Passthrough = "PASSTHROUGH",
        /// Server certificate only.
        Simple = "SIMPLE",
        /// Client certificate required.
        Mutual = "MUTUAL",
        /// Server name is a cluster name.
        AutoPassthrough = "AUTO_PASSTHROUGH",
        /// Workload identities on both sides.
        IstioMutual = "ISTIO_MUTUAL",
        /// Client certificate verified when one is sent.
        OptionalMutual = "OPTIONAL_MUTUAL",
    }
}

api_enum! {
    /// TLS version.
    pub enum TlsProtocol {
        /// The default: at least 1.2, at most 1.3.
        #[default]
        Auto = "TLS_AUTO",
        /// TLS 1.0.
        V1_0 = "TLSV1_0",
        /// TLS 1.1.
        V1_1 = "TLSV1_1",
        /// TLS 1.2.
        V1_2 = "TLSV1_2",
        /// TLS 1.3.
        V1_3 = "TLSV1_3",
    }
}
