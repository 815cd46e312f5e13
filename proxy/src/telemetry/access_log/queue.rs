//! The bounded queue between a worker and the log writer.
//!
//! Two buffers change places: the worker appends lines to one while the writer writes the other, so that a line costs
//! neither an allocation nor a copy. When the writer cannot keep up, lines are dropped and counted; the request path never
//! waits for a slow reader of the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;

/// Bytes a worker may have waiting: some 2000 lines of Istio's default format.
const LIMIT: usize = 1 << 20;

/// One worker's end of the access log.
#[derive(Clone, Debug, Default)]
pub struct LogQueue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Vec<u8>>,
    dropped: AtomicU64,
    writer: OnceLock<Thread>,
}

impl LogQueue {
    /// Appends one line by way of `render`, or counts it as dropped when the queue is full.
    pub fn push(&self, render: impl FnOnce(&mut Vec<u8>)) {
        let mut waiting = self.lock();
        if waiting.len() >= LIMIT {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let was_empty = waiting.is_empty();
        render(&mut waiting);
        drop(waiting);
        if was_empty && let Some(writer) = self.0.writer.get() {
            writer.unpark();
        }
    }

    /// Takes all waiting lines, leaving `empty` in their place.
    pub(super) fn swap(&self, empty: &mut Vec<u8>) {
        std::mem::swap(&mut *self.lock(), empty);
    }

    /// Whether no line waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Names the thread to wake when the first line of a batch arrives.
    pub(super) fn wake(&self, writer: Thread) {
        let _ = self.0.writer.set(writer);
    }

    /// Lines dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// A render function that panicked leaves at worst part of a line.
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
