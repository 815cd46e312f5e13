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
        residents.register(waker)
    }

    fn register(&self, waker: Waker) -> usize {
        let mut wakers = self.lock();
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn an_occasion_wakes_those_who_stay_and_nobody_who_left() {
        let (residents, bells) = (Residents::default(), [Arc::<Bell>::default(), Arc::default(), Arc::default()]);
        let places: Vec<usize> = bells.iter().map(|bell| residents.register(Arc::clone(bell).into())).collect();
        residents.leave(places[1]);
        residents.leave(places[1]);
        let before = residents.occasions();
        residents.rouse();
        assert_eq!(bells.each_ref().map(|bell| bell.0.load(Ordering::Relaxed)), [1, 0, 1]);
        assert_ne!(residents.occasions(), before);
        let again = [(); 2].map(|()| residents.register(Arc::clone(&bells[1]).into()));
        assert_eq!(again, [places[1], 3], "the place of one who left is taken first, and once");
    }

    #[tokio::test(start_paused = true)]
    async fn shut_doors_draining_the_end_and_each_hour_are_occasions() {
        let residents = Arc::new(Residents::default());
        let ((phase, drain), doors) = (Drain::channel(), watch::Sender::new(0));
        let following = tokio::spawn(Arc::clone(&residents).follow(drain, doors.subscribe()));
        tokio::time::sleep(IDLE * 5 / 2).await;
        assert_eq!((residents.occasions(), residents.hours()), (2, 2));
        doors.send_replace(1);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(residents.occasions(), 3);
        phase.send_replace(Phase::Draining);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(residents.occasions(), 4);
        phase.send_replace(Phase::Forced);
        following.await.expect("its end");
        assert_eq!(residents.occasions(), 5);
    }
}
