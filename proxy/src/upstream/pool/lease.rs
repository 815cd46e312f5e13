//! A connection lent to one request.
//!
//! Dropping a lease closes an HTTP/1 connection, which is right for every abnormal end; [`Lease::release`] gives it back.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use hyper::body::Incoming;
use hyper::client::conn::http2;

use super::connection::Connection;
use super::http1::Stack;
use crate::error::{Error, Failure, Sent};
use crate::http::body::RequestBody;
use crate::router::replay::UploadError;
use crate::upstream::http1::{Answer, Outgoing, Reading, Tunnel, Wire};

/// Permission to send one request over a connection.
#[derive(Debug)]
pub struct Lease {
    sender: Sender,
    connection: Arc<Connection>,
    reused: bool,
}

#[derive(Debug)]
enum Sender {
    Http1(Box<Wire>, Arc<Stack>),
    Http2(http2::SendRequest<RequestBody>),
    Returned,
}

impl Lease {
    pub(super) fn http1(wire: Box<Wire>, connection: Arc<Connection>, reused: bool, home: Arc<Stack>) -> Self {
        connection.streams.fetch_add(1, Ordering::Relaxed);
        Lease { sender: Sender::Http1(wire, home), connection, reused }
    }

    pub(super) fn http2(sender: http2::SendRequest<RequestBody>, connection: Arc<Connection>, reused: bool) -> Self {
        connection.streams.fetch_add(1, Ordering::Relaxed);
        Lease { sender: Sender::Http2(sender), connection, reused }
    }

    /// Whether the connection served a request before.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// What is known about the connection.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Sends a request over HTTP/1 and waits for the head of the response.
    ///
    /// # Errors
    /// With the verdict how far the request got: [`Sent::Nothing`] when no byte of it was written.
    pub async fn exchange(&mut self, request: Outgoing<'_>) -> Result<Answer, Error> {
        let reused = self.reused;
        let Sender::Http1(wire, _) = &mut self.sender else { return Err(Error::unsent(Failure::Terminated)) };
        let result = wire.exchange(request).await;
        result.map_err(|failure| {
            let sent = wire.sent();
            tracing::debug!(upstream = %self.connection.facts.address, ?failure, ?sent, "request failed");
            Error { failure, sent, reused, transport: None }
        })
    }

    /// Sends a request over HTTP/2 and waits for the head of the response.
    ///
    /// # Errors
    /// With the verdict how far the request got: [`Sent::Nothing`] when the codec hands it back, or when the peer says that it
    /// never looked at it.
    pub async fn send(&mut self, request: Request<RequestBody>) -> Result<Response<Incoming>, Error> {
        let Sender::Http2(sender) = &mut self.sender else { return Err(Error::unsent(Failure::Terminated)) };
        let result = sender.try_send_request(request).await;
        result.map_err(|mut failed| {
            let returned = failed.take_message().is_some();
            let error = failed.into_error();
            let failure = classify(&error);
            let sent = if returned || failure == Failure::RefusedStream { Sent::Nothing } else { Sent::Unanswered };
            tracing::debug!(upstream = %self.connection.facts.address, %error, ?sent, "request failed");
            Error { failure, sent, reused: self.reused, transport: None }
        })
    }

    /// Whether part of the request has not been sent yet (HTTP/1).
    pub fn is_uploading(&self) -> bool {
        matches!(&self.sender, Sender::Http1(wire, _) if wire.is_uploading())
    }

    /// Sends more of the request (HTTP/1). A client's body that breaks off ends the connection, which the answer will tell.
    pub fn poll_upload(&mut self, cx: &mut Context<'_>) {
        if let Sender::Http1(wire, _) = &mut self.sender
            && let Poll::Ready(Err(_)) = wire.poll_upload(cx)
        {
            self.sender = Sender::Returned;
        }
    }

    /// The next frame of an answer over HTTP/1.
    pub fn poll_frame(&mut self, reading: &mut Reading, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match &mut self.sender {
            Sender::Http1(wire, _) => reading.poll_frame(wire, cx),
            Sender::Http2(_) | Sender::Returned => Poll::Ready(Some(Err(Failure::Downstream))),
        }
    }

    /// The connection after a 101; `rest` was read with its head.
    pub fn into_tunnel(mut self, rest: Bytes) -> Option<Tunnel> {
        match std::mem::replace(&mut self.sender, Sender::Returned) {
            Sender::Http1(wire, _) => Some(wire.into_tunnel(rest)),
            Sender::Http2(_) | Sender::Returned => None,
        }
    }

    /// Gives an HTTP/1 connection back after a complete exchange, if another request may follow on it.
    pub fn release(mut self) {
        let Sender::Http1(wire, home) = std::mem::replace(&mut self.sender, Sender::Returned) else { return };
        if wire.is_reusable() && self.connection.has_life_left() {
            home.put(wire, Arc::clone(&self.connection));
        }
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
