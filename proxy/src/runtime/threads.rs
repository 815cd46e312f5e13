//! The acceptor's thread and the workers' threads.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::Process;
use crate::drain::{Drain, Phase};
use crate::listener::{BindError, CapturePorts, Dispatcher, Incoming, Listeners, entrances};

/// How often ports that could not be bound are tried again.
const RETRY_BIND: Duration = Duration::from_secs(1);

/// A runtime that does everything on the thread that enters it.
pub fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot start a runtime")
}

/// Starts one thread per worker; each serves what the dispatcher sends it until that is gone and drained.
pub fn start_workers(incoming: Vec<Incoming>) -> anyhow::Result<Vec<JoinHandle<()>>> {
    incoming.into_iter().enumerate().map(|(number, incoming)| start_worker(number, incoming)).collect()
}

fn start_worker(number: usize, incoming: Incoming) -> anyhow::Result<JoinHandle<()>> {
    let runtime = runtime()?;
    let serve = move || runtime.block_on(incoming.run());
    thread::Builder::new().name(format!("worker-{number}")).spawn(serve).with_context(|| format!("cannot start worker {number}"))
}

/// What the acceptor's thread needs.
pub struct Acceptor {
    /// Everything else.
    pub process: Arc<Process>,
    /// Where connections go.
    pub dispatcher: Dispatcher,
    /// Counts up with each configuration.
    pub generations: watch::Receiver<u64>,
    /// The drain state.
    pub drain: Drain,
}

impl Acceptor {
    /// Starts the thread and binds the ports of the configuration in force.
    ///
    /// # Errors
    /// A port of the first configuration that cannot be bound.
    pub fn start(self) -> anyhow::Result<JoinHandle<()>> {
        let (bound, outcome) = channel();
        let runtime = runtime()?;
        let serve = move || runtime.block_on(self.run(&bound));
        let thread = thread::Builder::new().name("acceptor".to_owned()).spawn(serve).context("cannot start the acceptor")?;
        let errors = outcome.recv().context("the acceptor ended while it was starting")?;
        match errors.into_iter().next() {
            Some(error) => Err(error.into()),
            None => Ok(thread),
        }
    }

    /// Follows the configuration's ports until connections are cut.
    async fn run(mut self, bound: &Sender<Vec<BindError>>) {
        let mut listeners = Listeners::new(self.dispatcher.clone());
        let errors = listeners.apply(&self.wanted());
        let failed = !errors.is_empty();
        if bound.send(errors).is_err() || failed {
            return;
        }
        let mut drain = self.drain.clone();
        let mut problem = None;
        loop {
            tokio::select! {
                changed = self.generations.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(RETRY_BIND), if problem.is_some() => {}
                () = drain.reached(Phase::Forced) => break,
            }
            let errors = listeners.apply(&self.wanted());
            problem = self.report(&errors, problem);
        }
        listeners.close().await;
    }

    fn wanted(&self) -> Vec<crate::listener::Entrance> {
        let ports = self.process.settings.ports;
        entrances(&self.process.config.load().model, CapturePorts { outbound: ports.outbound, inbound: ports.inbound })
    }

    /// A port that cannot be bound later on does not end the process: the others go on, and this one is tried again.
    /// Returns the problem as said, so that it is said once.
    fn report(&self, errors: &[BindError], before: Option<String>) -> Option<String> {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let problem = (!texts.is_empty()).then(|| texts.join("; "));
        if let Some(problem) = problem.as_ref().filter(|_| problem != before) {
            tracing::warn!(target: "connection", "{problem}; trying again every {RETRY_BIND:?}");
        }
        self.process.lifecycle.listener_problem(problem.clone());
        problem
    }
}
