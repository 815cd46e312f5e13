//! Services and their endpoints.

use crate::decode::{IntOrString, Json, api_struct};
use crate::string_map::StringMap;

api_struct! {
    /// A Service.
    pub struct Service {
        /// What is wanted.
        pub spec: ServiceSpec,
    }
    also ["apiVersion", "kind", "metadata", "status"]
}

api_struct! {
    /// A name and addresses for a set of pods.
    pub struct ServiceSpec {
        /// `ClusterIP` (also when empty), `NodePort`, `LoadBalancer` or `ExternalName`.
        pub kind: String = "type",
        /// Ports.
        pub ports: Vec<ServicePort>,
        /// Labels of its pods; empty means that endpoints come from elsewhere.
        pub selector: StringMap,
        /// Virtual address, or `None` for a headless Service.
        pub cluster_ip: String = "clusterIP",
        /// All virtual addresses, at most one per family.
        pub cluster_ips: Vec<String> = "clusterIPs",
        /// Target of an `ExternalName`.
        pub external_name: String,
        /// Whether pods that are not ready count.
        pub publish_not_ready_addresses: bool,
        /// `Cluster` (also when empty) or `Local`.
        pub internal_traffic_policy: String,
        /// Preference for near endpoints.
        pub traffic_distribution: String,
        /// `None` (also when empty) or `ClientIP`; without effect in a mesh.
        pub session_affinity: String,
        /// `IPv4`, `IPv6`.
        pub ip_families: Vec<String>,
        /// `SingleStack`, `PreferDualStack`, `RequireDualStack`.
        pub ip_family_policy: String,
        /// Addresses that lead to the Service from outside.
        pub external_ips: Vec<String> = "externalIPs",
    }
    also [
        "allocateLoadBalancerNodePorts", "externalTrafficPolicy", "healthCheckNodePort", "loadBalancerClass",
        "loadBalancerIP", "loadBalancerSourceRanges", "sessionAffinityConfig",
    ]
}

api_struct! {
    /// A port of a Service.
    pub struct ServicePort {
        /// Name; required when there are several.
        pub name: String,
        /// `TCP` (also when empty), `UDP` or `SCTP`.
        pub protocol: String,
        /// Hint for the application protocol.
        pub app_protocol: Option<String>,
        /// Number.
        pub port: u16,
        /// Port at the pods; absent means the same number.
        pub target_port: Option<IntOrString>,
        /// Port at the nodes; 0 means none.
        pub node_port: u16,
    }
}

api_struct! {
    /// Some of the endpoints of a Service, joined to it by the label `kubernetes.io/service-name`.
    pub struct EndpointSlice {
        /// `IPv4`, `IPv6` or `FQDN`.
        pub address_type: String,
        /// Endpoints.
        pub endpoints: Vec<SliceEndpoint>,
        /// Ports; the name is that of the Service's port.
        pub ports: Vec<EndpointPort>,
    }
    also ["apiVersion", "kind", "metadata"]
}

api_struct! {
    /// An endpoint.
    pub struct SliceEndpoint {
        /// Addresses; the first counts.
        pub addresses: Vec<String>,
        /// State.
        pub conditions: EndpointConditions,
        /// Name in the Service's domain.
        pub hostname: Option<String>,
        /// Node.
        pub node_name: Option<String>,
        /// Zone.
        pub zone: Option<String>,
        /// The pod.
        pub target_ref: Option<TargetRef>,
        /// Hints for routing by topology, as JSON.
        pub hints: Option<Json>,
    }
    also ["deprecatedTopology"]
}

api_struct! {
    /// State of an endpoint.
    pub struct EndpointConditions {
        /// Absent means true.
        pub ready: Option<bool>,
        /// Ready, or serving while it ends.
        pub serving: Option<bool>,
        /// About to end.
        pub terminating: Option<bool>,
    }
}

api_struct! {
    /// Reference to the pod of an endpoint.
    pub struct TargetRef {
        /// `Pod`.
        pub kind: String,
        /// Namespace.
        pub namespace: String,
        /// Name.
        pub name: String,
        /// Id.
        pub uid: String,
    }
    also ["apiVersion", "fieldPath", "resourceVersion"]
}

api_struct! {
    /// A port of a slice.
    pub struct EndpointPort {
        /// Name of the Service's port.
        pub name: String,
        /// Number at the endpoint; absent means all.
        pub port: Option<u16>,
        /// `TCP` (also when empty), `UDP` or `SCTP`.
        pub protocol: String,
        /// Hint for the application protocol.
        pub app_protocol: Option<String>,
    }
}
