//! The end of a connection whose client still sends.
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
