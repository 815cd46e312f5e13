//! The requests of one connection, one after another.
//!
//! The task of the connection does everything itself: it reads a head, polls the exchange in place until there is an answer,
//! and sends that. Requests that come meanwhile wait in the socket, or in what is read ahead to see that the client is still
//! there.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use http::{Request, Response, StatusCode};

use super::head::{Asked, Head};
use super::inlet::Inlet;
use super::refusal::Refusal;
use super::reply::{Cut, Reply};
use super::wire::{Leftover, Next, Shared, Wire, lock};
use crate::drain::Phase;
use crate::http::body::{ClientBody, ResponseBody};
use crate::http::connection_manager::ServedConnection;
use crate::http::linger::{farewell, linger};
use crate::listener::{Doing, DownstreamIo, Stay};
use crate::router::exchange;

/// How much of a request body nobody wants is read, so that the connection can serve another request.
const DRAINED: usize = 64 * 1024;

/// Serves a connection until its end. With `sniff` it may turn out to speak HTTP/2, and is handed back then.
pub async fn serve(io: DownstreamIo, connection: &Arc<ServedConnection>, sniff: bool) -> Option<DownstreamIo> {
    let mut link = Link::new(io, connection);
    loop {
        let sniff = sniff && link.requests == 0;
        let head = match poll_fn(|cx| link.poll_next(sniff, cx)).await {
            Next::Head(head) => head,
            Next::Http2 => return link.into_io(),
            Next::Refused(refusal) => {
                link.refuse(refusal, connection).await;
                return None;
            }
            Next::End => {
                link.close().await;
                return None;
            }
        };
        let (asked, expects_the_end) = (head.asked, !head.asked.keep_alive);
        let request = link.request(head);
        let response = {
            let mut exchange = pin!(exchange::serve(connection, request));
            poll_fn(|cx| match exchange.as_mut().poll(cx) {
                Poll::Ready(response) => Poll::Ready(Some(response)),
                Poll::Pending => link.poll_gone(cx).map(|()| None),
            })
            .await?
        };
        let asked = Asked { keep_alive: asked.keep_alive && !must_close(connection), ..asked };
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let (keep_alive, body) = link.answer(response, asked).await?;
        if switches {
            if let Some((tunnel, io)) = body.into_tunnel().zip(link.into_io()) {
                tunnel.carry(io, connection.stay()).await;
            }
            return None;
        }
        drop(body);
        if !link.clear(keep_alive, expects_the_end).await {
            link.close().await;
            return None;
        }
    }
}

/// Whether the answer must say that it is the last.
fn must_close(connection: &ServedConnection) -> bool {
    connection.worker.drain.phase() > Phase::Serving || connection.downstream.must_leave() || connection.is_stranded()
}

/// A connection between its requests and in them.
struct Link {
    /// First, so that it is dropped while there is a wire.
    _end: End,
    wire: Shared,
    stay: Stay,
    requests: u64,
    /// Whether the present request has a body.
    has_body: bool,
}

/// The end of a connection, of which it tells whoever still reads a body: that one holds the socket, too.
struct End(Weak<Mutex<Wire>>);

impl Drop for End {
    fn drop(&mut self) {
        if let Some(wire) = self.0.upgrade() {
            lock(&wire).take_over();
        }
    }
}

impl Link {
    fn new(io: DownstreamIo, connection: &Arc<ServedConnection>) -> Self {
        let wire = Wire::shared(io);
        let end = End(Arc::downgrade(&wire));
        Link { wire, stay: connection.stay(), requests: 0, has_body: false, _end: end }
    }

    fn poll_next(&mut self, sniff: bool, cx: &mut Context<'_>) -> Poll<Next> {
        let mut wire = lock(&self.wire);
        if let Poll::Ready(next) = wire.poll_head(sniff, cx) {
            return Poll::Ready(next);
        }
        let doing = if wire.is_in_head() { Doing::Beginning } else { Doing::Nothing };
        drop(wire);
        self.stay.poll_over(doing, self.requests, cx).map(|()| Next::End)
    }

    fn request(&mut self, head: Head) -> Request<ClientBody> {
        self.requests += 1;
        self.has_body = head.body.is_some();
        let body = match head.body {
            Some(framing) => ClientBody::Http1(Inlet::new(&self.wire, lock(&self.wire).request(), framing)),
            None => ClientBody::Empty,
        };
        let mut request = Request::new(body);
        *request.method_mut() = head.method;
        *request.uri_mut() = head.target;
        *request.version_mut() = head.asked.version;
        *request.headers_mut() = head.headers;
        request
    }

    /// Ready when there is nobody, or no time, to go on for. A client that was not waited for so far is not watched before the
    /// answer had its chance, unless it sends a body: what follows that (an empty line, as some clients write) must be read before
    /// the connection is closed, since the kernel would reset it and throw the end of the answer away.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut wire = lock(&self.wire);
        let unwatched = !self.has_body && wire.is_fresh() && self.stay.is_young(cx);
        if !unwatched && wire.poll_gone(cx).is_ready() {
            return Poll::Ready(());
        }
        drop(wire);
        self.stay.poll_over(Doing::Serving, self.requests, cx)
    }

    /// Sends an answer; whether another request may follow, and what is left of the body. `None` when it could not be sent.
    async fn answer(&mut self, response: Response<ResponseBody>, asked: Asked) -> Option<(bool, ResponseBody)> {
        let mut reply = Reply::new(response, asked);
        let sent = poll_fn(|cx| match reply.poll_send(&self.wire, cx) {
            Poll::Ready(sent) => Poll::Ready(sent),
            Poll::Pending => self.poll_gone(cx).map(|()| Err(Cut)),
        });
        sent.await.ok()?;
        Some((reply.keeps_alive(), reply.into_body()))
    }

    /// Makes the connection ready for another request; false when there can be none. A client that does not expect the end may
    /// have sent another request, which must not cost it the answer.
    async fn clear(&mut self, keep_alive: bool, expects_the_end: bool) -> bool {
        let leftover = lock(&self.wire).take_over();
        match leftover {
            Leftover::None if keep_alive => true,
            Leftover::None if expects_the_end && !lock(&self.wire).has_unread() => false,
            Leftover::Some if keep_alive && self.drain().await => true,
            Leftover::None | Leftover::Some | Leftover::Broken => {
                self.linger().await;
                false
            }
        }
    }

    async fn drain(&mut self) -> bool {
        let mut drained = 0;
        poll_fn(|cx| self.poll_drained(&mut drained, cx)).await
    }

    /// Reads the rest of a request body, if it is small; whether it came to its end.
    fn poll_drained(&mut self, drained: &mut usize, cx: &mut Context<'_>) -> Poll<bool> {
        let mut wire = lock(&self.wire);
        let request = wire.request();
        while *drained <= DRAINED {
            let frame = match wire.poll_body(request, cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(_))) => return Poll::Ready(false),
                Poll::Ready(None) => return Poll::Ready(true),
                Poll::Pending => {
                    drop(wire);
                    return self.stay.poll_over(Doing::Nothing, self.requests, cx).map(|()| false);
                }
            };
            *drained += frame.data_ref().map_or(0, bytes::Bytes::len);
        }
        Poll::Ready(false)
    }

    /// Answers a head that is none.
    async fn refuse(&mut self, refusal: Refusal, connection: &ServedConnection) {
        refusal.book(connection);
        let answer = refusal.answer(connection.downstream.direction);
        lock(&self.wire).unsent.head = answer.into();
        self.linger().await;
    }

    /// Sends what is unsent and that nothing more comes, and waits a little for the client to take it.
    async fn linger(&mut self) {
        let (wire, mut told) = (&self.wire, false);
        linger(|cx| {
            let mut wire = lock(wire);
            if !told {
                if ready!(wire.poll_flush(cx)).is_err() || ready!(wire.poll_shutdown(cx)).is_err() {
                    return Poll::Ready(0);
                }
                told = true;
            }
            wire.poll_discard(cx)
        })
        .await;
    }

    /// Ends a connection in good order. Closing a socket does; a session wants to be told.
    async fn close(&mut self) {
        let wire = &self.wire;
        if lock(wire).is_tls() {
            farewell(|cx| lock(wire).poll_shutdown(cx)).await;
        }
    }

    /// The connection, when nobody else has it.
    fn into_io(self) -> Option<DownstreamIo> {
        // What is left of a body would be taken for what comes after it.
        if !lock(&self.wire).is_at_head() {
            return None;
        }
        let wire = Arc::try_unwrap(self.wire).ok()?;
        Some(wire.into_inner().unwrap_or_else(PoisonError::into_inner).into_io())
    }
}
