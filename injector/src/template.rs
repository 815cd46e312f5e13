//! What Istio's templates `sidecar` and `gateway` add, with exactly their names, arguments and numbers (contract 3.5).

use serde_json::{Map, Value, json};

use crate::annotations::Wishes;
use crate::cni::Ids;
use crate::owner::Owner;
use crate::proxy_config::PodProxyConfig;
use crate::settings::{Cni, Context};

mod init;
mod proxy;
mod resources;

pub(crate) use init::{excluded_inbound_ports, init_container};
pub(crate) use proxy::proxy_container;

/// What the proxy is in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Beside an application, whose traffic is captured.
    Sidecar,
    /// On its own: a router, nothing is captured.
    Gateway,
}

/// Everything the templates look at.
pub(crate) struct Rendering<'a> {
    /// Namespace and settings.
    pub context: &'a Context,
    /// The pod without anything injected.
    pub pod: &'a Value,
    /// Its annotations.
    pub wishes: &'a Wishes,
    /// Its ProxyConfig.
    pub proxy_config: &'a PodProxyConfig,
    /// Its owner.
    pub owner: &'a Owner,
    /// Name of its workload.
    pub workload: String,
    /// What the proxy is.
    pub role: Role,
    /// REDIRECT, TPROXY or NONE.
    pub interception_mode: String,
    /// Port of the status server; 0 means none.
    pub status_port: u16,
    /// Whether the application waits for the proxy.
    pub hold: bool,
    /// Whether the proxy is an init container that restarts always.
    pub native: bool,
    /// Whether the proxy ends with the application's containers.
    pub exit_with_application: bool,
    /// uid and gid of the proxy.
    pub ids: Ids,
}

impl Rendering<'_> {
    /// Whether there is an init container.
    pub(crate) fn captures(&self) -> bool {
        self.role == Role::Sidecar && self.interception_mode != "NONE"
    }

    /// Whether a CNI plugin writes the rules.
    pub(crate) fn by_cni(&self) -> bool {
        self.context.settings.cni != Cni::Off
    }

    /// Network of the pod: its own label, else the settings'.
    pub(crate) fn network(&self) -> Option<String> {
        let label = crate::pod::strings(self.pod, "labels").remove("topology.istio.io/network");
        label.or_else(|| self.context.settings.network.clone())
    }

    /// What all injected containers have in common.
    fn container(&self, name: &str) -> Map<String, Value> {
        let settings = &self.context.settings;
        let mut container = Map::new();
        container.insert("name".to_owned(), json!(name));
        container.insert("image".to_owned(), json!(self.wishes.image.as_ref().unwrap_or(&settings.image)));
        if let Some(policy) = &settings.image_pull_policy {
            container.insert("imagePullPolicy".to_owned(), json!(policy));
        }
        container.insert("resources".to_owned(), resources::resources(&self.wishes.resources, &settings.resources));
        container
    }

    fn log_arguments(&self) -> Vec<String> {
        let mut arguments = vec![format!("--log_output_level={}", self.wishes.agent_log_level)];
        if self.context.settings.log_as_json {
            arguments.push("--log_as_json".to_owned());
        }
        arguments
    }
}
