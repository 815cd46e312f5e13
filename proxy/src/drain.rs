//! The drain state of the process and the handles that hold it open.

use tokio::sync::watch;

/// How far the process is on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    #[default]
    Serving,
    /// Not ready, still accepting; HTTP/1 answers carry `connection: close`, HTTP/2 connections get GOAWAY.
    Draining,
    /// The deadline is over: connections are cut.
    Forced,
}

/// A view of the drain state, held by every connection.
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<Phase>);

impl Drain {
    /// A drain state and the sender that moves it.
    pub fn channel() -> (watch::Sender<Phase>, Drain) {
        let (sender, receiver) = watch::channel(Phase::default());
        (sender, Drain(receiver))
    }

    /// The current phase.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits for another phase than that of the last call, or of the handle this one was cloned from; false when there will be
    /// none, since the sender is lost.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }

    /// Waits until the phase is at least `phase`. A lost sender counts as [`Phase::Forced`].
    pub async fn reached(&mut self, phase: Phase) {
        let _ = self.0.wait_for(|current| *current >= phase).await;
    }
}
