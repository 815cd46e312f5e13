//! The connections of a worker, as those who may have to leave.
//!
//! A connection ends for reasons of its own, or because the process drains, because its way in was taken away, or because it
//! was idle for an hour. To wait for these by itself, every connection would hold three registrations and a timer, which it
//! sets up and takes down even if it lives for one request. So it leaves a waker here ([`super::stay`]), whatever its protocol,
//! and one task per worker waits for the reasons and wakes all; each then looks for itself whether it is meant. That happens a
//! few times in the life of a process, and once an hour.
//!
//! The same places serve connections that let things come for a moment before they have the event loop watch for them
//! ([`super::socket`]): they are young for the rest of an age of 10 ms, and woken at its end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, interval_at, sleep};

use crate::drain::{Drain, Phase};

/// Downstream connections without a request for this long are closed, within a factor of two (Istio semantics 8.1).
pub const IDLE: Duration = Duration::from_secs(3600);

/// How long a connection is young at most.
const YOUTH: Duration = Duration::from_millis(10);

/// Where connections wait for a reason to leave.
#[derive(Debug)]
pub struct Residents {
    drain: Drain,
    /// Changes when ways in are taken away.
    shut: watch::Receiver<u64>,
    wakers: Mutex<Wakers>,
    /// Counts up whenever there may be a reason.
    occasions: AtomicU64,
    /// Counts up with each [`IDLE`].
    hours: AtomicU64,
    /// Counts up when those who were young are not any more.
    ages: AtomicU64,
    /// Somebody is young, and nobody was.
    born: Notify,
    followed: AtomicBool,
}

#[derive(Debug, Default)]
struct Wakers {
    places: Vec<Option<Waker>>,
    free: Vec<usize>,
    /// Places of those who are young; some may have left.
    young: Vec<usize>,
}

impl Residents {
    /// Nobody yet. `shut` changes when ways in are taken away.
    pub fn new(drain: &Drain, shut: watch::Receiver<u64>) -> Arc<Residents> {
        Arc::new(Residents {
            drain: drain.clone(),
            shut,
            wakers: Mutex::default(),
            occasions: AtomicU64::new(0),
            hours: AtomicU64::new(0),
            ages: AtomicU64::new(0),
            born: Notify::new(),
            followed: AtomicBool::new(false),
        })
    }

    /// Registers a connection; its place. Must run on the worker's runtime.
    pub fn enter(self: &Arc<Self>, waker: Waker) -> usize {
        if !self.followed.load(Ordering::Relaxed) && !self.followed.swap(true, Ordering::Relaxed) {
            tokio::spawn(Arc::clone(self).follow());
        }
        self.register(waker)
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
        // Who sees the number sees the reason as well: it will not look again.
        self.occasions.load(Ordering::Acquire)
    }

    /// The drain state of the process.
    pub fn phase(&self) -> Phase {
        self.drain.phase()
    }

    /// Number of [`IDLE`] periods so far.
    pub fn hours(&self) -> u64 {
        self.hours.load(Ordering::Relaxed)
    }

    /// Number of the present age. Those who are young in it are woken at its end.
    pub fn ages(&self) -> u64 {
        self.ages.load(Ordering::Relaxed)
    }

    /// Who has this place is young from now to the end of the present age, which is returned.
    pub fn be_young(&self, place: usize) -> u64 {
        let mut wakers = self.lock();
        if wakers.young.is_empty() {
            self.born.notify_one();
        }
        wakers.young.push(place);
        self.ages()
    }

    async fn follow(self: Arc<Self>) {
        tokio::select! {
            () = self.follow_reasons() => {}
            () = self.follow_ages() => {}
        }
    }

    /// An age begins with the first who is young, so that there is no timer when nobody is.
    async fn follow_ages(&self) {
        loop {
            self.born.notified().await;
            sleep(YOUTH).await;
            self.end_age();
        }
    }

    fn end_age(&self) {
        self.ages.fetch_add(1, Ordering::Relaxed);
        let mut wakers = self.lock();
        let young = std::mem::take(&mut wakers.young);
        let grown: Vec<Waker> = young.into_iter().filter_map(|place| wakers.places.get(place)?.clone()).collect();
        drop(wakers);
        grown.into_iter().for_each(Waker::wake);
    }

    async fn follow_reasons(&self) {
        let (mut drain, mut shut, mut phase) = (self.drain.clone(), self.shut.clone(), Phase::Serving);
        let mut hour = interval_at(Instant::now() + IDLE, IDLE);
        while phase < Phase::Forced {
            let next = if phase == Phase::Serving { Phase::Draining } else { Phase::Forced };
            tokio::select! {
                () = drain.reached(next) => phase = next,
                Ok(()) = shut.changed() => {}
                _ = hour.tick() => drop(self.hours.fetch_add(1, Ordering::Relaxed)),
            }
            self.rouse();
        }
    }

    fn rouse(&self) {
        self.occasions.fetch_add(1, Ordering::Release);
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
    use crate::drain::Drainer;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn residents() -> (Drainer, watch::Sender<u64>, Arc<Residents>) {
        let ((drainer, drain), doors) = (Drain::channel(), watch::Sender::new(0));
        let residents = Residents::new(&drain, doors.subscribe());
        (drainer, doors, residents)
    }

    #[test]
    fn an_occasion_wakes_those_who_stay_and_nobody_who_left() {
        let ((_, _, residents), bells) = (residents(), [Arc::<Bell>::default(), Arc::default(), Arc::default()]);
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
        let (drainer, doors, residents) = residents();
        let following = tokio::spawn(Arc::clone(&residents).follow());
        tokio::time::sleep(IDLE * 5 / 2).await;
        assert_eq!((residents.occasions(), residents.hours()), (2, 2));
        doors.send_replace(1);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(residents.occasions(), 3);
        tokio::time::sleep(IDLE / 2).await;
        assert_eq!((residents.occasions(), residents.hours()), (4, 3), "no door defers the hour");
        drainer.advance(Phase::Draining);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(residents.occasions(), 5);
        drainer.advance(Phase::Forced);
        following.await.expect("its end");
        assert_eq!(residents.occasions(), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_young_is_woken_once_at_the_end_of_the_age_and_who_left_is_not() {
        let ((_drainer, _doors, residents), bells) = (residents(), [Arc::<Bell>::default(), Arc::default(), Arc::default()]);
        let places = bells.each_ref().map(|bell| residents.enter(Arc::clone(bell).into()));
        let age = residents.be_young(places[0]);
        assert_eq!((residents.be_young(places[1]), residents.ages()), (age, age));
        residents.leave(places[1]);
        let rung = || bells.each_ref().map(|bell| bell.0.load(Ordering::Relaxed));
        sleep(YOUTH * 3).await;
        assert_eq!((rung(), residents.ages()), ([1, 0, 0], age + 1), "no age passes when nobody is young");
        assert_eq!(residents.be_young(places[2]), age + 1);
        sleep(YOUTH * 3).await;
        assert_eq!(rung(), [1, 0, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_door_that_was_shut_before_the_first_came_is_an_occasion() {
        let (_drainer, doors, residents) = residents();
        doors.send_replace(1);
        residents.enter(Waker::noop().clone());
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(residents.occasions(), 1);
    }
}
