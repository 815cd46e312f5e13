//! How a connection that another codec serves comes to its end.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, ready};

use super::connection_manager::ServedConnection;
use crate::listener::Doing;

/// Runs a connection to its end; asks it to leave in good order when it is time, and cuts it off when that takes too long.
///
/// # Errors
/// What the codec ended it for.
pub async fn run<C, E>(mut serving: Pin<&mut C>, leave: impl FnOnce(Pin<&mut C>), connection: &Arc<ServedConnection>) -> Result<(), E>
where
    C: Future<Output = Result<(), E>>,
{
    let (mut stay, mut leave) = (connection.stay(), Some(leave));
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = serving.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            let requests = connection.requests.load(Ordering::Relaxed);
            if leave.is_none() {
                return stay.poll_over(Doing::Serving, requests, cx).map(Ok);
            }
            if !connection.is_stranded() {
                ready!(stay.poll_told(requests, cx));
            }
            if let Some(leave) = leave.take() {
                leave(serving.as_mut());
            }
        }
    })
    .await
}
