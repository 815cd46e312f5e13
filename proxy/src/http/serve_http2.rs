//! The HTTP/2 requests of a connection.
//!
//! One hundred streams with windows of 256 KiB under a connection window of 1 MiB, as Istio sets them (Istio semantics 8.1). Each
//! request has a task, which puts the answer on the stream by itself; the connection's own task reads, and writes for all.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Connection, Handshake, SendResponse};
use h2::{Reason, RecvStream};
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderMap, Request, Response};
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;

use super::body::{ClientBody, ResponseBody};
use super::connection_manager::ServedConnection;
use super::http2::{Calm, Received, Sending};
use super::linger::linger;
use super::write_batch::BatchedIo;
use super::{date, headers, leaving};
use crate::listener::DownstreamIo;
use crate::router::exchange;
use crate::runtime::clock;
use crate::upstream::pool::{MAX_HEADER_LIST, MAX_SEND_BUFFER, RESETS_REMEMBERED, STREAM_WINDOW};

/// Concurrent streams of an HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// Window of a connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What small DATA frames that wait for their reader may cost, as [`crate::upstream::pool`] counts them: 16,000 of one byte, some 5 MB.
/// The codec's own limit is an eighth, which one hundred streams of small messages to a slow server exceed.
const SMALL_FRAMES: usize = 4 << 20;
/// Streams that an HTTP/2 client may open and reset before we have looked at them; one more ends the connection with
/// ENHANCE_YOUR_CALM (CVE-2023-44487).
const MAX_RESET_UNSEEN: usize = 20;
/// Streams of an HTTP/2 connection that we had to reset for the client's mistakes; one more ends it likewise
/// (RUSTSEC-2024-0003).
const MAX_RESET_BY_US: usize = 1024;

/// How long a client that has not greeted may still do so when its connection shall leave.
const LAST_GREETING: Duration = Duration::from_millis(500);

/// Serves a connection until its end.
pub async fn serve(io: DownstreamIo, connection: Arc<ServedConnection>) {
    let io = BatchedIo::new(io);
    let sender = io.sender();
    let stage = Stage::Greeting { handshake: builder().handshake(io), leaving: None };
    let mut serving = sender.run(Serving { stage, connection: Arc::clone(&connection), calm: Arc::default() });
    let ended = leaving::run(Pin::new(&mut serving), |serving| serving.get_mut().get_mut().leave(), &connection).await;
    if let Err(error) = &ended {
        tracing::debug!(peer = %connection.downstream.peer, %error, "downstream connection ended");
    }
    let cut_off = !matches!(serving.get_mut().stage, Stage::Over);
    if !cut_off && ended.is_ok() {
        linger(|cx| serving.poll_discard(cx)).await;
    }
}

fn builder() -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESET_UNSEEN)
        .max_local_error_reset_streams(Some(MAX_RESET_BY_US))
        .max_concurrent_reset_streams(RESETS_REMEMBERED)
        .data_frame_budget(SMALL_FRAMES)
        .max_send_buffer_size(MAX_SEND_BUFFER);
    builder
}

/// A connection that gives each of its requests a task.
struct Serving<I> {
    stage: Stage<I>,
    connection: Arc<ServedConnection>,
    calm: Arc<Calm>,
}

enum Stage<I> {
    /// Before the client's preface is read.
    Greeting { handshake: Handshake<BatchedIo<I>, Bytes>, leaving: Option<Pin<Box<Sleep>>> },
    /// Requests may come.
    Open(Connection<BatchedIo<I>, Bytes>),
    /// All that was to be sent is with the kernel.
    Over,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Serving<I> {
    /// Takes no more requests, and ends when those in flight are answered. A client that has not greeted has a moment to do so and
    /// be told.
    fn leave(&mut self) {
        match &mut self.stage {
            Stage::Greeting { leaving, .. } => *leaving = Some(Box::pin(tokio::time::sleep(LAST_GREETING))),
            Stage::Open(requests) => requests.graceful_shutdown(),
            Stage::Over => {}
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Future for Serving<I> {
    type Output = Result<(), h2::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        let this = self.get_mut();
        loop {
            match &mut this.stage {
                Stage::Greeting { handshake, leaving } => {
                    let Poll::Ready(greeted) = Pin::new(handshake).poll(cx) else {
                        let Some(leaving) = leaving else { return Poll::Pending };
                        return leaving.as_mut().poll(cx).map(Ok);
                    };
                    let mut requests = greeted?;
                    if leaving.is_some() {
                        requests.graceful_shutdown();
                    }
                    this.stage = Stage::Open(requests);
                }
                Stage::Open(requests) => {
                    if this.calm.is_lost() {
                        requests.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                    }
                    let Some(accepted) = ready!(requests.poll_accept(cx)) else {
                        this.stage = Stage::Over;
                        continue;
                    };
                    let (request, respond) = accepted?;
                    this.connection.requests.fetch_add(1, Ordering::Relaxed);
                    // Boxed at once, as the runtime moves a future several times before it runs; and made in the box, as most of a
                    // future that has not run is room, which a move would copy as well.
                    let place = Box::new_uninit();
                    let answer = Box::write(place, answer(Arc::clone(&this.connection), Arc::clone(&this.calm), request, respond));
                    tokio::spawn(Box::into_pin(answer));
                }
                Stage::Over => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// Serves one request, unless the client resets its stream before.
///
/// No `async fn`, since that would keep room for its arguments twice.
fn answer(
    connection: Arc<ServedConnection>,
    calm: Arc<Calm>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> impl Future<Output = ()> + Send {
    let since = clock::now();
    let (head, stream) = request.into_parts();
    let body = ClientBody::Http2(Received::new(stream, &head.headers));
    let request = Request::from_parts(head, body);
    async move {
        // A reset that came with the request spares the upstream.
        if poll_fn(|cx| Poll::Ready(respond.poll_reset(cx).is_ready())).await {
            exchange::forgo(&connection, request);
            return calm.reset(Duration::ZERO);
        }
        let response = {
            let (mut exchange, mut begun) = (pin!(exchange::serve(&connection, request)), false);
            let wanted = poll_fn(|cx| {
                if std::mem::replace(&mut begun, true) && respond.poll_reset(cx).is_ready() {
                    return Poll::Ready(None);
                }
                exchange.as_mut().poll(cx).map(Some)
            });
            wanted.await
        };
        let Some(response) = response else { return calm.reset(clock::now() - since) };
        calm.answered();
        if let Err(reason) = send(respond, response).await {
            tracing::debug!(peer = %connection.downstream.peer, reason, "answer broke off");
        }
    }
}

async fn send(mut respond: SendResponse<Bytes>, response: Response<ResponseBody>) -> Result<(), String> {
    let (mut head, body) = response.into_parts();
    let ends = body.is_end_stream();
    complete(&mut head.headers, body.size_hint().exact().filter(|_| !ends));
    let stream = respond.send_response(Response::from_parts(head, ()), ends).map_err(|error| {
        respond.send_reset(Reason::INTERNAL_ERROR);
        error.to_string()
    })?;
    if ends {
        return Ok(());
    }
    let mut sending = Sending::new(stream, body);
    poll_fn(|cx| sending.poll(cx)).await.map_err(|cut| format!("{cut:?}"))
}

/// Makes the head of an answer one of HTTP/2. `length` is that of its body, where it is known.
fn complete(headers: &mut HeaderMap, length: Option<u64>) {
    headers::fit_for_http2(headers);
    if !headers.contains_key(DATE) {
        headers.insert(DATE, date::now());
    }
    if let Some(length) = length.filter(|_| !headers.contains_key(CONTENT_LENGTH)) {
        headers.insert(CONTENT_LENGTH, headers::number(length));
    }
}
