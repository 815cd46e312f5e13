//! The writes of an HTTP/2 connection, joined.
//!
//! The codec writes and flushes after every DATA frame of 256 bytes or more, so that a hundred short answers in one turn of
//! the runtime cost a hundred system calls. Here writes are collected and flushes ignored until the codec has nothing more
//! to do; then [`Batched`], which runs the connection, sends all at once. Nothing waits longer for that: the bytes leave in
//! the same poll of the connection.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http1::buffer;

/// Bytes collected before a write must wait for the socket.
const MOST: usize = 64 * 1024;
/// Writes of this size are not worth a copy.
const LARGE: usize = 8 * 1024;

/// What the codec reads from and writes to.
#[derive(Debug)]
pub struct BatchedIo<I>(Arc<Mutex<Writer<I>>>);

/// A connection whose writes are sent at the end of each of its polls.
#[derive(Debug)]
pub struct Batched<C, I> {
    connection: C,
    writer: Arc<Mutex<Writer<I>>>,
}

#[derive(Debug)]
struct Writer<I> {
    io: I,
    /// Collected and not sent; the first `sent` bytes of it are.
    held: Vec<u8>,
    sent: usize,
    /// The io took bytes and may hold them still, as a TLS session does with what the socket has no room for.
    unflushed: bool,
    /// Why sending at the end of a poll failed: the codec learns it at its next read or write.
    broken: Option<io::Error>,
}

impl<I> BatchedIo<I> {
    /// Collects what is written to `io`.
    pub fn new(io: I) -> Self {
        BatchedIo(Arc::new(Mutex::new(Writer { io, held: Vec::new(), sent: 0, unflushed: false, broken: None })))
    }

    /// What sends the collected writes of the connection that is made from this.
    pub fn sender(&self) -> BatchSender<I> {
        BatchSender(Arc::clone(&self.0))
    }
}

/// The other end of a [`BatchedIo`].
#[derive(Debug)]
pub struct BatchSender<I>(Arc<Mutex<Writer<I>>>);

impl<I> BatchSender<I> {
    /// The connection, with its writes sent at the end of each poll.
    pub fn run<C>(self, connection: C) -> Batched<C, I> {
        Batched { connection, writer: self.0 }
    }
}

impl<C, I> Batched<C, I> {
    /// The connection itself.
    pub fn get_mut(&mut self) -> &mut C {
        &mut self.connection
    }
}

impl<C, I: AsyncRead + Unpin> Batched<C, I> {
    /// Reads once and throws it away; 0 at the end. For a connection that is over.
    pub fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let mut writer = lock(&self.writer);
        buffer::poll_read(&mut writer.io, cx).map(|read| read.map_or(0, |read| read.len()))
    }
}

impl<C: Future + Unpin, I: AsyncWrite + Unpin> Future for Batched<C, I> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.connection).poll(cx);
        let mut writer = lock(&this.writer);
        if let Poll::Ready(Err(error)) = writer.poll_send(cx) {
            writer.broken = Some(error);
            cx.waker().wake_by_ref();
        }
        result
    }
}

impl<I: AsyncWrite + Unpin> Writer<I> {
    /// Sends what is collected; ready when the io holds none of it either.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            ready!(self.poll_hand_over(cx))?;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_hand_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.held.len() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.held[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => {
                    self.sent += sent;
                    self.unflushed = true;
                }
            }
        }
        self.sent = 0;
        give_back(std::mem::take(&mut self.held));
        Poll::Ready(Ok(()))
    }

    fn poll_take(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.check()?;
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        if length >= LARGE || self.held.len() + length > MOST {
            ready!(self.poll_send(cx))?;
        }
        if length >= LARGE {
            let taken = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))?;
            self.unflushed = true;
            return Poll::Ready(Ok(taken));
        }
        if self.held.capacity() == 0 {
            self.held = borrow();
        }
        slices.iter().for_each(|slice| self.held.extend_from_slice(slice));
        Poll::Ready(Ok(length))
    }

    fn check(&mut self) -> io::Result<()> {
        self.broken.take().map_or(Ok(()), Err)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// The buffer of this thread's connections: one that has nothing to send holds none.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

fn borrow() -> Vec<u8> {
    let spare = SPARE.take();
    if spare.capacity() == 0 { Vec::with_capacity(MOST) } else { spare }
}

fn give_back(mut buffer: Vec<u8>) {
    buffer.clear();
    SPARE.set(buffer);
}

impl<I: AsyncRead + Unpin> AsyncRead for BatchedIo<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut writer = lock(&self.0);
        if let Some(error) = writer.broken.take() {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut writer.io).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for BatchedIo<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_take(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_take(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing: [`Batched`] sends.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut writer = lock(&self.0);
        ready!(writer.poll_send(cx))?;
        Pin::new(&mut writer.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
