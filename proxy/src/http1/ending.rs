//! Bodies as they are written. Pure.

use std::io::Write;

use bytes::Bytes;

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By its length; this is what is left of it.
    Length(u64),
    /// By the last chunk.
    Chunked,
    /// By the end of the connection; answers only.
    UntilClose,
}

impl Ending {
    /// Appends what stands before `chunk`, and says whether a line end must follow it; `None` when the chunk is more than
    /// the head promised.
    pub fn open_chunk(&mut self, out: &mut Vec<u8>, chunk: &Bytes) -> Option<bool> {
        match self {
            Ending::Length(left) => {
                *left = left.checked_sub(chunk.len() as u64)?;
                Some(false)
            }
            // An empty chunk would be the last one.
            Ending::Chunked if chunk.is_empty() => Some(false),
            Ending::UntilClose => Some(false),
            Ending::Chunked => {
                let _ = write!(out, "{:x}\r\n", chunk.len());
                Some(true)
            }
        }
    }

    /// Appends the end of the body; false when it is shorter than the head promised.
    pub fn close(self, out: &mut Vec<u8>) -> bool {
        match self {
            Ending::Length(left) => left == 0,
            Ending::UntilClose => true,
            Ending::Chunked => {
                out.extend_from_slice(b"0\r\n\r\n");
                true
            }
        }
    }
}
