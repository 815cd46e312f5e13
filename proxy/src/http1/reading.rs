//! A body as it is read.

use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::buffer::{self, READ};
use super::chunked::{Chunked, Malformed, Piece};

/// Where a body ends (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// With the connection; answers only.
    UntilClose,
}

/// Why a body cannot be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The stream ended or failed first.
    Short,
    /// Its chunks make no sense.
    Malformed,
}

/// Largest read of a body that comes faster than it is passed on.
const LARGE: usize = 128 * 1024;

/// What of a body has not been handed out yet.
#[derive(Debug)]
pub struct Reading {
    decoder: Decoder,
    input: Bytes,
    /// For bodies that fill the worker's buffer: they are read where they stay.
    large: Option<BytesMut>,
}

#[derive(Debug)]
enum Decoder {
    Length(u64),
    Chunked(Box<Chunked>),
    UntilClose,
}

impl Reading {
    /// A body of which `input` was read with the head.
    pub fn new(framing: Framing, input: Bytes) -> Self {
        let decoder = match framing {
            Framing::Length(length) => Decoder::Length(length),
            Framing::Chunked => Decoder::Chunked(Box::default()),
            Framing::UntilClose => Decoder::UntilClose,
        };
        Reading { decoder, input, large: None }
    }

    /// Whether every byte of the body has been handed out, as far as that can be told without reading.
    pub fn is_over(&self) -> bool {
        match &self.decoder {
            Decoder::Length(left) => *left == 0,
            Decoder::Chunked(chunked) => chunked.is_over(),
            Decoder::UntilClose => false,
        }
    }

    /// Whether something was read that lies behind the end of the body.
    pub fn has_more(&self) -> bool {
        !self.input.is_empty()
    }

    /// How much was read and not handed out.
    pub fn ahead(&self) -> usize {
        self.input.len()
    }

    /// Takes what was read by somebody else.
    pub fn push(&mut self, read: Bytes) {
        buffer::append(&mut self.input, read);
    }

    /// What was read and not handed out.
    pub fn into_input(self) -> Bytes {
        self.input
    }

    /// What is left, when the head told.
    pub fn size_hint(&self) -> SizeHint {
        match self.decoder {
            Decoder::Length(left) => SizeHint::with_exact(left),
            Decoder::Chunked(_) | Decoder::UntilClose => SizeHint::default(),
        }
    }

    /// The next frame; `None` at the end of the body.
    pub fn poll_frame<I: AsyncRead + Unpin>(&mut self, io: &mut I, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        loop {
            let piece = self.take();
            buffer::free(&mut self.input);
            match piece {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Piece::Over) => return Poll::Ready(None),
                Ok(Piece::More) => {}
                Err(Malformed) => return Poll::Ready(Some(Err(Cut::Malformed))),
            }
            self.input = match ready!(self.poll_read(io, cx)) {
                Ok(bytes) if !bytes.is_empty() => bytes,
                Ok(_) if matches!(self.decoder, Decoder::UntilClose) => return Poll::Ready(None),
                _ => return Poll::Ready(Some(Err(Cut::Short))),
            };
        }
    }

    fn take(&mut self) -> Result<Piece, Malformed> {
        Ok(match &mut self.decoder {
            Decoder::Length(0) => Piece::Over,
            Decoder::Chunked(chunked) => chunked.next(&mut self.input)?,
            _ if self.input.is_empty() => Piece::More,
            Decoder::UntilClose => Piece::Data(std::mem::take(&mut self.input)),
            Decoder::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(self.input.len());
                *left -= taken as u64;
                Piece::Data(self.input.split_to(taken))
            }
        })
    }

    fn poll_read<I: AsyncRead + Unpin>(&mut self, io: &mut I, cx: &mut Context<'_>) -> Poll<std::io::Result<Bytes>> {
        let Some(large) = &mut self.large else {
            let bytes = ready!(buffer::poll_read(io, cx))?;
            if bytes.len() == READ {
                self.large = Some(BytesMut::new());
            }
            return Poll::Ready(Ok(bytes));
        };
        let wanted = match self.decoder {
            Decoder::Length(left) => usize::try_from(left).unwrap_or(LARGE).min(LARGE),
            Decoder::Chunked(_) | Decoder::UntilClose => LARGE,
        };
        large.reserve(wanted);
        // The read holds nothing between polls, so that it may be made anew for each.
        let read = ready!(pin!(io.read_buf(large)).poll(cx))?;
        let bytes = large.split().freeze();
        if read < READ {
            self.large = None;
        }
        Poll::Ready(Ok(bytes))
    }
}
