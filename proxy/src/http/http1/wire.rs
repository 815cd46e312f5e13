//! The bytes of a connection: read ahead, waiting to be sent, and whose turn it is to read.
//!
//! The task of a connection owns it, but for one thing: while a request body is on its way, whoever sends it upstream reads it
//! ([`super::Inlet`]), in whatever task that happens. So the wire is shared, behind a lock that nobody ever waits for, since all
//! of them run on one worker.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use tokio::io::AsyncWrite;
use tokio::time::{Instant, Sleep, sleep};

use super::head::{Head, Parsed, may_end, parse, skip_empty_lines};
use super::refusal::Refusal;
use crate::http1::{Cut, MAX_HEAD, Reading, Unsent, buffer};
use crate::listener::{DownstreamIo, Transport};
use crate::prefixed::Prefixed;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// What an HTTP/2 client sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much is read ahead while a request is served, to see whether the client is still there.
const MAX_AHEAD: usize = 16 * 1024;
/// How often a client of which not everything is read is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// Empty lines before a head: there may be one, and a few are borne with.
const MAX_EMPTY_LINES: usize = 8;

/// A connection to a client.
#[derive(Debug)]
pub struct Wire {
    io: Transport,
    /// Read and not looked at.
    input: Bytes,
    /// The beginning of a head that came in pieces.
    partial: BytesMut,
    /// Empty lines before it.
    empty_lines: usize,
    /// What the kernel did not take at once.
    pub unsent: Unsent,
    body: Inflow,
    /// Number of the request that `body` belongs to.
    request: u64,
    /// A 100 is on its way, which the reader of the body sends. Nobody else writes meanwhile.
    permitting: bool,
    /// The connection's task, when it waits for the end of the body.
    owner: Option<Waker>,
    reading: Hands,
    /// When to look again whether a client has gone of which not everything is read.
    watch: Option<Pin<Box<Sleep>>>,
    /// Who reads the body, when it waits for more.
    reader: Option<Waker>,
}

/// The body of the present request.
#[derive(Debug, Default)]
enum Inflow {
    /// There is none, or it was read to its end.
    #[default]
    Over,
    /// The client waits for a 100.
    Expecting(Reading),
    Open(Reading),
    /// It broke off: no other request can follow.
    Broken,
    /// The client has gone in the middle of it.
    Gone,
}

/// Whether somebody reads the body of the present request, who then notices that the client has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hands {
    /// Nobody has begun to, or who did has left it.
    None,
    /// Somebody does.
    Reading,
    /// Somebody does, but has no room for more for now.
    Full,
}

/// What comes next on a connection.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once, and a box would cost more than the move")]
#[derive(Debug)]
pub enum Next {
    /// A request.
    Head(Head),
    /// What cannot be served.
    Refused(Refusal),
    /// The preface of HTTP/2, which stays to be read.
    Http2,
    /// The end of the connection.
    End,
}

/// What became of the body of a request that was answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Leftover {
    /// It was read to its end.
    None,
    /// More of it may come.
    Some,
    /// No other request can be told from it.
    Broken,
}

/// A wire in the hands of its connection and, for the time of a request body, of who reads that.
pub type Shared = Arc<Mutex<Wire>>;

/// Locks a wire.
pub fn lock(wire: &Shared) -> MutexGuard<'_, Wire> {
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the waker of whoever asks.
fn remember(place: &mut Option<Waker>, cx: &Context<'_>) {
    if !place.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
        *place = Some(cx.waker().clone());
    }
}

impl Wire {
    /// A connection of which part was read already.
    pub fn shared(io: DownstreamIo) -> Shared {
        let (input, io) = io.into_parts();
        Arc::new(Mutex::new(Wire {
            io,
            input,
            partial: BytesMut::new(),
            empty_lines: 0,
            unsent: Unsent::default(),
            body: Inflow::Over,
            request: 0,
            permitting: false,
            owner: None,
            reading: Hands::None,
            watch: None,
            reader: None,
        }))
    }

    /// Whether the client closes a session of its own, beneath which the end of the stream is no sign.
    pub fn is_tls(&self) -> bool {
        matches!(self.io, Transport::Tls(_))
    }

    /// Whether the event loop tells nothing about the client so far.
    pub fn is_fresh(&self) -> bool {
        matches!(&self.io, Transport::Plain(socket) if socket.is_fresh())
    }

    /// The connection, with what was read and not looked at in front. The wire is of no use afterwards.
    pub fn into_io(self) -> DownstreamIo {
        Prefixed::new(self.input, self.io)
    }

    /// Waits for a head. `sniff`: for the preface of HTTP/2, too.
    pub fn poll_head(&mut self, sniff: bool, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            self.empty_lines += skip_empty_lines(&mut self.input);
            if self.empty_lines > MAX_EMPTY_LINES {
                return Poll::Ready(Next::Refused(Refusal::Malformed));
            }
            if !self.input.is_empty() {
                if sniff && self.input.starts_with(PREFACE) {
                    return Poll::Ready(Next::Http2);
                }
                match parse(&self.input) {
                    Parsed::Head(head) => return Poll::Ready(Next::Head(self.begin(head))),
                    Parsed::Refused(refusal) if !sniff || !PREFACE.starts_with(&self.input) => return Poll::Ready(Next::Refused(refusal)),
                    Parsed::Refused(_) | Parsed::Incomplete => self.partial = BytesMut::from(&std::mem::take(&mut self.input)[..]),
                }
            }
            let read = match ready!(buffer::poll_read(&mut self.io, cx)) {
                Ok(read) if !read.is_empty() => read,
                _ => return Poll::Ready(Next::End),
            };
            if self.partial.is_empty() {
                self.input = read;
                continue;
            }
            let seen = self.partial.len();
            self.partial.extend_from_slice(&read);
            if self.partial.len() > MAX_HEAD || may_end(&self.partial, seen) {
                self.input = std::mem::take(&mut self.partial).freeze();
            }
        }
    }

    /// Whether part of a head has come.
    pub fn is_in_head(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Takes a head off the input; what follows it is the body's, and then another request's.
    fn begin(&mut self, head: Head) -> Head {
        let rest = self.input.split_off(head.length.min(self.input.len()));
        self.input = rest;
        (self.request, self.empty_lines) = (self.request + 1, 0);
        if let Some(framing) = head.body {
            let reading = Reading::new(framing, std::mem::take(&mut self.input));
            self.reading = Hands::None;
            self.body = if head.asked.expects_continue { Inflow::Expecting(reading) } else { Inflow::Open(reading) };
        }
        head
    }

    /// Number of the present request.
    pub fn request(&self) -> u64 {
        self.request
    }

    /// Waits for the client to go away, which matters while an answer is on its way or waited for. Who reads the request's body
    /// notices, unless there is no room for more of it.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.body {
            Inflow::Broken => Poll::Pending,
            Inflow::Gone => Poll::Ready(()),
            Inflow::Over => self.poll_ahead(cx),
            Inflow::Expecting(_) | Inflow::Open(_) => {
                remember(&mut self.owner, cx);
                match self.reading {
                    Hands::None => self.poll_ahead(cx),
                    Hands::Reading => Poll::Pending,
                    // What the sender has no room for stays in the socket: it is read in larger pieces later.
                    Hands::Full => self.poll_hung_up(cx),
                }
            }
        }
    }

    /// Reads what nobody has asked for yet, a little of it; ready when no more can come.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let ahead = match &self.body {
                Inflow::Expecting(reading) | Inflow::Open(reading) => reading.ahead(),
                Inflow::Over | Inflow::Broken | Inflow::Gone => self.input.len(),
            };
            if ahead >= MAX_AHEAD {
                return self.poll_hung_up(cx);
            }
            let read = match ready!(buffer::poll_read(&mut self.io, cx)) {
                Ok(read) if !read.is_empty() => read,
                _ => return Poll::Ready(()),
            };
            match &mut self.body {
                Inflow::Expecting(reading) | Inflow::Open(reading) => reading.push(read),
                Inflow::Over | Inflow::Broken | Inflow::Gone => buffer::append(&mut self.input, read),
            }
        }
    }

    /// Waits for a client to go away of which not everything is read. The runtime wakes for that only who waits for data, and there
    /// is some; so it is looked at from time to time, which takes no system call.
    fn poll_hung_up(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.io.is_hung_up() {
                return Poll::Ready(());
            }
            let watch = self.watch.get_or_insert_with(|| Box::pin(sleep(LOOK)));
            ready!(watch.as_mut().poll(cx));
            watch.as_mut().reset(Instant::now() + LOOK);
        }
    }

    /// Who reads the body of request number `request` has no room for more for now, and it is for its owner to see whether the client
    /// is there. An owner that runs in the same task sees to it by itself.
    pub fn rest(&mut self, request: u64, cx: &Context<'_>) {
        if request == self.request && self.reading == Hands::Reading {
            self.reading = Hands::Full;
            if let Some(owner) = self.owner.take_if(|owner| !owner.will_wake(cx.waker())) {
                owner.wake();
            }
        }
    }

    /// Nobody reads the body of request number `request` for now, so that it is for its owner to see whether the client is there.
    pub fn leave(&mut self, request: u64) {
        if request == self.request {
            (self.reading, self.reader) = (Hands::None, None);
            if let Some(owner) = self.owner.take() {
                owner.wake();
            }
        }
    }

    /// The next frame of the body of request number `request`.
    pub fn poll_body(&mut self, request: u64, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if request != self.request {
            return Poll::Ready(Some(Err(Cut::Short)));
        }
        self.reading = Hands::Reading;
        if matches!(self.body, Inflow::Expecting(_))
            && let Inflow::Expecting(reading) = std::mem::take(&mut self.body)
        {
            self.unsent.head = Bytes::from_static(CONTINUE);
            (self.body, self.permitting) = (Inflow::Open(reading), true);
        }
        if self.permitting {
            remember(&mut self.reader, cx);
            if ready!(self.poll_flush(cx)).is_err() {
                self.body = Inflow::Broken;
            }
            self.permitting = false;
        }
        let reading = match &mut self.body {
            Inflow::Open(reading) => reading,
            Inflow::Over => return Poll::Ready(None),
            Inflow::Expecting(_) | Inflow::Broken | Inflow::Gone => return Poll::Ready(Some(Err(Cut::Short))),
        };
        let Poll::Ready(frame) = reading.poll_frame(&mut self.io, cx) else {
            remember(&mut self.reader, cx);
            return Poll::Pending;
        };
        let over = frame.is_none() || reading.is_over();
        let broken = matches!(frame, Some(Err(_)));
        if let Some(Err(cut)) = frame {
            self.body = if cut == Cut::Short { Inflow::Gone } else { Inflow::Broken };
        } else if over && let Inflow::Open(reading) = std::mem::take(&mut self.body) {
            self.input = reading.into_input();
        }
        if (broken || over)
            && let Some(owner) = self.owner.take()
        {
            owner.wake();
        }
        Poll::Ready(frame)
    }

    /// Whether no body is on its way.
    pub fn is_at_head(&self) -> bool {
        matches!(self.body, Inflow::Over)
    }

    /// Whether the body of a request was read to its end.
    pub fn is_body_over(&self, request: u64) -> bool {
        request != self.request || matches!(self.body, Inflow::Over)
    }

    /// An answer begins. Whether it must be the last: the request's body broke off, or the client still waits for a 100, for which it
    /// is too late now, so that nobody knows whether the body will come.
    pub fn answers_last(&mut self) -> bool {
        if matches!(self.body, Inflow::Expecting(_)) {
            self.body = Inflow::Broken;
        }
        matches!(self.body, Inflow::Broken | Inflow::Gone)
    }

    /// Takes the reading of the body back from whoever has it, who is told.
    pub fn take_over(&mut self) -> Leftover {
        (self.request, self.owner, self.watch) = (self.request + 1, None, None);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        match self.body {
            Inflow::Over => Leftover::None,
            Inflow::Open(_) => Leftover::Some,
            Inflow::Expecting(_) | Inflow::Broken | Inflow::Gone => Leftover::Broken,
        }
    }

    /// Whether the client sent something that nobody has looked at.
    pub fn has_unread(&self) -> bool {
        !self.input.is_empty()
    }

    /// Reads once and throws it away; 0 at the end.
    pub fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        buffer::poll_read(&mut self.io, cx).map(|read| read.map_or(0, |read| read.len()))
    }

    /// Writes `out`; what the kernel does not take is kept. Nothing may be unsent.
    ///
    /// # Errors
    /// The transport's.
    pub fn write(&mut self, out: &[u8], cx: &mut Context<'_>) -> io::Result<()> {
        let written = match Pin::new(&mut self.io).poll_write(cx, out) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        self.unsent.flush = true;
        if let Some(rest) = out.get(written..).filter(|rest| !rest.is_empty()) {
            self.unsent.head = Bytes::copy_from_slice(rest);
        }
        Ok(())
    }

    /// Waits until everything is sent.
    ///
    /// # Errors
    /// The transport's.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            ready!(self.unsent.poll_write(&mut self.io, cx))?;
        }
        if self.unsent.flush {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unsent.flush = false;
        }
        if std::mem::take(&mut self.permitting) {
            // The kernel wakes only the last of those who wait until it takes more.
            self.owner.take().into_iter().chain(self.reader.take()).for_each(Waker::wake);
        }
        Poll::Ready(Ok(()))
    }

    /// Tells the client that nothing more comes.
    ///
    /// # Errors
    /// The transport's.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
