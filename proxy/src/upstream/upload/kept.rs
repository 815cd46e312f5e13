//! What is kept of a request body, for the present attempt and for those that may follow. Pure.

use std::collections::VecDeque;

use bytes::Bytes;

/// Envoy's per-stream buffer limit under Istio, in bytes; for chunks and the places that they take.
const CAP: usize = 1 << 20;

/// Chunks that were read and not sent yet and, while another attempt may want them, those that were sent.
#[derive(Debug)]
pub struct Kept {
    chunks: VecDeque<Bytes>,
    /// How many of them the present attempt has sent; none unless recording.
    sent: usize,
    /// What they take.
    bytes: usize,
    recording: bool,
    /// Something was sent that is not here.
    lost: bool,
}

impl Kept {
    /// Nothing yet. `recording`: what is sent is kept, too.
    pub fn new(recording: bool) -> Self {
        Kept { chunks: VecDeque::new(), sent: 0, bytes: 0, recording, lost: false }
    }

    /// Whether an attempt could still begin with the first byte.
    pub fn is_whole(&self) -> bool {
        !self.lost
    }

    /// Whether more may be read than is sent.
    pub fn has_room(&self) -> bool {
        self.bytes < CAP
    }

    /// Whether the present attempt has sent all that is here.
    pub fn is_sent(&self) -> bool {
        self.sent >= self.chunks.len()
    }

    /// The next attempt begins.
    pub fn rewind(&mut self) {
        self.sent = 0;
    }

    /// Takes a chunk that was read ahead.
    pub fn push(&mut self, chunk: Bytes) {
        self.bytes += weight(&chunk);
        self.chunks.push_back(chunk);
        self.hold_cap();
    }

    /// Takes note of a chunk that is sent as it is read. None waits before it.
    pub fn pass(&mut self, chunk: &Bytes) {
        if !self.recording {
            self.lost = true;
            return;
        }
        self.bytes += weight(chunk);
        self.chunks.push_back(chunk.clone());
        self.sent = self.chunks.len();
        self.hold_cap();
    }

    /// The next chunk that the present attempt has not sent.
    pub fn next(&mut self) -> Option<Bytes> {
        if self.recording {
            let chunk = self.chunks.get(self.sent).cloned()?;
            self.sent += 1;
            return Some(chunk);
        }
        let chunk = self.chunks.pop_front()?;
        (self.bytes, self.lost) = (self.bytes - weight(&chunk), true);
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new();
        }
        Some(chunk)
    }

    /// No attempt follows: what is sent is let go.
    pub fn stop_recording(&mut self) {
        if std::mem::take(&mut self.recording) {
            let sent = std::mem::take(&mut self.sent).min(self.chunks.len());
            self.lost |= sent > 0;
            self.bytes -= self.chunks.drain(..sent).map(|chunk| weight(&chunk)).sum::<usize>();
            self.chunks.shrink_to_fit();
        }
    }

    fn hold_cap(&mut self) {
        if self.bytes > CAP {
            self.stop_recording();
        }
    }
}

/// What a chunk takes while it is kept: one of a byte takes many times that.
fn weight(chunk: &Bytes) -> usize {
    chunk.len() + size_of::<Bytes>()
}
