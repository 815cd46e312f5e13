//! What TLS the endpoints of a service get.

use crate::decode::{api_enum, api_struct};

api_struct! {
    /// TLS towards the endpoints.
    pub struct ClientTlsSettings {
        /// Mode.
        pub mode: ClientTlsMode,
        /// File with the client's chain.
        pub client_certificate: String,
        /// File with the client's key.
        pub private_key: String,
        /// File with the roots for the server.
        pub ca_certificates: String,
        /// Secret with all three.
        pub credential_name: String,
        /// Accepted names of the server.
        pub subject_alt_names: Vec<String>,
        /// Server name to send.
        pub sni: String,
        /// Do not verify the server.
        pub insecure_skip_verify: Option<bool>,
        /// File with a revocation list.
        pub ca_crl: String,
    }
}

api_enum! {
    /// TLS mode of a client.
    pub enum ClientTlsMode {
        /// Plaintext.
        #[default]
        Disable = "DISABLE",
        /// TLS without client certificate.
        Simple = "SIMPLE",
        /// TLS with a given client certificate.
        Mutual = "MUTUAL",
        /// TLS with the workload's own identity.
        IstioMutual = "ISTIO_MUTUAL",
    }
}
