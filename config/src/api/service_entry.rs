//! ServiceEntry (`networking.istio.io`): a service that Kubernetes does not know.

use crate::decode::{api_enum, api_struct};
use crate::string_map::StringMap;

api_struct! {
    /// The spec of a ServiceEntry.
    pub struct ServiceEntry {
        /// Names; wildcards allowed.
        pub hosts: Vec<String>,
        /// Virtual addresses, IP or CIDR.
        pub addresses: Vec<String>,
        /// Ports.
        pub ports: Vec<ServicePort>,
        /// Inside or outside the mesh.
        pub location: Location,
        /// How endpoints are found.
        pub resolution: Resolution,
        /// Endpoints.
        pub endpoints: Vec<WorkloadEntry>,
        /// Selects WorkloadEntries and Pods as endpoints.
        pub workload_selector: Option<ServiceWorkloadSelector>,
        /// Namespaces that see this object; absent means the mesh default.
        pub export_to: Vec<String>,
        /// Names the servers' certificates may carry.
        pub subject_alt_names: Vec<String>,
    }
}

api_struct! {
    /// A port of the service.
    pub struct ServicePort {
        /// Number.
        pub number: u32,
        /// Protocol as in a Gateway; empty means detection.
        pub protocol: String,
        /// Name, unique in the ServiceEntry.
        pub name: String,
        /// Port at the endpoints; 0 means the same number.
        pub target_port: u32,
    }
}

api_struct! {
    /// A selector on labels.
    pub struct ServiceWorkloadSelector {
        /// All must be carried.
        pub labels: StringMap,
    }
}

api_enum! {
    /// Where the service runs.
    pub enum Location {
        /// Outside: no mTLS, and telemetry names the host.
        #[default]
        MeshExternal = "MESH_EXTERNAL",
        /// Part of the mesh.
        MeshInternal = "MESH_INTERNAL",
    }
}

api_enum! {
    /// How endpoints are found.
    pub enum Resolution {
        /// The address the client dialled.
        #[default]
        None = "NONE",
        /// The endpoints written here.
        Static = "STATIC",
        /// By DNS; all answers are used.
        Dns = "DNS",
        /// By DNS; the first answer is used.
        DnsRoundRobin = "DNS_ROUND_ROBIN",
        /// By DNS, from the name each request carries.
        DynamicDns = "DYNAMIC_DNS",
    }
}

api_struct! {
    /// One endpoint; also the spec of the kind WorkloadEntry.
    pub struct WorkloadEntry {
        /// IP address, DNS name or `unix:///path`.
        pub address: String,
        /// Port per service port name.
        pub ports: StringMap<u32>,
        /// Labels, for subsets.
        pub labels: StringMap,
        /// Network.
        pub network: String,
        /// `region/zone/subzone`.
        pub locality: String,
        /// Share; 0 means 1.
        pub weight: u32,
        /// Identity.
        pub service_account: String,
    }
}
