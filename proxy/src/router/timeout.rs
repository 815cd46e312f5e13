//! The deadline of an exchange: one lazy timer.
//!
//! Clocks start when the whole request has been received (Istio semantics 1.10), so that a body in progress is never cut
//! off. That may be after the head of the answer, whose body takes the deadline along. The timer is created when something
//! has to be waited for.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderMap;
use tokio::time::{Instant, Sleep};

use crate::upstream::upload::Upload;

/// A time limit that starts at the end of the request.
#[derive(Debug)]
pub struct Deadline {
    limit: Duration,
    /// When the clock started, once it has.
    started: Option<Instant>,
    upload: Option<Arc<Upload>>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// `limit` after the end of `upload`; after `now` when the request has no body.
    pub fn new(limit: Duration, upload: Option<&Arc<Upload>>, now: Instant) -> Self {
        Deadline { limit, started: upload.is_none().then_some(now), upload: upload.cloned(), sleep: None }
    }

    /// Time left at `now`; the whole limit while the request is still being received.
    pub fn remaining(&self, now: Instant) -> Duration {
        self.started.map_or(self.limit, |started| (started + self.limit).saturating_duration_since(now))
    }

    /// Ready when the time is over.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let started = match (self.started, &self.upload) {
            (Some(started), _) => started,
            (None, Some(upload)) => std::task::ready!(upload.poll_complete(cx)),
            (None, None) => return Poll::Pending,
        };
        self.started = Some(started);
        let end = started + self.limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        sleep.as_mut().poll(cx)
    }
}

/// Runs `future` until it is done or the deadline is over (`None`). Without a deadline nothing is added to it.
///
/// The caller pins: passing a future by value would make room for it twice.
pub async fn within<F: Future>(deadline: Option<&mut Deadline>, mut future: Pin<&mut F>) -> Option<F::Output> {
    let Some(deadline) = deadline else { return Some(future.await) };
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => deadline.poll(cx).map(|()| None),
    })
    .await
}

/// The limit of an exchange: the route's, and the client's `grpc-timeout` when that is shorter or alone.
pub fn effective(route: Option<Duration>, is_grpc: bool, headers: &HeaderMap) -> Option<Duration> {
    let asked = if is_grpc { headers.get("grpc-timeout").and_then(|value| parse_grpc(value.as_bytes())) } else { None };
    match (route, asked) {
        (Some(route), Some(asked)) => Some(route.min(asked)),
        (route, asked) => route.or(asked),
    }
}

/// `grpc-timeout`: up to eight digits and a unit.
fn parse_grpc(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(count * 3600)),
        b'M' => Some(Duration::from_secs(count * 60)),
        b'S' => Some(Duration::from_secs(count)),
        b'm' => Some(Duration::from_millis(count)),
        b'u' => Some(Duration::from_micros(count)),
        b'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    fn headers(timeout: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static("grpc-timeout"), http::HeaderValue::from_static(timeout))])
    }

    #[test]
    fn the_shorter_of_route_and_grpc_timeout_counts_and_only_for_grpc() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(effective(second, true, &headers("200m")), Some(Duration::from_millis(200)));
        assert_eq!(effective(second, true, &headers("2M")), second);
        assert_eq!(effective(None, true, &headers("5S")), Some(Duration::from_secs(5)));
        assert_eq!(effective(None, false, &headers("5S")), None);
        assert_eq!(effective(None, true, &headers("123456789S")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_ends_a_future_that_hangs_and_leaves_one_that_is_quick() {
        let mut deadline = Deadline::new(Duration::from_millis(100), None, Instant::now());
        assert_eq!(within(Some(&mut deadline), pin!(async { 7 })).await, Some(7));
        let begin = Instant::now();
        assert_eq!(within(Some(&mut deadline), pin!(std::future::pending::<()>())).await, None);
        assert_eq!(begin.elapsed().as_millis(), 100);
        assert_eq!(deadline.remaining(Instant::now()), Duration::ZERO);
    }
}
