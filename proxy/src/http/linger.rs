//! The last moments of a connection: how long a client may take the end, and how much it may still send.
//!
//! To close a socket that has something to read makes the kernel reset the connection and forget what it has not sent: the last
//! answer could be lost. So what comes is read for a while, until the client has seen the end and closes, too.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// How much is thrown away.
const MOST: usize = 1024 * 1024;
/// For how long.
const LONGEST: Duration = Duration::from_secs(1);
/// For how long a client may take the end of its session.
const FAREWELL: Duration = Duration::from_secs(1);

/// Throws away what comes over a connection that has been shut down. `poll_discard` reads once, and gives 0 at the end.
pub async fn linger(mut poll_discard: impl FnMut(&mut Context<'_>) -> Poll<usize>) {
    let mut left = MOST;
    let lingering = poll_fn(|cx| {
        while left > 0 {
            match ready!(poll_discard(cx)) {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        Poll::Ready(())
    });
    let _ = tokio::time::timeout(LONGEST, lingering).await;
}

/// Ends a session by `poll_shutdown`, unless the client takes nothing.
pub async fn farewell<E>(poll_shutdown: impl FnMut(&mut Context<'_>) -> Poll<Result<(), E>>) {
    let _ = tokio::time::timeout(FAREWELL, poll_fn(poll_shutdown)).await;
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_neither_sends_nor_closes_is_left_after_a_second() {
        let begin = Instant::now();
        linger(|_| Poll::Pending).await;
        assert_eq!(begin.elapsed().as_millis() / 10, LONGEST.as_millis() / 10);
        linger(|_| Poll::Ready(0)).await;
        assert_eq!(begin.elapsed().as_millis() / 10, LONGEST.as_millis() / 10, "one that closes, at once");
    }

    #[tokio::test]
    async fn of_a_client_that_sends_without_end_a_mebibyte_is_read() {
        let mut read = 0;
        linger(|_| {
            read += 1000;
            Poll::Ready(1000)
        })
        .await;
        assert!((MOST..MOST + 1000).contains(&read), "{read}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_take_the_end_of_its_session_is_left_after_a_second() {
        let begin = Instant::now();
        farewell(|_| Poll::<Result<(), ()>>::Pending).await;
        assert_eq!(begin.elapsed().as_millis() / 10, FAREWELL.as_millis() / 10);
    }
}
