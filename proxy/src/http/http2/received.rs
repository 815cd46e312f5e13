//! A body as it comes over a stream.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Frame, SizeHint};

/// What follows the head of a message.
#[derive(Debug)]
pub struct Received {
    stream: RecvStream,
    /// What is still to come of the announced length. The codec holds the peer to it.
    left: Option<u64>,
    next: Next,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Data,
    Trailers,
    Nothing,
}

impl Received {
    /// The body on `stream`, whose head carried `headers`.
    pub fn new(stream: RecvStream, headers: &HeaderMap) -> Self {
        match stream.is_end_stream() {
            true => Received { stream, left: Some(0), next: Next::Nothing },
            false => Received { stream, left: announced(headers), next: Next::Data },
        }
    }

    /// The next frame. What is read is credited to the peer at once: whoever reads holds a frame at a time, so the windows of the
    /// other side bound what waits here.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if self.next == Next::Data {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => return Poll::Ready(Some(Ok(self.take(data)))),
                Some(Err(error)) => return self.broken(error),
                None => self.next = Next::Trailers,
            }
        }
        if self.next == Next::Nothing {
            return Poll::Ready(None);
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => {
                self.next = Next::Nothing;
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Err(error) => self.broken(error),
        }
    }

    /// A reset, whatever its reason, means that the body did not come to its end: a peer that resets a stream it has finished
    /// (RFC 9113, 8.1) is not heard here, as the codec keeps the end that it has seen.
    fn broken(&mut self, error: h2::Error) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        self.next = Next::Nothing;
        Poll::Ready(Some(Err(error)))
    }

    fn take(&mut self, data: Bytes) -> Frame<Bytes> {
        // Fails for a stream that is gone, which the next read tells.
        let _ = self.stream.flow_control().release_capacity(data.len());
        self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
        // Asked once here, and not by everybody who wants to know: the answer is behind the connection's lock.
        if self.stream.is_end_stream() {
            self.next = Next::Nothing;
        }
        Frame::data(data)
    }

    /// Whether nothing follows.
    pub fn is_end_stream(&self) -> bool {
        self.next == Next::Nothing || self.stream.is_end_stream()
    }

    /// What is known about the length of what follows.
    pub fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// The length that the head announces, unless it contradicts itself.
fn announced(headers: &HeaderMap) -> Option<u64> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter().map(|value| value.to_str().ok()?.parse::<u64>().ok());
    let first = lengths.next()?;
    lengths.all(|length| length == first).then_some(first).flatten()
}
