//! The control loop: compares what the manifests ask for with what exists, and takes the next steps.
//!
//! One task owns everything. News arrive (a container ended, a file changed, somebody asks for something); after each
//! batch the loop decides about pods, then publishes endpoints, names and state. Nothing here waits for a container.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use outrigger_config::diagnostic::Diagnostic;
use outrigger_config::object::{Kind, ObjectId};
use outrigger_config::store::FileChange;
use outrigger_config::string_map::StringMap;
use serde_json::Value;
use time::OffsetDateTime;
use tokio::sync::{mpsc, watch};

use super::inventory::Inventory;
use super::pods::PodRecord;
use super::publish::{Publisher, file_name};
use super::rollout::{self, Step};
use super::services::{self, PodView, ServiceView};
use super::workload::{PodKey, Workload};
use crate::ca::{Ca, Identity, Issued};
use crate::container::process::Launcher;
use crate::container::spec::Mount;
use crate::names;
use crate::network::{NetNs, Network, service};
use crate::pod::image::ImageRule;
use crate::pod::life::News;
use crate::pod::volume;
use crate::run::RunFolder;
use crate::run::state::{PodInfo, ServiceInfo, State};

mod certificates;
mod creation;

/// How many rounds of steps one batch of news may cause; more would be a loop between two rules.
const ROUNDS: usize = 8;

/// What the controller works with and on.
#[derive(Debug)]
pub struct Controller {
    pub(crate) folder: RunFolder,
    pub(crate) network: Network,
    pub(crate) launcher: Launcher,
    ca: Ca,
    server: names::Server,
    images: Vec<ImageRule>,
    configuration: (Vec<Mount>, Vec<String>),
    inventory: Inventory,
    pods: BTreeMap<PodKey, PodRecord>,
    certificates: BTreeMap<Identity, (OffsetDateTime, Issued)>,
    next_number: u16,
    impossible: BTreeSet<(ObjectId, String)>,
    publisher: Publisher,
    nat: Option<(Vec<service::Frontend>, BTreeSet<IpAddr>)>,
    news: mpsc::UnboundedReceiver<(PodKey, News)>,
    /// Given to every pod.
    reporter: mpsc::UnboundedSender<(PodKey, News)>,
    state: watch::Sender<Arc<State>>,
    messages: VecDeque<String>,
    said: BTreeSet<String>,
}

/// Parts that exist before the controller does.
#[derive(Debug)]
pub struct Parts {
    /// The run's folder, locked.
    pub folder: RunFolder,
    /// Its network.
    pub network: Network,
    /// Starts processes.
    pub launcher: Launcher,
    /// Signs certificates.
    pub ca: Ca,
    /// Answers for names.
    pub server: names::Server,
    /// `--image` of the user.
    pub images: Vec<ImageRule>,
    /// What proxies watch.
    pub configuration: (Vec<Mount>, Vec<String>),
    /// First state.
    pub state: State,
}

impl Controller {
    /// A controller without pods, and where its state can be followed.
    pub fn new(parts: Parts) -> (Controller, watch::Receiver<Arc<State>>) {
        let (state, receiver) = watch::channel(Arc::new(parts.state));
        let (reporter, news) = mpsc::unbounded_channel();
        let publisher = Publisher::new(&parts.folder.path().join("config"), first_version());
        let controller = Controller {
            folder: parts.folder,
            network: parts.network,
            launcher: parts.launcher,
            ca: parts.ca,
            server: parts.server,
            images: parts.images,
            configuration: parts.configuration,
            inventory: Inventory::default(),
            pods: BTreeMap::new(),
            certificates: BTreeMap::new(),
            next_number: 0,
            impossible: BTreeSet::new(),
            publisher,
            nat: None,
            news,
            reporter,
            state,
            messages: VecDeque::new(),
            said: BTreeSet::new(),
        };
        (controller, receiver)
    }

    // === What happens ===

    /// Waits for news from pods and takes all there are.
    pub async fn pod_news(&mut self) {
        if let Some((key, news)) = self.news.recv().await {
            self.learn(&key, news);
        }
        while let Ok((key, news)) = self.news.try_recv() {
            self.learn(&key, news);
        }
    }

    fn learn(&mut self, key: &PodKey, news: News) {
        if let Some(record) = self.pods.get_mut(key) {
            record.learn(news);
        }
    }

    /// Takes changed files; returns what is to be said about them.
    pub fn files_changed(&mut self, changes: Vec<FileChange>) -> Vec<Diagnostic> {
        let said = self.inventory.apply(changes, &self.network.subnet, self.ca.root());
        // What was missing may be there now; such pods have nothing to lose.
        self.impossible.clear();
        for record in self.pods.values_mut().filter(|record| record.cannot_start()) {
            record.delete();
        }
        self.refresh_volumes();
        said
    }

    /// A running pod sees a changed ConfigMap or Secret, as the kubelet has it (but at once).
    fn refresh_volumes(&mut self) {
        for record in self.pods.values().filter(|record| record.life.is_some()) {
            let folder = self.folder.pod(&record.key.namespace, &record.key.name);
            let facts = record.facts(&self.network);
            if let Err(error) = volume::refresh(&folder, &record.pod.spec, &facts, &self.inventory.sources) {
                self.messages.push_back(format!("pod {}: {error:#}", record.key));
            }
        }
    }

    /// What happened that a person should know, since the last call.
    pub fn messages(&mut self) -> Vec<String> {
        self.messages.drain(..).collect()
    }

    /// Changes the number of replicas until the manifest itself says another.
    ///
    /// # Errors
    /// When there is no such Deployment, ReplicaSet or StatefulSet.
    pub fn scale(&mut self, namespace: &str, name: &str, replicas: u32) -> Result<()> {
        if self.inventory.scale(namespace, name, replicas) {
            return Ok(());
        }
        Err(anyhow!("no Deployment, ReplicaSet or StatefulSet {namespace}/{name}"))
    }

    /// Begins to terminate a pod, as `kubectl delete pod` does.
    ///
    /// # Errors
    /// When there is no such pod.
    pub fn delete_pod(&mut self, key: &PodKey) -> Result<()> {
        self.pods.get_mut(key).with_context(|| format!("no pod {key}"))?.delete();
        Ok(())
    }

    // === Steps ===

    /// Takes all steps that are due and publishes what follows.
    ///
    /// # Errors
    /// When the node's rules or the run's files cannot be written.
    pub fn reconcile(&mut self) -> Result<()> {
        for _ in 0..ROUNDS {
            self.bury();
            let steps = self.due_steps();
            if steps.is_empty() {
                break;
            }
            for (workload, step) in steps {
                self.take(&workload, step);
            }
        }
        self.publish()
    }

    /// Removes what is left of pods that were to go and whose processes have ended.
    fn bury(&mut self) {
        let dead: Vec<PodKey> =
            self.pods.iter().filter(|(_, record)| record.deleting && record.life.is_none()).map(|(key, _)| key.clone()).collect();
        for key in dead {
            self.pods.remove(&key);
            NetNs::named(&self.netns_name(&key)).delete();
            let _ = std::fs::remove_dir_all(self.folder.pod(&key.namespace, &key.name));
        }
    }

    fn due_steps(&self) -> Vec<(Workload, Step)> {
        let mut due = Vec::new();
        let possible = |workload: &&Workload| !self.impossible.contains(&(workload.id.clone(), workload.hash.clone()));
        for workload in self.inventory.workloads.iter().filter(possible) {
            let mut records: Vec<&PodRecord> = self.pods.values().filter(|pod| pod.workload == workload.id).collect();
            records.sort_by_key(|record| record.created);
            let members: Vec<_> = records.iter().map(|record| record.member(&workload.hash)).collect();
            due.extend(rollout::next_steps(workload, &members).into_iter().map(|step| (workload.clone(), step)));
        }
        let orphans =
            self.pods.values().filter(|pod| !pod.deleting && !self.inventory.workloads.iter().any(|workload| workload.id == pod.workload));
        let delete = |pod: &PodRecord| {
            let workload = Workload::new(pod.workload.clone(), 0, 0, false, Value::Null);
            (workload, Step::Delete(pod.key.name.clone()))
        };
        due.extend(orphans.map(delete));
        due
    }

    fn take(&mut self, workload: &Workload, step: Step) {
        let namespace = workload.id.namespace.to_string();
        match step {
            Step::Delete(name) => {
                if let Some(record) = self.pods.get_mut(&PodKey { namespace, name }) {
                    record.delete();
                }
            }
            Step::Create(ordinal) => {
                let key = PodKey { namespace, name: workload.pod_name(ordinal) };
                if let Err(error) = self.create(workload, &key, ordinal) {
                    self.messages.push_back(format!("pod {key} cannot be made: {error:#}"));
                    self.impossible.insert((workload.id.clone(), workload.hash.clone()));
                }
            }
        }
    }

    // === What follows ===

    fn publish(&mut self) -> Result<()> {
        let views: Vec<PodView> = self.pods.values().map(PodRecord::view).collect();
        let derived = services::derive(&self.inventory.services, &views, &self.inventory.slices);
        self.translate(derived.frontends, services::pod_addresses(&views))?;
        self.server.publish(derived.zone);
        let host = IpAddr::V4(self.network.subnet.node_v4());
        let mut objects = BTreeMap::new();
        for record in self.pods.values().filter(|record| record.plan.is_ok()) {
            let name = file_name("Pod", &record.key.namespace, &record.key.name);
            objects.insert(name, record.published(host));
        }
        for (view, object) in self.inventory.services.iter().zip(&self.inventory.published_services) {
            objects.insert(file_name("Service", &view.namespace, &view.name), object.clone());
        }
        for ((namespace, name), slice) in derived.slices {
            objects.insert(file_name("EndpointSlice", &namespace, &name), slice);
        }
        self.publisher.publish(objects)?;
        self.tell()
    }

    fn translate(&mut self, frontends: Vec<service::Frontend>, pods: BTreeSet<IpAddr>) -> Result<()> {
        let wanted = (frontends, pods);
        if self.nat.as_ref() != Some(&wanted) {
            service::apply(&self.network.node, &self.network.subnet, &wanted.0, &wanted.1).context("translating Service addresses")?;
            self.nat = Some(wanted);
        }
        Ok(())
    }

    fn tell(&mut self) -> Result<()> {
        let old = self.state.borrow().clone();
        let state = State {
            settled: self.settled(),
            published: self.publisher.version(),
            pods: self.pods.values().map(|pod| self.info(pod)).collect(),
            services: self.inventory.services.iter().map(|service| self.service_info(service)).collect(),
            ..State::clone(&old)
        };
        state.write(self.folder.path())?;
        self.state.send_replace(Arc::new(state));
        Ok(())
    }

    fn info(&self, record: &PodRecord) -> PodInfo {
        record.info(&self.folder.pod(&record.key.namespace, &record.key.name))
    }

    fn service_info(&self, view: &ServiceView) -> ServiceInfo {
        let selector = &view.service.spec.selector;
        let before_gateway = |wanted: &StringMap| wanted.iter().all(|(key, value)| selector.get(key) == Some(value));
        let gateways = &self.inventory.gateway_selectors;
        ServiceInfo {
            namespace: view.namespace.clone(),
            name: view.name.clone(),
            addresses: view.addresses.clone(),
            ports: view.service.spec.ports.iter().map(|port| (port.name.clone(), port.port)).collect(),
            selector: selector.clone(),
            gateway: !selector.is_empty() && gateways.iter().any(|wanted| !wanted.is_empty() && before_gateway(wanted)),
        }
    }

    /// Whether all wishes are fulfilled: nothing to do, nobody leaving, everybody ready or done.
    fn settled(&self) -> bool {
        let done = |record: &PodRecord| match record.workload.kind {
            Kind::Job => record.ended == Some(true),
            _ => record.ready() || record.ended == Some(true),
        };
        let calm = |record: &PodRecord| !record.deleting && done(record);
        self.pods.values().all(calm) && self.due_steps().is_empty() && !self.inventory.is_empty()
    }

    /// How long until a certificate is due, at most.
    pub const RENEWAL_CHECK: Duration = Duration::from_secs(60);
}

/// Microseconds since 1970: above any version that a cluster gave to objects the user brings.
fn first_version() -> u64 {
    let now = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1000;
    u64::try_from(now).unwrap_or(0)
}
