//! The body of an upstream's answer, whatever it is spoken in. It holds the connection it comes over and gives it back at its
//! end; dropped before, it closes an HTTP/1 connection and resets an HTTP/2 stream.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::http1::Tunnel;
use super::http2;
use super::pool::Lease;
use crate::error::Failure;
use crate::http1::{Framing, Reading};
use crate::runtime::spawn;

/// Bytes of the task that reads an answer while the request is still being sent.
const DRIVEN: usize = 2048;

type Received = Result<Frame<Bytes>, Failure>;

/// Body of an answer.
#[derive(Debug)]
pub struct UpstreamBody(Content);

#[derive(Debug)]
enum Content {
    /// All that is left has been read, and the connection given back.
    Whole(Bytes),
    /// HTTP/1, read as it is asked for.
    Streaming(Reading, Lease),
    /// HTTP/1, read by a task that sends the rest of the request meanwhile.
    Driven(mpsc::Receiver<Received>),
    /// HTTP/2; the stream counts until it is over.
    Http2 { answered: http2::Answered, _lease: Lease },
    /// It broke off, which has not been told yet.
    Broken(Failure),
    /// It came to its end, or broke off.
    Over,
}

impl UpstreamBody {
    /// What follows a head that came over `lease`, an HTTP/1 connection; `rest` was read with the head.
    pub fn http1(framing: Framing, mut rest: Bytes, lease: Lease) -> Self {
        if let Framing::Length(length) = framing
            && length <= rest.len() as u64
        {
            let whole = rest.split_to(usize::try_from(length).unwrap_or(usize::MAX));
            if rest.is_empty() {
                lease.release();
            }
            return UpstreamBody(Content::Whole(whole));
        }
        let reading = Reading::new(framing, rest);
        if !lease.is_uploading() {
            return UpstreamBody(Content::Streaming(reading, lease));
        }
        // Left to whoever reads the answer, the rest of the request would wait for the client to take the answer.
        let (frames, received) = mpsc::channel(1);
        spawn::<DRIVEN, _>(drive(reading, lease, frames));
        UpstreamBody(Content::Driven(received))
    }

    /// The body of a 101: none, but what was read with its head.
    pub fn switching(rest: Bytes, lease: Lease) -> Self {
        UpstreamBody(Content::Streaming(Reading::new(Framing::UntilClose, rest), lease))
    }

    /// A body that comes over HTTP/2.
    pub fn http2(answered: http2::Answered, lease: Lease) -> Self {
        UpstreamBody(Content::Http2 { answered, _lease: lease })
    }

    /// The connection of a 101.
    pub fn into_tunnel(self) -> Option<Tunnel> {
        match self.0 {
            Content::Streaming(reading, lease) => lease.into_tunnel(reading.into_input()),
            _ => None,
        }
    }

    /// Ends the body; gives the connection back when every byte of it was read.
    fn end(&mut self) {
        if let Content::Streaming(_, lease) = std::mem::replace(&mut self.0, Content::Over) {
            lease.release();
        }
    }

    /// The codec downstream drops what it has not written when a body fails. So it gets one turn to write the head and what came of
    /// the body, as it would have if the end had come a moment later.
    fn breaks(&mut self, failure: Failure, cx: &Context<'_>) -> Poll<Option<Received>> {
        self.0 = Content::Broken(failure);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Reads an answer and goes on sending its request, until the answer is over or nobody wants it any more.
async fn drive(mut reading: Reading, mut lease: Lease, frames: mpsc::Sender<Received>) {
    let mut unwanted = pin!(frames.closed());
    loop {
        let frame = poll_fn(|cx| {
            if unwanted.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            lease.poll_upload(cx);
            lease.poll_frame(&mut reading, cx)
        });
        let Some(frame) = frame.await else { break };
        let broken = frame.is_err();
        let mut place = pin!(frames.reserve());
        let place = poll_fn(|cx| {
            lease.poll_upload(cx);
            place.as_mut().poll(cx)
        });
        let Ok(place) = place.await else { return };
        place.send(frame);
        if broken {
            return;
        }
    }
    if !frames.is_closed() {
        lease.release();
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Received>> {
        let this = self.get_mut();
        let frame = match &mut this.0 {
            Content::Over => None,
            Content::Broken(failure) => Some(Err(*failure)),
            Content::Whole(bytes) if bytes.is_empty() => None,
            Content::Whole(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Content::Streaming(reading, lease) => match ready!(lease.poll_frame(reading, cx)) {
                Some(Err(failure)) => return this.breaks(failure, cx),
                frame => frame,
            },
            Content::Driven(frames) => ready!(frames.poll_recv(cx)),
            Content::Http2 { answered, .. } => match ready!(answered.poll_frame(cx)) {
                Some(Err(failure)) => return this.breaks(failure, cx),
                frame => frame,
            },
        };
        match &frame {
            None => this.end(),
            Some(Err(_)) => this.0 = Content::Over,
            Some(Ok(_)) => {
                if let Content::Streaming(reading, _) = &this.0
                    && reading.is_over()
                {
                    this.end();
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Over => true,
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Streaming(..) | Content::Driven(_) | Content::Broken(_) => false,
            Content::Http2 { answered, .. } => answered.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Over => SizeHint::with_exact(0),
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Streaming(reading, _) => reading.size_hint(),
            Content::Driven(_) | Content::Broken(_) => SizeHint::default(),
            Content::Http2 { answered, .. } => answered.size_hint(),
        }
    }
}
