//! The end of an instance, as Kubernetes expects it of a good application.
//!
//! On SIGTERM (or SIGINT) it goes on accepting for a short while, because clients and proxies learn of its removal only
//! some milliseconds after the signal; then it stops accepting, lets requests in flight finish within a grace period and
//! exits with 0. A second signal ends it at once.

use std::time::Duration;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
};

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Serving, also after a signal for as long as it lingers.
    Serving,
    /// No new connections; existing ones finish what they do.
    Closing,
}

/// Owns the phase and waits for the connections.
pub(crate) struct Lifecycle {
    phase: watch::Sender<Phase>,
    alive: mpsc::Sender<()>,
    all_gone: mpsc::Receiver<()>,
    linger: Duration,
    grace: Duration,
}

/// Held by every listener and connection: tells the phase, and by being dropped that its owner is done.
#[derive(Clone)]
pub(crate) struct Handle {
    phase: watch::Receiver<Phase>,
    _alive: mpsc::Sender<()>,
}

impl Handle {
    /// Resolves when the instance begins to close; at once if it already has.
    pub(crate) async fn closing(&mut self) {
        // The sender outlives every handle's use; should it be gone, the process is ending anyway.
        let _ended = self.phase.wait_for(|phase| *phase == Phase::Closing).await;
    }
}

impl Lifecycle {
    pub(crate) fn new(linger: Duration, grace: Duration) -> Self {
        let (alive, all_gone) = mpsc::channel(1);
        let (phase, _) = watch::channel(Phase::Serving);
        Self { phase, alive, all_gone, linger, grace }
    }

    pub(crate) fn handle(&self) -> Handle {
        Handle { phase: self.phase.subscribe(), _alive: self.alive.clone() }
    }

    /// Waits for a signal and carries the end through.
    ///
    /// # Errors
    /// Only when the signal handlers cannot be installed.
    pub(crate) async fn run_to_the_end(mut self) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        either(&mut terminate, &mut interrupt).await;
        let orderly = async {
            tokio::time::sleep(self.linger).await;
            self.phase.send_replace(Phase::Closing);
            drop(self.alive);
            // Nobody sends: the receiver wakes when the last handle is dropped.
            let _finished = tokio::time::timeout(self.grace, self.all_gone.recv()).await;
        };
        tokio::select! {
            () = orderly => {}
            () = either(&mut terminate, &mut interrupt) => {}
        }
        Ok(())
    }
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
