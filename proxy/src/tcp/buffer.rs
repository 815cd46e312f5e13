//! Read buffers, lent by the thread: a direction has one only while it holds bytes that the other side has not taken.
//!
//! So ten thousand idle or chatty tunnels share one large buffer, warm in the cache, where each used to keep 4 KiB per
//! direction; and a transfer that is not spliced gets large reads from its first byte.

use std::cell::Cell;

/// Bytes of a buffer.
const SIZE: usize = 64 * 1024;

thread_local! {
    /// The one that nobody has.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Bytes read and not yet written, of one direction.
#[derive(Debug, Default)]
pub struct Buffer {
    /// Empty, or [`SIZE`] bytes.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// What is not yet written.
    pub fn unwritten(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Notes that so much of it was written.
    pub fn wrote(&mut self, count: usize) {
        self.start += count;
    }

    /// Room to read into; nothing may be unwritten.
    pub fn room(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = SPARE.take();
        }
        if self.bytes.is_empty() {
            self.bytes = vec![0; SIZE];
        }
        (self.start, self.end) = (0, 0);
        &mut self.bytes
    }

    /// Notes that so much of the room was read into.
    pub fn read(&mut self, count: usize) {
        self.end = count;
    }

    /// Gives the buffer back, if nothing is unwritten.
    pub fn rest(&mut self) {
        if self.start == self.end && !self.bytes.is_empty() {
            SPARE.set(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_at_rest_is_the_next_ones_and_one_with_bytes_is_nobodys() {
        let (mut one, mut other) = (Buffer::default(), Buffer::default());
        let first = one.room().as_ptr();
        one.read(0);
        one.rest();
        assert_eq!(other.room().as_ptr(), first);
        other.read(3);
        other.wrote(2);
        other.rest();
        assert_eq!(other.unwritten().len(), 1);
        assert_ne!(one.room().as_ptr(), first);
    }
}
