//! The client's connection as a byte stream: plain or TLS, with what inspection has read of it in front.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::socket::{Socket, is_hung_up};
use crate::identity::Session;
use crate::prefixed::Prefixed;

/// A downstream connection as its protocol sees it: the socket, or the TLS session on it.
#[derive(Debug)]
pub enum Transport {
    /// Bytes as they came.
    Plain(Socket),
    /// TLS terminated here. Boxed: a session is far larger than a socket.
    Tls(Box<ServerSession>),
}

/// Our end of a session as its server.
pub type ServerSession = Session<Prefixed<Socket>, ServerConnection>;

/// What connection managers and TCP proxies serve: inspected bytes, then the transport.
pub type DownstreamIo = Prefixed<Transport>;

macro_rules! transport {
    ($self:ident, $io:ident => $call:expr) => {
        match $self.get_mut() {
            Transport::Plain($io) => $call,
            Transport::Tls($io) => $call,
        }
    };
}

impl Transport {
    /// Whether the peer has ended its side or is gone, even if not all that it sent was read; as far as the runtime knows.
    pub fn is_hung_up(&mut self) -> bool {
        match self {
            Transport::Plain(socket) => socket.is_hung_up(),
            // Watched since the handshake, which takes more than one read.
            Transport::Tls(session) => session.io().get_ref().watched().is_some_and(is_hung_up),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        transport!(self, io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        transport!(self, io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        transport!(self, io => Pin::new(io).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Transport::Plain(io) => io.is_write_vectored(),
            Transport::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        transport!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        transport!(self, io => Pin::new(io).poll_shutdown(cx))
    }
}
