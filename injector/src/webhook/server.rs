//! Sockets, with a bound on everything a peer controls: connections, time of handshake, head, body and answer, idle time.
//!
//! Idle connections live longer than an API server's client keeps them (90 s), so that it is the client who closes them: a review sent
//! into a connection being closed here would be lost, and with it the pod.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;

use super::State;

/// Bounds of one port.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time. Default 4096.
    pub connections: usize,
    /// For the TLS handshake. Default 10 s.
    pub handshake: Duration,
    /// From the first byte of a request to the end of its head, and from the handshake to the first byte. Default 10 s.
    pub head: Duration,
    /// From the end of the head to the end of the answer. Default 30 s.
    pub request: Duration,
    /// Between two requests. Default 180 s.
    pub idle: Duration,
    /// For requests under way when the process ends. Default 10 s.
    pub end: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connections: 4096, handshake: seconds(10), head: seconds(10), request: seconds(30), idle: seconds(180), end: seconds(10) }
    }
}

/// Largest request head.
const LARGEST_HEAD: usize = 64 << 10;
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
        let permits = Arc::new(Semaphore::new(self.limits.connections));
        let mut connections = JoinSet::new();
        loop {
            let stream = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                () = ended(&mut end) => break,
            };
            match (stream, Arc::clone(&permits).try_acquire_owned()) {
                (Ok((stream, _)), Ok(permit)) => {
                    let connection =
                        Connection { router: self.router.clone(), tls: self.tls.clone(), limits: self.limits, end: end.clone() };
                    let state = Arc::clone(&self.state);
                    connections.spawn(async move {
                        let _permit = permit;
                        state.metrics.connections.inc();
                        connection.serve(stream, Arc::clone(&state)).await;
                        state.metrics.connections.dec();
                    });
                }
                (Ok(_), Err(_)) => {
                    self.state.metrics.connections_refused.inc();
                }
                (Err(_), _) => tokio::time::sleep(SHORTAGE).await,
            }
        }
        // What the kernel has taken in already would never be answered.
        drop(self.listener);
        let rest = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(self.limits.end, rest).await;
    }
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
    async fn serve(self, stream: TcpStream, state: Arc<State>) {
        let _ = stream.set_nodelay(true);
        let Some(tls) = self.tls.clone() else { return self.speak_http(stream, state).await };
        match tokio::time::timeout(self.limits.handshake, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.speak_http(stream, state).await,
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
    async fn speak_http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(mut self, stream: S, state: Arc<State>) {
        let phase = Arc::new(Phase::default());
        let timed = Timed::new(stream, Arc::clone(&phase), self.limits);
        let router = TowerToHyperService::new(self.router);
        let service = service_fn(move |request: Request<Incoming>| {
            phase.enter(Stage::Request);
            let (answer, phase, state) = (router.call(request), Arc::clone(&phase), Arc::clone(&state));
            async move {
                let mut response = answer.await?;
                phase.enter(Stage::Idle);
                if state.is_ending() {
                    // The client's next request goes to another replica.
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).max_buf_size(LARGEST_HEAD).header_read_timeout(None);
        let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(timed), service));
        tokio::select! {
            _ = connection.as_mut() => {}
            () = ended(&mut self.end) => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }
}

/// What a connection is doing, told by the service and by the first bytes of a request.
#[derive(Debug, Default)]
struct Phase(AtomicU8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    /// Nothing has come yet.
    Fresh = 0,
    Head = 1,
    Request = 2,
    Idle = 3,
}

impl Phase {
    fn enter(&self, stage: Stage) {
        self.0.store(stage as u8, Ordering::Relaxed);
    }

    fn stage(&self) -> Stage {
        match self.0.load(Ordering::Relaxed) {
            0 => Stage::Fresh,
            1 => Stage::Head,
            2 => Stage::Request,
            _ => Stage::Idle,
        }
    }
}

/// A stream that fails once its stage has lasted too long.
struct Timed<S> {
    inner: S,
    phase: Arc<Phase>,
    limits: Limits,
    timed: Stage,
    deadline: Pin<Box<Sleep>>,
}

impl<S> Timed<S> {
    fn new(inner: S, phase: Arc<Phase>, limits: Limits) -> Self {
        Self { inner, phase, limits, timed: Stage::Fresh, deadline: Box::pin(tokio::time::sleep(limits.head)) }
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let stage = self.phase.stage();
        if stage != self.timed {
            self.timed = stage;
            let time = match stage {
                Stage::Fresh | Stage::Head => self.limits.head,
                Stage::Request => self.limits.request,
                Stage::Idle => self.limits.idle,
            };
            self.deadline.as_mut().reset(Instant::now() + time);
        }
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        if buffer.filled().len() > before && matches!(self.phase.stage(), Stage::Fresh | Stage::Idle) {
            self.phase.enter(Stage::Head);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
