//! The byte stream under a protocol: TCP or a unix socket, in the clear or within TLS.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::client::TlsStream;

use crate::{
    answer::{Cause, Failure},
    tls,
};

/// A connected socket.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What a protocol reads and writes.
pub(crate) enum Io {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// The same call on whatever stream the value holds.
macro_rules! each {
    ($value:expr, [$($variant:path),+], $stream:ident => $call:expr) => {
        match $value.get_mut() {
            $($variant(stream) => {
                let $stream = Pin::new(stream);
                $call
            })+
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, [Self::Tcp, Self::Unix], stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, [Self::Tcp, Self::Unix], stream => stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, [Self::Tcp, Self::Unix], stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, [Self::Tcp, Self::Unix], stream => stream.poll_shutdown(cx))
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, [Self::Plain, Self::Tls], stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, [Self::Plain, Self::Tls], stream => stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, [Self::Plain, Self::Tls], stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, [Self::Plain, Self::Tls], stream => stream.poll_shutdown(cx))
    }
}

impl Io {
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

/// Names a broken connection: `otherwise` unless TLS broke it, or it was reset, which before an answer is a cause of its own.
pub(crate) fn lost(otherwise: Cause, error: &io::Error) -> Failure {
    if let Some(words) = tls::broken(error) {
        return Failure::new(Cause::Tls, words);
    }
    if tls::is_cut_off(error) {
        return Failure::new(otherwise, "the connection was closed, and not as TLS ends one (no close_notify)");
    }
    let reset = matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted);
    Failure::new(if reset && otherwise == Cause::Closed { Cause::Reset } else { otherwise }, error)
}
