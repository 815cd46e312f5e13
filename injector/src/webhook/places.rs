//! The places of a port's connections, and who has to make room when all are taken: who has been waiting longest without having asked for
//! a review, else who has been idle longest.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// For the one who was told to leave.
const LEAVING: Duration = Duration::from_secs(1);
/// A connection this young is let finish its handshake and begin its request.
const YOUNG: Duration = Duration::from_secs(1);

/// What a connection is doing, told by the service, by the first bytes of a request and by the last of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stage {
    /// Nothing of a request has come yet.
    Fresh = 0,
    Head = 1,
    /// From the end of the head until the answer is written.
    Request = 2,
    Idle = 3,
}

/// One connection, as others see it.
#[derive(Debug)]
pub(super) struct Seat {
    began: Instant,
    stage: AtomicU8,
    /// Milliseconds from `began` to the stage.
    since: AtomicU64,
    reviewed: AtomicBool,
    /// The whole answer has been handed over to be written.
    answered: AtomicBool,
    /// Wakes the connection when it has to make room.
    pub leave: Notify,
}

impl Seat {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            stage: AtomicU8::new(Stage::Fresh as u8),
            since: AtomicU64::new(0),
            reviewed: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            leave: Notify::new(),
        }
    }

    pub(super) fn enter(&self, stage: Stage) {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since.store(since, Ordering::Relaxed);
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    pub(super) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Fresh,
            1 => Stage::Head,
            2 => Stage::Request,
            _ => Stage::Idle,
        }
    }

    /// From now on this is the connection of somebody who asks for reviews.
    pub(super) fn has_reviewed(&self) {
        self.reviewed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_reviewed(&self) -> bool {
        self.reviewed.load(Ordering::Relaxed)
    }

    /// The answer's last byte is in the connection's buffer.
    pub(super) fn answer_ends(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// All that was in the buffer has been written.
    pub(super) fn flushed(&self) {
        if self.answered.swap(false, Ordering::Relaxed) {
            self.enter(Stage::Idle);
        }
    }

    /// How readily it gives up its place; the smallest goes first.
    fn rank(&self) -> Option<(bool, Instant)> {
        let since = self.began + Duration::from_millis(self.since.load(Ordering::Relaxed));
        match self.stage() {
            Stage::Idle => Some((self.is_reviewed(), since)),
            Stage::Fresh if since.elapsed() > YOUNG => Some((false, since)),
            _ => None,
        }
    }
}

/// All places of a port.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    seats: HashMap<u64, Arc<Seat>>,
}

/// A place, taken until this is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    pub seat: Arc<Seat>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().seats.remove(&self.number);
    }
}

impl Places {
    pub(super) fn new(number: usize) -> Arc<Self> {
        Arc::new(Self { free: Arc::new(Semaphore::new(number)), taken: Mutex::default() })
    }

    /// A free place at once, if there is one.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        Some(self.seated(Arc::clone(&self.free).try_acquire_owned().ok()?))
    }

    /// Tells who ranks lowest to leave. Whether there was anybody; then [`Places::take_soon`] may be waited for.
    pub(super) fn make_room(&self) -> bool {
        let mut taken = self.taken();
        let ranked = taken.seats.iter().filter_map(|(number, seat)| Some((seat.rank()?, *number)));
        let Some((_, number)) = ranked.min() else { return false };
        // Out of the list: nobody is told twice, so that never more wait for a place than there are.
        taken.seats.remove(&number).is_some_and(|seat| {
            seat.leave.notify_one();
            true
        })
    }

    /// The place of the one who is leaving.
    pub(super) async fn take_soon(self: Arc<Self>) -> Option<Place> {
        let permit = tokio::time::timeout(LEAVING, Arc::clone(&self.free).acquire_owned()).await.ok()?.ok()?;
        Some(self.seated(permit))
    }

    fn seated(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        let seat = Arc::new(Seat::new());
        let mut taken = self.taken();
        let number = taken.next;
        taken.next += 1;
        taken.seats.insert(number, Arc::clone(&seat));
        drop(taken);
        Place { places: Arc::clone(self), number, seat, _permit: permit }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::{Places, Stage};

    #[tokio::test]
    async fn strangers_go_before_reviewers_and_nobody_at_work_goes() {
        let places = Places::new(3);
        let [busy, reviewer, stranger] = [places.take().unwrap(), places.take().unwrap(), places.take().unwrap()];
        assert!(places.take().is_none());
        busy.seat.enter(Stage::Request);
        reviewer.seat.has_reviewed();
        reviewer.seat.enter(Stage::Idle);
        stranger.seat.enter(Stage::Idle);
        assert!(places.make_room() && stranger.seat.leave.notified().now_or_never().is_some());
        assert!(places.make_room() && reviewer.seat.leave.notified().now_or_never().is_some());
        assert!(!places.make_room(), "nobody is told twice, and who works stays");
        drop(stranger);
        assert!(std::sync::Arc::clone(&places).take_soon().await.is_some());
    }
}
