//! What the injector is configured with: the counterpart of Istio's Helm values and mesh configuration, as far as a pod shows it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::annotations::Capture;
use crate::cluster::Cluster;
use crate::owner::Owner;
use crate::selector::LabelSelector;
use crate::templates::Template;

/// What to do with a pod that neither its labels nor a selector decide about (contract 3.2, step 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Inject.
    #[default]
    Enabled,
    /// Leave alone.
    Disabled,
    /// Something else was configured: nothing is injected, whatever the pod asks for.
    Unknown,
}

/// Whether the proxy is an init container that restarts always (contract 3.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NativeSidecars {
    /// Where the cluster is known to have the feature on, which it is from [`crate::KubernetesVersion::NATIVE_SIDECARS`] on.
    #[default]
    Auto,
    /// Everywhere but in clusters known to be too old.
    Always,
    /// Only where the annotation asks for it.
    Never,
}

/// CPU and memory of the proxy's container, as Kubernetes quantities. `None` means unlimited, or nothing reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources {
    /// CPU reserved.
    pub cpu: Option<String>,
    /// Memory reserved.
    pub memory: Option<String>,
    /// CPU at most.
    pub cpu_limit: Option<String>,
    /// Memory at most.
    pub memory_limit: Option<String>,
}

impl Default for Resources {
    /// 10m and 24Mi reserved, which is what an idle proxy was measured to need; Istio's 2000m and 1024Mi at most.
    fn default() -> Self {
        let text = |text: &str| Some(text.to_owned());
        Self { cpu: text("10m"), memory: text("24Mi"), cpu_limit: text("2000m"), memory_limit: text("1024Mi") }
    }
}

/// Numbers of the proxy's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probes {
    /// Failures in a row, one per second, until the start counts as failed; `None` leaves the start-up probe out. Default 600.
    pub startup_failure_threshold: Option<u32>,
    /// Seconds before the first readiness probe. Default 0.
    pub initial_delay: u32,
    /// Seconds between readiness probes. Default 15.
    pub period: u32,
    /// Failures in a row that count. Default 4.
    pub failure_threshold: u32,
}

impl Default for Probes {
    fn default() -> Self {
        Self { startup_failure_threshold: Some(600), initial_delay: 0, period: 15, failure_threshold: 4 }
    }
}

/// Istio's CNI plugin writes the rules instead of an init container; the pod then carries what the plugin reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cni {
    /// No: the init container does.
    #[default]
    Off,
    /// Chained behind the cluster's plugin.
    Chained,
    /// Called by Multus, for pods that name it in `k8s.v1.cni.cncf.io/networks`.
    Multus,
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
    /// Refuse pods that would otherwise be admitted with a warning: values that cannot be understood, applications with the proxy's uid
    /// or gid, ports that collide. Default off.
    pub strict: bool,
    /// Inject where no label says anything (`enableNamespacesByDefault`). Default off.
    pub enable_namespaces_by_default: bool,
    /// Namespaces never injected into.
    pub ignored_namespaces: Vec<String>,
    /// Pods matching one of these are left alone unless labelled otherwise.
    pub never_inject: Vec<LabelSelector>,
    /// Pods matching one of these are injected unless labelled otherwise.
    pub always_inject: Vec<LabelSelector>,
    /// Templates of a pod that names none. Default `sidecar`.
    pub default_templates: Vec<String>,
    /// Templates besides the built-in ones, or laid over them if they have their names.
    pub templates: BTreeMap<String, Template>,
    /// Names that stand for lists of templates.
    pub aliases: BTreeMap<String, Vec<String>>,
    /// Run the proxy as a native sidecar. Default: where the cluster can.
    pub native_sidecars: NativeSidecars,
    /// Start the application only once the proxy is ready. Default on, which Istio's is not; a ProxyConfig that sets
    /// `holdApplicationUntilProxyStarts` decides instead.
    pub hold_application_until_proxy_starts: bool,
    /// Send HTTP, TCP and gRPC probes through the proxy's status port. Default on.
    pub rewrite_app_http_probe: bool,
    /// The proxy forwards those probes to 127.0.0.1 rather than to the pod's address (mesh `inboundTrafficPolicy` LOCALHOST).
    pub probe_localhost: bool,
    /// Merge application metrics into the proxy's. Default on.
    pub enable_prometheus_merge: bool,
    /// Resources of both containers; an annotation changes the one it names.
    pub resources: Resources,
    /// The proxy's own probes.
    pub probes: Probes,
    /// Status port where neither annotation nor ProxyConfig gives one; `None` means 15020, 0 means no status server.
    pub status_port: Option<u16>,
    /// Hooks of the proxy's container, in place of those of the template.
    pub lifecycle: Option<Value>,
    /// What is captured where no annotation says otherwise.
    pub capture: Capture,
    /// Whether a CNI plugin writes the rules.
    pub cni: Cni,
    /// Init step writes nftables rules without iptables.
    pub native_nftables: bool,
    /// The mesh's `defaultConfig`, lowerCamelCase, as far as given.
    pub proxy_config: Map<String, Value>,
    /// Namespace of the control plane. Default `istio-system`.
    pub istio_namespace: String,
    /// Address of the CA; `None` means istiod's of this revision.
    pub ca_address: Option<String>,
    /// Who provides the CA's root: `istiod` by default.
    pub cert_provider: String,
    /// Take the CA's root from a ClusterTrustBundle rather than from the ConfigMap `istio-ca-root-cert`.
    pub cluster_trust_bundle: bool,
    /// Mount the Secret `istio.SERVICEACCOUNT` if there is one.
    pub mount_mtls_certs: bool,
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
    /// File for ejected hosts; `None` means none.
    pub outlier_log_path: Option<String>,
    /// Port of the token exchange server; 0 means none.
    pub sts_port: u16,
    /// Value of `COMPLIANCE_POLICY`.
    pub compliance_policy: Option<String>,
    /// Init step writes the rules even if they stand already (`global.proxy_init.forceApplyIptables`).
    pub force_apply_iptables: bool,
    /// uid and gid of the proxy come from the namespace's ranges where it has them.
    pub openshift: bool,
    /// Pod-level `securityContext` of gateways; `None` lets them bind any port without a capability.
    pub gateway_security_context: Option<Value>,
    /// Annotations added to every injected pod.
    pub injected_annotations: BTreeMap<String, String>,
    /// Names of Secrets for pulling the image.
    pub image_pull_secrets: Vec<String>,
    /// Further variables of the proxy, in place of rendered ones of the same names; the user's own fields win over them.
    pub environment: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            image: format!("outrigger:{}", env!("CARGO_PKG_VERSION")),
            image_pull_policy: None,
            revision: text("default"),
            policy: Policy::Enabled,
            strict: false,
            enable_namespaces_by_default: false,
            ignored_namespaces: ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"].map(text).to_vec(),
            never_inject: Vec::new(),
            always_inject: Vec::new(),
            default_templates: vec![text(crate::templates::SIDECAR)],
            templates: BTreeMap::new(),
            aliases: BTreeMap::new(),
            native_sidecars: NativeSidecars::Auto,
            hold_application_until_proxy_starts: true,
            rewrite_app_http_probe: true,
            probe_localhost: false,
            enable_prometheus_merge: true,
            resources: Resources::default(),
            probes: Probes::default(),
            status_port: None,
            lifecycle: None,
            capture: Capture::default(),
            cni: Cni::Off,
            native_nftables: false,
            proxy_config: Map::new(),
            istio_namespace: text("istio-system"),
            ca_address: None,
            cert_provider: text("istiod"),
            cluster_trust_bundle: false,
            mount_mtls_certs: false,
            cluster_domain: text("cluster.local"),
            trust_domain: text("cluster.local"),
            mesh_id: None,
            cluster_id: text("Kubernetes"),
            network: None,
            log_level: text("warning"),
            component_log_level: text("misc:error"),
            agent_log_level: text("default:info"),
            log_as_json: false,
            outlier_log_path: None,
            sts_port: 0,
            compliance_policy: None,
            force_apply_iptables: false,
            openshift: false,
            gateway_security_context: None,
            injected_annotations: BTreeMap::new(),
            image_pull_secrets: Vec::new(),
            environment: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Address of the control plane and its CA: `istiod[-rev].NAMESPACE.svc:15012` unless configured.
    #[must_use]
    pub fn ca_address(&self) -> String {
        let suffix = if self.revision == "default" { String::new() } else { format!("-{}", self.revision) };
        self.ca_address.clone().unwrap_or_else(|| format!("istiod{suffix}.{}.svc:15012", self.istio_namespace))
    }
}

/// The namespace a pod is created in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations; only OpenShift's are looked at.
    pub annotations: BTreeMap<String, String>,
}

/// What decides about a pod besides the pod itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// The pod's namespace.
    pub namespace: Namespace,
    /// The injector's settings.
    pub settings: Settings,
    /// The cluster, as far as known.
    pub cluster: Cluster,
    /// The workload, where the caller knows it because the pod comes from its template; `None` lets the pod's owner reference tell.
    pub workload: Option<Owner>,
}
