//! Request bodies on their way upstream: streamed once, kept only while a retry may still happen.
//!
//! Every attempt gets a [`UploadBody`] over one shared [`Upload`]. It first yields the chunks that earlier attempts took
//! from the client, then goes on reading. Chunks are shared `Bytes`, so keeping them copies nothing. Beyond one mebibyte the
//! attempt in progress goes on and later ones become impossible (Istio semantics 8.7). Only the newest attempt may read:
//! what is left of an earlier one gets an error.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::http::body::{ClientBody, Incoming, Outgoing};

/// Envoy's per-stream buffer limit under Istio.
const CAP: usize = 1 << 20;

/// How long a client that announced `Expect: 100-continue` is left waiting when the upstream says nothing; clients go on
/// by themselves after about this time.
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// A request body shared by the attempts to send it.
#[derive(Debug)]
pub struct Upload<B = ClientBody> {
    state: Mutex<State<B>>,
    received: AtomicU64,
    hint: SizeHint,
}

#[derive(Debug)]
struct State<B> {
    /// None once nobody will read it any more, so that the codec does not keep what the client still sends: over HTTP/2 that would
    /// take from the window that its other streams need.
    source: Option<B>,
    /// No attempt follows the present one.
    settled: bool,
    /// The body of the present attempt is gone.
    sent: bool,
    /// Number of the attempt that may read.
    attempt: u32,
    /// What earlier attempts read, while [`State::recording`]; else what the present one has not sent yet.
    chunks: Vec<Bytes>,
    /// How many of them the present attempt has sent.
    passed: usize,
    recorded: usize,
    recording: bool,
    trailers: Option<HeaderMap>,
    end: End,
    gate: Gate,
    /// The exchange, waiting for the end of the request to start its clock.
    waiting: Option<Waker>,
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
            sent: false,
            attempt: 0,
            chunks: Vec::new(),
            passed: 0,
            recorded: 0,
            recording: record,
            trailers: None,
            end: End::Open,
            gate,
            waiting: None,
        };
        Arc::new(Upload { state: Mutex::new(state), received: AtomicU64::new(0), hint })
    }

    /// The body for the next attempt; bodies given out before are cut off.
    pub fn attempt(self: &Arc<Self>) -> UploadBody<B> {
        let mut state = self.lock();
        (state.attempt, state.passed, state.sent) = (state.attempt + 1, 0, false);
        UploadBody { upload: Arc::clone(self), attempt: state.attempt, trailers_sent: false }
    }

    /// Whether another attempt would send the same bytes.
    pub fn is_replayable(&self) -> bool {
        let state = self.lock();
        state.end != End::Broken && (state.recording || (self.received() == 0 && state.end == End::Open))
    }

    /// No retry will happen: what is kept is dropped as soon as it is sent, which most of it has been.
    pub fn stop_recording(&self) {
        let mut state = self.lock();
        if std::mem::take(&mut state.recording) {
            state.forget_passed();
        }
        state.settled = true;
        state.abandon();
    }

    /// Body bytes read from the client.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Whether the client broke off.
    pub fn is_broken(&self) -> bool {
        self.lock().end == End::Broken
    }

    /// Whether the whole body has been read.
    pub fn is_complete(&self) -> bool {
        matches!(self.lock().end, End::Complete(_))
    }

    /// The moment the whole request was received; pending while it is not.
    pub fn poll_complete(&self, cx: &mut Context<'_>) -> Poll<Instant> {
        let mut state = self.lock();
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
        if self.settled && self.sent {
            (self.source, self.trailers) = (None, None);
            (self.chunks, self.passed) = (Vec::new(), 0);
        }
    }

    fn forget_passed(&mut self) {
        let passed = std::mem::take(&mut self.passed).min(self.chunks.len());
        self.chunks.drain(..passed);
        self.chunks.shrink_to_fit();
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

    /// Keeps a chunk that is being sent, if a retry may need it.
    fn record(&mut self, chunk: &Bytes) {
        if self.recorded + chunk.len() > CAP {
            self.recording = false;
        }
        if self.recording {
            self.recorded += chunk.len();
            self.chunks.push(chunk.clone());
            self.passed = self.chunks.len();
        } else {
            // The reader is past them all.
            (self.chunks, self.passed) = (Vec::new(), 0);
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
        if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
        }
        if frame.is_trailers() || source.is_end_stream() {
            self.finish(End::Complete(Instant::now()));
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

impl<B: Incoming> Outgoing for UploadBody<B> {}

impl<B: Incoming> Drop for UploadBody<B> {
    fn drop(&mut self) {
        let mut state = self.upload.lock();
        if state.attempt == self.attempt {
            state.sent = true;
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
        let (recording, next) = (state.recording, state.passed);
        if let Some(chunk) = state.chunks.get_mut(next) {
            let chunk = if recording { chunk.clone() } else { std::mem::take(chunk) };
            state.passed += 1;
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
                    self.upload.received.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                    state.record(chunk);
                }
            }
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let state = self.upload.lock();
        let sent = state.passed >= state.chunks.len() && (self.trailers_sent || state.trailers.is_none());
        sent && matches!(state.end, End::Complete(_))
    }

    /// Of the whole body; asked for before anything of it is sent.
    fn size_hint(&self) -> SizeHint {
        self.upload.hint
    }
}

#[cfg(test)]
mod tests;
