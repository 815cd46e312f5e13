//! A pod as needed to run it: containers in order, each with its process, its probe and its policy.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::probe::Probe;
use crate::container::Spec;
use crate::network::NetNs;

/// Whether a container that ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whatever its exit status.
    #[default]
    Always,
    /// Unless it succeeded.
    OnFailure,
    /// Never.
    Never,
}

impl RestartPolicy {
    /// The decision for one exit.
    pub fn restarts(self, success: bool) -> bool {
        match self {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => !success,
            RestartPolicy::Never => false,
        }
    }
}

/// What a container is to its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs to completion before the next one starts.
    Init,
    /// Runs beside the others and starts before them: the proxy, native sidecars.
    Sidecar,
    /// The application.
    App,
}

/// One container.
#[derive(Clone, Debug)]
pub struct ContainerPlan {
    /// Unique in the pod.
    pub name: String,
    /// Its process, or why there is none.
    pub spec: Result<Spec, String>,
    /// When it counts as ready.
    pub readiness: Probe,
    /// Its part.
    pub role: Role,
    /// What happens when it ends.
    pub restart: RestartPolicy,
    /// Runs before SIGTERM, within the grace period.
    pub pre_stop: Option<PreStop>,
}

/// The hook of `lifecycle.preStop`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreStop {
    /// A command in the container.
    Exec(Vec<String>),
    /// Nothing but time.
    Sleep(Duration),
}

/// One pod.
#[derive(Clone, Debug)]
pub struct PodPlan {
    /// Its namespace on the network.
    pub netns: NetNs,
    /// Its primary address.
    pub address: IpAddr,
    /// Its folder in the run's state.
    pub folder: PathBuf,
    /// In the order in which they start: init containers first.
    pub containers: Vec<ContainerPlan>,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
}
