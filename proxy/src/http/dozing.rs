//! A future that is polled only when it has been woken.
//!
//! A connection waits for two things at once: its codec, several times per request, and reasons to end, a few times in its
//! life. Polled side by side in one task, the second would be asked at every wake-up of the first, which costs a tenth of
//! the codec. Here it has a waker of its own that leaves a mark.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A future that dozes until woken.
#[derive(Debug)]
pub struct Dozing<F> {
    future: F,
    alarm: Arc<Alarm>,
    /// The alarm as the future sees it.
    bell: Waker,
    /// Whom the alarm wakes; a copy, to compare without a lock.
    sleeper: Waker,
}

#[derive(Debug)]
struct Alarm {
    rung: AtomicBool,
    sleeper: Mutex<Waker>,
}

impl<F: Future + Unpin> Dozing<F> {
    /// Polls `future` once, and from then on after it has been woken.
    pub fn new(future: F) -> Self {
        let alarm = Arc::new(Alarm { rung: AtomicBool::new(true), sleeper: Mutex::new(Waker::noop().clone()) });
        Dozing { future, bell: Waker::from(Arc::clone(&alarm)), alarm, sleeper: Waker::noop().clone() }
    }

    /// As [`Future::poll`].
    pub fn poll(&mut self, cx: &Context<'_>) -> Poll<F::Output> {
        if !self.sleeper.will_wake(cx.waker()) {
            self.sleeper.clone_from(cx.waker());
            self.alarm.lock().clone_from(cx.waker());
        }
        // Read before the exchange, which costs more, since the answer is nearly always no.
        if !self.alarm.rung.load(Ordering::Acquire) || !self.alarm.rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        Pin::new(&mut self.future).poll(&mut Context::from_waker(&self.bell))
    }
}

impl Alarm {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waker> {
        self.sleeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.lock().wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_dozing_future_is_polled_when_woken_and_not_when_its_neighbour_is() {
        let polls = Cell::new(0);
        let mut alarm = Box::pin(tokio::time::sleep(Duration::from_secs(60)));
        let counted = poll_fn(|cx| {
            polls.set(polls.get() + 1);
            alarm.as_mut().poll(cx)
        });
        let mut dozing = Dozing::new(counted);
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        poll_fn(|cx| {
            while tick.poll_tick(cx).is_ready() {}
            dozing.poll(cx)
        })
        .await;
        assert_eq!(polls.get(), 2, "the first time, and when the minute was over");
    }
}
