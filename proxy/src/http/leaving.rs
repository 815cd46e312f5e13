//! How a connection comes to its end.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request};

use super::connection_manager::ServedConnection;
use super::dozing::Dozing;
use super::headers::Seen;
use super::refusal::Refusal;
use crate::drain::Phase;
use crate::listener::summons::IDLE;
use crate::router::stream::Stream;
use crate::telemetry::ResponseFlags;

/// Runs a connection to its end; asks it to leave in good order when it is time, and cuts it off when that takes too long.
/// While draining, it may stay until it was without a request for `quiet`.
///
/// # Errors
/// What the codec ended it for.
pub async fn run<C, E>(
    mut serving: Pin<&mut C>,
    leave: impl FnOnce(Pin<&mut C>),
    connection: &ServedConnection,
    quiet: Option<Duration>,
) -> Result<(), E>
where
    C: Future<Output = Result<(), E>>,
{
    let ended = {
        let reason = pin!(time_to_leave(connection, quiet));
        let mut reason = Dozing::new(reason);
        poll_fn(|cx| match serving.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => reason.poll(cx).map(|()| None),
        })
        .await
    };
    match ended {
        Some(result) => return result,
        None => leave(serving.as_mut()),
    }
    let mut drain = connection.worker.drain.clone();
    tokio::select! {
        result = serving => result,
        () = drain.reached(Phase::Forced) => Ok(()),
        () = connection.downstream.overdue() => Ok(()),
    }
}

/// Waits for a reason to end the connection: draining, a way in that is gone, or an hour without a request, within a factor of
/// two. Whatever is in flight is finished.
async fn time_to_leave(connection: &ServedConnection, quiet: Option<Duration>) {
    let worker = &connection.worker;
    let (mut seen, mut since, mut idle) = (None, 0, false);
    let due = |period: u32| {
        let requests = Some(connection.findings.requests());
        if requests != seen {
            (seen, since) = (requests, period);
        }
        idle = period.wrapping_sub(since) >= IDLE;
        idle || worker.drain.phase() >= Phase::Draining || connection.downstream.must_leave()
    };
    worker.summons.until(&worker.config, &worker.drain, due).await;
    let Some(quiet) = quiet.filter(|_| !idle) else { return };
    let mut seen = connection.findings.requests();
    loop {
        tokio::time::sleep(quiet).await;
        let requests = connection.findings.requests();
        if requests == seen {
            return;
        }
        seen = requests;
    }
}

/// Logs how an HTTP/1 connection ended, and books a head that the codec refused.
pub fn report(connection: &ServedConnection, result: hyper::Result<()>) {
    let Err(error) = result else { return };
    tracing::debug!(peer = %connection.downstream.peer, %error, "downstream connection ended");
    if error.is_parse() {
        book_refusal(connection, &error);
    }
}

/// Books a head that the codec refused by itself.
fn book_refusal(connection: &ServedConnection, error: &hyper::Error) {
    let Refusal { status, details, .. } = Refusal::new(error.is_parse_too_large(), &connection.findings);
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(b"-").unwrap_or_default();
    let (head, ()) = request.into_parts();
    let (seen, authority) = (Seen::default(), HeaderValue::from_static(""));
    let mut stream = Stream::begin(&connection.downstream, &connection.worker, &head, seen, authority, &connection.no_name);
    stream.note(|record| {
        record.path = PathAndQuery::from_static("/");
        record.status = status;
        record.flags = ResponseFlags::DPE;
        record.details = Cow::Borrowed(details);
    });
    stream.complete();
}
