//! Waking workers when their requests are due, to within some microseconds.
//!
//! tokio's timers tell milliseconds apart, which would be most of what a fast server's latency is. One timer of the
//! kernel per thread does better, and needs no spinning. Requests are claimed in the order in which they are due, so those
//! that wait stand in a queue.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    io,
    rc::Rc,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use nix::sys::{
    time::TimeSpec,
    timerfd::{Expiration, TimerSetTimeFlags},
};
use tokio::io::unix::AsyncFd;

use crate::sys::{self, Timer};

/// One who waits.
struct Waiting {
    due: u64,
    state: Rc<RefCell<State>>,
}

#[derive(Default)]
enum State {
    #[default]
    New,
    Asleep(Waker),
    Due,
}

/// The queue of one thread.
pub(crate) struct Pacer {
    timer: AsyncFd<Timer>,
    queue: RefCell<VecDeque<Waiting>>,
    driver: RefCell<Option<Waker>>,
    stopped: Cell<bool>,
}

impl Pacer {
    /// Must be made within the thread's runtime.
    ///
    /// # Errors
    /// The kernel has no timer left.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { timer: sys::timer()?, queue: RefCell::default(), driver: RefCell::default(), stopped: Cell::new(false) })
    }

    /// Waits until `due`, in nanoseconds since the driver's start; `false` when the run was stopped meanwhile. Callers ask in
    /// ascending order of `due`.
    pub(crate) async fn until(&self, due: u64) -> bool {
        let state = Rc::new(RefCell::new(State::New));
        self.queue.borrow_mut().push_back(Waiting { due, state: state.clone() });
        self.driver.borrow_mut().take().into_iter().for_each(Waker::wake);
        poll_fn(|cx| match &mut *state.borrow_mut() {
            State::Due => Poll::Ready(()),
            asleep if self.stopped.get() => {
                *asleep = State::Due;
                Poll::Ready(())
            }
            asleep => {
                *asleep = State::Asleep(cx.waker().clone());
                Poll::Pending
            }
        })
        .await;
        !self.stopped.get()
    }

    /// Lets everyone go.
    pub(crate) fn stop(&self) {
        self.stopped.set(true);
        self.queue.borrow_mut().drain(..).for_each(|waiting| waiting.wake());
    }

    /// Serves the queue until the thread ends.
    pub(crate) async fn drive(&self, start: Instant) -> io::Result<()> {
        loop {
            let now = nanos(start.elapsed());
            match self.release(now) {
                Some(next) => self.sleep(next.saturating_sub(now)).await?,
                None => self.someone().await,
            }
        }
    }

    /// Wakes all who are due and returns when the next one is.
    fn release(&self, now: u64) -> Option<u64> {
        let mut queue = self.queue.borrow_mut();
        while let Some(first) = queue.front() {
            if first.due > now {
                return Some(first.due);
            }
            queue.pop_front().into_iter().for_each(|waiting| waiting.wake());
        }
        None
    }

    async fn sleep(&self, ns: u64) -> io::Result<()> {
        // A time of zero would disarm the timer.
        let expiration = Expiration::OneShot(TimeSpec::from_duration(Duration::from_nanos(ns.max(1))));
        self.timer.get_ref().get().set(expiration, TimerSetTimeFlags::empty())?;
        // Its count is not read: setting it again forgets it.
        self.timer.readable().await?.clear_ready();
        Ok(())
    }

    async fn someone(&self) {
        poll_fn(|cx| {
            if self.queue.borrow().is_empty() {
                *self.driver.borrow_mut() = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }
}

impl Waiting {
    fn wake(self) {
        if let State::Asleep(waker) = std::mem::replace(&mut *self.state.borrow_mut(), State::Due) {
            waker.wake();
        }
    }
}

/// A duration as the engine counts.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn with_pacer<T>(test: impl AsyncFnOnce(Rc<Pacer>, Instant) -> T) -> anyhow::Result<T> {
        let (pacer, start) = (Rc::new(Pacer::new()?), Instant::now());
        let driven = pacer.clone();
        tokio::select! {
            ended = async move { driven.drive(start).await } => Err(anyhow::anyhow!("{ended:?}")),
            result = test(pacer, start) => Ok(result),
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn nobody_is_woken_early_and_the_order_is_kept() -> anyhow::Result<()> {
        let woken = with_pacer(async |pacer, start| {
            let woken = RefCell::new(Vec::new());
            let wait = async |number: u64| {
                let due = number * 7_000_000;
                assert!(pacer.until(due).await);
                assert!(nanos(start.elapsed()) >= due, "{number} was woken early");
                woken.borrow_mut().push(number);
            };
            tokio::join!(wait(0), wait(1), wait(1), wait(20), wait(30));
            woken.into_inner()
        });
        assert_eq!(woken.await?, [0, 1, 1, 20, 30]);
        Ok(())
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_stop_lets_those_who_wait_and_those_who_come_go_at_once() -> anyhow::Result<()> {
        let begin = Instant::now();
        let hour = 3_600_000_000_000;
        let went_on = with_pacer(async |pacer, _| {
            let stop = async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                pacer.stop();
            };
            let (waited, ()) = tokio::join!(pacer.until(hour), stop);
            (waited, pacer.until(hour).await)
        });
        assert_eq!(went_on.await?, (false, false));
        assert!(begin.elapsed() < Duration::from_secs(60));
        Ok(())
    }
}
