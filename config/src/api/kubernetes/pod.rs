//! Pods.

use super::container::Container;
use super::meta::LocalObjectReference;
use super::volume::Volume;
use crate::decode::{Json, api_struct};
use crate::string_map::StringMap;

api_struct! {
    /// A Pod.
    pub struct Pod {
        /// What is wanted.
        pub spec: PodSpec,
        /// What is.
        pub status: PodStatus,
    }
    also ["apiVersion", "kind", "metadata"]
}

api_struct! {
    /// What a pod runs.
    pub struct PodSpec {
        /// Run in order before the containers; those with `restartPolicy: Always` keep running (native sidecars).
        pub init_containers: Vec<Container>,
        /// The containers.
        pub containers: Vec<Container>,
        /// Volumes.
        pub volumes: Vec<Volume>,
        /// Account; empty means `default`.
        pub service_account_name: String,
        /// Deprecated spelling of `serviceAccountName`.
        pub service_account: String,
        /// Whether to mount a token.
        pub automount_service_account_token: Option<bool>,
        /// Node.
        pub node_name: String,
        /// `Always` (also when empty), `OnFailure` or `Never`.
        pub restart_policy: String,
        /// Grace period in seconds; absent means 30.
        pub termination_grace_period_seconds: Option<i64>,
        /// Host name; empty means the pod's name.
        pub hostname: String,
        /// Subdomain: the headless Service that names the pod.
        pub subdomain: String,
        /// Whether the pod shares the node's network.
        pub host_network: bool,
        /// Entries for `/etc/hosts`.
        pub host_aliases: Vec<HostAlias>,
        /// `ClusterFirst` (also when empty), `Default`, `None` ...
        pub dns_policy: String,
        /// Additions to `resolv.conf`.
        pub dns_config: Option<PodDnsConfig>,
        /// Defaults for all containers.
        pub security_context: Option<PodSecurityContext>,
        /// Secrets for pulling images.
        pub image_pull_secrets: Vec<LocalObjectReference>,
        /// Whether containers see each other's processes.
        pub share_process_namespace: Option<bool>,
        /// Whether environment variables for services are set; absent means true.
        pub enable_service_links: Option<bool>,
        /// Labels of nodes.
        pub node_selector: StringMap,
    }
    also [
        "activeDeadlineSeconds", "affinity", "ephemeralContainers", "hostIPC", "hostPID", "hostUsers", "os", "overhead",
        "preemptionPolicy", "priority", "priorityClassName", "readinessGates", "resourceClaims", "resources",
        "runtimeClassName", "schedulerName", "schedulingGates", "setHostnameAsFQDN", "tolerations",
        "topologySpreadConstraints", "hostnameOverride", "workloadRef",
    ]
}

impl PodSpec {
    /// The account the pod runs as.
    pub fn account(&self) -> &str {
        match (self.service_account_name.as_str(), self.service_account.as_str()) {
            ("", "") => "default",
            ("", deprecated) => deprecated,
            (name, _) => name,
        }
    }
}

api_struct! {
    /// A line of `/etc/hosts`.
    pub struct HostAlias {
        /// Address.
        pub ip: String,
        /// Names.
        pub hostnames: Vec<String>,
    }
}

api_struct! {
    /// Additions to `resolv.conf`.
    pub struct PodDnsConfig {
        /// Name servers.
        pub nameservers: Vec<String>,
        /// Search domains.
        pub searches: Vec<String>,
        /// Options.
        pub options: Vec<PodDnsConfigOption>,
    }
}

api_struct! {
    /// An option of `resolv.conf`.
    pub struct PodDnsConfigOption {
        /// Name.
        pub name: String,
        /// Value.
        pub value: Option<String>,
    }
}

api_struct! {
    /// Security settings of a pod.
    pub struct PodSecurityContext {
        /// User id.
        pub run_as_user: Option<i64>,
        /// Group id.
        pub run_as_group: Option<i64>,
        /// Whether root is refused.
        pub run_as_non_root: Option<bool>,
        /// Group that owns the volumes.
        pub fs_group: Option<i64>,
        /// Further groups.
        pub supplemental_groups: Vec<i64>,
        /// Kernel settings.
        pub sysctls: Vec<Sysctl>,
    }
    also [
        "appArmorProfile", "fsGroupChangePolicy", "seLinuxChangePolicy", "seLinuxOptions", "seccompProfile",
        "supplementalGroupsPolicy", "windowsOptions",
    ]
}

api_struct! {
    /// A kernel setting.
    pub struct Sysctl {
        /// Name.
        pub name: String,
        /// Value.
        pub value: String,
    }
}

api_struct! {
    /// What is known about a running pod.
    pub struct PodStatus {
        /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
        pub phase: String,
        /// Conditions such as `Ready`.
        pub conditions: Vec<PodCondition>,
        /// Main address.
        pub pod_ip: String = "podIP",
        /// All addresses, at most one per family.
        pub pod_ips: Vec<PodIp> = "podIPs",
        /// Address of the node.
        pub host_ip: String = "hostIP",
        /// State of the containers, as JSON.
        pub container_statuses: Vec<Json>,
    }
    also [
        "allocatedResources", "ephemeralContainerStatuses", "extendedResourceClaimStatus", "hostIPs",
        "initContainerStatuses", "message", "nominatedNodeName", "observedGeneration", "qosClass", "reason", "resize",
        "resourceClaimStatuses", "resources", "startTime",
    ]
}

impl PodStatus {
    /// All addresses, the main one first.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let others = self.pod_ips.iter().map(|entry| entry.ip.as_str()).filter(|ip| *ip != self.pod_ip);
        std::iter::once(self.pod_ip.as_str()).chain(others).filter(|ip| !ip.is_empty())
    }

    /// Whether the condition `Ready` is true.
    pub fn is_ready(&self) -> bool {
        self.conditions.iter().any(|condition| condition.kind == "Ready" && condition.status == "True")
    }
}

api_struct! {
    /// An address.
    pub struct PodIp {
        /// The address.
        pub ip: String,
    }
}

api_struct! {
    /// A condition.
    pub struct PodCondition {
        /// Name of the condition.
        pub kind: String = "type",
        /// `True`, `False` or `Unknown`.
        pub status: String,
    }
    also ["lastProbeTime", "lastTransitionTime", "message", "observedGeneration", "reason"]
}
