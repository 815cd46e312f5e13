//! Carries bytes both ways with exact half-close.
//!
//! Each direction copies through a buffer ([`super::buffer`]), or, once it turned out to be bulk between two plain sockets, moves
//! bytes through a pipe ([`super::splice`]). Nothing is read before what was read earlier is written: the slower side's
//! back-pressure reaches the faster one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::buffer::Buffer;
use super::splice::{Pace, Pipe, Pipes, Socket};

/// How a copy ended.
#[derive(Debug)]
pub enum End {
    /// Both sides closed, each after its last byte.
    Closed,
    /// The client's side failed.
    Downstream(io::Error),
    /// The server's side failed.
    Upstream(io::Error),
}

/// One direction.
#[derive(Debug, Default)]
struct Half {
    buffer: Buffer,
    /// Instead of the buffer, while there is bulk.
    pipe: Option<Pipe>,
    pace: Pace,
    /// What was read last says that a pipe would do better.
    is_bulk: bool,
    /// `read` when the pipe was last waited for.
    waited_at: u64,
    /// Bytes taken from the reader.
    read: u64,
    /// Bytes given to the writer.
    written: u64,
    unflushed: bool,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Copying,
    /// The reader is at its end; the writer is being told.
    Closing,
    Done,
}

/// Which end of a direction failed.
enum Fault {
    Reader(io::Error),
    Writer(io::Error),
}

impl Half {
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, reader: &mut R, writer: &mut W, pipes: Option<&Pipes>) -> Poll<Result<(), Fault>>
    where
        R: AsyncRead + Socket + Unpin,
        W: AsyncWrite + Socket + Unpin,
    {
        loop {
            ready!(self.poll_splice(cx, reader, writer))?;
            ready!(self.poll_write_out(cx, writer)).map_err(Fault::Writer)?;
            if self.turns_to_bulk(reader, writer, pipes) {
                continue;
            }
            match self.stage {
                Stage::Done => return Poll::Ready(Ok(())),
                Stage::Closing => {
                    ready!(Pin::new(&mut *writer).poll_shutdown(cx)).map_err(Fault::Writer)?;
                    self.stage = Stage::Done;
                }
                Stage::Copying => {
                    if self.poll_read_in(cx, reader).map_err(Fault::Reader)?.is_pending() {
                        self.buffer.rest();
                        if self.unflushed {
                            ready!(Pin::new(&mut *writer).poll_flush(cx)).map_err(Fault::Writer)?;
                            self.unflushed = false;
                        }
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Takes a pipe when what was read last says that this is bulk, and the ends allow it.
    fn turns_to_bulk(&mut self, reader: &impl Socket, writer: &impl Socket, pipes: Option<&Pipes>) -> bool {
        if !std::mem::take(&mut self.is_bulk) || reader.socket().is_none() || writer.socket().is_none() {
            return false;
        }
        self.pipe = pipes.and_then(Pipes::lend);
        (self.pace, self.waited_at) = (Pace::default(), self.read);
        if self.pipe.is_some() {
            self.buffer.rest();
        }
        self.pipe.is_some()
    }

    /// Moves bytes through the pipe, if there is one; ready when there is none, or no longer.
    fn poll_splice(&mut self, cx: &mut Context<'_>, reader: &impl Socket, writer: &impl Socket) -> Poll<Result<(), Fault>> {
        let (Some(from), Some(to)) = (reader.socket(), writer.socket()) else { return Poll::Ready(Ok(())) };
        while let Some(pipe) = &mut self.pipe {
            while pipe.held() > 0 {
                ready!(to.poll_write_ready(cx)).map_err(Fault::Writer)?;
                match pipe.empty(to) {
                    Ok(0) => return Poll::Ready(Err(Fault::Writer(io::ErrorKind::WriteZero.into()))),
                    Ok(count) => self.written += count as u64,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Poll::Ready(Err(Fault::Writer(error))),
                }
            }
            if self.stage != Stage::Copying {
                break;
            }
            ready!(from.poll_read_ready(cx)).map_err(Fault::Reader)?;
            match pipe.fill(from) {
                Ok(0) => self.stage = Stage::Closing,
                Ok(count) => self.read += count as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // The readiness is used up: the next turn waits, or copies when the bulk is over.
                    let taken = self.read - std::mem::replace(&mut self.waited_at, self.read);
                    if !self.pace.is_over(taken) {
                        continue;
                    }
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Unsupported => break,
                Err(error) => return Poll::Ready(Err(Fault::Reader(error))),
            }
        }
        self.pipe = None;
        Poll::Ready(Ok(()))
    }

    fn poll_write_out<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, writer: &mut W) -> Poll<io::Result<()>> {
        while !self.buffer.unwritten().is_empty() {
            let count = ready!(Pin::new(&mut *writer).poll_write(cx, self.buffer.unwritten()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.buffer.wrote(count);
            self.written += count as u64;
            self.unflushed = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read_in<R: AsyncRead + Unpin>(&mut self, cx: &mut Context<'_>, reader: &mut R) -> Poll<io::Result<()>> {
        let mut room = ReadBuf::new(self.buffer.room());
        ready!(Pin::new(reader).poll_read(cx, &mut room))?;
        let count = room.filled().len();
        self.buffer.read(count);
        self.read += count as u64;
        self.is_bulk = self.pace.is_bulk(count as u64);
        if count == 0 {
            self.stage = Stage::Closing;
            self.buffer.rest();
        }
        Poll::Ready(Ok(()))
    }
}

/// Both directions of a connection.
#[derive(Debug)]
pub struct Copy<D, U> {
    downstream: D,
    upstream: U,
    request: Half,
    response: Half,
    pipes: Option<Pipes>,
}

impl<D, U> Copy<D, U> {
    /// Nothing copied yet; bulk will take pipes from `pipes`.
    pub fn new(downstream: D, upstream: U, pipes: Pipes) -> Self {
        Copy { pipes: Some(pipes), ..Copy::without_pipes(downstream, upstream) }
    }

    /// Nothing copied yet; bulk goes through buffers, too. For those who would not notice that a pipe could be given back.
    pub fn without_pipes(downstream: D, upstream: U) -> Self {
        Copy { downstream, upstream, request: Half::default(), response: Half::default(), pipes: None }
    }

    /// Bytes received from the client.
    pub fn received(&self) -> u64 {
        self.request.read
    }

    /// Bytes sent to the client.
    pub fn sent(&self) -> u64 {
        self.response.written
    }

    /// A number that changes whenever a byte moves.
    pub fn moved(&self) -> u64 {
        self.request.read + self.request.written + self.response.read + self.response.written
    }

    /// Both ends, client first.
    pub fn ends(&self) -> (&D, &U) {
        (&self.downstream, &self.upstream)
    }

    /// Gives back the pipes of a connection that may have become idle; they come back when bulk does.
    pub fn release(&mut self) {
        for half in [&mut self.request, &mut self.response] {
            half.pipe.take_if(|pipe| pipe.held() == 0);
        }
    }
}

impl<D, U> Copy<D, U>
where
    D: AsyncRead + AsyncWrite + Socket + Unpin,
    U: AsyncRead + AsyncWrite + Socket + Unpin,
{
    /// Copies what can be copied now.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let request = self.request.poll(cx, &mut self.downstream, &mut self.upstream, self.pipes.as_ref());
        let response = self.response.poll(cx, &mut self.upstream, &mut self.downstream, self.pipes.as_ref());
        match (request, response) {
            (Poll::Ready(Err(Fault::Reader(error))), _) | (_, Poll::Ready(Err(Fault::Writer(error)))) => {
                Poll::Ready(End::Downstream(error))
            }
            (Poll::Ready(Err(Fault::Writer(error))), _) | (_, Poll::Ready(Err(Fault::Reader(error)))) => Poll::Ready(End::Upstream(error)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(End::Closed),
            _ => Poll::Pending,
        }
    }
}
