//! Sockets, with a bound on everything a peer controls: connections, time of handshake, head, body and answer, idle time.
//!
//! Idle connections live longer than an API server's client keeps them (90 s), so that it is the client who closes them: a review sent
//! into a connection being closed here would be lost, and with it the pod.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::State;
use super::places::{Place, Places, Seat, Stage};
use super::timed::{Answer, Timed};

/// On the answer to a review: its connection is one of the API server's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reviewed;

/// Bounds of one port.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; when all are taken, one that waits for a request has to make room. Default 512.
    pub connections: usize,
    /// For the TLS handshake. Default 10 s.
    pub handshake: Duration,
    /// From the first byte of a request to the end of its head, and from the handshake to the first byte. Default 10 s.
    pub head: Duration,
    /// From the end of the head to the end of the answer. Default 30 s.
    pub request: Duration,
    /// Between two requests. Default 180 s.
    pub idle: Duration,
    /// The same on a connection that has not asked for a review yet. Default 5 s.
    pub idle_stranger: Duration,
    /// For requests under way when the process ends. Default 10 s.
    pub end: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connections: 512,
            handshake: seconds(10),
            head: seconds(10),
            request: seconds(30),
            idle: seconds(180),
            idle_stranger: seconds(5),
            end: seconds(10),
        }
    }
}

/// Largest request head, and what is buffered of a connection beside a body.
const LARGEST_HEAD: usize = 16 << 10;
/// Pause after accept failed for want of descriptors.
const SHORTAGE: Duration = Duration::from_millis(100);

/// A bound port and what it serves.
pub struct Server {
    listener: TcpListener,
    router: Router,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    state: Arc<State>,
}

impl Server {
    /// Binds a port for HTTPS with the state's certificate.
    ///
    /// # Errors
    /// The address is taken or not allowed; the message names it.
    pub async fn https(address: SocketAddr, router: Router, limits: Limits, state: Arc<State>) -> anyhow::Result<Self> {
        let tls = TlsAcceptor::from(state.serving.server_config()?);
        Ok(Self { listener: bind(address).await?, router, tls: Some(tls), limits, state })
    }

    /// Binds a port for plain HTTP.
    ///
    /// # Errors
    /// As [`Server::https`].
    pub async fn http(address: SocketAddr, router: Router, limits: Limits, state: Arc<State>) -> anyhow::Result<Self> {
        Ok(Self { listener: bind(address).await?, router, tls: None, limits, state })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The kernel's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `end` becomes true, then lets requests under way finish.
    pub async fn run(self, mut end: watch::Receiver<bool>) {
        let places = Places::new(self.limits.connections);
        let mut connections = JoinSet::new();
        loop {
            let stream = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                () = ended(&mut end) => break,
            };
            let Ok((stream, _)) = stream else {
                tokio::time::sleep(SHORTAGE).await;
                continue;
            };
            let place = places.take();
            if place.is_none() && !places.make_room() {
                self.state.metrics.connections_refused.inc();
                continue;
            }
            let connection = Connection { router: self.router.clone(), tls: self.tls.clone(), limits: self.limits, end: end.clone() };
            connections.spawn(seat(connection, stream, place, Arc::clone(&places), Arc::clone(&self.state)));
        }
        // What the kernel has taken in already would never be answered.
        drop(self.listener);
        let rest = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(self.limits.end, rest).await;
    }
}

/// Serves a connection once it has a place.
async fn seat(connection: Connection, stream: TcpStream, place: Option<Place>, places: Arc<Places>, state: Arc<State>) {
    let place = match place {
        Some(place) => Some(place),
        None => places.take_soon().await,
    };
    let Some(place) = place else {
        state.metrics.connections_refused.inc();
        return;
    };
    state.metrics.connections.inc();
    connection.serve(stream, &place.seat, Arc::clone(&state)).await;
    state.metrics.connections.dec();
}

/// A kernel without IPv6 has no `[::]`; there the same port of all IPv4 addresses is meant.
async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let error = match TcpListener::bind(address).await {
        Ok(listener) => return Ok(listener),
        Err(error) => error,
    };
    if address.ip() == Ipv6Addr::UNSPECIFIED
        && error.kind() != io::ErrorKind::AddrInUse
        && let Ok(listener) = TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
    {
        return Ok(listener);
    }
    anyhow::bail!("cannot listen on {address}: {error}")
}

/// Also when nobody is left who could say so.
async fn ended(end: &mut watch::Receiver<bool>) {
    let _ = end.wait_for(|end| *end).await;
}

struct Connection {
    router: Router,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    end: watch::Receiver<bool>,
}

impl Connection {
    async fn serve(self, stream: TcpStream, seat: &Arc<Seat>, state: Arc<State>) {
        let _ = stream.set_nodelay(true);
        let Some(tls) = self.tls.clone() else { return self.speak_http(stream, seat, state).await };
        let handshake = tokio::time::timeout(self.limits.handshake, tls.accept(stream));
        let outcome = tokio::select! {
            outcome = handshake => outcome,
            () = seat.leave.notified() => return,
        };
        match outcome {
            Ok(Ok(stream)) => self.speak_http(stream, seat, state).await,
            outcome => {
                state.metrics.handshake_failures.inc();
                let problem = outcome.map_or_else(
                    |_| "it took too long".to_owned(),
                    |outcome| outcome.err().map(|error| error.to_string()).unwrap_or_default(),
                );
                tracing::debug!(target: "webhook", "TLS handshake failed: {problem}");
            }
        }
    }

    /// A broken connection concerns only its peer.
    async fn speak_http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(mut self, stream: S, seat: &Arc<Seat>, state: Arc<State>) {
        seat.enter(Stage::Fresh);
        let timed = Timed::new(stream, Arc::clone(seat), self.limits);
        let router = TowerToHyperService::new(self.router);
        let service = service_fn(|request: Request<Incoming>| {
            seat.enter(Stage::Request);
            let (answer, seat, state) = (router.call(request), Arc::clone(seat), Arc::clone(&state));
            async move {
                let mut response = answer.await?;
                if response.extensions().get::<Reviewed>().is_some() {
                    seat.has_reviewed();
                }
                if state.is_ending() {
                    // The client's next request goes to another replica.
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response.map(|body| Answer::new(body, seat)))
            }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).max_buf_size(LARGEST_HEAD).header_read_timeout(None);
        let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(timed), service));
        tokio::select! {
            _ = connection.as_mut() => {}
            () = async { tokio::select! { () = ended(&mut self.end) => {}, () = seat.leave.notified() => {} } } => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
