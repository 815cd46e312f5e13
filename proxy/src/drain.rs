//! The drain state of the process and the handles that hold it open.
//!
//! Every answer asks for the phase, and a few tasks wait for the next: so it is kept twice, as a number that is read without a
//! lock and as a channel that wakes. The number is written first, so that who was woken reads what woke it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::watch;

/// How far the process is on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Serving.
    #[default]
    Serving,
    /// Not ready, still accepting; HTTP/1 answers carry `connection: close`, HTTP/2 connections get GOAWAY.
    Draining,
    /// The deadline is over: connections are cut.
    Forced,
}

impl Phase {
    fn read(number: &AtomicU8) -> Phase {
        match number.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Draining,
            _ => Phase::Forced,
        }
    }
}

/// Moves the drain state.
#[derive(Debug)]
pub struct Drainer {
    number: Arc<AtomicU8>,
    waiting: watch::Sender<Phase>,
}

impl Drainer {
    /// The current phase.
    pub fn phase(&self) -> Phase {
        Phase::read(&self.number)
    }

    /// Moves to a later phase; earlier ones are never returned to.
    pub fn advance(&self, phase: Phase) {
        self.waiting.send_if_modified(|current| {
            let later = phase > *current;
            if later {
                self.number.store(phase as u8, Ordering::Release);
                *current = phase;
            }
            later
        });
    }
}

/// A view of the drain state.
#[derive(Clone, Debug)]
pub struct Drain {
    number: Arc<AtomicU8>,
    waiting: watch::Receiver<Phase>,
}

impl Drain {
    /// A drain state and what moves it.
    pub fn channel() -> (Drainer, Drain) {
        let number = Arc::<AtomicU8>::default();
        let (sender, receiver) = watch::channel(Phase::default());
        (Drainer { number: Arc::clone(&number), waiting: sender }, Drain { number, waiting: receiver })
    }

    /// The current phase.
    pub fn phase(&self) -> Phase {
        Phase::read(&self.number)
    }

    /// Waits until the phase is at least `phase`. A lost [`Drainer`] counts as [`Phase::Forced`].
    pub async fn reached(&mut self, phase: Phase) {
        let _ = self.waiting.wait_for(|current| *current >= phase).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_woken_by_a_phase_reads_it_and_phases_never_go_back() {
        let (drainer, mut drain) = Drain::channel();
        assert_eq!(drain.phase(), Phase::Serving);
        let waiting = tokio::spawn(async move {
            drain.reached(Phase::Draining).await;
            drain.phase()
        });
        tokio::task::yield_now().await;
        drainer.advance(Phase::Forced);
        drainer.advance(Phase::Draining);
        assert_eq!((waiting.await.expect("no panic"), drainer.phase()), (Phase::Forced, Phase::Forced));
    }
}
