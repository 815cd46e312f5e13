//! The worker's read buffer.
//!
//! The kernel copies into memory that is warm because it is always the same, and what came is copied once more, into as much
//! memory as it takes. Small reads share slabs, so that most of them cost no allocation.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

/// Size of the buffer.
pub const READ: usize = 16 * 1024;
/// Size of a slab. A slow client that holds one small answer holds its slab.
const SLAB: usize = 16 * 1024;
/// Larger reads get memory of their own.
const SMALL: usize = SLAB / 4;

struct Buffer {
    read: Box<[u8]>,
    slab: BytesMut,
}

thread_local! {
    static BUFFER: RefCell<Buffer> = RefCell::new(Buffer { read: vec![0; READ].into(), slab: BytesMut::with_capacity(SLAB) });
}

/// Puts what was read behind what was read before.
pub fn append(input: &mut Bytes, read: Bytes) {
    *input = if input.is_empty() { read } else { [&input[..], &read[..]].concat().into() };
}

/// Lets go of the memory of an input that is used up: advanced to its end, it holds the slab or the large read it is in until
/// something else comes.
pub fn free(input: &mut Bytes) {
    if input.is_empty() {
        *input = Bytes::new();
    }
}

/// Reads once; empty at the end of the stream.
///
/// # Errors
/// The transport's.
pub fn poll_read<I: AsyncRead + Unpin>(io: &mut I, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    BUFFER.with_borrow_mut(|Buffer { read, slab }| {
        let mut into = ReadBuf::new(read);
        ready!(Pin::new(io).poll_read(cx, &mut into))?;
        let bytes = into.filled();
        if bytes.len() > SMALL {
            return Poll::Ready(Ok(Bytes::copy_from_slice(bytes)));
        }
        slab.extend_from_slice(bytes);
        Poll::Ready(Ok(slab.split().freeze()))
    })
}
