//! One answer on its way to the client.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http::response::Parts;
use http_body::Frame;

use super::answer::{Following, write_head};
use super::head::Asked;
use super::wire::{Shared, lock};
use crate::http::body::{Outgoing, ResponseBody};
use crate::http1::{Ending, SMALL, SPARE_CAPACITY};
use crate::runtime::Turn;

/// Bytes gathered from small chunks before they are written.
const GATHERED: usize = 16 * 1024;
const LINE_END: &[u8] = b"\r\n";

thread_local! {
    /// Where the worker's answers are written before they are sent.
    static OUT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An answer that could not be sent to its end: the connection must be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut;

/// An answer.
#[derive(Debug)]
pub struct Reply<B = ResponseBody> {
    /// Until it is written.
    head: Option<Parts>,
    body: B,
    /// How its end is to be told, until it has been.
    ending: Option<Ending>,
    asked: Asked,
    turn: Turn,
    keep_alive: bool,
    /// The body broke off: what came before that is still sent.
    broken: bool,
}

/// What came of asking the body for more.
enum Gathered {
    /// Everything there is now, and more will come.
    Some,
    /// As much as is written at once; the last chunk, when it is large, with what ends it.
    Enough(Bytes, &'static [u8]),
    /// The rest, or all there was when it broke off.
    Last,
}

impl<B: Outgoing> Reply<B> {
    /// An answer to a request that `asked` for it like this.
    pub fn new(response: Response<B>, asked: Asked) -> Self {
        let (head, body) = response.into_parts();
        Reply { head: Some(head), body, ending: None, asked, turn: Turn::Due, keep_alive: asked.keep_alive, broken: false }
    }

    /// Whether the connection may serve another request, as far as the head of the answer says.
    pub fn keeps_alive(&self) -> bool {
        self.keep_alive
    }

    /// The body, when everything is sent.
    pub fn into_body(self) -> B {
        self.body
    }

    /// Sends what can be sent now; ready when everything is.
    pub fn poll_send(&mut self, wire: &Shared, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        ready!(self.turn.poll(cx));
        loop {
            // Not held while the body is asked for more, which may itself read from the wire.
            let Poll::Ready(flushed) = lock(wire).poll_flush(cx) else { return self.poll_overdue(cx) };
            if flushed.is_err() || self.broken {
                return Poll::Ready(Err(Cut));
            }
            if self.head.is_none() && self.ending.is_none() {
                return Poll::Ready(Ok(()));
            }
            let mut out = OUT.take();
            out.clear();
            self.begin(wire, &mut out, cx);
            let gathered = self.gather(&mut out, cx);
            let sent = send(wire, &out, &gathered, cx);
            if out.capacity() <= SPARE_CAPACITY {
                OUT.set(out);
            }
            sent?;
            match gathered {
                Gathered::Some => {
                    ready!(lock(wire).poll_flush(cx)).map_err(|_| Cut)?;
                    return Poll::Pending;
                }
                Gathered::Enough(..) | Gathered::Last => {}
            }
        }
    }

    /// Looks whether the rest of the body may be waited for no longer, while the client does not take what there is. That may be
    /// a 100, before anything of the answer is written.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        // All of the body was read: what is left to send is the kernel's affair.
        if self.head.is_none() && self.ending.is_none() {
            return Poll::Pending;
        }
        self.body.poll_overdue(cx).map(|_| Err(Cut))
    }

    /// Appends the head, once.
    fn begin(&mut self, wire: &Shared, out: &mut Vec<u8>, cx: &mut Context<'_>) {
        let Some(head) = self.head.take() else { return };
        self.asked.keep_alive &= !lock(wire).answers_last();
        let Following { body, keep_alive } = write_head(out, &head, &self.body, self.asked);
        (self.ending, self.keep_alive) = (body, keep_alive);
        crate::http1::maps::recycle(head.headers);
        if self.ending.is_none() {
            self.body.ends_at_head(cx);
        }
    }

    /// Appends framing and small chunks until there is enough, or no more for now.
    fn gather(&mut self, out: &mut Vec<u8>, cx: &mut Context<'_>) -> Gathered {
        while let Some(ending) = &mut self.ending {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Gathered::Some,
                Poll::Ready(Some(Err(_))) => return self.broken(),
                Poll::Ready(Some(Ok(frame))) => Some(frame),
                Poll::Ready(None) => None,
            };
            // Trailers come from HTTP/2 alone, and stay behind.
            if let Some(Ok(chunk)) = frame.map(Frame::into_data) {
                let Some(line_end) = ending.open_chunk(out, &chunk) else { return self.broken() };
                let tail = if line_end { LINE_END } else { b"" };
                if chunk.len() > SMALL {
                    return Gathered::Enough(chunk, if self.body.is_end_stream() { self.last_tail(tail) } else { tail });
                }
                out.extend_from_slice(&chunk);
                out.extend_from_slice(tail);
                if !self.body.is_end_stream() {
                    if out.len() >= GATHERED {
                        return Gathered::Enough(Bytes::new(), b"");
                    }
                    continue;
                }
            }
            if !self.ending.take().is_none_or(|ending| ending.close(out)) {
                return self.broken();
            }
        }
        Gathered::Last
    }

    /// What ends a large chunk that is known to be the last.
    fn last_tail(&mut self, tail: &'static [u8]) -> &'static [u8] {
        match &self.ending {
            Some(Ending::Chunked) => {
                self.ending = None;
                b"\r\n0\r\n\r\n"
            }
            Some(Ending::Length(0) | Ending::UntilClose) => {
                self.ending = None;
                tail
            }
            // Too short, which is found when there is no more.
            Some(Ending::Length(_)) | None => tail,
        }
    }

    fn broken(&mut self) -> Gathered {
        (self.ending, self.broken) = (None, true);
        Gathered::Last
    }
}

fn send(wire: &Shared, out: &[u8], gathered: &Gathered, cx: &mut Context<'_>) -> Result<(), Cut> {
    let mut wire = lock(wire);
    match gathered {
        Gathered::Enough(chunk, tail) if !chunk.is_empty() => {
            wire.unsent.head = Bytes::copy_from_slice(out);
            (wire.unsent.chunk, wire.unsent.tail) = (chunk.clone(), tail);
            Ok(())
        }
        _ if out.is_empty() => Ok(()),
        _ => wire.write(out, cx).map_err(|_| Cut),
    }
}

#[cfg(test)]
mod tests;
