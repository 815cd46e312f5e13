//! Calls connections to look whether they must leave.
//!
//! A connection leaves when the process drains, when its way in is taken away, or when it has been idle for too long. To wait for
//! each of these would cost it places in two lists and a timer, taken and given back with every short connection. Here all
//! connections of a worker wait in one list, and one task of the worker's calls them when any of the three may have come: a few
//! times in the life of a process, and twice an hour. What the call means each finds out for itself.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::drain::Drain;
use crate::snapshot::ConfigHandle;

/// Time between two calls that have no other reason.
const PERIOD: Duration = Duration::from_secs(1800);
/// Connections in whose way nothing changed for so many periods have been idle for an hour at least (Istio semantics 8.1): the
/// first of them may have begun before.
pub const IDLE: u32 = 3;

/// Where the connections of a worker wait.
#[derive(Debug, Default)]
pub struct Summons(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    bell: Notify,
    /// Periods that have passed.
    periods: AtomicU32,
    running: AtomicBool,
}

impl Summons {
    /// Asks `due` now and at each call, with the number of periods that have passed, until it agrees. Must run on the worker's
    /// runtime.
    pub async fn until(&self, config: &ConfigHandle, drain: &Drain, due: impl FnMut(u32) -> bool) {
        self.start(config, drain);
        self.wait(due).await;
    }

    async fn wait(&self, mut due: impl FnMut(u32) -> bool) {
        loop {
            // It is in line from here on, so that no call after `due` has looked is missed.
            let called = self.0.bell.notified();
            if due(self.0.periods.load(Ordering::Relaxed)) {
                return;
            }
            called.await;
        }
    }

    /// Starts the task that calls, unless it runs.
    fn start(&self, config: &ConfigHandle, drain: &Drain) {
        if !self.0.running.load(Ordering::Relaxed) && !self.0.running.swap(true, Ordering::Relaxed) {
            tokio::spawn(call(Arc::downgrade(&self.0), config.shut_doors(), drain.clone()));
        }
    }
}

async fn call(waiting: Weak<Inner>, mut doors: watch::Receiver<u64>, mut drain: Drain) {
    loop {
        let mut periods = 0;
        tokio::select! {
            changed = doors.changed() => if changed.is_err() { return },
            changed = drain.changed() => if !changed { return },
            () = tokio::time::sleep(PERIOD) => periods = 1,
        }
        let Some(waiting) = waiting.upgrade() else { return };
        waiting.periods.fetch_add(periods, Ordering::Relaxed);
        waiting.bell.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::drain::Phase;

    impl Summons {
        fn started(drain: &Drain) -> (Summons, watch::Sender<u64>) {
            let (summons, doors) = (Summons::default(), watch::Sender::new(0));
            tokio::spawn(call(Arc::downgrade(&summons.0), doors.subscribe(), drain.clone()));
            summons.0.running.store(true, Ordering::Relaxed);
            (summons, doors)
        }

        /// What `due` was told until it was asked `times` times.
        async fn asked(&self, times: usize) -> Vec<u32> {
            let told = RefCell::new(Vec::new());
            let due = |period| {
                told.borrow_mut().push(period);
                told.borrow().len() == times
            };
            self.wait(due).await;
            told.into_inner()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_are_asked_at_once_and_twice_an_hour() {
        let (_phase, drain) = Drain::channel();
        let (summons, _doors) = Summons::started(&drain);
        let begin = tokio::time::Instant::now();
        assert_eq!(tokio::join!(summons.asked(4), summons.asked(2)), (vec![0, 1, 2, 3], vec![0, 1]));
        assert_eq!(begin.elapsed().as_secs(), 3 * 1800);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_are_asked_when_the_process_drains_and_when_a_door_is_shut() {
        let (phase, drain) = Drain::channel();
        let (summons, doors) = Summons::started(&drain);
        let begin = tokio::time::Instant::now();
        let change = async {
            tokio::task::yield_now().await;
            phase.send_replace(Phase::Draining);
            tokio::time::sleep(Duration::from_secs(1)).await;
            doors.send_replace(1);
        };
        assert_eq!(tokio::join!(summons.asked(3), change).0, [0, 0, 0]);
        assert_eq!(begin.elapsed().as_secs(), 1);
    }
}
