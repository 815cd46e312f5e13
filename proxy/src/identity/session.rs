//! A TLS session after its handshake: plaintext on one side, the socket on the other.
//!
//! tokio-rustls does the handshake; its stream is left behind afterwards, because it has rustls fetch the bytes, which takes
//! at most 4 KiB at a time: five system calls for one full record, and never more than one record for whoever reads. Here
//! one receive takes as much as the reader has room for, up to [`RECEIVE`], into a buffer that a worker's sessions share: an
//! idle session holds none. What a reader has no room for stays behind as ciphertext.

use std::cell::Cell;
use std::io::{self, BufRead, IoSlice, Write};
use std::ops::DerefMut;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::{ConnectionCommon, SideData};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes of one receive: eight full records.
const RECEIVE: usize = 128 * 1024;
/// Most plaintext encrypted at once, bytes; also what a session holds of an answer that its peer does not take. As much as the
/// codecs read and hand on at once, so that it leaves in one call, where rustls's own limit of 64 KiB makes it two.
const SEND: usize = 128 * 1024;
/// Fewest bytes of one receive: what rustls would take.
const LEAST: usize = 4 * 1024;
/// Beyond the reader's room: header and tag of the records that fill it.
const OVERHEAD: usize = 256;

/// A session over `io`; `tls` is rustls's client or server connection.
#[derive(Debug)]
pub struct Session<IO, C> {
    io: IO,
    tls: C,
    /// Received, and not taken by rustls yet.
    left: Vec<u8>,
    said_goodbye: bool,
}

/// How a look for plaintext ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Drained {
    /// There is no more for now.
    Empty,
    /// The reader has no room for more.
    Full,
    /// The peer has closed the session.
    Closed,
}

impl<IO, C> Session<IO, C> {
    /// Goes on where a handshake ended.
    pub fn new<S>((io, mut tls): (IO, C)) -> Self
    where
        C: DerefMut<Target = ConnectionCommon<S>>,
        S: SideData,
    {
        tls.set_buffer_limit(Some(SEND));
        Session { io, tls, left: Vec::new(), said_goodbye: false }
    }

    /// The stream underneath.
    pub fn io(&self) -> &IO {
        &self.io
    }
}

impl<IO, C, S> Session<IO, C>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    C: DerefMut<Target = ConnectionCommon<S>>,
    S: SideData,
{
    /// Moves plaintext that rustls holds.
    fn drain(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<Drained> {
        loop {
            let mut reader = self.tls.reader();
            let chunk = match reader.fill_buf() {
                Ok([]) => return Ok(Drained::Closed),
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Drained::Empty),
                Err(error) => return Err(error),
            };
            if buf.remaining() == 0 {
                return Ok(Drained::Full);
            }
            let taken = chunk.len().min(buf.remaining());
            buf.put_slice(&chunk[..taken]);
            reader.consume(taken);
        }
    }

    /// Has rustls decrypt `bytes` as long as the reader has room for the outcome; returns how many it took.
    fn decrypt(&mut self, cx: &mut Context<'_>, bytes: &[u8], buf: &mut ReadBuf<'_>) -> io::Result<usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            // Nothing is taken any more once the peer has closed the session: what follows does not count.
            if self.tls.read_tls(&mut rest)? == 0 {
                return Ok(bytes.len());
            }
            if let Err(error) = self.tls.process_new_packets() {
                // The alert that tells the peer why, as far as the socket takes it.
                let _ = self.poll_send(cx);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            if self.drain(buf)? == Drained::Full {
                break;
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// One receive, decrypted.
    fn poll_receive(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut scratch = Scratch::take();
        let room = (buf.remaining() + OVERHEAD).clamp(LEAST, RECEIVE);
        let mut received = ReadBuf::new(&mut scratch.0[..room]);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut received))?;
        let bytes = received.filled();
        if bytes.is_empty() {
            self.tls.read_tls(&mut io::empty())?;
            return Poll::Ready(Ok(()));
        }
        let taken = self.decrypt(cx, bytes, buf)?;
        self.left.extend_from_slice(&bytes[taken..]);
        Poll::Ready(Ok(()))
    }

    /// Decrypts what an earlier receive left behind.
    fn go_on(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let mut left = std::mem::take(&mut self.left);
        let taken = self.decrypt(cx, &left, buf)?;
        if taken < left.len() {
            left.drain(..taken);
            self.left = left;
        }
        Ok(())
    }

    /// Sends all that rustls has encrypted.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            let mut socket = Socket { io: &mut self.io, cx };
            match self.tls.write_tls(&mut socket) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO, C, S> AsyncRead for Session<IO, C>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    C: DerefMut<Target = ConnectionCommon<S>> + Unpin,
    S: SideData,
{
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        loop {
            if this.drain(buf)? != Drained::Empty || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if !this.left.is_empty() {
                this.go_on(cx, buf)?;
            } else if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            } else {
                ready!(this.poll_receive(cx, buf))?;
            }
        }
    }
}

impl<IO, C, S> AsyncWrite for Session<IO, C>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    C: DerefMut<Target = ConnectionCommon<S>> + Unpin,
    S: SideData,
{
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    /// Takes as much as the send buffer ([`SEND`]) has room for, as one run of records, and sends it.
    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        loop {
            let taken = this.tls.writer().write_vectored(slices)?;
            let sent = this.poll_send(cx);
            match (taken, sent) {
                (_, Poll::Ready(Err(error))) => return Poll::Ready(Err(error)),
                // The buffer was full of what could not be sent before.
                (0, Poll::Pending) => return Poll::Pending,
                (0, Poll::Ready(Ok(()))) => {}
                (taken, _) => return Poll::Ready(Ok(taken)),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    /// Says close_notify, then closes the direction.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !std::mem::replace(&mut this.said_goodbye, true) {
            this.tls.send_close_notify();
        }
        ready!(this.poll_send(cx))?;
        match ready!(Pin::new(&mut this.io).poll_shutdown(cx)) {
            // A peer that is gone needs no goodbye.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}

/// The receive buffer of this thread, for as long as one receive takes.
struct Scratch(Box<[u8]>);

thread_local! {
    static SPARE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

impl Scratch {
    fn take() -> Self {
        Scratch(SPARE.take().unwrap_or_else(|| vec![0; RECEIVE].into_boxed_slice()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        SPARE.set(Some(std::mem::take(&mut self.0)));
    }
}

/// An asynchronous stream as rustls writes to it.
struct Socket<'a, 'b, IO> {
    io: &'a mut IO,
    cx: &'a mut Context<'b>,
}

fn blocking<T>(result: Poll<io::Result<T>>) -> io::Result<T> {
    match result {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl<IO: AsyncWrite + Unpin> Write for Socket<'_, '_, IO> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        blocking(Pin::new(&mut *self.io).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        blocking(Pin::new(&mut *self.io).poll_write_vectored(self.cx, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        blocking(Pin::new(&mut *self.io).poll_flush(self.cx))
    }
}

#[cfg(test)]
mod tests;
