//! The body of a request, as whoever sends it upstream sees it.

use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::wire::{Shared, Wire, lock};
use crate::http1::{Cut, Framing};

/// Reads a request body from its connection when asked for more, so that what is not taken stays with the client.
#[derive(Debug)]
pub struct Inlet {
    /// Gone when the connection has ended: the socket is not kept open for a body that nobody can answer.
    wire: Weak<Mutex<Wire>>,
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
        Inlet { wire: Arc::downgrade(wire), request, length, malformed: false }
    }

    /// The next frame.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let Some(wire) = self.wire.upgrade() else { return Poll::Ready(Some(Err(Cut::Short))) };
        let frame = lock(&wire).poll_body(self.request, cx);
        self.malformed |= matches!(frame, Poll::Ready(Some(Err(Cut::Malformed))));
        frame
    }

    /// Nobody asks for more for now.
    pub fn leave(&mut self) {
        if let Some(wire) = self.wire.upgrade() {
            lock(&wire).leave(self.request);
        }
    }

    /// No more is asked for before there is room.
    pub fn rest(&mut self, cx: &Context<'_>) {
        if let Some(wire) = self.wire.upgrade() {
            lock(&wire).rest(self.request, cx);
        }
    }

    /// Whether it ended in what is no body.
    pub fn is_malformed(&self) -> bool {
        self.malformed
    }

    /// Whether nothing follows.
    pub fn is_end_stream(&self) -> bool {
        self.wire.upgrade().is_some_and(|wire| lock(&wire).is_body_over(self.request))
    }

    /// Of the whole body; asked for before anything of it is read.
    pub fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::listener::Transport;
    use crate::prefixed::Prefixed;

    #[tokio::test]
    async fn a_body_whose_connection_has_ended_breaks_off_and_keeps_no_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let server = Transport::Plain(listener.accept().await.unwrap().0.into());
        let wire = Wire::shared(Prefixed::new(Bytes::from_static(b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\n"), server));
        poll_fn(|cx| lock(&wire).poll_head(false, cx)).await;
        let mut inlet = Inlet::new(&wire, lock(&wire).request(), Framing::Length(5));
        drop(wire);
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "the socket is closed");
        assert_eq!(poll_fn(|cx| inlet.poll_frame(cx)).await.map(|frame| frame.map(drop)), Some(Err(Cut::Short)));
    }

    #[tokio::test]
    async fn a_client_that_leaves_after_it_sent_more_is_missed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let server = Transport::Plain(listener.accept().await.unwrap().0.into());
        let wire = Wire::shared(Prefixed::new(Bytes::from_static(b"GET / HTTP/1.1\r\n\r\nGET"), server));
        poll_fn(|cx| lock(&wire).poll_head(false, cx)).await;
        drop(client);
        let gone = poll_fn(|cx| lock(&wire).poll_gone(cx));
        assert!(tokio::time::timeout(std::time::Duration::from_secs(5), gone).await.is_ok());
    }

    #[tokio::test]
    async fn a_client_that_leaves_is_missed_once_the_reader_of_its_body_has_gone() {
        for is_dropped in [true, false] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let server = Transport::Plain(listener.accept().await.unwrap().0.into());
            let wire = Wire::shared(Prefixed::new(Bytes::from_static(b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nhalf"), server));
            poll_fn(|cx| lock(&wire).poll_head(false, cx)).await;
            let mut inlet = Inlet::new(&wire, lock(&wire).request(), Framing::Length(5));
            poll_fn(|cx| {
                while inlet.poll_frame(cx).is_ready() {}
                Poll::Ready(())
            })
            .await;
            let owner = tokio::spawn({
                let wire = wire.clone();
                async move { poll_fn(|cx| lock(&wire).poll_gone(cx)).await }
            });
            tokio::task::yield_now().await;
            let _left = if is_dropped {
                drop(inlet);
                None
            } else {
                inlet.leave();
                Some(inlet)
            };
            drop(client);
            assert!(tokio::time::timeout(std::time::Duration::from_secs(5), owner).await.is_ok(), "dropped: {is_dropped}");
        }
    }
}
