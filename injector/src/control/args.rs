//! The command line of `outrigger injector`. Every option that a chart sets has an environment variable too, so that the downward API can fill it.

use std::net::SocketAddr;
use std::path::PathBuf;

/// How the injector is started.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Address of the webhook (HTTPS)
    #[arg(long, env = "INJECTOR_ADDRESS", default_value = "[::]:15017", value_name = "ADDRESS")]
    pub address: SocketAddr,
    /// Address of metrics and probes (plain HTTP): /metrics, /healthz, /readyz
    #[arg(long, env = "INJECTOR_METRICS_ADDRESS", default_value = "[::]:15014", value_name = "ADDRESS")]
    pub metrics_address: SocketAddr,

    /// Revision this injector answers to
    #[arg(long, env = "REVISION", default_value = "default", help_heading = "In a cluster")]
    pub revision: String,
    /// Namespace the injector runs in: its Secret, Lease, Service and ConfigMaps are there
    #[arg(long, env = "POD_NAMESPACE", default_value = "istio-system", help_heading = "In a cluster")]
    pub namespace: String,
    /// Name of this replica in the Lease
    #[arg(long, env = "POD_NAME", value_name = "NAME", help_heading = "In a cluster")]
    pub pod_name: Option<String>,
    /// Service in front of the webhook: its name is in the certificate, and only webhooks that call it get our caBundle
    #[arg(long, env = "INJECTOR_SERVICE", default_value = "outrigger-injector", value_name = "NAME", help_heading = "In a cluster")]
    pub service: String,
    /// ConfigMap with `config` and `values` [default: istio-sidecar-injector, or istio-sidecar-injector-REVISION]
    #[arg(long, env = "INJECTION_CONFIG_MAP", value_name = "NAME", help_heading = "In a cluster")]
    pub config_map: Option<String>,
    /// ConfigMap with `mesh`, which may be missing [default: istio, or istio-REVISION]
    #[arg(long, env = "MESH_CONFIG_MAP", value_name = "NAME", help_heading = "In a cluster")]
    pub mesh_config_map: Option<String>,
    /// MutatingWebhookConfigurations whose caBundle is kept, several separated by commas [default: istio-sidecar-injector[-REVISION][-NAMESPACE unless istio-system]]
    #[arg(long, env = "INJECTOR_WEBHOOK_CONFIGURATIONS", value_delimiter = ',', value_name = "NAMES", help_heading = "In a cluster")]
    pub webhook_configurations: Vec<String>,
    /// Secret that keeps the injector's own certificate authority
    #[arg(long, env = "INJECTOR_CA_SECRET", default_value = "outrigger-injector-ca", value_name = "NAME", help_heading = "In a cluster")]
    pub ca_secret: String,
    /// Lease by which replicas agree who renews the authority and writes caBundle
    #[arg(long, env = "INJECTOR_LEASE", default_value = "outrigger-injector", value_name = "NAME", help_heading = "In a cluster")]
    pub lease: String,

    /// Read the injector's configuration from this file instead of a ConfigMap; nothing then talks to a cluster
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = "Without a cluster, or with certificates of your own")]
    pub config_file: Option<PathBuf>,
    /// Helm values (JSON or YAML)
    #[arg(long, value_name = "FILE", requires = "config_file", help_heading = "Without a cluster, or with certificates of your own")]
    pub values_file: Option<PathBuf>,
    /// MeshConfig (YAML)
    #[arg(long, value_name = "FILE", requires = "config_file", help_heading = "Without a cluster, or with certificates of your own")]
    pub mesh_file: Option<PathBuf>,
    /// Certificate chain of the webhook (PEM); whoever made it keeps caBundle up to date, as cert-manager does
    #[arg(
        long,
        env = "INJECTOR_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key",
        help_heading = "Without a cluster, or with certificates of your own"
    )]
    pub tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(
        long,
        env = "INJECTOR_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert",
        help_heading = "Without a cluster, or with certificates of your own"
    )]
    pub tls_key: Option<PathBuf>,
}

/// For the command's help.
pub const EXAMPLES: &str = "Examples:
  outrigger injector                               in a cluster: ConfigMaps, Secret, Lease and caBundle of its namespace
  outrigger injector --tls-cert /certs/tls.crt --tls-key /certs/tls.key
                                                   in a cluster, with a certificate from cert-manager
  outrigger injector --config-file config.yaml --values-file values.yaml --mesh-file mesh.yaml \\
    --tls-cert tls.crt --tls-key tls.key           without a cluster; all files are watched";

impl Args {
    /// Name of an object that Istio names with the revision, except for the default one.
    fn revisioned(&self, given: Option<&str>, base: &str) -> String {
        match given {
            Some(name) => name.to_owned(),
            None if self.revision == "default" => base.to_owned(),
            None => format!("{base}-{}", self.revision),
        }
    }

    /// ConfigMap with the injector's configuration.
    #[must_use]
    pub fn config_map(&self) -> String {
        self.revisioned(self.config_map.as_deref(), "istio-sidecar-injector")
    }

    /// ConfigMap with the mesh's configuration.
    #[must_use]
    pub fn mesh_config_map(&self) -> String {
        self.revisioned(self.mesh_config_map.as_deref(), "istio")
    }

    /// MutatingWebhookConfigurations that call us; named as istiod names its own.
    #[must_use]
    pub fn webhook_configurations(&self) -> Vec<String> {
        if !self.webhook_configurations.is_empty() {
            return self.webhook_configurations.clone();
        }
        let name = self.revisioned(None, "istio-sidecar-injector");
        vec![if self.namespace == "istio-system" { name } else { format!("{name}-{}", self.namespace) }]
    }
}
