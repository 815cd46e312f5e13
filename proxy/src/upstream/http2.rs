//! Requests to an upstream over HTTP/2.
//!
//! A request is put on its stream, and its answer taken from there, by the task of the request. The connection has a task of its
//! own that reads and writes for all its streams ([`super::pool`]).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{Request, StatusCode, response};
use http_body::{Body, Frame, SizeHint};
use tokio::task::AbortHandle;

use crate::error::{Failure, Sent};
use crate::http::http2::{Cut, Received, Sending};
use crate::upstream::upload::UploadBody;

/// Starts requests on one connection.
#[derive(Clone, Debug)]
pub struct Requests(SendRequest<Bytes>);

/// A request without an answer.
#[derive(Debug)]
pub struct Unanswered {
    /// What failed.
    pub failure: Failure,
    /// How far the request got.
    pub sent: Sent,
    /// What the codec says; nothing when it was the client who broke off.
    pub error: Option<h2::Error>,
}

impl Unanswered {
    fn new(sent: Sent, error: h2::Error) -> Self {
        let failure = classify(&error);
        let sent = if failure == Failure::RefusedStream { Sent::Nothing } else { sent };
        Unanswered { failure, sent, error: Some(error) }
    }

    fn by_us(error: h2::Error) -> Self {
        Unanswered { failure: Failure::Protocol, sent: Sent::Unanswered, error: Some(error) }
    }

    fn by_client() -> Self {
        Unanswered { failure: Failure::Downstream, sent: Sent::Unanswered, error: None }
    }
}

impl Requests {
    /// Requests over the connection that `sender` belongs to.
    pub fn over(sender: SendRequest<Bytes>) -> Self {
        Requests(sender)
    }

    /// False once the connection takes no more requests: it is gone, its peer said GOAWAY, or its stream numbers are used up.
    pub fn is_open(&mut self) -> bool {
        // Never pending, since this handle has no request that waits for the peer's permission.
        !matches!(self.0.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_)))
    }

    /// Hands a request to the codec.
    ///
    /// # Errors
    /// When the codec does not take it, with the verdict [`Sent::Nothing`].
    pub fn start(&mut self, request: Request<()>, upload: Option<UploadBody>) -> Result<Waiting, Unanswered> {
        let upload = upload.filter(|upload| !upload.is_end_stream());
        let started = self.0.send_request(request, upload.is_none());
        let (answer, stream) = started.map_err(|error| Unanswered::new(Sent::Nothing, error))?;
        let holds_back = upload.as_ref().is_some_and(UploadBody::is_waiting);
        Ok(Waiting { answer, sending: upload.map(|upload| Sending::new(stream, upload)), holds_back })
    }
}

/// A request on its stream, without the head of its answer, which it resolves to. Dropped before, it resets the stream. Fails with
/// the verdict how far the request got: [`Sent::Nothing`] when the peer says that it never looked at it.
#[derive(Debug)]
pub struct Waiting {
    answer: ResponseFuture,
    /// The request's body, while it is not sent to its end.
    sending: Option<Sending<UploadBody>>,
    /// The client waits for a 100 before it sends the body.
    holds_back: bool,
}

impl Future for Waiting {
    type Output = Result<(response::Parts, Answered), Unanswered>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        while this.holds_back {
            let Poll::Ready(Some(Ok(interim))) = this.answer.poll_informational(cx) else { break };
            // Others, such as 103 Early Hints, say nothing about the body.
            if let (StatusCode::CONTINUE, Some(sending)) = (interim.status(), &this.sending) {
                sending.body().agreed();
                this.holds_back = false;
            }
        }
        if let Some(sending) = &mut this.sending
            && let Poll::Ready(ended) = sending.poll(cx)
        {
            this.sending = None;
            match ended {
                Err(Cut::Body(_)) => return Poll::Ready(Err(Unanswered::by_client())),
                Err(Cut::Ours(error)) => return Poll::Ready(Err(Unanswered::by_us(error))),
                // A peer that does not want the rest has answered, or the answer will fail as well.
                Err(Cut::Peer(_)) | Ok(()) => {}
            }
        }
        let answer = ready!(Pin::new(&mut this.answer).poll(cx));
        let (head, stream) = answer.map_err(|error| Unanswered::new(Sent::Unanswered, error))?.into_parts();
        let received = Received::new(stream, &head.headers);
        Poll::Ready(Ok((head, Answered { received, _rest: this.sending.take().map(Rest::send) })))
    }
}

/// The body of an answer. Dropped, it resets the stream, unless both the answer and its request are over.
#[derive(Debug)]
pub struct Answered {
    received: Received,
    _rest: Option<Rest>,
}

impl Answered {
    /// The next frame.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        self.received.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(|error| classify(&error))))
    }

    /// Whether nothing follows.
    pub fn is_end_stream(&self) -> bool {
        self.received.is_end_stream()
    }

    /// What is known about the length of what follows.
    pub fn size_hint(&self) -> SizeHint {
        self.received.size_hint()
    }
}

/// The rest of a request whose answer has begun, sent by a task, so that it does not wait for the client to take the answer.
/// Dropped, it is not sent: who has answered in full does not get what is left of the request (Istio semantics 8.7).
#[derive(Debug)]
struct Rest(AbortHandle);

impl Rest {
    fn send(mut sending: Sending<UploadBody>) -> Self {
        let task = tokio::spawn(async move {
            if let Err(cut) = poll_fn(|cx| sending.poll(cx)).await {
                tracing::debug!(?cut, "request broke off while its answer was on the way");
            }
        });
        Rest(task.abort_handle())
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn classify(error: &h2::Error) -> Failure {
    // A stream above the last one that GOAWAY names was never looked at (RFC 9113, 6.8).
    let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM) || (error.is_go_away() && error.is_remote());
    if refused {
        Failure::RefusedStream
    } else if error.is_reset() && error.is_remote() {
        Failure::Reset
    } else if error.is_reset() && !error.is_library() {
        // By ourselves, when the client's body broke off.
        Failure::Downstream
    } else if error.is_io() {
        Failure::Terminated
    } else {
        Failure::Protocol
    }
}
