//! The body of a request, as whoever sends it upstream sees it.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::wire::{Shared, lock};
use crate::http1::{Cut, Framing};

/// Reads a request body from its connection when asked for more, so that what is not taken stays with the client.
#[derive(Debug)]
pub struct Inlet {
    wire: Shared,
    request: u64,
    length: Option<u64>,
    malformed: bool,
}

impl Inlet {
    /// The body of request number `request`.
    pub fn new(wire: &Shared, request: u64, framing: Framing) -> Self {
        let length = match framing {
            Framing::Length(length) => Some(length),
            Framing::Chunked | Framing::UntilClose => None,
        };
        Inlet { wire: Arc::clone(wire), request, length, malformed: false }
    }

    /// The next frame.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let frame = lock(&self.wire).poll_body(self.request, cx);
        self.malformed |= matches!(frame, Poll::Ready(Some(Err(Cut::Malformed))));
        frame
    }

    /// Whether it ended in what is no body.
    pub fn is_malformed(&self) -> bool {
        self.malformed
    }

    /// Whether nothing follows.
    pub fn is_end_stream(&self) -> bool {
        lock(&self.wire).is_body_over(self.request)
    }

    /// Of the whole body; asked for before anything of it is read.
    pub fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
