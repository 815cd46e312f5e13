//! A connection lent to one request.
//!
//! Dropping a lease closes an HTTP/1 connection, which is right for every abnormal end; [`Lease::release`] gives it back.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};

use super::Shard;
use super::connection::Connection;
use super::http1::Stack;
use crate::error::{Error, Failure, Sent};
use crate::http::body::RequestBody;
use crate::router::replay::UploadError;

/// Permission to send one request over a connection.
#[derive(Debug)]
pub struct Lease {
    sender: Sender,
    connection: Arc<Connection>,
    reused: bool,
    shard: Shard,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<RequestBody>, Arc<Stack>),
    Http2(http2::SendRequest<RequestBody>),
    Returned,
}

/// A request that was not answered.
#[derive(Debug)]
pub struct SendFailure {
    /// What happened.
    pub error: Error,
    /// The request, when the codec had not touched it.
    pub message: Option<Box<Request<RequestBody>>>,
}

impl Lease {
    pub(super) fn http1(
        sender: http1::SendRequest<RequestBody>,
        connection: Arc<Connection>,
        reused: bool,
        shard: Shard,
        home: Arc<Stack>,
    ) -> Self {
        connection.streams.fetch_add(1, Ordering::Relaxed);
        Lease { sender: Sender::Http1(sender, home), connection, reused, shard }
    }

    pub(super) fn http2(sender: http2::SendRequest<RequestBody>, connection: Arc<Connection>, reused: bool, shard: Shard) -> Self {
        connection.streams.fetch_add(1, Ordering::Relaxed);
        Lease { sender: Sender::Http2(sender), connection, reused, shard }
    }

    /// Whether the connection served a request before.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// What is known about the connection.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Sends a request and waits for the head of the response.
    ///
    /// # Errors
    /// With the verdict how far the request got: [`Sent::Nothing`] when the codec hands it back, when no byte was written
    /// since, or when the peer says that it never looked at it.
    pub async fn send(&mut self, request: Request<RequestBody>) -> Result<Response<Incoming>, SendFailure> {
        let before = self.connection.written.load(Ordering::Relaxed);
        let result = match &mut self.sender {
            Sender::Http1(sender, _) => sender.try_send_request(request).await,
            Sender::Http2(sender) => sender.try_send_request(request).await,
            Sender::Returned => return Err(SendFailure { error: Error::unsent(Failure::Terminated), message: None }),
        };
        result.map_err(|failed| self.judge(failed, before))
    }

    fn judge(&self, mut failed: TrySendError<Request<RequestBody>>, written_before: u64) -> SendFailure {
        let message = failed.take_message().map(Box::new);
        let error = failed.into_error();
        let failure = classify(&error);
        let exclusive = matches!(self.sender, Sender::Http1(..));
        let untouched = exclusive && self.connection.written.load(Ordering::Relaxed) == written_before;
        let unsent = message.is_some() || untouched || failure == Failure::RefusedStream;
        let sent = if unsent { Sent::Nothing } else { Sent::Unanswered };
        tracing::debug!(upstream = %self.connection.facts.address, %error, ?sent, "request failed");
        SendFailure { error: Error { failure, sent, reused: self.reused, transport: None }, message }
    }

    /// Gives the connection back after a complete exchange.
    pub fn release(mut self) {
        let Sender::Http1(mut sender, home) = std::mem::replace(&mut self.sender, Sender::Returned) else { return };
        if sender.is_closed() || !self.connection.has_life_left() {
            return;
        }
        let (connection, shard) = (Arc::clone(&self.connection), self.shard.clone());
        if sender.is_ready() {
            home.put(sender, connection);
            shard.start_sweeping();
            return;
        }
        // The codec has not noticed the end of the exchange yet; it will with its next poll.
        tokio::spawn(async move {
            if sender.ready().await.is_ok() {
                home.put(sender, connection);
                shard.start_sweeping();
            }
        });
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.connection.streams.fetch_sub(1, Ordering::Relaxed);
        if matches!(self.sender, Sender::Http2(_)) {
            self.connection.signal();
        }
    }
}

/// The reset reason behind a codec error.
pub(crate) fn classify(error: &hyper::Error) -> Failure {
    if let Some(h2) = source::<h2::Error>(error) {
        return classify_h2(h2);
    }
    if source::<UploadError>(error).is_some() {
        return Failure::Downstream;
    }
    if error.is_parse() { Failure::Protocol } else { Failure::Terminated }
}

fn classify_h2(error: &h2::Error) -> Failure {
    // A stream above the last one that GOAWAY names was never looked at (RFC 9113, 6.8).
    let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM) || (error.is_go_away() && error.is_remote());
    if refused {
        Failure::RefusedStream
    } else if error.is_reset() && error.is_remote() {
        Failure::Reset
    } else if error.is_io() {
        Failure::Terminated
    } else {
        Failure::Protocol
    }
}

fn source<E: std::error::Error + 'static>(error: &hyper::Error) -> Option<&E> {
    let mut next = error.source();
    while let Some(current) = next {
        if let Some(found) = current.downcast_ref::<E>() {
            return Some(found);
        }
        next = current.source();
    }
    None
}
