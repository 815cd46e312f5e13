//! A time limit for one exchange after the other.
//!
//! One timer per worker, moved only when it fires: almost all exchanges end long before their limit, and setting a timer
//! for each would cost more than reading its answer's head.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// The limit of a worker's exchanges.
pub(crate) struct Deadline {
    timer: Pin<Box<Sleep>>,
    limit: Duration,
}

impl Deadline {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { timer: Box::pin(sleep(limit)), limit }
    }

    /// What the future gives, or `None` when it has not ended within the limit from `begin`.
    pub(crate) async fn within<F: Future>(&mut self, begin: Instant, future: F) -> Option<F::Output> {
        let end = begin + self.limit;
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            loop {
                ready!(self.timer.as_mut().poll(cx));
                // It was set for an earlier exchange.
                if Instant::now() >= end {
                    return Poll::Ready(None);
                }
                self.timer.as_mut().reset(end);
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_exchange_has_the_whole_limit_and_not_more() {
        let mut deadline = Deadline::new(Duration::from_millis(400));
        for (takes, ends) in [(250, true), (250, true), (60_000, false), (250, true), (60_000, false), (0, true)] {
            let begin = Instant::now();
            let output = deadline.within(begin, sleep(Duration::from_millis(takes))).await;
            assert_eq!(output.is_some(), ends, "{takes} ms");
            assert!(ends || begin.elapsed() >= Duration::from_millis(400), "{:?}", begin.elapsed());
            assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
        }
    }
}
