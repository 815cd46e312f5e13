//! The acceptor's thread and the workers' threads.
//!
//! With one worker there is nothing to choose, so it accepts for itself: a connection then costs no hand-over between threads.

use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;
use outrigger_config::api::mesh::InterceptionMode;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::{Process, clock};
use crate::drain::{Drain, Phase};
use crate::listener::{BindError, CapturePorts, Dispatcher, Incoming, Listeners, entrances};

/// How often ports that could not be bound are tried again.
const RETRY_BIND: Duration = Duration::from_secs(1);

/// A runtime that does everything on the thread that enters it.
pub fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().on_thread_unpark(clock::turn).build().context("cannot start a runtime")
}

/// The threads that carry traffic.
pub struct Threads {
    /// None when the only worker accepts for itself.
    pub acceptor: Option<JoinHandle<()>>,
    /// Each serves what the dispatcher sends it until that is gone and drained.
    pub workers: Vec<JoinHandle<()>>,
}

/// Starts the threads and binds the ports of the configuration in force.
///
/// # Errors
/// A thread that cannot be had, or a port that cannot be bound.
pub fn start(incoming: Vec<Incoming>, acceptor: Acceptor) -> anyhow::Result<Threads> {
    let (bound, outcome) = channel();
    let mut accepting = Some(acceptor.run(bound));
    let acceptor = match incoming.len() {
        1 => None,
        _ => accepting.take().map(|accepting| spawn("acceptor".to_owned(), accepting)).transpose()?,
    };
    let worker = |(number, incoming): (usize, Incoming)| {
        let accepting = accepting.take();
        spawn(format!("worker-{number}"), async move {
            match accepting {
                Some(accepting) => serve_and_accept(incoming, accepting).await,
                None => incoming.run().await,
            }
        })
    };
    let workers = incoming.into_iter().enumerate().map(worker).collect::<anyhow::Result<_>>()?;
    let errors = outcome.recv().context("the acceptor ended while it was starting")?;
    match errors.into_iter().next() {
        Some(error) => Err(error.into()),
        None => Ok(Threads { acceptor, workers }),
    }
}

/// Ends when the worker's connections have; at once when accepting panics, so that it is noticed.
async fn serve_and_accept(incoming: Incoming, accepting: impl Future<Output = ()> + Send + 'static) {
    let mut serving = pin!(incoming.run());
    tokio::select! {
        () = serving.as_mut() => {}
        outcome = tokio::spawn(accepting) => if outcome.is_ok() { serving.await },
    }
}

fn spawn(name: String, task: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<JoinHandle<()>> {
    let runtime = runtime()?;
    let problem = format!("cannot start thread {name}");
    thread::Builder::new().name(name).spawn(move || runtime.block_on(task)).context(problem)
}

/// What accepting needs.
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
    /// Follows the configuration's ports until connections are cut.
    async fn run(mut self, bound: Sender<Vec<BindError>>) {
        let mut listeners = Listeners::new(self.dispatcher.clone());
        let errors = listeners.apply(&self.wanted()).await;
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
            let errors = listeners.apply(&self.wanted()).await;
            problem = self.report(&errors, problem);
        }
        listeners.close().await;
    }

    fn wanted(&self) -> Vec<crate::listener::Entrance> {
        let settings = &self.process.settings;
        let (ports, transparent) = (settings.ports, settings.interception_mode == InterceptionMode::Tproxy);
        let ports = CapturePorts { outbound: ports.outbound, inbound: ports.inbound, transparent };
        entrances(&self.process.config.load().model, ports)
    }

    /// A port that cannot be bound later on does not end the process: the others go on, and this one is tried again.
    /// Returns the problem as said, so that it is said once.
    fn report(&self, errors: &[BindError], before: Option<String>) -> Option<String> {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let problem = (!texts.is_empty()).then(|| texts.join("; "));
        if let Some(problem) = problem.as_ref().filter(|_| problem != before) {
            tracing::warn!(target: "connection", "{problem}; trying again");
        }
        self.process.lifecycle.listener_problem(problem.clone());
        problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_tells_the_clock_where_its_turns_begin() {
        let work = || {
            let runtime = runtime().expect("a runtime");
            runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
            // A tick may fall between the two readings, not between all.
            assert!((0..100).any(|_| clock::now() == clock::now()), "the same throughout a turn");
            let before = clock::now();
            runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
            assert!(clock::now() > before);
        };
        thread::spawn(work).join().expect("the test passes");
    }
}
