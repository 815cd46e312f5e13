//! What the kernel did not take at once.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderName, HeaderValue};
use tokio::io::AsyncWrite;

/// Bytes to be written, in this order.
#[derive(Debug, Default)]
pub struct Unsent {
    /// A head, framing, small chunks.
    pub head: Bytes,
    /// A large chunk, which is not copied.
    pub chunk: Bytes,
    /// What ends it.
    pub tail: &'static [u8],
    /// Something was written that may still be in a buffer below.
    pub flush: bool,
}

impl Unsent {
    /// Whether everything was written.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty() && self.chunk.is_empty() && self.tail.is_empty()
    }

    /// Writes once; ready with the number of bytes, which is never 0.
    ///
    /// # Errors
    /// The transport's.
    pub fn poll_write<I: AsyncWrite + Unpin>(&mut self, io: &mut I, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let slices = [IoSlice::new(&self.head), IoSlice::new(&self.chunk), IoSlice::new(self.tail)];
        let written = match (self.chunk.is_empty(), self.tail.is_empty()) {
            (true, true) => ready!(Pin::new(io).poll_write(cx, &self.head))?,
            _ => ready!(Pin::new(io).poll_write_vectored(cx, &slices))?,
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.flush = true;
        self.advance(written);
        Poll::Ready(Ok(written))
    }

    fn advance(&mut self, written: usize) {
        let head = take(&mut self.head, written);
        let chunk = take(&mut self.chunk, written - head);
        self.tail = self.tail.get(written - head - chunk..).unwrap_or_default();
    }
}

/// Takes up to `most` off the front. What is empty then lets go of its memory, which may be a large read.
fn take(bytes: &mut Bytes, most: usize) -> usize {
    if most < bytes.len() {
        bytes.advance(most);
        return most;
    }
    std::mem::take(bytes).len()
}

/// Appends a field with its line end.
pub fn write_field(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}
