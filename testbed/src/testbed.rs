//! The testbed as a library: what `outrigger up`, the demo and the tests drive.
//!
//! Everything runs on one thread of its own with a runtime of its own, apart from the caller's. Three reasons: a
//! load test in the same process is not disturbed; all children have a parent thread that lives as long as the run
//! (their parent-death signal depends on it); and `Drop` can wait for the end from any context.

mod options;
mod run_loop;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot, watch};

pub use options::Options;

use crate::ca::Identity;
use crate::cluster::workload::PodKey;
use crate::container::process::Launcher;
use crate::network::NetNs;
use crate::network::client::{self, Response};
use crate::run::files;
use crate::run::state::{PodInfo, ServiceInfo, State};
use run_loop::{Request, RunLoop};

/// Port of a proxy's admin interface.
const ADMIN: u16 = 15000;

/// Where a proxy says how much it has heard of.
const HEARD_OF: &str = "/stats/prometheus";
const HEARD_OF_METRIC: &str = "outrigger_config_resource_version ";
/// Time between two looks at the proxies.
const LOOK: Duration = Duration::from_millis(20);

/// A run. Dropping it ends the run and removes everything it made.
#[derive(Debug)]
pub struct Testbed {
    requests: mpsc::UnboundedSender<Request>,
    state: watch::Receiver<Arc<State>>,
    messages: Option<mpsc::UnboundedReceiver<Message>>,
    runtime: tokio::runtime::Handle,
    folder: PathBuf,
    launcher: Launcher,
    thread: Option<JoinHandle<()>>,
}

/// Something a person should know.
#[derive(Clone, Debug)]
pub enum Message {
    /// About a manifest.
    Diagnostic(outrigger_config::diagnostic::Diagnostic),
    /// About the run itself.
    Note(String),
}

impl Testbed {
    /// Begins a run: network, certificate authority, names, and the first pods on their way. [`Testbed::wait_ready`]
    /// waits for them.
    ///
    /// # Errors
    /// Without root; when `ip`, `nft` or overlayfs are missing; when a path does not exist; when the name is taken.
    pub async fn start(options: Options) -> Result<Testbed> {
        let (requests, receiver) = mpsc::unbounded_channel();
        let (messages, messages_receiver) = mpsc::unbounded_channel();
        let (started, outcome) = oneshot::channel();
        let launcher = Launcher::new(options.program.clone());
        let thread = std::thread::Builder::new()
            .name("testbed".into())
            .spawn(move || RunLoop::main(options, receiver, messages, started))
            .context("starting the testbed's thread")?;
        let outcome = outcome.await.map_err(|_| anyhow!("the testbed ended while starting")).and_then(|outcome| outcome);
        match outcome {
            Ok((state, runtime, folder)) => {
                Ok(Testbed { requests, state, messages: Some(messages_receiver), runtime, folder, launcher, thread: Some(thread) })
            }
            Err(error) => {
                let _ = thread.join();
                Err(error)
            }
        }
    }

    /// The stream of things a person should know; only the first call gets it.
    pub fn messages(&mut self) -> Option<mpsc::UnboundedReceiver<Message>> {
        self.messages.take()
    }

    // === Looking ===

    /// Name of the run.
    pub fn name(&self) -> String {
        self.state.borrow().run.clone()
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The run at this moment.
    pub fn state(&self) -> Arc<State> {
        self.state.borrow().clone()
    }

    /// Follows the run's state.
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.state.clone()
    }

    /// All pods.
    pub fn pods(&self) -> Vec<PodInfo> {
        self.state.borrow().pods.clone()
    }

    /// The pod a name means (see [`State::pod`]).
    ///
    /// # Errors
    /// When none or several fit.
    pub fn pod(&self, wanted: &str) -> Result<PodInfo> {
        self.state.borrow().pod(wanted).cloned()
    }

    /// Pods with this label, sorted by name.
    pub fn pods_labelled(&self, key: &str, value: &str) -> Vec<PodInfo> {
        self.pods().into_iter().filter(|pod| pod.labels.get(key).is_some_and(|found| found == value)).collect()
    }

    /// All Services.
    pub fn services(&self) -> Vec<ServiceInfo> {
        self.state.borrow().services.clone()
    }

    /// Where the gateway with these labels (such as `istio: ingressgateway`) serves a port, for callers on the host.
    ///
    /// # Errors
    /// When no Service before such a gateway has that port.
    pub fn gateway_address(&self, selector: (&str, &str), port: u16) -> Result<SocketAddr> {
        let state = self.state.borrow();
        let fits = |service: &&ServiceInfo| {
            service.selector.get(selector.0).is_some_and(|value| value == selector.1)
                && service.ports.iter().any(|(_, number)| *number == port)
        };
        let service = state.services.iter().find(fits);
        let address = service.and_then(|service| service.addresses.first());
        address
            .map(|address| SocketAddr::new(*address, port))
            .with_context(|| format!("no gateway {}={} with port {port}", selector.0, selector.1))
    }

    /// Waits until everything the manifests ask for is there and ready, and every proxy knows everything that was published.
    ///
    /// # Errors
    /// After `timeout`, with what is missing.
    pub async fn wait_ready(&self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            self.wait_until(left, |state| state.settled).await.map_err(|_| self.missing(timeout))?;
            if self.is_known_everywhere().await && self.state().settled {
                return Ok(());
            }
            if left.is_zero() {
                bail!("not ready within {timeout:?}: a proxy has not heard of all pods");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether the configuration in force in every proxy holds what was published last.
    async fn is_known_everywhere(&self) -> bool {
        let state = self.state();
        for proxy in state.pods.iter().filter(|pod| pod.injected && pod.ready) {
            let heard = client::get(&NetNs::named(&proxy.netns), SocketAddr::from(([127, 0, 0, 1], ADMIN)), HEARD_OF, &[]).await;
            let version = heard.ok().and_then(|response| version_in(&String::from_utf8_lossy(&response.body)));
            if version.is_none_or(|version| version < state.published) {
                return false;
            }
        }
        true
    }

    fn missing(&self, timeout: Duration) -> anyhow::Error {
        let state = self.state();
        let unready = state.pods.iter().filter(|pod| !pod.ready && pod.status != "Completed");
        let pods: Vec<String> = unready.map(|pod| format!("{}/{} ({})", pod.namespace, pod.name, pod.status)).collect();
        let pods = if pods.is_empty() { "something is still on its way".to_owned() } else { pods.join(", ") };
        anyhow!("not ready within {timeout:?}: {pods}")
    }

    /// Waits until the state fulfils a wish.
    ///
    /// # Errors
    /// After `timeout`, or when the run ends.
    pub async fn wait_until(&self, timeout: Duration, wish: impl FnMut(&Arc<State>) -> bool) -> Result<Arc<State>> {
        let mut state = self.state.clone();
        match tokio::time::timeout(timeout, state.wait_for(wish)).await {
            Ok(Ok(state)) => Ok(state.clone()),
            Ok(Err(_)) => bail!("the run has ended"),
            Err(_) => bail!("not within {timeout:?}"),
        }
    }

    // === Changing ===

    /// Writes a file of manifests into a folder that testbed and proxies watch; it takes effect on the testbed's own
    /// side before this returns.
    ///
    /// # Errors
    /// When the name is no plain file name ending in `.yaml`, or the file cannot be written.
    pub async fn apply(&self, name: &str, yaml: &str) -> Result<()> {
        files::write_atomic(&self.applied_file(name)?, yaml.as_bytes())?;
        self.ask(Request::Reload).await?
    }

    /// Removes a file written by [`Testbed::apply`].
    ///
    /// # Errors
    /// When there is no such file.
    pub async fn unapply(&self, name: &str) -> Result<()> {
        std::fs::remove_file(self.applied_file(name)?).with_context(|| format!("removing {name}"))?;
        self.ask(Request::Reload).await?
    }

    /// Where [`Testbed::apply`] writes.
    ///
    /// # Errors
    /// When the name is no plain file name ending in `.yaml`.
    pub fn applied_file(&self, name: &str) -> Result<PathBuf> {
        if name.contains('/') || name.starts_with('.') || !name.ends_with(".yaml") {
            bail!("{name:?}: expected a plain file name ending in .yaml");
        }
        Ok(self.folder.join("applied").join(name))
    }

    /// Changes the number of replicas of `NAMESPACE/NAME`.
    ///
    /// # Errors
    /// When there is no such Deployment, ReplicaSet or StatefulSet.
    pub async fn scale(&self, workload: &str, replicas: u32) -> Result<()> {
        let (namespace, name) = workload.split_once('/').unwrap_or(("default", workload));
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        self.ask(|reply| Request::Scale { namespace, name, replicas, reply }).await?
    }

    /// Begins to terminate a pod as Kubernetes does: its endpoint goes, and application and sidecar get SIGTERM.
    ///
    /// # Errors
    /// When there is no such pod.
    pub async fn delete_pod(&self, pod: &str) -> Result<()> {
        let key = key(&self.pod(pod)?);
        self.ask(|reply| Request::DeletePod { key, reply }).await?
    }

    /// Puts a certificate into a pod: for another identity, or one that ends after `lifetime` (negative: expired).
    ///
    /// # Errors
    /// When there is no such pod.
    pub async fn issue(&self, pod: &str, identity: Identity, lifetime: time::Duration) -> Result<()> {
        let key = key(&self.pod(pod)?);
        self.ask(|reply| Request::Issue { key, identity, lifetime, reply }).await?
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).map_err(|_| anyhow!("the run has ended"))?;
        answer.await.map_err(|_| anyhow!("the run has ended"))
    }

    // === Inside pods ===

    /// Runs a command in a container and waits for it; without a container name in the application's.
    ///
    /// # Errors
    /// When there is no such pod or container, or the process cannot be made.
    pub async fn exec(&self, pod: &str, container: Option<&str>, argv: &[&str]) -> Result<Output> {
        let mut command = self.command(pod, container, argv)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.spawn(command).await?;
        child.wait_with_output().await.context("waiting for a command in a pod")
    }

    /// Starts a command in a pod, in the surroundings of its application. It ends with the run or when dropped.
    ///
    /// # Errors
    /// When there is no such pod, or the process cannot be made.
    pub async fn spawn_in(&self, pod: &str, argv: &[&str]) -> Result<Child> {
        let mut command = self.command(pod, None, argv)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.spawn(command).await
    }

    fn command(&self, pod: &str, container: Option<&str>, argv: &[&str]) -> Result<tokio::process::Command> {
        let pod = self.pod(pod)?;
        let container = pod.container(container)?;
        let argv: Vec<String> = argv.iter().map(ToString::to_string).collect();
        Ok(self.launcher.command(&pod.folder, &container.name, container.pid, &argv))
    }

    /// On the testbed's thread, so that the process belongs to the run and not to the caller's thread.
    async fn spawn(&self, mut command: tokio::process::Command) -> Result<Child> {
        let spawned = self.runtime.spawn(async move { command.spawn() }).await;
        spawned.map_err(|_| anyhow!("the run has ended"))?.context("starting a command in a pod")
    }

    /// Connects from inside a pod as root, who is subject to capture like the application.
    ///
    /// # Errors
    /// When there is no such pod or nothing accepts.
    pub async fn connect(&self, pod: &str, target: SocketAddr) -> Result<tokio::net::TcpStream> {
        client::connect(&NetNs::named(&self.pod(pod)?.netns), target).await
    }

    /// GET on the admin interface of a pod's proxy.
    ///
    /// # Errors
    /// When there is no such pod or it has no proxy.
    pub async fn proxy_admin(&self, pod: &str, path: &str) -> Result<Response> {
        self.http_get(pod, SocketAddr::from(([127, 0, 0, 1], ADMIN)), path).await
    }

    /// GET from inside a pod.
    ///
    /// # Errors
    /// When there is no such pod, or nothing there speaks HTTP.
    pub async fn http_get(&self, pod: &str, target: SocketAddr, path: &str) -> Result<Response> {
        client::get(&NetNs::named(&self.pod(pod)?.netns), target, path, &[]).await
    }

    /// What a container has printed so far; without a container name the application.
    ///
    /// # Errors
    /// When there is no such pod or container.
    pub fn logs(&self, pod: &str, container: Option<&str>) -> Result<String> {
        let pod = self.pod(pod)?;
        let file = pod.folder.join(format!("{}.log", pod.container(container)?.name));
        match std::fs::read(&file) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error).with_context(|| format!("reading {}", file.display())),
        }
    }

    /// The node's address: next hop of all pods and DNS server.
    pub fn node_address(&self) -> IpAddr {
        self.state.borrow().subnet.node_v4().into()
    }

    // === Ending ===

    /// Ends the run and removes everything it made.
    ///
    /// # Errors
    /// When the testbed's thread has failed.
    pub async fn shutdown(mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let _ = self.requests.send(Request::Stop);
        let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
        joined.map_err(|_| anyhow!("the testbed's thread has failed"))
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = self.requests.send(Request::Stop);
            let _ = thread.join();
        }
    }
}

fn key(pod: &PodInfo) -> PodKey {
    PodKey { namespace: pod.namespace.clone(), name: pod.name.clone() }
}

fn version_in(exposition: &str) -> Option<u64> {
    exposition.lines().find_map(|line| line.strip_prefix(HEARD_OF_METRIC))?.trim().parse().ok()
}
