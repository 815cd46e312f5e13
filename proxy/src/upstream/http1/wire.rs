//! One connection, used by one request at a time.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};
use http_body::{Body, Frame};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::request::{Outgoing, write_head};
use super::response::{Answer, parse};
use crate::error::{Failure, Sent};
use crate::http::body::Outgoing as _;
use crate::http1::{Cut, Ending, Reading, SMALL, SPARE_CAPACITY, Unsent, buffer};
use crate::prefixed::Prefixed;
use crate::runtime::Turn;
use crate::upstream::connect::UpstreamIo;
use crate::upstream::upload::UploadBody;

const LINE_END: &[u8] = b"\r\n";

thread_local! {
    /// Where the worker's requests are written before they are sent.
    static OUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a connection becomes after a 101.
pub type Tunnel = Prefixed<UpstreamIo>;

/// A connection to an upstream.
#[derive(Debug)]
pub struct Wire {
    io: UpstreamIo,
    /// The beginning of a head that came in pieces.
    early: BytesMut,
    /// What the kernel did not take at once, in this order.
    unsent: Unsent,
    upload: Option<Box<Uploading>>,
    sent: Sent,
    /// Writing failed: an answer may have come nevertheless.
    broken: bool,
    reusable: bool,
}

/// A request body on its way out.
#[derive(Debug)]
struct Uploading {
    body: UploadBody,
    ending: Ending,
}

impl Wire {
    /// A connection that was just established.
    pub fn new(io: UpstreamIo) -> Box<Self> {
        Box::new(Wire {
            io,
            early: BytesMut::new(),
            unsent: Unsent::default(),
            upload: None,
            sent: Sent::Nothing,
            broken: false,
            reusable: true,
        })
    }

    /// Sends a request and waits for the head of the answer. The body, if any, is sent meanwhile, and has not always come to
    /// its end when the answer comes.
    ///
    /// # Errors
    /// What failed; [`Wire::sent`] tells how far the request had got.
    pub async fn exchange(&mut self, request: Outgoing<'_>) -> Result<Answer, Failure> {
        let bodiless = request.method == Method::HEAD;
        let (mut request, mut turn) = (Some(request), Turn::default());
        poll_fn(|cx| {
            ready!(turn.poll(cx));
            if let Some(request) = request.take() {
                self.begin(request, cx)?;
            }
            if let Poll::Ready(Err(failure)) = self.poll_upload(cx) {
                return Poll::Ready(Err(failure));
            }
            self.poll_answer(cx, bodiless)
        })
        .await
    }

    /// How far the present request got.
    pub fn sent(&self) -> Sent {
        self.sent
    }

    /// Whether part of the request has not been sent yet.
    pub fn is_uploading(&self) -> bool {
        self.upload.is_some() || !self.unsent.is_empty()
    }

    /// Whether another request may follow once the answer is over.
    pub fn is_reusable(&self) -> bool {
        self.reusable && !self.broken && !self.is_uploading()
    }

    /// No request may follow.
    pub fn never_again(&mut self) {
        self.reusable = false;
    }

    /// Whether an idle connection can still be used, as far as the runtime knows: the server has neither closed it nor said
    /// anything.
    pub fn is_alive(&mut self) -> bool {
        let mut byte = [0];
        Pin::new(&mut self.io).poll_read(&mut Context::from_waker(Waker::noop()), &mut ReadBuf::new(&mut byte)).is_pending()
    }

    /// The next frame of an answer; `None` at its end.
    pub fn poll_frame(&mut self, reading: &mut Reading, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let frame = ready!(reading.poll_frame(&mut self.io, cx));
        // More than was asked for: an answer to a question that was never asked.
        if reading.is_over() && reading.has_more() {
            self.never_again();
        }
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|cut| {
                self.never_again();
                match cut {
                    Cut::Short => Failure::Terminated,
                    Cut::Malformed => Failure::Protocol,
                }
            })
        }))
    }

    /// The connection after a 101; `rest` was read with its head.
    pub fn into_tunnel(self, rest: Bytes) -> Tunnel {
        Prefixed::new(rest, self.io)
    }

    fn begin(&mut self, request: Outgoing<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        (self.sent, self.reusable) = (Sent::Nothing, true);
        OUT.with_borrow_mut(|out| {
            out.clear();
            if let Some((ending, body)) = write_head(out, &request).zip(request.upload) {
                self.upload = Some(Box::new(Uploading { body, ending }));
                // A body that is at hand goes out with the head.
                let _ = self.next_chunk(cx, out)?;
            }
            if self.unsent.chunk.is_empty()
                && let Poll::Ready(result) = Pin::new(&mut self.io).poll_write(cx, out)
            {
                let written = self.wrote(result);
                if written < out.len() && !self.broken {
                    self.unsent.head = Bytes::copy_from_slice(&out[written..]);
                }
            } else {
                self.unsent.head = Bytes::copy_from_slice(out);
            }
            if out.capacity() > SPARE_CAPACITY {
                *out = Vec::new();
            }
            Ok(())
        })
    }

    /// Sends as much of the request as can be sent now; ready when all of it is.
    ///
    /// # Errors
    /// The client's body broke off. An upstream that does not take it is no error here: it may have answered.
    pub fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            if self.poll_write(cx).is_pending() {
                let Some(uploading) = &mut self.upload else { return Poll::Pending };
                return uploading.body.poll_overdue(cx).map(|_| Err(Failure::Downstream));
            }
            if self.upload.is_none() {
                return Poll::Ready(Ok(()));
            }
            let mut out = Vec::new();
            if ready!(self.next_chunk(cx, &mut out)?).is_some() {
                self.unsent.head = out.into();
            }
        }
    }

    /// Takes the next frame of the body: framing and small chunks into `out`, a large chunk behind it. `None` when there is
    /// no body any more.
    fn next_chunk(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<Result<Option<()>, Failure>> {
        let Some(uploading) = &mut self.upload else { return Poll::Ready(Ok(None)) };
        let frame = match ready!(Pin::new(&mut uploading.body).poll_frame(cx)) {
            Some(Ok(frame)) => Some(frame),
            Some(Err(_)) => return Poll::Ready(Err(Failure::Downstream)),
            None => None,
        };
        // Trailers come from HTTP/2 alone, and stay behind.
        if let Some(Ok(chunk)) = frame.map(Frame::into_data) {
            let line_end = uploading.ending.open_chunk(out, &chunk).ok_or(Failure::Downstream)?;
            let tail = if line_end { LINE_END } else { b"" };
            if chunk.len() > SMALL {
                (self.unsent.chunk, self.unsent.tail) = (chunk, tail);
                return Poll::Ready(Ok(Some(())));
            }
            out.extend_from_slice(&chunk);
            out.extend_from_slice(tail);
            if !uploading.body.is_end_stream() {
                return Poll::Ready(Ok(Some(())));
            }
        }
        let complete = self.upload.take().is_none_or(|uploading| uploading.ending.close(out));
        Poll::Ready(if complete { Ok(Some(())) } else { Err(Failure::Downstream) })
    }

    /// Writes what is unsent.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.unsent.is_empty() {
            let result = ready!(self.unsent.poll_write(&mut self.io, cx));
            self.wrote(result);
        }
        if self.unsent.flush {
            let flushed = ready!(Pin::new(&mut self.io).poll_flush(cx));
            self.unsent.flush = false;
            self.broken |= flushed.is_err();
        }
        Poll::Ready(())
    }

    /// Books a write. After one that failed nothing more is written.
    fn wrote(&mut self, result: io::Result<usize>) -> usize {
        match result {
            Ok(written) if written > 0 => {
                (self.sent, self.unsent.flush) = (Sent::Unanswered, true);
                written
            }
            _ => {
                (self.unsent, self.upload, self.broken) = (Unsent::default(), None, true);
                0
            }
        }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>, bodiless: bool) -> Poll<Result<Answer, Failure>> {
        loop {
            let read = match ready!(buffer::poll_read(&mut self.io, cx)) {
                Ok(read) if !read.is_empty() => read,
                _ => return Poll::Ready(Err(Failure::Terminated)),
            };
            let mut bytes = read;
            if !self.early.is_empty() {
                self.early.extend_from_slice(&bytes);
                bytes = std::mem::take(&mut self.early).freeze();
            }
            while let Some(answer) = parse(&mut bytes, bodiless)? {
                if !answer.status.is_informational() || answer.status == StatusCode::SWITCHING_PROTOCOLS {
                    self.reusable = answer.keep_alive && !answer.status.is_informational();
                    return Poll::Ready(Ok(Answer { rest: bytes, ..answer }));
                }
                // Others, such as 103 Early Hints, say nothing about the body.
                if let (StatusCode::CONTINUE, Some(uploading)) = (answer.status, &self.upload) {
                    uploading.body.agreed();
                }
            }
            self.early = BytesMut::from(&bytes[..]);
        }
    }
}
