//! PeerAuthentication (`security.istio.io`): whether a server demands mTLS.

use std::collections::BTreeMap;

use super::destination_rule::WorkloadSelector;
use crate::decode::{api_enum, api_struct};

api_struct! {
    /// The spec of a PeerAuthentication.
    pub struct PeerAuthentication {
        /// Workloads; absent means the namespace, in the root namespace the mesh.
        pub selector: Option<WorkloadSelector>,
        /// Mode for all ports.
        pub mtls: Option<MutualTls>,
        /// Mode per container port.
        pub port_level_mtls: BTreeMap<u32, MutualTls>,
    }
}

api_struct! {
    /// A mode.
    pub struct MutualTls {
        /// The mode.
        pub mode: MutualTlsMode,
    }
}

api_enum! {
    /// Whether a server demands mTLS.
    pub enum MutualTlsMode {
        /// As the next wider policy says.
        #[default]
        Unset = "UNSET",
        /// Never terminate mTLS.
        Disable = "DISABLE",
        /// Accept both mTLS and plaintext.
        Permissive = "PERMISSIVE",
        /// Accept mTLS only.
        Strict = "STRICT",
    }
}
