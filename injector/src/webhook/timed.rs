//! A connection's stream that fails once its stage has lasted too long, and the body that tells when an answer ends.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::places::{Seat, Stage};
use super::server::Limits;

/// See the module.
pub(super) struct Timed<S> {
    inner: S,
    seat: Arc<Seat>,
    limits: Limits,
    timed: Stage,
    deadline: Pin<Box<Sleep>>,
}

impl<S> Timed<S> {
    pub(super) fn new(inner: S, seat: Arc<Seat>, limits: Limits) -> Self {
        Self { inner, seat, limits, timed: Stage::Fresh, deadline: Box::pin(tokio::time::sleep(limits.head)) }
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let stage = self.seat.stage();
        if stage != self.timed {
            self.timed = stage;
            let time = match stage {
                Stage::Fresh | Stage::Head => self.limits.head,
                Stage::Request => self.limits.request,
                Stage::Idle if self.seat.is_reviewed() => self.limits.idle,
                Stage::Idle => self.limits.idle_stranger,
            };
            self.deadline.as_mut().reset(Instant::now() + time);
        }
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        if buffer.filled().len() > before && matches!(self.seat.stage(), Stage::Fresh | Stage::Idle) {
            self.seat.enter(Stage::Head);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    /// The HTTP side flushes only after it has written all it has.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        ready!(Pin::new(&mut self.inner).poll_flush(context))?;
        self.seat.flushed();
        // The new stage's time runs although nothing may be read for long.
        self.check(context)?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// An answer's body. It is dropped as soon as its last byte is in the connection's buffer.
pub(super) struct Answer {
    inner: axum::body::Body,
    seat: Arc<Seat>,
}

impl Answer {
    pub(super) fn new(inner: axum::body::Body, seat: Arc<Seat>) -> Self {
        Self { inner, seat }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.seat.answer_ends();
    }
}

impl Body for Answer {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
