//! Bodies from and to clients: enums, so that nothing is boxed and `Bytes` pass through untouched.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::http1::Inlet;
use super::http2::Received;
use super::upgrade::Switched;
use crate::router::stream::Stream;
use crate::router::timeout::Deadline;
use crate::upstream::body::UpstreamBody;

/// A body that may break off while what was read of it waits for room.
pub trait Outgoing: Body<Data = Bytes> + Unpin {
    /// Ready when it breaks off now.
    fn poll_overdue(&mut self, _: &mut Context<'_>) -> Poll<Self::Error> {
        Poll::Pending
    }

    /// The client has all it is ever sent, which is the head.
    fn ends_at_head(&mut self, _: &mut Context<'_>) {}
}

/// A body that may be read in several goes.
pub trait Incoming: Body<Data = Bytes> + Unpin {
    /// Whoever read it has gone, and another may or may not follow.
    fn leave(&mut self) {}

    /// Whoever reads it has no room for more of it for now.
    fn rest(&mut self, _: &Context<'_>) {}
}

/// What follows the head of a client's request.
#[derive(Debug)]
pub enum ClientBody {
    /// Nothing.
    Empty,
    /// Over HTTP/1.
    Http1(Inlet),
    /// Over HTTP/2.
    Http2(Received),
}

/// A client's body that broke off: the client went away, reset its stream or broke the framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client's request body broke off")]
pub struct BrokeOff;

impl ClientBody {
    /// Whether it broke off because its framing makes no sense, which the client is told if it can be.
    pub fn is_malformed(&self) -> bool {
        matches!(self, ClientBody::Http1(body) if body.is_malformed())
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        match self.get_mut() {
            ClientBody::Empty => Poll::Ready(None),
            ClientBody::Http1(body) => body.poll_frame(cx).map_err(|_| BrokeOff),
            ClientBody::Http2(body) => body.poll_frame(cx).map_err(|_| BrokeOff),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ClientBody::Empty => true,
            ClientBody::Http1(body) => body.is_end_stream(),
            ClientBody::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ClientBody::Empty => SizeHint::with_exact(0),
            ClientBody::Http1(body) => body.size_hint(),
            ClientBody::Http2(body) => body.size_hint(),
        }
    }
}

impl Incoming for ClientBody {
    fn leave(&mut self) {
        if let ClientBody::Http1(body) = self {
            body.leave();
        }
    }

    fn rest(&mut self, cx: &Context<'_>) {
        if let ClientBody::Http1(body) = self {
            body.rest(cx);
        }
    }
}

/// What is sent to the client. Owns the exchange's bookkeeping: when it is dropped, the exchange is over and is recorded.
#[derive(Debug)]
pub struct ResponseBody {
    content: Content,
    /// None once the exchange goes on as a tunnel.
    stream: Option<Box<Stream>>,
}

#[derive(Debug)]
enum Content {
    /// Made here; taken when sent.
    Local(Option<Bytes>),
    /// That of a 101: none.
    Switched(Box<Switched>),
    /// The upstream's, possibly cut off by the route's timeout.
    Upstream(UpstreamBody, Option<Deadline>),
}

/// A response body that broke off; the codec cuts the connection (HTTP/1) or resets the stream (HTTP/2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseBodyError {
    /// The upstream did not finish it.
    #[error("the upstream's response broke off")]
    Upstream,
    /// The route's timeout ended it.
    #[error("the route's timeout ended the response")]
    Timeout,
}

impl ResponseBody {
    /// A body made here.
    pub fn local(bytes: Bytes, stream: Box<Stream>) -> Self {
        ResponseBody { content: Content::Local((!bytes.is_empty()).then_some(bytes)), stream: Some(stream) }
    }

    /// The upstream's body, to be finished before `deadline`.
    pub fn upstream(body: UpstreamBody, deadline: Option<Deadline>, stream: Box<Stream>) -> Self {
        ResponseBody { content: Content::Upstream(body, deadline), stream: Some(stream) }
    }

    /// The empty body of a 101; the tunnel keeps the books.
    pub fn switched(tunnel: Box<Switched>) -> Self {
        ResponseBody { content: Content::Switched(tunnel), stream: None }
    }

    /// What follows a 101.
    pub fn into_tunnel(mut self) -> Option<Box<Switched>> {
        match std::mem::replace(&mut self.content, Content::Local(None)) {
            Content::Switched(tunnel) => Some(tunnel),
            Content::Local(_) | Content::Upstream(..) => None,
        }
    }

    fn book(&mut self, entry: impl FnOnce(&mut Stream)) {
        if let Some(stream) = &mut self.stream {
            entry(stream);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseBodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        let this = self.get_mut();
        let frame = match &mut this.content {
            Content::Local(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Content::Switched(_) => None,
            Content::Upstream(body, deadline) => match Pin::new(body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    let Some(deadline) = deadline else { return Poll::Pending };
                    ready!(deadline.poll(cx));
                    this.book(Stream::response_timed_out);
                    return Poll::Ready(Some(Err(ResponseBodyError::Timeout)));
                }
            },
        };
        match frame {
            Some(Ok(frame)) => {
                this.book(|stream| stream.sending(&frame));
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                this.book(|stream| stream.response_broke(error));
                Poll::Ready(Some(Err(ResponseBodyError::Upstream)))
            }
            None => {
                this.book(Stream::complete);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Local(bytes) => bytes.is_none(),
            Content::Switched(_) => true,
            Content::Upstream(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Switched(_) => SizeHint::with_exact(0),
            Content::Local(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Content::Upstream(body, _) => body.size_hint(),
        }
    }
}

impl Outgoing for ResponseBody {
    /// The route's timeout holds for a client that does not take what there is, too.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<ResponseBodyError> {
        let Content::Upstream(_, Some(deadline)) = &mut self.content else { return Poll::Pending };
        ready!(deadline.poll(cx));
        self.book(Stream::response_timed_out);
        Poll::Ready(ResponseBodyError::Timeout)
    }

    /// Over HTTP/2 the end of an answer may be a frame of its own, trailers or empty data. It is not waited for, since the client
    /// has a whole answer; but a stream whose end is here need not be reset.
    fn ends_at_head(&mut self, cx: &mut Context<'_>) {
        let ResponseBody { content, stream } = self;
        if let (Content::Upstream(body, _), Some(stream)) = (content, stream) {
            while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut *body).poll_frame(cx) {
                if frame.is_trailers() {
                    stream.sending(&frame);
                }
            }
        }
        self.book(Stream::complete);
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if self.is_end_stream() {
            self.book(Stream::complete);
        }
    }
}
