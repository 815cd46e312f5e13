//! The life of the process as others see it and ask for it: readiness, draining, the end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::drain::{Drainer, Phase};

/// What can be asked of the process from its admin pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Start draining but go on running (`POST /drain`, `/drain_listeners`).
    Drain,
    /// End now.
    Quit,
}

/// The state of the process's life and the way to change it.
#[derive(Debug)]
pub struct Lifecycle {
    phase: Drainer,
    commands: mpsc::UnboundedSender<Command>,
    workers_started: OnceLock<Duration>,
    shutting_down: AtomicBool,
    health_failed: AtomicBool,
    listener_problem: Mutex<Option<String>>,
}

/// Whether traffic may come, and if not, why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Reasons against it; empty = ready.
    pub reasons: Vec<String>,
}

impl Readiness {
    /// Whether traffic may come.
    pub fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }
}

impl Lifecycle {
    /// A process that is starting. `phase` moves every connection's drain state; commands arrive at the receiver.
    pub fn new(phase: Drainer) -> (Lifecycle, mpsc::UnboundedReceiver<Command>) {
        let (commands, receiver) = mpsc::unbounded_channel();
        let lifecycle = Lifecycle {
            phase,
            commands,
            workers_started: OnceLock::new(),
            shutting_down: AtomicBool::new(false),
            health_failed: AtomicBool::new(false),
            listener_problem: Mutex::new(None),
        };
        (lifecycle, receiver)
    }

    /// Asks for something; the control thread acts on it.
    pub fn ask(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// The phase in force.
    pub fn phase(&self) -> Phase {
        self.phase.phase()
    }

    /// Moves to a later phase; earlier ones are never returned to.
    pub(super) fn advance(&self, phase: Phase) {
        self.phase.advance(phase);
    }

    /// Notes that the end has begun: readiness fails from now on.
    pub(super) fn begin_shutdown(&self) {
        self.shutting_down.store(true, Ordering::Release);
    }

    /// Notes that workers serve, and how long it took until they did.
    pub(super) fn workers_started(&self, took: Duration) {
        let _ = self.workers_started.set(took);
    }

    /// From the start of the process until workers served.
    pub fn startup_duration(&self) -> Option<Duration> {
        self.workers_started.get().copied()
    }

    /// Whether workers serve.
    pub fn are_workers_started(&self) -> bool {
        self.workers_started.get().is_some()
    }

    /// `/healthcheck/fail` and `/healthcheck/ok`.
    pub fn fail_health_check(&self, fail: bool) {
        self.health_failed.store(fail, Ordering::Release);
    }

    /// Notes ports that cannot be listened on at the moment.
    pub(super) fn listener_problem(&self, problem: Option<String>) {
        *self.listener_problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    /// Reasons of the process itself against readiness.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.shutting_down.load(Ordering::Acquire) || self.phase() > Phase::Serving {
            reasons.push("draining: the process is on its way out".to_owned());
        }
        if !self.are_workers_started() {
            reasons.push("workers have not started".to_owned());
        }
        if self.health_failed.load(Ordering::Acquire) {
            reasons.push("failed by POST /healthcheck/fail".to_owned());
        }
        reasons.extend(self.listener_problem.lock().unwrap_or_else(PoisonError::into_inner).clone());
        reasons
    }

    /// Envoy's name of the state: LIVE, DRAINING, PRE_INITIALIZING.
    pub fn state(&self) -> &'static str {
        match (self.are_workers_started(), self.phase(), self.health_failed.load(Ordering::Acquire)) {
            (_, Phase::Draining | Phase::Forced, _) | (true, _, true) => "DRAINING",
            (true, Phase::Serving, false) => "LIVE",
            (false, ..) => "PRE_INITIALIZING",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::Drain;

    fn lifecycle() -> Lifecycle {
        let (phase, _drain) = Drain::channel();
        Lifecycle::new(phase).0
    }

    #[test]
    fn a_process_is_ready_once_workers_started_and_until_it_ends() {
        let life = lifecycle();
        assert_eq!((life.reasons().len(), life.state()), (1, "PRE_INITIALIZING"));
        life.workers_started(Duration::ZERO);
        assert_eq!((life.reasons().len(), life.state()), (0, "LIVE"));
        life.begin_shutdown();
        assert!(life.reasons()[0].contains("draining"));
    }

    #[test]
    fn phases_never_go_back() {
        let life = lifecycle();
        life.advance(Phase::Forced);
        life.advance(Phase::Draining);
        assert_eq!(life.phase(), Phase::Forced);
    }

    #[test]
    fn a_failed_health_check_can_be_taken_back() {
        let life = lifecycle();
        life.workers_started(Duration::ZERO);
        life.fail_health_check(true);
        assert_eq!((life.state(), life.reasons().len()), ("DRAINING", 1));
        life.fail_health_check(false);
        assert_eq!((life.state(), life.reasons().len()), ("LIVE", 0));
    }
}
