//! The connections of a worker, as those who may have to leave.
//!
//! A connection ends for reasons of its own, or because the process drains, because its way in was taken away, or because it
//! was idle for an hour. To wait for these by itself, every connection would hold three registrations and a timer, which it
//! sets up and takes down even if it lives for one request. So it leaves a waker here, and one task per worker waits for the
//! reasons and wakes all; each then looks for itself whether it is meant. That happens a few times in the life of a process,
//! and once an hour.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::watch;

use crate::drain::{Drain, Phase};
use crate::runtime::Worker;

/// Downstream connections without a request for this long are closed, within a factor of two (Istio semantics 8.1).
pub const IDLE: Duration = Duration::from_secs(3600);

/// Where connections wait for a reason to leave.
#[derive(Debug, Default)]
pub struct Residents {
    wakers: Mutex<Wakers>,
    /// Counts up whenever there may be a reason.
    occasions: AtomicU64,
    /// Counts up with each [`IDLE`].
    hours: AtomicU64,
    followed: AtomicBool,
}

#[derive(Debug, Default)]
struct Wakers {
    places: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Residents {
    /// Registers a connection; its place.
    pub fn enter(worker: &Worker, waker: Waker) -> usize {
        let residents = &worker.residents;
        if !residents.followed.swap(true, Ordering::Relaxed) {
            tokio::spawn(Arc::clone(residents).follow(worker.drain.clone(), worker.config.shut_doors()));
        }
        let mut wakers = residents.lock();
        match wakers.free.pop() {
            Some(place) => {
                if let Some(free) = wakers.places.get_mut(place) {
                    *free = Some(waker);
                }
                place
            }
            None => {
                wakers.places.push(Some(waker));
                wakers.places.len() - 1
            }
        }
    }

    /// Forgets a connection.
    pub fn leave(&self, place: usize) {
        let mut wakers = self.lock();
        if wakers.places.get_mut(place).and_then(Option::take).is_some() {
            wakers.free.push(place);
        }
    }

    /// A number that changes when there may be a reason to leave.
    pub fn occasions(&self) -> u64 {
        self.occasions.load(Ordering::Relaxed)
    }

    /// Number of [`IDLE`] periods so far.
    pub fn hours(&self) -> u64 {
        self.hours.load(Ordering::Relaxed)
    }

    async fn follow(self: Arc<Self>, mut drain: Drain, mut shut: watch::Receiver<u64>) {
        let mut phase = Phase::Serving;
        while phase < Phase::Forced {
            let next = if phase == Phase::Serving { Phase::Draining } else { Phase::Forced };
            tokio::select! {
                () = drain.reached(next) => phase = next,
                changed = shut.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(IDLE) => drop(self.hours.fetch_add(1, Ordering::Relaxed)),
            }
            self.rouse();
        }
    }

    fn rouse(&self) {
        self.occasions.fetch_add(1, Ordering::Relaxed);
        let wakers: Vec<Waker> = self.lock().places.iter().flatten().cloned().collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Wakers> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
