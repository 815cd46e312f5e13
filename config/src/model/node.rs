//! Who this proxy is: the workload it stands beside, as Istio's node metadata describes it.
//!
//! Source: sidecar contract 6.7 (node identity) and 4.1 (names).

use crate::string_map::StringMap;
use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

/// The role of a proxy, with the word Istio uses on the command line and in node ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyType {
    /// Beside an application; traffic arrives by capture.
    Sidecar,
    /// A gateway: traffic arrives at the ports that Gateway objects name.
    Router,
}

impl fmt::Display for ProxyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProxyType::Sidecar => "sidecar",
            ProxyType::Router => "router",
        })
    }
}

/// The workload for which a snapshot is compiled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Sidecar or gateway.
    pub proxy_type: ProxyType,
    /// Pod name.
    pub name: String,
    /// Pod namespace.
    pub namespace: String,
    /// Service account of the pod; `default` when unknown.
    pub service_account: String,
    /// Trust domain of the mesh, default `cluster.local`.
    pub trust_domain: String,
    /// DNS suffix of Services, default `cluster.local`.
    pub cluster_domain: String,
    /// Addresses of the pod, the primary one first.
    pub ip_addresses: Vec<IpAddr>,
    /// Pod labels.
    pub labels: StringMap,
    /// Pod annotations.
    pub annotations: StringMap,
    /// Name of the Deployment, StatefulSet, ... that owns the pod.
    pub workload_name: String,
    /// `kubernetes://apis/<apiVersion>/namespaces/<ns>/<kind>s/<name>`, empty when unknown.
    pub owner: String,
    /// ISTIO_META_CLUSTER_ID, default `Kubernetes`.
    pub cluster_id: String,
    /// ISTIO_META_MESH_ID, default the trust domain.
    pub mesh_id: String,
}

/// A sidecar of which only the defaults are known.
impl Default for Node {
    fn default() -> Self {
        Node {
            proxy_type: ProxyType::Sidecar,
            name: String::new(),
            namespace: "default".to_owned(),
            service_account: "default".to_owned(),
            trust_domain: "cluster.local".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            ip_addresses: Vec::new(),
            labels: StringMap::default(),
            annotations: StringMap::default(),
            workload_name: String::new(),
            owner: String::new(),
            cluster_id: "Kubernetes".to_owned(),
            mesh_id: "cluster.local".to_owned(),
        }
    }
}

impl Node {
    /// The id sent to peers and control planes: exactly four parts joined by `~`.
    pub fn id(&self) -> String {
        let ip = self.ip_addresses.first().map(ToString::to_string).unwrap_or_default();
        format!("{}~{ip}~{}.{}~{}.svc.{}", self.proxy_type, self.name, self.namespace, self.namespace, self.cluster_domain)
    }

    /// `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
    pub fn spiffe_id(&self) -> String {
        spiffe_id(&self.trust_domain, &self.namespace, &self.service_account)
    }

    /// This workload as peers see it in telemetry.
    pub fn workload(&self) -> Workload {
        Workload::from_labels(&self.workload_name, &self.namespace, &self.service_account, &self.labels, &self.cluster_id)
    }
}

/// Builds the SPIFFE URI of a service account. An `@` in the trust domain becomes `.`, as in Istio.
pub fn spiffe_id(trust_domain: &str, namespace: &str, service_account: &str) -> String {
    format!("spiffe://{}/ns/{namespace}/sa/{service_account}", trust_domain.replace('@', "."))
}

/// A workload as it appears in metric labels and peer metadata (sidecar contract 7.2 and 7.4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Workload {
    /// Owner name, for example the Deployment's.
    pub name: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Service account of the pod.
    pub service_account: String,
    /// Label `service.istio.io/canonical-name`, else `app.kubernetes.io/name`, else `app`, else the owner.
    pub canonical_name: String,
    /// Label `service.istio.io/canonical-revision`, else `app.kubernetes.io/version`, else `version`, else `latest`.
    pub canonical_revision: String,
    /// Label `app`, empty when absent.
    pub app: String,
    /// Label `version`, empty when absent.
    pub version: String,
    /// Cluster id.
    pub cluster_id: String,
}

impl Workload {
    /// Derives the names from pod labels by Istio's order of precedence (sidecar contract 3.5).
    pub fn from_labels(name: &str, namespace: &str, service_account: &str, labels: &StringMap, cluster_id: &str) -> Self {
        let first = |keys: &[&str], default: &str| {
            keys.iter().find_map(|k| labels.get(k).filter(|v| !v.is_empty())).cloned().unwrap_or_else(|| default.to_owned())
        };
        Workload {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
            canonical_name: first(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"], name),
            canonical_revision: first(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"], "latest"),
            app: first(&["app"], ""),
            version: first(&["version"], ""),
            cluster_id: cluster_id.to_owned(),
        }
    }
}
