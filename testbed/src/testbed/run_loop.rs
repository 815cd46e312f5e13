//! The testbed's thread: brings the run up, turns events into calls of the controller, takes the run down.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot, watch};

use super::Message;
use super::options::{Configuration, Options};
use crate::ca::{Ca, Identity};
use crate::cluster::controller::{Controller, Parts};
use crate::cluster::workload::PodKey;
use crate::container::process::Launcher;
use crate::names;
use crate::network::{Network, Subnet};
use crate::run::mirror::Mirror;
use crate::run::state::State;
use crate::run::watch::Watched;
use crate::run::{self, RunFolder, cleanup};

/// How long work that cannot be cancelled (a probe on its way) may hold up the end.
const PATIENCE: Duration = Duration::from_secs(1);

/// What callers ask for.
pub(super) enum Request {
    Reload(oneshot::Sender<Result<()>>),
    Scale { namespace: String, name: String, replicas: u32, reply: oneshot::Sender<Result<()>> },
    DeletePod { key: PodKey, reply: oneshot::Sender<Result<()>> },
    Issue { key: PodKey, identity: Identity, lifetime: time::Duration, reply: oneshot::Sender<Result<()>> },
    Stop,
}

/// What a caller gets of a run that has begun.
type Begun = (watch::Receiver<Arc<State>>, tokio::runtime::Handle, PathBuf);

/// The events of a run and who handles them.
pub(super) struct RunLoop {
    controller: Controller,
    files: Watched,
    mirrors: Vec<Mirror>,
    requests: mpsc::UnboundedReceiver<Request>,
    messages: mpsc::UnboundedSender<Message>,
}

impl RunLoop {
    /// The thread's whole life.
    pub(super) fn main(
        options: Options,
        requests: mpsc::UnboundedReceiver<Request>,
        messages: mpsc::UnboundedSender<Message>,
        started: oneshot::Sender<Result<Begun>>,
    ) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(started.send(Err(error.into()))),
        };
        let begun = (|| {
            let folder = RunFolder::take(options.name.as_deref())?;
            let (name, path) = (folder.name().to_owned(), folder.path().to_owned());
            let _context = runtime.enter();
            match Self::begin(folder, &options, requests, messages) {
                Ok(run) => Ok((run, name, path)),
                Err(error) => {
                    end(&name, &path, false);
                    Err(error)
                }
            }
        })();
        match begun {
            Err(error) => drop(started.send(Err(error))),
            Ok(((mut run, state), name, path)) => {
                let handle = runtime.handle().clone();
                if started.send(Ok((state, handle, path.clone()))).is_ok() {
                    runtime.block_on(run.serve());
                }
                // Processes first: the runtime's tasks would otherwise restart what is killed.
                runtime.shutdown_timeout(PATIENCE);
                end(&name, &path, options.keep);
                drop(run);
            }
        }
    }

    fn begin(
        folder: RunFolder,
        options: &Options,
        requests: mpsc::UnboundedReceiver<Request>,
        messages: mpsc::UnboundedSender<Message>,
    ) -> Result<(RunLoop, watch::Receiver<Arc<State>>)> {
        let mut paths = options.paths.clone();
        let Configuration { mounts, arguments, mirrors } = Configuration::new(&paths, folder.path())?;
        paths.push(folder.path().join("applied"));
        let files = Watched::new(&paths)?;
        let network = allocate(&folder, options)?;
        let ca = Ca::new(&Controller::organization(folder.name()), OffsetDateTime::now_utc())?;
        ca.save(&folder.path().join("ca"))?;
        let server = names::Server::start(&network.node, &network.subnet)?;
        let parts = Parts {
            launcher: Launcher::new(options.program.clone()),
            state: State::read(folder.path())?,
            images: options.images.clone(),
            configuration: (mounts, arguments),
            folder,
            network,
            ca,
            server,
        };
        let (controller, state) = Controller::new(parts);
        let mut run = RunLoop { controller, files, mirrors, requests, messages };
        run.load()?;
        run.controller.reconcile()?;
        run.tell();
        Ok((run, state))
    }

    /// Returns when the run is to end.
    async fn serve(&mut self) {
        let mut renewal = tokio::time::interval(Controller::RENEWAL_CHECK);
        loop {
            tokio::select! {
                () = self.controller.pod_news() => {}
                () = self.files.changed() => self.note(|run| run.load()),
                _ = renewal.tick() => self.note(|run| run.controller.renew_certificates(OffsetDateTime::now_utc())),
                request = self.requests.recv() => match request {
                    None | Some(Request::Stop) => return,
                    Some(request) => self.handle(request),
                },
            }
            self.note(|run| run.controller.reconcile());
            self.tell();
        }
    }

    fn handle(&mut self, request: Request) {
        let (reply, outcome) = match request {
            Request::Reload(reply) => (reply, self.load()),
            Request::Scale { namespace, name, replicas, reply } => (reply, self.controller.scale(&namespace, &name, replicas)),
            Request::DeletePod { key, reply } => (reply, self.controller.delete_pod(&key)),
            Request::Issue { key, identity, lifetime, reply } => (reply, self.controller.issue(&key, &identity, lifetime)),
            Request::Stop => return,
        };
        // The caller may look at the state as soon as it has the answer.
        let outcome = outcome.and_then(|()| self.controller.reconcile());
        let _ = reply.send(outcome);
    }

    fn load(&mut self) -> Result<()> {
        let changes = self.files.changes().context("reading manifests")?;
        for mirror in &self.mirrors {
            mirror.follow(&changes)?;
        }
        if !changes.is_empty() {
            for diagnostic in self.controller.files_changed(changes) {
                let _ = self.messages.send(Message::Diagnostic(diagnostic));
            }
        }
        Ok(())
    }

    /// A failure while running is told, and the run goes on with what it has.
    fn note(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) {
        if let Err(error) = work(self) {
            let _ = self.messages.send(Message::Note(format!("{error:#}")));
        }
    }

    fn tell(&mut self) {
        for message in self.controller.messages() {
            let _ = self.messages.send(Message::Note(message));
        }
    }
}

/// Chooses a range and builds the network, one run at a time: the choice is written down before the next one looks.
fn allocate(folder: &RunFolder, options: &Options) -> Result<Network> {
    let _turn = run::take_turn()?;
    let others = run::names().into_iter().filter(|name| name != folder.name());
    let taken: Vec<Subnet> =
        others.filter_map(|name| State::read(&std::path::Path::new(run::ROOT).join(name)).ok()).map(|s| s.subnet).collect();
    let subnet = Subnet::choose(&taken)?;
    let state = State {
        run: folder.name().to_owned(),
        pid: std::process::id(),
        program: options.program.clone(),
        subnet,
        // Others read them, from other folders.
        paths: options.paths.iter().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone())).collect(),
        settled: false,
        published: 0,
        pods: Vec::new(),
        services: Vec::new(),
    };
    state.write(folder.path())?;
    Network::create(folder.name(), subnet)
}

/// Removes everything of the run. Its lock is still held.
fn end(name: &str, path: &std::path::Path, keep: bool) {
    cleanup::remove_network(name);
    // Somebody who wants the name next must find the folder whole or not at all.
    let _turn = run::take_turn();
    let removed = if keep { std::fs::rename(path.join("state.json"), path.join(cleanup::KEPT)) } else { std::fs::remove_dir_all(path) };
    if let Err(error) = removed {
        tracing::debug!(%error, "the run's folder is not removed");
    }
}
