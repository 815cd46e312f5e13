//! HTTP/2 connections, each shared by several requests in flight.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Mutex,
};

use crate::{
    answer::{Cause, Failure},
    connect::Dialer,
    io::Io,
    recorder::Connection,
    seen::{Seen, Wants},
    tls,
};

/// Windows large enough never to make the generator the one who waits.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;

/// A place for a connection that requests share.
#[derive(Default)]
pub(crate) struct Slot(Mutex<Option<Shared>>);

struct Shared {
    sender: SendRequest<Bytes>,
    moved: Rc<Moved>,
    used: u64,
    /// How it was made, until its first request took that.
    made: Option<Connection>,
}

/// A sender, and whether its connection was made for this request.
pub(crate) struct Taken {
    sender: SendRequest<Bytes>,
    moved: Rc<Moved>,
    pub(crate) connection: Connection,
}

impl Slot {
    /// The slot's connection, unless it has ended or carried `limit` requests; then a new one over what `dial` brings.
    pub(crate) async fn take(&self, limit: u64, dialer: &Dialer) -> Result<Taken, Failure> {
        let mut place = self.0.lock().await;
        if let Some(shared) = place.as_mut()
            && shared.used < limit
            && let Ok(sender) = shared.sender.clone().ready().await
        {
            shared.used += 1;
            return Ok(Taken { sender, moved: shared.moved.clone(), connection: shared.made.take().unwrap_or(Connection::Reused) });
        }
        // Given up before dialling, so that the old connection ends with its last stream.
        *place = None;
        let (io, connection) = dialer.timed().await?;
        let (sender, moved) = handshake(io).await?;
        if limit > 1 {
            *place = Some(Shared { sender: sender.clone(), moved: moved.clone(), used: 1, made: None });
        }
        Ok(Taken { sender, moved, connection })
    }

    /// Makes the connection before it is needed.
    pub(crate) async fn open(&self, dialer: &Dialer) -> Result<(), Failure> {
        let (io, made) = dialer.timed().await?;
        let is_tls = io.is_tls();
        let (sender, moved) = handshake(io).await?;
        if is_tls {
            // What the server has against the session arrives with the driver.
            tokio::time::sleep(tls::OBJECTION).await;
            sender.clone().ready().await.map_err(|error| failure(Cause::Closed, &error))?;
        }
        *self.0.lock().await = Some(Shared { sender, moved, used: 0, made: Some(made) });
        Ok(())
    }
}

/// Bytes of a connection that no request was charged with yet.
#[derive(Debug, Default)]
struct Moved {
    sent: Cell<u64>,
    received: Cell<u64>,
}

/// A stream that counts what it carries.
struct Counted {
    io: Io,
    moved: Rc<Moved>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.moved.received.update(|bytes| bytes + (buf.filled().len() - before) as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.moved.sent.update(|bytes| bytes + written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

async fn handshake(io: Io) -> Result<(SendRequest<Bytes>, Rc<Moved>), Failure> {
    let moved = Rc::new(Moved::default());
    let io = Counted { io, moved: moved.clone() };
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW).enable_push(false);
    let (sender, driver) = builder.handshake(io).await.map_err(|error| failure(Cause::Closed, &error))?;
    // It ends with the connection; a request that suffers from that reports the error itself.
    tokio::task::spawn_local(driver);
    Ok((sender, moved))
}

/// Sends a request over a taken connection and reads its answer to the end. `false`: the server ended the connection in order
/// and has not looked at the request, which belongs on the next one (RFC 9113, 6.8); to count it as lost would blame a server
/// for every connection it renews.
///
/// A connection's bytes belong to no stream alone: those since the last request that ended count as this one's.
pub(crate) async fn exchange(taken: Taken, head: &Request<()>, body: &Bytes, wants: &Wants, seen: &mut Seen) -> Result<bool, Failure> {
    let (moved, sent, received) = (taken.moved.clone(), seen.sent, seen.received);
    let ended = stream(taken, head, body, wants, seen).await;
    (seen.sent, seen.received) = (sent + moved.sent.take(), received + moved.received.take());
    ended
}

async fn stream(taken: Taken, head: &Request<()>, body: &Bytes, wants: &Wants, seen: &mut Seen) -> Result<bool, Failure> {
    let begun = async {
        let mut sender = taken.sender.ready().await?;
        sender.send_request(head.clone(), body.is_empty())
    };
    let (response, mut stream) = match begun.await {
        Ok(begun) => begun,
        Err(error) if is_goodbye(&error) => return Ok(false),
        Err(error) => return Err(failure(Cause::Closed, &error)),
    };
    if !body.is_empty() {
        // h2 keeps what the peer's window does not take yet. A stream that the peer has ended meanwhile still has an answer.
        let _ended = stream.send_data(body.clone(), true);
    }
    let response = match response.await {
        Ok(response) => response,
        Err(error) if is_goodbye(&error) => return Ok(false),
        Err(error) => return Err(failure(Cause::Closed, &error)),
    };
    seen.status = Some(response.status().as_u16());
    wants.fields(seen, response.headers());
    read(response.into_body(), wants, seen).await?;
    Ok(true)
}

/// GOAWAY without an error: what is not answered by then is not processed either.
fn is_goodbye(error: &h2::Error) -> bool {
    error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
}

async fn read(mut body: h2::RecvStream, wants: &Wants, seen: &mut Seen) -> Result<(), Failure> {
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(|error| failure(Cause::Body, &error))?;
        // Fails only for a stream that has ended, which needs no window.
        let _ended = body.flow_control().release_capacity(piece.len());
        wants.body(seen, &piece);
    }
    if let Some(trailers) = body.trailers().await.map_err(|error| failure(Cause::Body, &error))? {
        wants.fields(seen, &trailers);
    }
    Ok(())
}

/// Names an error: what the connection suffered, what the peer did to the stream, or a broken protocol.
fn failure(otherwise: Cause, error: &h2::Error) -> Failure {
    if let Some(io) = error.get_io() {
        return crate::io::lost(otherwise, io);
    }
    let cause = match error.reason() {
        _ if otherwise == Cause::Body => Cause::Body,
        _ if error.is_go_away() && error.is_library() => Cause::Protocol,
        Some(_) if error.is_reset() => Cause::Reset,
        _ => otherwise,
    };
    let hint = if error.reason() == Some(h2::Reason::FRAME_SIZE_ERROR) { " (does the server speak HTTP/2?)" } else { "" };
    Failure::new(cause, format!("{error}{hint}"))
}
