//! Copies bytes both ways with exact half-close.
//!
//! Buffers start small and grow while reads fill them, so an idle or chatty connection costs a few KiB and a bulk transfer
//! gets large reads (ztunnel measured 90 -> 38 MB for 10,000 connections). Nothing is read before what was read earlier is
//! written: the slower side's back-pressure reaches the faster one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// First buffer of each direction, bytes.
const SMALLEST: usize = 4 * 1024;
/// Largest buffer of each direction, bytes.
const LARGEST: usize = 64 * 1024;

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
    buffer: Vec<u8>,
    start: usize,
    end: usize,
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
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, reader: &mut R, writer: &mut W) -> Poll<Result<(), Fault>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            ready!(self.poll_write_out(cx, writer)).map_err(Fault::Writer)?;
            match self.stage {
                Stage::Done => return Poll::Ready(Ok(())),
                Stage::Closing => {
                    ready!(Pin::new(&mut *writer).poll_shutdown(cx)).map_err(Fault::Writer)?;
                    self.stage = Stage::Done;
                    self.buffer = Vec::new();
                }
                Stage::Copying => {
                    if self.poll_read_in(cx, reader).map_err(Fault::Reader)?.is_pending() {
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

    fn poll_write_out<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, writer: &mut W) -> Poll<io::Result<()>> {
        while let Some(bytes) = self.buffer.get(self.start..self.end).filter(|bytes| !bytes.is_empty()) {
            let count = ready!(Pin::new(&mut *writer).poll_write(cx, bytes))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.start += count;
            self.written += count as u64;
            self.unflushed = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read_in<R: AsyncRead + Unpin>(&mut self, cx: &mut Context<'_>, reader: &mut R) -> Poll<io::Result<()>> {
        let filled = self.end == self.buffer.len();
        if filled && self.buffer.len() < LARGEST {
            self.buffer.resize((self.buffer.len() * 2).clamp(SMALLEST, LARGEST), 0);
        }
        let mut space = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(reader).poll_read(cx, &mut space))?;
        let count = space.filled().len();
        (self.start, self.end) = (0, count);
        self.read += count as u64;
        if count == 0 {
            self.stage = Stage::Closing;
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
}

impl<D, U> Copy<D, U> {
    /// Nothing copied yet.
    pub fn new(downstream: D, upstream: U) -> Self {
        Copy { downstream, upstream, request: Half::default(), response: Half::default() }
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

    /// Frees the buffers of a connection that has been idle; they come back when bytes do.
    pub fn release(&mut self) {
        for half in [&mut self.request, &mut self.response] {
            if half.start == half.end {
                (half.buffer, half.start, half.end) = (Vec::new(), 0, 0);
            }
        }
    }
}

impl<D, U> Copy<D, U>
where
    D: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    /// Copies what can be copied now.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let request = self.request.poll(cx, &mut self.downstream, &mut self.upstream);
        let response = self.response.poll(cx, &mut self.upstream, &mut self.downstream);
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
