//! Request bodies on their way upstream: streamed once, kept only while a retry may still happen.
//!
//! Every attempt gets a [`UploadBody`] over one shared [`Upload`]. It first yields the chunks that earlier attempts took
//! from the client, then goes on reading. Chunks are shared `Bytes`, so keeping them copies nothing. Beyond one mebibyte the
//! attempt in progress goes on and later ones become impossible (Istio semantics 8.7). Only the newest attempt may read:
//! what is left of an earlier one gets an error.
//!
//! What an upstream does not take stays with the client, unless a clock waits for the end of the request: then it is read ahead, as
//! much as may be kept. A request that is larger than that has no deadline while its upstream takes nothing, as in Envoy.

mod kept;

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use self::kept::Kept;
use crate::http::body::{ClientBody, Incoming, Outgoing};

/// How long a client that announced `Expect: 100-continue` is left waiting when the upstream says nothing; clients go on
/// by themselves after about this time.
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// A request body shared by the attempts to send it.
#[derive(Debug)]
pub struct Upload<B = ClientBody> {
    state: Mutex<State<B>>,
    hint: SizeHint,
}

#[derive(Debug)]
struct State<B> {
    /// None once nobody will read it any more, so that the codec does not keep what the client still sends: over HTTP/2 that would
    /// take from the window that its other streams need.
    source: Option<B>,
    /// No attempt follows the present one.
    settled: bool,
    sender: Sender,
    /// Number of the attempt that may read.
    attempt: u32,
    kept: Kept,
    /// Body bytes read from the client.
    received: u64,
    trailers: Option<HeaderMap>,
    end: End,
    gate: Gate,
    /// The exchange, waiting for the end of the request to start its clock.
    waiting: Option<Waker>,
}

/// What the present attempt does with the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    /// It has no connection yet to send it on.
    Due,
    /// It reads.
    Reading,
    /// It waits until the upstream takes what it has read.
    Full,
    /// It has sent the body, or will not.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Complete(Instant),
    Broken,
}

/// `Expect: 100-continue`: nothing is read from the client before the upstream agrees, since reading makes the codec send
/// the 100.
#[derive(Debug)]
enum Gate {
    Open,
    Closed { patience: Option<Pin<Box<Sleep>>>, reader: Option<Waker> },
}

/// Why an upload ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// The client went away or broke its framing.
    #[error("the client's request body broke off")]
    Client,
    /// A newer attempt took over.
    #[error("a newer attempt sends this request")]
    Superseded,
}

impl<B: Incoming> Upload<B> {
    /// An upload of `source`. With `record` false nothing is kept and a second attempt is possible only while nothing was
    /// read. `expects_continue`: the client waits for a 100.
    pub fn new(source: B, record: bool, expects_continue: bool) -> Arc<Self> {
        let gate = if expects_continue { Gate::Closed { patience: None, reader: None } } else { Gate::Open };
        let hint = source.size_hint();
        let state = State {
            source: Some(source),
            settled: false,
            sender: Sender::Due,
            attempt: 0,
            kept: Kept::new(record),
            received: 0,
            trailers: None,
            end: End::Open,
            gate,
            waiting: None,
        };
        Arc::new(Upload { state: Mutex::new(state), hint })
    }

    /// The body for the next attempt; bodies given out before are cut off.
    pub fn attempt(self: &Arc<Self>) -> UploadBody<B> {
        let mut state = self.lock();
        (state.attempt, state.sender) = (state.attempt + 1, Sender::Reading);
        state.kept.rewind();
        UploadBody { upload: Arc::clone(self), attempt: state.attempt, trailers_sent: false }
    }

    /// Whether another attempt would send the same bytes.
    pub fn is_replayable(&self) -> bool {
        let state = self.lock();
        !state.settled && state.end != End::Broken && state.kept.is_whole()
    }

    /// No retry will happen: what is kept is dropped as soon as it is sent, which most of it has been.
    pub fn stop_recording(&self) {
        let mut state = self.lock();
        state.kept.stop_recording();
        state.settled = true;
        state.abandon();
    }

    /// Body bytes read from the client.
    pub fn received(&self) -> u64 {
        self.lock().received
    }

    /// Whether the client broke off.
    pub fn is_broken(&self) -> bool {
        self.lock().end == End::Broken
    }

    /// Whether the whole body has been read.
    pub fn is_complete(&self) -> bool {
        matches!(self.lock().end, End::Complete(_))
    }

    /// The moment the whole request was received; pending while it is not. While the attempt does not read, as it has no connection
    /// yet or its upstream takes no more, the rest is read here, as much of it as may be kept.
    pub fn poll_complete(&self, cx: &mut Context<'_>) -> Poll<Instant> {
        let mut state = self.lock();
        if state.sender != Sender::Reading && state.poll_ahead(cx).is_ready() {
            // For the sender, who may have been asked before, to learn of it.
            cx.waker().wake_by_ref();
        }
        match state.end {
            End::Complete(at) => Poll::Ready(at),
            End::Open | End::Broken => {
                state.waiting = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Whether the client waits for a 100.
    pub fn is_waiting(&self) -> bool {
        matches!(self.lock().gate, Gate::Closed { .. })
    }

    /// The upstream agreed to read the body.
    pub fn open(&self) {
        let gate = std::mem::replace(&mut self.lock().gate, Gate::Open);
        if let Gate::Closed { reader: Some(reader), .. } = gate {
            reader.wake();
        }
    }
}

impl<B> Upload<B> {
    fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> State<B> {
    /// Drops the source, and what was kept of it, when nobody will read it.
    fn abandon(&mut self) {
        if self.settled && self.sender == Sender::Gone {
            (self.source, self.trailers, self.kept) = (None, None, Kept::new(false));
        }
    }
}

impl Upload {
    /// Whether the client sent what is no body.
    pub fn is_malformed(&self) -> bool {
        self.lock().source.as_ref().is_some_and(ClientBody::is_malformed)
    }
}

impl<B: Incoming> State<B> {
    fn poll_gate(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Gate::Closed { patience, reader } = &mut self.gate else { return Poll::Ready(()) };
        *reader = Some(cx.waker().clone());
        let patience = patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(CONTINUE_PATIENCE)));
        std::task::ready!(patience.as_mut().poll(cx));
        self.gate = Gate::Open;
        Poll::Ready(())
    }

    fn finish(&mut self, end: End) {
        self.end = end;
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }

    /// Reads what the attempt has not asked for, until as much is kept as may be; ready when the body breaks off.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<UploadError> {
        if matches!(self.gate, Gate::Closed { .. }) || self.source.is_none() {
            return Poll::Pending;
        }
        while self.end == End::Open && self.kept.has_room() {
            match self.poll_source(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(error),
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(chunk) = frame.into_data() {
                        self.kept.push(chunk);
                    }
                }
                Poll::Ready(None) => {}
            }
        }
        self.rest(cx);
        Poll::Pending
    }

    fn rest(&mut self, cx: &Context<'_>) {
        if let Some(source) = &mut self.source {
            source.rest(cx);
        }
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let Some(source) = &mut self.source else { return Poll::Ready(Some(Err(UploadError::Superseded))) };
        let frame = match std::task::ready!(Pin::new(&mut *source).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(_)) => {
                self.finish(End::Broken);
                return Poll::Ready(Some(Err(UploadError::Client)));
            }
            None => {
                self.finish(End::Complete(Instant::now()));
                return Poll::Ready(None);
            }
        };
        if let Some(chunk) = frame.data_ref() {
            self.received += chunk.len() as u64;
        }
        if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
        }
        if frame.is_trailers() || source.is_end_stream() {
            self.finish(End::Complete(Instant::now()));
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

impl<B: Incoming> Outgoing for UploadBody<B> {
    /// The upstream takes nothing for now: somebody must see that the client goes away, and that the request is complete if a clock
    /// waits for that.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<UploadError> {
        let mut state = self.upload.lock();
        if state.attempt != self.attempt {
            return Poll::Ready(UploadError::Superseded);
        }
        if state.end == End::Broken {
            return Poll::Ready(UploadError::Client);
        }
        state.sender = Sender::Full;
        if state.waiting.is_some() {
            return state.poll_ahead(cx);
        }
        state.rest(cx);
        Poll::Pending
    }
}

impl<B: Incoming> Drop for UploadBody<B> {
    fn drop(&mut self) {
        let mut state = self.upload.lock();
        if state.attempt == self.attempt {
            state.sender = Sender::Gone;
            state.abandon();
            if let Some(source) = &mut state.source {
                source.leave();
            }
        }
    }
}

/// One attempt's view of an [`Upload`].
#[derive(Debug)]
pub struct UploadBody<B: Incoming = ClientBody> {
    upload: Arc<Upload<B>>,
    attempt: u32,
    trailers_sent: bool,
}

impl<B: Incoming> UploadBody<B> {
    /// Whether the client waits for a 100.
    pub fn is_waiting(&self) -> bool {
        self.upload.is_waiting()
    }

    /// The upstream agreed to read the body.
    pub fn agreed(&self) {
        self.upload.open();
    }
}

impl<B: Incoming> Body for UploadBody<B> {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let upload = Arc::clone(&self.upload);
        let mut state = upload.lock();
        if state.attempt != self.attempt {
            return Poll::Ready(Some(Err(UploadError::Superseded)));
        }
        std::task::ready!(state.poll_gate(cx));
        state.sender = Sender::Reading;
        if let Some(chunk) = state.kept.next() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match state.end {
            End::Broken => return Poll::Ready(Some(Err(UploadError::Client))),
            End::Complete(_) => {
                let trailers = if self.trailers_sent { None } else { state.trailers.clone() };
                self.trailers_sent = true;
                return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
            }
            End::Open => {}
        }
        let frame = std::task::ready!(state.poll_source(cx));
        match frame.as_ref().and_then(|frame| frame.as_ref().ok()) {
            Some(frame) if frame.is_trailers() => self.trailers_sent = true,
            Some(frame) => {
                if let Some(chunk) = frame.data_ref() {
                    state.kept.pass(chunk);
                }
            }
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let state = self.upload.lock();
        let sent = state.kept.is_sent() && (self.trailers_sent || state.trailers.is_none());
        sent && matches!(state.end, End::Complete(_))
    }

    /// Of the whole body; asked for before anything of it is sent.
    fn size_hint(&self) -> SizeHint {
        self.upload.hint
    }
}

#[cfg(test)]
mod tests;
