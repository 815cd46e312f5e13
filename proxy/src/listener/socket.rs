//! An accepted connection, which the event loop watches once there is something to wait for.
//!
//! Who sends a single request on a new connection has usually sent it before the connection is accepted, and gets the answer
//! before anything else could come: the connection lives and ends without ever having to wait. To have it watched and unwatched
//! costs two system calls, an allocation and, in the kernel, more than a read does. So the first read is tried at once, and
//! whoever reads again, or has to wait, begins the watching.
//!
//! Assumptions: the socket does not block; whoever reads or writes does so on the runtime that shall watch.

use std::io::{self, ErrorKind, Read, Write};
use std::net;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// A connection of a client.
#[derive(Debug)]
pub enum Socket {
    /// Nobody has waited for it. With whether its one read without waiting was made.
    Fresh(net::TcpStream, bool),
    /// The event loop watches it.
    Watched(TcpStream),
    /// It could not be watched.
    Lost,
}

impl Socket {
    /// A connection as it was accepted.
    pub fn fresh(stream: net::TcpStream) -> Socket {
        Socket::Fresh(stream, false)
    }

    /// Whether the event loop tells nothing about it so far.
    pub fn is_fresh(&self) -> bool {
        matches!(self, Socket::Fresh(..))
    }

    /// The stream that the event loop watches, if it does.
    pub fn watched(&self) -> Option<&TcpStream> {
        match self {
            Socket::Watched(stream) => Some(stream),
            Socket::Fresh(..) | Socket::Lost => None,
        }
    }

    /// Whether the peer has ended its side or is gone, as far as the event loop knows, which watches from now on.
    pub fn is_hung_up(&mut self) -> bool {
        self.watch().map_or(true, |stream| is_hung_up(&stream))
    }

    /// Its options.
    pub fn options(&self) -> Option<SockRef<'_>> {
        match self {
            Socket::Fresh(stream, _) => Some(SockRef::from(stream)),
            Socket::Watched(stream) => Some(SockRef::from(stream)),
            Socket::Lost => None,
        }
    }

    /// The stream that the event loop watches, from now on if it did not. What came before is reported like what comes later.
    #[inline]
    fn watch(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if !matches!(self, Socket::Watched(_)) {
            self.begin_watching()?;
        }
        match self {
            Socket::Watched(stream) => Ok(Pin::new(stream)),
            Socket::Fresh(..) | Socket::Lost => Err(ErrorKind::NotConnected.into()),
        }
    }

    #[cold]
    fn begin_watching(&mut self) -> io::Result<()> {
        if let Socket::Fresh(stream, _) = std::mem::replace(self, Socket::Lost) {
            *self = Socket::Watched(TcpStream::from_std(stream)?);
        }
        Ok(())
    }

    /// What `call` makes of the fresh socket, unless that is to wait, or it is not fresh.
    #[inline]
    fn at_once<T>(&self, mut call: impl FnMut(&net::TcpStream) -> io::Result<T>) -> Option<io::Result<T>> {
        let Socket::Fresh(stream, _) = self else { return None };
        loop {
            match call(stream) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                done => return Some(done),
            }
        }
    }
}

/// Whether the peer has ended its side or is gone, even if not all that it sent was read; as far as the event loop knows.
pub fn is_hung_up(stream: &TcpStream) -> bool {
    let state = pin!(stream.ready(Interest::READABLE)).poll(&mut Context::from_waker(Waker::noop()));
    matches!(state, Poll::Ready(Ok(state)) if state.is_read_closed())
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Socket {
        Socket::Watched(stream)
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Socket::Fresh(_, read @ false) = &mut *self {
            *read = true;
            if let Some(count) = self.at_once(|mut stream| stream.read(buf.initialize_unfilled())) {
                buf.advance(count?);
                return Poll::Ready(Ok(()));
            }
        }
        self.watch()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.at_once(|mut stream| stream.write(buf)) {
            Some(written) => Poll::Ready(written),
            None => self.watch()?.poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.at_once(|mut stream| stream.write_vectored(bufs)) {
            Some(written) => Poll::Ready(written),
            None => self.watch()?.poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.at_once(|stream| stream.shutdown(net::Shutdown::Write)) {
            // The client has reset it meanwhile; tokio's says the same.
            Some(Err(error)) if error.kind() == ErrorKind::NotConnected => Poll::Ready(Ok(())),
            Some(shut) => Poll::Ready(shut),
            None => self.watch()?.poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("its address")).await.expect("connected");
        let server = listener.accept().await.expect("accepted").0;
        (client, Socket::fresh(server.into_std().expect("a socket")))
    }

    #[tokio::test]
    async fn who_has_sent_before_is_served_without_being_watched() {
        let (mut client, mut server) = pair().await;
        client.write_all(b"request").await.expect("sent");
        let mut buffer = [0; 16];
        assert_eq!(server.read(&mut buffer).await.expect("read"), 7);
        server.write_all(b"answer").await.expect("written");
        server.shutdown().await.expect("shut");
        assert!(server.is_fresh() && server.watched().is_none());
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("the whole answer");
        assert_eq!(answer, "answer");
    }

    #[tokio::test]
    async fn who_sends_later_and_who_sends_again_is_heard() {
        let (mut client, mut server) = pair().await;
        let mut buffer = [0; 4];
        let silent = poll_fn(|cx| Poll::Ready(Pin::new(&mut server).poll_read(cx, &mut ReadBuf::new(&mut buffer)).is_pending()));
        assert!(silent.await && !server.is_fresh());
        client.write_all(b"one").await.expect("sent");
        assert_eq!(server.read(&mut buffer).await.expect("read"), 3);

        let (mut client, mut server) = pair().await;
        client.write_all(b"one, two").await.expect("sent");
        drop(client);
        let mut all = Vec::new();
        assert_eq!(server.read(&mut buffer).await.expect("read"), 4);
        assert!(server.is_fresh());
        server.read_to_end(&mut all).await.expect("the end is seen, too");
        assert_eq!(&all[..], b" two");
    }

    #[tokio::test]
    async fn to_shut_what_the_client_has_reset_is_no_error() {
        let (client, mut server) = pair().await;
        SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).expect("an option");
        drop(client);
        let read = server.read(&mut [0; 4]).await;
        assert_eq!(read.expect_err("reset").kind(), ErrorKind::ConnectionReset);
        assert!(server.is_fresh());
        server.shutdown().await.expect("there is nothing left to shut");
    }

    #[tokio::test]
    async fn more_than_the_kernel_takes_is_waited_for() {
        let (mut client, mut server) = pair().await;
        let sent = vec![7; 32 << 20];
        let writing = async {
            server.write_all(&sent).await.expect("written");
            server.shutdown().await.expect("shut");
            server.is_fresh()
        };
        let mut got = Vec::new();
        let (fresh, read) = tokio::join!(writing, client.read_to_end(&mut got));
        read.expect("read");
        assert!(!fresh && got == sent);
    }
}
