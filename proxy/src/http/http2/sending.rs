//! A body on its way out over a stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Frame;

use crate::http::body::Outgoing;

/// Sends a body, frame by frame, as the peer's windows allow.
#[derive(Debug)]
pub struct Sending<B> {
    stream: SendStream<Bytes>,
    body: B,
    /// Read from the body and not sent yet.
    waiting: Option<Bytes>,
}

/// Why a body was not sent to its end.
#[derive(Debug)]
pub enum Cut<E> {
    /// The peer reset the stream, or the connection is gone.
    Peer(h2::Error),
    /// The body broke off; the stream has been reset.
    Body(E),
    /// The codec does not take what we send; the stream has been reset.
    Ours(h2::Error),
}

impl<B: Outgoing> Sending<B> {
    /// Sends `body` after the head, which did not end `stream`.
    pub fn new(stream: SendStream<Bytes>, body: B) -> Self {
        Sending { stream, body, waiting: None }
    }

    /// What is being sent.
    pub fn body(&self) -> &B {
        &self.body
    }

    /// Sends what can be sent; ready when all has been handed to the codec.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut<B::Error>>> {
        loop {
            if self.waiting.is_some() {
                let Poll::Ready(room) = self.poll_room(cx) else {
                    let error = ready!(self.body.poll_overdue(cx));
                    return Poll::Ready(Err(self.broke_off(error)));
                };
                room?;
                let data = self.waiting.take().unwrap_or_default();
                self.stream.send_data(data, false).map_err(|error| self.not_taken(error, cx))?;
            }
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else { return self.poll_unwanted(cx) };
            let taken = match frame {
                Some(Ok(frame)) => self.take(frame),
                Some(Err(error)) => return Poll::Ready(Err(self.broke_off(error))),
                None => self.stream.send_data(Bytes::new(), true).map(|()| true),
            };
            if taken.map_err(|error| self.not_taken(error, cx))? {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn broke_off(&mut self, error: B::Error) -> Cut<B::Error> {
        self.stream.send_reset(Reason::INTERNAL_ERROR);
        Cut::Body(error)
    }

    /// What it means that the codec refuses a frame: that the stream is over, else that the frame is wrong. It leaves the stream
    /// open then, and both ends waiting.
    fn not_taken(&mut self, error: h2::Error, cx: &mut Context<'_>) -> Cut<B::Error> {
        match self.stream.poll_reset(cx) {
            Poll::Ready(Ok(reason)) => Cut::Peer(reason.into()),
            Poll::Ready(Err(error)) => Cut::Peer(error),
            Poll::Pending => {
                self.stream.send_reset(Reason::INTERNAL_ERROR);
                Cut::Ours(error)
            }
        }
    }

    /// Sends a frame, or keeps it until the peer has room; true when it was the last.
    fn take(&mut self, frame: Frame<Bytes>) -> Result<bool, h2::Error> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                let Ok(trailers) = frame.into_trailers() else { return Ok(false) };
                self.stream.reserve_capacity(0);
                return self.stream.send_trailers(trailers).map(|()| true);
            }
        };
        // The codec may keep the last frame until there is room: nothing else would come to wait behind it.
        let last = self.body.is_end_stream();
        if last || data.is_empty() {
            self.stream.send_data(data, last)?;
            return Ok(last);
        }
        // Any room will do, since the codec cuts data to size. Asked for before there is data, room would be kept from other streams.
        self.stream.reserve_capacity(1);
        self.waiting = Some(data);
        Ok(false)
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut<B::Error>>> {
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(Cut::Peer(error))),
                None => return Poll::Ready(Err(Cut::Peer(Reason::STREAM_CLOSED.into()))),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Looks out for a reset while the body has nothing to send.
    fn poll_unwanted(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut<B::Error>>> {
        let reset = ready!(self.stream.poll_reset(cx));
        Poll::Ready(Err(Cut::Peer(reset.map_or_else(|error| error, h2::Error::from))))
    }
}
