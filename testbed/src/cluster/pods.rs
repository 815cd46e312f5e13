//! The pods that exist, from the moment they are decided on until nothing is left of them.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow};
use outrigger_config::api::kubernetes::{ContainerPort, Pod};
use outrigger_config::object::{Body, Object, ObjectId};
use outrigger_config::parse;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::rollout::Member;
use super::services::PodView;
use super::tree::put;
use super::workload::PodKey;
use crate::ca::Identity;
use crate::network::PodAddress;
use crate::pod::PodPlan;
use crate::pod::life::{Life, News};
use crate::pod::plan::Role;
use crate::pod::supervise::{State as ContainerState, Status};
use crate::run::state::{ContainerInfo, PodInfo};

/// A pod that exists.
#[derive(Debug)]
pub struct PodRecord {
    /// Identity.
    pub key: PodKey,
    /// What made it.
    pub workload: ObjectId,
    /// The template it was made from.
    pub hash: String,
    /// The object after injection.
    pub object: Arc<Object>,
    /// The same, typed.
    pub pod: Arc<Pod>,
    /// The same as proxies read it, without the state (see [`public_part`]).
    pub public: Value,
    /// Whether it has a proxy.
    pub injected: bool,
    /// Its addresses.
    pub address: PodAddress,
    /// When it was made.
    pub created: SystemTime,
    /// The identity of its certificate.
    pub identity: Identity,
    /// When its certificate is to be replaced; none for one that a test put there.
    pub renew_at: Option<OffsetDateTime>,
    /// Its containers, or why it cannot run.
    pub plan: Result<Arc<PodPlan>, String>,
    /// How they stand, in the same order.
    pub statuses: Vec<Status>,
    /// Its processes, while there may be any.
    pub life: Option<Life>,
    /// Whether it is on its way out.
    pub deleting: bool,
    /// Whether it succeeded, once all its containers ended for good.
    pub ended: Option<bool>,
}

impl PodRecord {
    /// Takes one news item.
    pub fn learn(&mut self, news: News) {
        match news {
            News::Container { index, status } => {
                if let Some(slot) = self.statuses.get_mut(index) {
                    *slot = status;
                }
            }
            News::Ended(success) => {
                self.ended = Some(success);
                self.life = None;
            }
        }
    }

    /// Begins the termination.
    pub fn delete(&mut self) {
        self.deleting = true;
        match &self.life {
            Some(life) => life.stop(),
            None => self.ended = self.ended.or(Some(false)),
        }
    }

    fn roles(&self) -> impl Iterator<Item = (&str, Role, &Status)> {
        let containers = self.plan.as_ref().map(|plan| plan.containers.as_slice()).unwrap_or_default();
        containers.iter().zip(&self.statuses).map(|(plan, status)| (plan.name.as_str(), plan.role, status))
    }

    /// Whether all containers are ready.
    pub fn ready(&self) -> bool {
        let long_running = || self.roles().filter(|(_, role, _)| *role != Role::Init);
        self.ended.is_none() && long_running().next().is_some() && long_running().all(|(_, _, status)| status.ready)
    }

    /// All addresses, the primary one first.
    pub fn addresses(&self) -> Vec<IpAddr> {
        std::iter::once(IpAddr::V4(self.address.v4)).chain(self.address.v6.map(IpAddr::V6)).collect()
    }

    /// For the decision about the next steps.
    pub fn member(&self, hash: &str) -> Member {
        Member { name: self.key.name.clone(), current: self.hash == hash, ready: self.ready(), deleting: self.deleting, ended: self.ended }
    }

    /// For endpoints.
    pub fn view(&self) -> PodView {
        let spec = &self.pod.spec;
        let named = !spec.hostname.is_empty() && !spec.subdomain.is_empty();
        PodView {
            key: self.key.clone(),
            uid: self.object.meta.uid.clone(),
            labels: self.object.meta.labels.clone(),
            addresses: self.addresses(),
            ready: self.ready(),
            terminating: self.deleting,
            host: named.then(|| (spec.hostname.clone(), spec.subdomain.clone())),
            ports: self.ports(),
        }
    }

    fn ports(&self) -> Vec<ContainerPort> {
        self.pod.spec.containers.iter().flat_map(|container| container.ports.iter().cloned()).collect()
    }

    fn phase(&self) -> &'static str {
        match self.ended {
            Some(true) => "Succeeded",
            Some(false) => "Failed",
            None if self.roles().any(|(_, role, status)| role != Role::Init && status.pid().is_some()) => "Running",
            None => "Pending",
        }
    }

    /// The object as proxies read it.
    pub fn published(&self, host: IpAddr) -> Value {
        let mut json = self.public.clone();
        let addresses: Vec<Value> = self.addresses().iter().map(|ip| json!({"ip": ip.to_string()})).collect();
        let ready = if self.ready() && !self.deleting { "True" } else { "False" };
        let status = json!({
            "phase": self.phase(),
            "podIP": self.address.v4.to_string(),
            "podIPs": addresses,
            "hostIP": host.to_string(),
            "conditions": [{"type": "Ready", "status": ready}],
        });
        put(&mut json, &["status"], status);
        json
    }

    /// For people and programs.
    pub fn info(&self, folder: &Path) -> PodInfo {
        let container = |(name, role, status): (&str, Role, &Status)| ContainerInfo {
            name: name.to_owned(),
            init: role == Role::Init,
            state: describe(&status.state),
            ready: status.ready,
            restarts: status.restarts,
            pid: status.pid(),
        };
        PodInfo {
            namespace: self.key.namespace.clone(),
            name: self.key.name.clone(),
            workload: format!("{}/{}", self.workload.kind, self.workload.name),
            status: self.status(),
            ready: self.ready() && !self.deleting,
            addresses: self.addresses(),
            labels: self.object.meta.labels.clone(),
            service_account: self.identity.service_account.clone(),
            created: self.created.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
            netns: self.plan.as_ref().map(|plan| plan.netns.name().to_owned()).unwrap_or_default(),
            folder: folder.to_owned(),
            injected: self.injected,
            containers: self.roles().map(container).collect(),
        }
    }

    /// The pod in one word, or with the reason that keeps it from running.
    fn status(&self) -> String {
        if self.deleting {
            return "Terminating".into();
        }
        if let Err(reason) = &self.plan {
            return reason.clone();
        }
        match self.ended {
            Some(true) => return "Completed".into(),
            Some(false) => return "Error".into(),
            None => {}
        }
        let waiting = self.roles().find_map(|(_, _, status)| match &status.state {
            ContainerState::Waiting(reason) if reason != INITIALIZING => Some(reason.clone()),
            _ => None,
        });
        waiting.unwrap_or_else(|| self.phase().to_owned())
    }
}

/// What a container waits for that has not had its turn.
pub const INITIALIZING: &str = "PodInitializing";

fn describe(state: &ContainerState) -> String {
    match state {
        ContainerState::Running { .. } => "running".into(),
        ContainerState::Waiting(reason) => reason.clone(),
        ContainerState::Terminated { success: true, .. } => "completed".into(),
        ContainerState::Terminated { how, .. } => how.clone(),
    }
}

/// What proxies may read of a pod: identity and labels, and of the containers only names and ports, because the rest
/// may be secret and is nobody's business there.
pub fn public_part(json: &Value) -> Value {
    let container = |written: &Value| json!({"name": written["name"], "image": written["image"], "ports": written["ports"]});
    let spec = &json["spec"];
    let containers = spec["containers"].as_array().into_iter().flatten().map(container).collect::<Vec<_>>();
    let mut public = json!({"apiVersion": "v1", "kind": "Pod", "metadata": json["metadata"], "spec": {"containers": containers}});
    for field in ["serviceAccountName", "serviceAccount", "nodeName", "hostname", "subdomain", "hostNetwork"] {
        if let Some(value) = spec.get(field) {
            put(&mut public, &["spec", field], value.clone());
        }
    }
    public
}

/// A Pod object, typed.
///
/// # Errors
/// When the manifest is not a usable Pod; the text says why.
pub fn typed(json: &Value) -> Result<(Arc<Object>, Arc<Pod>)> {
    let object = parse::from_json(Path::new("pod"), json).map_err(|diagnostics| {
        let texts: Vec<String> = diagnostics.iter().map(|d| format!("{}: {}", d.field, d.message)).collect();
        anyhow!("not a usable Pod: {}", texts.join("; "))
    })?;
    match &object.body {
        Body::Pod(pod) => Ok((object.clone(), pod.clone())),
        _ => Err(anyhow!("not a Pod")),
    }
}
