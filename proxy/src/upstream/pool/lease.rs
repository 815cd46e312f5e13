//! A connection lent to one request.
//!
//! Dropping a lease closes an HTTP/1 connection, which is right for every abnormal end; [`Lease::release`] gives it back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::Frame;

use super::connection::Connection;
use super::http1::Stack;
use crate::error::{Error, Failure};
use crate::http1::Reading;
use crate::upstream::http1::{Answer, Outgoing, Tunnel, Wire};
use crate::upstream::http2::{Requests, Unanswered, Waiting};
use crate::upstream::upload::UploadBody;

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
    Http2 { requests: Requests, _counted: InFlight },
    Returned,
}

impl Lease {
    pub(super) fn http1(wire: Box<Wire>, connection: Arc<Connection>, reused: bool, home: Arc<Stack>) -> Self {
        Lease { sender: Sender::Http1(wire, home), connection, reused }
    }

    pub(super) fn http2(requests: Requests, connection: Arc<Connection>, reused: bool) -> Self {
        Lease { sender: Sender::Http2 { requests, _counted: InFlight::new(&connection) }, connection, reused }
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
    /// With the verdict how far the request got: [`crate::error::Sent::Nothing`] when no byte of it was written.
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

    /// Hands a request to an HTTP/2 connection.
    ///
    /// # Errors
    /// With the verdict that nothing was sent.
    pub fn start(&mut self, request: Request<()>, upload: Option<UploadBody>) -> Result<Waiting, Error> {
        let Sender::Http2 { requests, .. } = &mut self.sender else { return Err(Error::unsent(Failure::Terminated)) };
        requests.start(request, upload).map_err(|unanswered| self.failed(unanswered))
    }

    /// What it means that a request over HTTP/2 has no answer.
    pub fn failed(&self, unanswered: Unanswered) -> Error {
        let Unanswered { failure, sent, error } = unanswered;
        tracing::debug!(upstream = %self.connection.facts.address, ?error, ?sent, "request failed");
        Error { failure, sent, reused: self.reused, transport: None }
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
            Sender::Http1(wire, _) => wire.poll_frame(reading, cx),
            Sender::Http2 { .. } | Sender::Returned => Poll::Ready(Some(Err(Failure::Downstream))),
        }
    }

    /// The connection after a 101; `rest` was read with its head.
    pub fn into_tunnel(mut self, rest: Bytes) -> Option<Tunnel> {
        match std::mem::replace(&mut self.sender, Sender::Returned) {
            Sender::Http1(wire, _) => Some(wire.into_tunnel(rest)),
            Sender::Http2 { .. } | Sender::Returned => None,
        }
    }

    /// Gives an HTTP/1 connection back after a complete exchange, if another request may follow on it.
    pub fn release(self) {
        let Lease { sender: Sender::Http1(wire, home), connection, .. } = self else { return };
        if wire.is_reusable() && connection.has_life_left() {
            home.put(wire, connection);
        }
    }
}

/// A request on an HTTP/2 connection: counts there until dropped.
#[derive(Debug)]
struct InFlight(Arc<Connection>);

impl InFlight {
    fn new(connection: &Arc<Connection>) -> Self {
        connection.streams.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(connection))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
        self.0.signal();
    }
}
