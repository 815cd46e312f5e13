//! What the injector is configured with: the counterpart of Istio's Helm values and mesh configuration, as far as a pod shows it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::selector::LabelSelector;

/// What to do with a pod that neither its labels nor a selector decide about (contract 3.2, step 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Inject.
    #[default]
    Enabled,
    /// Leave alone.
    Disabled,
}

/// CPU and memory of the proxy's container, as Kubernetes quantities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources {
    /// CPU reserved.
    pub cpu: String,
    /// Memory reserved.
    pub memory: String,
    /// CPU at most.
    pub cpu_limit: String,
    /// Memory at most.
    pub memory_limit: String,
}

impl Default for Resources {
    /// Istio's: 100m and 128Mi reserved, 2000m and 1024Mi at most.
    fn default() -> Self {
        let text = str::to_owned;
        Self { cpu: text("100m"), memory: text("128Mi"), cpu_limit: text("2000m"), memory_limit: text("1024Mi") }
    }
}

/// Settings of the injector. The defaults are Istio's unless the field says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Image of both containers. Default: this version of Outrigger.
    pub image: String,
    /// When kubelet pulls it; `None` leaves that to Kubernetes.
    pub image_pull_policy: Option<String>,
    /// Revision this injector answers to. Default `default`.
    pub revision: String,
    /// For pods nothing else decides about.
    pub policy: Policy,
    /// Inject where no label says anything (`enableNamespacesByDefault`). Default off.
    pub enable_namespaces_by_default: bool,
    /// Namespaces never injected into.
    pub ignored_namespaces: Vec<String>,
    /// Pods matching one of these are left alone unless labelled otherwise.
    pub never_inject: Vec<LabelSelector>,
    /// Pods matching one of these are injected unless labelled otherwise.
    pub always_inject: Vec<LabelSelector>,
    /// Run the proxy as a native sidecar (an init container that restarts always). Default off.
    pub native_sidecars: bool,
    /// Start the application only once the proxy is ready. Default off; `holdApplicationUntilProxyStarts` in the mesh's or the
    /// pod's ProxyConfig turns it on too.
    pub hold_application_until_proxy_starts: bool,
    /// Send HTTP, TCP and gRPC probes through the proxy's status port. Default on.
    pub rewrite_app_http_probe: bool,
    /// Merge application metrics into the proxy's. Default on.
    pub enable_prometheus_merge: bool,
    /// Resources of both containers; an annotation changes the one it names.
    pub resources: Resources,
    /// The mesh's `defaultConfig`, lowerCamelCase, as far as given.
    pub proxy_config: Map<String, Value>,
    /// Namespace of the control plane. Default `istio-system`.
    pub istio_namespace: String,
    /// Kubernetes' domain. Default `cluster.local`.
    pub cluster_domain: String,
    /// Trust domain of identities. Default `cluster.local`.
    pub trust_domain: String,
    /// Mesh id; `None` means the trust domain.
    pub mesh_id: Option<String>,
    /// Cluster id. Default `Kubernetes`.
    pub cluster_id: String,
    /// Network of the pod, if the mesh has several.
    pub network: Option<String>,
    /// Envoy's log level, also understood by Outrigger. Default `warning`.
    pub log_level: String,
    /// Per-component levels. Default `misc:error`.
    pub component_log_level: String,
    /// Log level of the rest. Default `default:info`.
    pub agent_log_level: String,
    /// Log as JSON.
    pub log_as_json: bool,
    /// Init step writes the rules even if they stand already (`global.proxy_init.forceApplyIptables`).
    pub force_apply_iptables: bool,
    /// Annotations added to every injected pod.
    pub injected_annotations: BTreeMap<String, String>,
    /// Names of Secrets for pulling the image.
    pub image_pull_secrets: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            image: format!("outrigger:{}", env!("CARGO_PKG_VERSION")),
            image_pull_policy: None,
            revision: text("default"),
            policy: Policy::Enabled,
            enable_namespaces_by_default: false,
            ignored_namespaces: ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"].map(text).to_vec(),
            never_inject: Vec::new(),
            always_inject: Vec::new(),
            native_sidecars: false,
            hold_application_until_proxy_starts: false,
            rewrite_app_http_probe: true,
            enable_prometheus_merge: true,
            resources: Resources::default(),
            proxy_config: Map::new(),
            istio_namespace: text("istio-system"),
            cluster_domain: text("cluster.local"),
            trust_domain: text("cluster.local"),
            mesh_id: None,
            cluster_id: text("Kubernetes"),
            network: None,
            log_level: text("warning"),
            component_log_level: text("misc:error"),
            agent_log_level: text("default:info"),
            log_as_json: false,
            force_apply_iptables: false,
            injected_annotations: BTreeMap::new(),
            image_pull_secrets: Vec::new(),
        }
    }
}

impl Settings {
    /// Address of the control plane and its CA: `istiod[-rev].NAMESPACE.svc:15012`.
    #[must_use]
    pub fn ca_address(&self) -> String {
        let suffix = if self.revision == "default" { String::new() } else { format!("-{}", self.revision) };
        format!("istiod{suffix}.{}.svc:15012", self.istio_namespace)
    }
}

/// The namespace a pod is created in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What decides about a pod besides the pod itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// The pod's namespace.
    pub namespace: Namespace,
    /// The injector's settings.
    pub settings: Settings,
}
