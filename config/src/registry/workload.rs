//! Who runs behind an address: a pod, or the little that a ServiceEntry says about its endpoint.

use std::net::IpAddr;

use super::table::Resource;
use crate::api::kubernetes::{ObjectMeta, Pod};
use crate::string_map::StringMap;

/// Identity and labels behind an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workload {
    /// Namespace.
    pub namespace: String,
    /// Name of the pod; empty for anything else.
    pub pod: String,
    /// Name of what made the pod (a Deployment, not its ReplicaSet); the pod itself when nothing did.
    pub workload_name: String,
    /// Kind of what made the pod.
    pub workload_kind: String,
    /// Labels, for subsets, selectors and telemetry.
    pub labels: StringMap,
    /// Account; empty when unknown.
    pub service_account: String,
    /// Whether the endpoint takes Istio's mTLS (label `security.istio.io/tlsMode: istio`).
    pub tls_mode_istio: bool,
    /// `region/zone/subzone`; empty when unknown.
    pub locality: String,
    /// Network; empty when unknown.
    pub network: String,
    /// Node; empty when unknown.
    pub node: String,
    /// Addresses, the main one first.
    pub addresses: Vec<IpAddr>,
    /// Whether the addresses are the node's.
    pub host_network: bool,
    /// Whether the pod reports ready.
    pub ready: bool,
}

/// The label that injection sets.
pub const TLS_MODE_LABEL: &str = "security.istio.io/tlsMode";

impl Workload {
    /// The workload of a pod.
    pub fn of_pod(pod: &Resource<Pod>) -> Self {
        let meta = &pod.object.meta;
        let (workload_kind, workload_name) = owner(meta);
        let host_network = pod.spec.spec.host_network;
        Workload {
            namespace: pod.namespace().to_string(),
            pod: pod.name().to_string(),
            workload_name,
            workload_kind,
            service_account: pod.spec.spec.account().to_owned(),
            tls_mode_istio: !host_network && is_istio(&meta.labels),
            locality: locality(&meta.labels),
            network: meta.labels.get("topology.istio.io/network").cloned().unwrap_or_default(),
            labels: meta.labels.clone(),
            node: pod.spec.spec.node_name.clone(),
            addresses: pod.status.addresses().filter_map(|address| address.parse().ok()).collect(),
            host_network,
            ready: pod.status.is_ready(),
        }
    }

    /// Whether all of `selector` are among the labels. An empty selector selects everything.
    pub fn has_labels(&self, selector: &StringMap) -> bool {
        selector.iter().all(|(key, value)| self.labels.get(key) == Some(value))
    }
}

/// Whether labels announce Istio's mTLS.
pub(super) fn is_istio(labels: &StringMap) -> bool {
    labels.get(TLS_MODE_LABEL).is_some_and(|mode| mode == "istio")
}

/// The locality that labels name: `istio-locality` (dots or slashes), else Kubernetes' topology labels.
pub(super) fn locality(labels: &StringMap) -> String {
    if let Some(label) = labels.get("istio-locality").filter(|label| !label.is_empty()) {
        return if label.contains('/') { label.clone() } else { label.replace('.', "/") };
    }
    let label = |key: &str| labels.get(key).map(String::as_str).unwrap_or_default();
    let parts = [label("topology.kubernetes.io/region"), label("topology.kubernetes.io/zone"), label("topology.istio.io/subzone")];
    parts.join("/").trim_end_matches('/').to_owned()
}

/// Kind and name of what stands behind a pod: the controller, seen through ReplicaSet and Job to Deployment and CronJob.
fn owner(meta: &ObjectMeta) -> (String, String) {
    let Some(controller) = meta.owner_references.iter().find(|owner| owner.controller) else {
        return ("Pod".into(), meta.name.clone());
    };
    let name = controller.name.as_str();
    let through = match controller.kind.as_str() {
        "ReplicaSet" => {
            ["pod-template-hash", "rollouts-pod-template-hash"].iter().zip(["Deployment", "Rollout"]).find_map(|(label, kind)| {
                let hash = meta.labels.get(label).filter(|hash| !hash.is_empty())?;
                Some((kind, name.strip_suffix(hash.as_str())?.strip_suffix('-')?))
            })
        }
        "Job" => name
            .rsplit_once('-')
            .filter(|(_, digits)| (8..=10).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()))
            .map(|(cron_job, _)| ("CronJob", cron_job)),
        _ => None,
    };
    let (kind, name) = through.unwrap_or((&controller.kind, name));
    (kind.to_owned(), name.to_owned())
}
