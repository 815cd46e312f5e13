//! Which policy and which settings apply to one workload.

use super::Registry;
use super::table::Resource;
use crate::api::destination_rule::WorkloadSelector;
use crate::api::peer_authentication::{MutualTls, MutualTlsMode, PeerAuthentication};
use crate::decode::Problem;
use crate::mesh::{self, ProxyConfig, ProxyConfigResource, ProxyConfigSpec};
use crate::string_map::StringMap;

type Labels = StringMap;

/// The annotation with a proxy's settings.
pub const PROXY_CONFIG_ANNOTATION: &str = "proxy.istio.io/config";

impl Registry {
    /// The mTLS mode a workload's server side applies on a container port; `None` asks for ports without a policy of their own.
    /// Never [`MutualTlsMode::Unset`]: the default is PERMISSIVE.
    ///
    /// The first defined value of: the workload policy's port, the workload policy, the namespace policy, the mesh policy. Of
    /// several policies at one level the oldest counts. Policies with a selector act in their own namespace only.
    pub fn mtls_mode(&self, namespace: &str, labels: &Labels, port: Option<u16>) -> MutualTlsMode {
        let of_workload = self.peer_authentications.in_namespace(namespace).find(|policy| selects(policy.selector.as_ref(), labels));
        let port_mode = of_workload.zip(port).and_then(|(policy, port)| policy.port_level_mtls.get(&u32::from(port)));
        let wide = |namespace| self.peer_authentications.in_namespace(namespace).find(|policy| is_wide(policy.selector.as_ref()));
        let levels = [
            port_mode,
            of_workload.and_then(mtls),
            wide(namespace).and_then(mtls),
            wide(self.mesh().root_namespace.as_str()).and_then(mtls),
        ];
        let defined = levels.into_iter().flatten().map(|mtls| mtls.mode).find(|mode| *mode != MutualTlsMode::Unset);
        defined.unwrap_or(MutualTlsMode::Permissive)
    }

    /// Ports for which the workload's policy has a mode of its own, ascending.
    pub fn mtls_ports(&self, namespace: &str, labels: &Labels) -> Vec<u16> {
        let mut policies = self.peer_authentications.in_namespace(namespace);
        let of_workload = policies.find(|policy| selects(policy.selector.as_ref(), labels));
        let ports = of_workload.into_iter().flat_map(|policy| policy.port_level_mtls.keys());
        ports.filter_map(|port| u16::try_from(*port).ok()).collect()
    }

    /// The settings of a workload's proxy: mesh defaults, ProxyConfig objects of the root namespace, of the namespace, of the
    /// workload, and the annotation `proxy.istio.io/config`. Problems are those of the annotation; if it cannot be read, it
    /// is left out.
    pub fn proxy_config(&self, namespace: &str, labels: &Labels, annotation: Option<&str>) -> (ProxyConfig, Vec<Problem>) {
        let wide = |namespace| self.proxy_configs.in_namespace(namespace).find(|config| is_wide(config.selector.as_ref()));
        let root = wide(self.mesh().root_namespace.as_str());
        let own = wide(namespace).filter(|_| namespace != self.mesh().root_namespace);
        let workload = self.proxy_configs.in_namespace(namespace).find(|config| selects(config.selector.as_ref(), labels));
        let objects = [root, own, workload].into_iter().flatten();
        let objects: Vec<ProxyConfigSpec> = objects.map(|config: &Resource<ProxyConfigResource>| config.to_spec()).collect();
        let (annotated, problems) = mesh::read::<ProxyConfigSpec>(annotation.unwrap_or_default());
        let usable = problems.iter().all(|problem| problem.severity < crate::diagnostic::Severity::Error);
        let last = usable.then_some(&annotated);
        let layers = std::iter::once(&self.mesh().default_config).chain(&objects).chain(last);
        (ProxyConfig::layered(layers), problems)
    }
}

fn mtls(policy: &Resource<PeerAuthentication>) -> Option<&MutualTls> {
    policy.spec.mtls.as_ref()
}

/// Whether there is no selector, so that the object is about a namespace or the mesh.
fn is_wide(selector: Option<&WorkloadSelector>) -> bool {
    selector.is_none_or(|selector| selector.match_labels.is_empty())
}

/// Whether there is a selector and it selects a workload with these labels.
fn selects(selector: Option<&WorkloadSelector>, labels: &Labels) -> bool {
    let Some(selector) = selector.filter(|selector| !selector.match_labels.is_empty()) else {
        return false;
    };
    selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
}
