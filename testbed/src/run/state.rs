//! What others may know of a run: the contents of `state.json`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::files;
use crate::network::Subnet;
use outrigger_config::string_map::StringMap;

/// A run at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// Name of the run.
    pub run: String,
    /// Process id of the testbed.
    pub pid: u32,
    /// The `outrigger` program.
    pub program: PathBuf,
    /// The run's addresses.
    pub subnet: Subnet,
    /// Folders and files the user gave, absolute.
    pub paths: Vec<PathBuf>,
    /// Whether everything the manifests ask for is there and ready.
    pub settled: bool,
    /// Highest resourceVersion among the objects published to the proxies.
    pub published: u64,
    /// All pods, by namespace and name.
    pub pods: Vec<PodInfo>,
    /// All Services, by namespace and name.
    pub services: Vec<ServiceInfo>,
}

/// A pod.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PodInfo {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// What made it, such as `Deployment/v1`.
    pub workload: String,
    /// `Running`, `Pending`, `Terminating`, `Completed`, `Error`, or a reason such as `CrashLoopBackOff: signal 9`.
    pub status: String,
    /// Whether all containers are ready and it is not terminating.
    pub ready: bool,
    /// Addresses, the primary one first.
    pub addresses: Vec<IpAddr>,
    /// Labels, those of the injector included.
    pub labels: StringMap,
    /// Its account.
    pub service_account: String,
    /// When it was made, seconds since 1970.
    pub created: u64,
    /// Name of its network namespace.
    pub netns: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Whether it has a proxy.
    pub injected: bool,
    /// Init containers first.
    pub containers: Vec<ContainerInfo>,
}

/// A container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainerInfo {
    /// Name.
    pub name: String,
    /// Whether it runs to completion before the others.
    pub init: bool,
    /// `running`, or why not.
    pub state: String,
    /// Whether it is ready.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: u32,
    /// Process id on the host, while it runs.
    pub pid: Option<i32>,
}

/// A Service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceInfo {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Addresses; none for headless ones.
    pub addresses: Vec<IpAddr>,
    /// Ports by name.
    pub ports: Vec<(String, u16)>,
    /// Labels it selects.
    pub selector: StringMap,
    /// Whether it stands before a gateway, so that the outside is meant to call it.
    pub gateway: bool,
}

impl State {
    /// Reads the state of the run in this folder.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(folder: &Path) -> Result<State> {
        let file = folder.join("state.json");
        let text = std::fs::read_to_string(&file).with_context(|| format!("no run is up here: {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("reading {}", file.display()))
    }

    /// Replaces the state of the run in this folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        files::write_atomic(&folder.join("state.json"), serde_json::to_string(self)?.as_bytes())
    }

    /// The pod a person means: `NAMESPACE/NAME`, a name, or the unique beginning of one.
    ///
    /// # Errors
    /// When none or several fit; the message lists them.
    pub fn pod(&self, wanted: &str) -> Result<&PodInfo> {
        let (namespace, name) = match wanted.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, wanted),
        };
        let candidates = || self.pods.iter().filter(|pod| namespace.is_none_or(|namespace| pod.namespace == namespace));
        let exact: Vec<&PodInfo> = candidates().filter(|pod| pod.name == name).collect();
        let found = if exact.is_empty() { candidates().filter(|pod| pod.name.starts_with(name)).collect() } else { exact };
        let names = |pods: &[&PodInfo]| pods.iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect::<Vec<_>>().join(", ");
        match found.as_slice() {
            [pod] => Ok(pod),
            [] => anyhow::bail!("no pod {wanted:?}; there are: {}", names(&self.pods.iter().collect::<Vec<_>>())),
            several => anyhow::bail!("{wanted:?} may be each of: {}", names(several)),
        }
    }
}

impl PodInfo {
    /// The container of this name; without a name the first that is neither an init container nor the proxy.
    ///
    /// # Errors
    /// When there is none; the message lists them.
    pub fn container(&self, name: Option<&str>) -> Result<&ContainerInfo> {
        let fits = |container: &&ContainerInfo| match name {
            Some(name) => container.name == name,
            None => !container.init && container.name != crate::pod::build::PROXY,
        };
        let main = || self.containers.iter().find(|container| !container.init);
        let found = self.containers.iter().find(fits).or_else(|| if name.is_none() { main() } else { None });
        let names = || self.containers.iter().map(|container| container.name.as_str()).collect::<Vec<_>>().join(", ");
        found.with_context(|| format!("pod {} has no container {:?}; it has: {}", self.name, name.unwrap_or(""), names()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(names: &[(&str, &str)]) -> State {
        let pod = |(namespace, name): &(&str, &str)| PodInfo {
            namespace: namespace.to_string(),
            name: name.to_string(),
            workload: String::new(),
            status: "Running".into(),
            ready: true,
            addresses: Vec::new(),
            labels: StringMap::new(),
            service_account: "default".into(),
            created: 0,
            netns: String::new(),
            folder: PathBuf::new(),
            injected: false,
            containers: Vec::new(),
        };
        let subnet = serde_json::from_str("{\"index\": 1, \"v6\": false}").unwrap();
        let pods = names.iter().map(pod).collect();
        State {
            run: "r".into(),
            pid: 1,
            program: PathBuf::new(),
            subnet,
            paths: Vec::new(),
            settled: true,
            published: 0,
            pods,
            services: Vec::new(),
        }
    }

    #[test]
    fn a_pod_is_found_by_name_or_by_a_unique_beginning() {
        let state = state(&[("shop", "v1-abc"), ("shop", "v1-abd"), ("other", "v1-abc"), ("shop", "v2-x")]);
        assert_eq!(state.pod("shop/v1-abc").unwrap().namespace, "shop");
        assert_eq!(state.pod("v2").unwrap().name, "v2-x");
        assert!(state.pod("v1").unwrap_err().to_string().contains("shop/v1-abd"));
        assert!(state.pod("v9").unwrap_err().to_string().contains("no pod"));
    }
}
