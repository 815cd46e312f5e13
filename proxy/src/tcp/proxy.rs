//! Forwards one connection and reports it: opened, every few seconds while bytes move, closed.
//!
//! The report is made by a guard when the connection's future ends or is dropped, so that a connection cut at the drain
//! deadline is counted like any other. Source: sidecar contract 7.1 (TCP metrics), Istio semantics 4.4 (time-outs).

use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::copy::{Copy, End};
use super::upstream::Hold;
use super::{Client, Refused, Target, Upstream, connect};
use crate::listener::{Downstream, DownstreamIo, Stay, Transport};
use crate::prefixed::Prefixed;
use crate::runtime::{Worker, clock};
use crate::telemetry::{ResponseFlags, TcpRecord, TcpReport, UpstreamFacts};
use crate::upstream::connect::UpstreamIo;

/// Time between two reports of a connection on which bytes move (Istio's `tcp_reporting_duration`).
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// Stands for "no limit" in timers.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Connects to a target and forwards; a target that cannot be reached closes the connection.
pub async fn serve(worker: &Arc<Worker>, downstream: Arc<Downstream>, io: DownstreamIo, target: Target) {
    // Boxed: what connecting and a handshake need is gone before the long part of a connection's life begins.
    match Box::pin(connect(worker, target, Client { destination: downstream.destination, source: downstream.source })).await {
        Ok(upstream) => forward(worker, downstream, io, upstream).await,
        Err(refused) => refuse(worker, downstream, refused),
    }
}

/// Reports a connection that is closed without a byte having been forwarded.
pub fn refuse(worker: &Worker, downstream: Arc<Downstream>, refused: Refused) {
    let transport = refused.upstream.as_ref().and_then(|upstream| upstream.transport_failure.as_deref());
    tracing::debug!(
        peer = %downstream.peer, destination = %downstream.destination, listener = &*downstream.listener,
        flags = %refused.flags, details = %refused.details, transport, "connection closed"
    );
    let record = TcpRecord {
        duration: downstream.accepted_at.elapsed().unwrap_or_default(),
        downstream,
        flags: refused.flags,
        bytes_received: 0,
        bytes_sent: 0,
        termination_details: refused.details,
        upstream: refused.upstream,
    };
    worker.telemetry.tcp_closed(None, &record, worker.config.load().access_log());
}

/// Copies between the client and an established upstream until both are done, one fails, a time limit is reached, or the way
/// the client came in is gone for as long as connections drain: TCP cannot be asked to leave.
pub async fn forward(worker: &Arc<Worker>, downstream: Arc<Downstream>, io: DownstreamIo, upstream: Upstream) {
    let (idle, longest) = upstream.limits();
    let (upstream, facts, hold) = upstream.into_parts();
    let report = worker.telemetry.tcp_opened(&downstream, Some(&facts), ResponseFlags::NONE);
    let mut session = Session {
        worker: Arc::clone(worker),
        downstream,
        facts: Some(facts),
        copy: Copy::new(io, upstream, worker.pipes.clone()),
        report: Some(report),
        flags: ResponseFlags::NONE,
        details: Cow::Borrowed("-"),
        _hold: hold,
    };
    let mut stay = Stay::new(&worker.residents, &session.downstream);
    let outcome = {
        let mut running = pin!(session.run(Limits::new(idle, longest)));
        poll_fn(|cx| match running.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => stay.poll_cut(cx).map(|()| Outcome::Cut),
        })
        .await
    };
    session.settle(outcome);
}

/// Time limits of a connection.
#[derive(Clone, Copy, Debug)]
struct Limits {
    idle: Duration,
    deadline: Instant,
}

impl Limits {
    fn new(idle: Option<Duration>, longest: Option<Duration>) -> Self {
        Limits { idle: idle.unwrap_or(FOREVER).min(FOREVER), deadline: clock::now() + longest.unwrap_or(FOREVER).min(FOREVER) }
    }
}

/// Why forwarding stopped.
#[derive(Debug)]
enum Outcome {
    Ended(End),
    Idle,
    LongEnough,
    /// The process or the listener or filter chain it came through is gone, and the time to drain is over.
    Cut,
}

/// A connection being forwarded; reports itself when dropped.
struct Session {
    worker: Arc<Worker>,
    downstream: Arc<Downstream>,
    facts: Option<UpstreamFacts>,
    copy: Copy<DownstreamIo, Prefixed<UpstreamIo>>,
    report: Option<TcpReport>,
    flags: ResponseFlags,
    details: Cow<'static, str>,
    _hold: Hold,
}

impl Session {
    /// One timer serves three purposes: the next report while bytes move, the idle limit while they do not, and the
    /// connection's longest life. It is set when bytes start to move and when it fires, never per byte.
    async fn run(&mut self, limits: Limits) -> Outcome {
        let report_every = REPORT_EVERY.min(limits.idle);
        let mut timer = pin!(sleep(Duration::ZERO));
        rearm(timer.as_mut(), limits.idle, limits.deadline);
        let (mut seen, mut moving) = (0, false);
        loop {
            let ended = poll_fn(|cx| {
                if let Poll::Ready(end) = self.copy.poll(cx) {
                    return Poll::Ready(Some(end));
                }
                if !moving && self.copy.moved() != seen {
                    moving = true;
                    rearm(timer.as_mut(), report_every, limits.deadline);
                }
                ready!(timer.as_mut().poll(cx));
                Poll::Ready(None)
            });
            if let Some(end) = ended.await {
                return Outcome::Ended(end);
            }
            if Instant::now() >= limits.deadline {
                return Outcome::LongEnough;
            }
            if !moving {
                return Outcome::Idle;
            }
            self.progress();
            seen = self.copy.moved();
            moving = false;
            rearm(timer.as_mut(), limits.idle, limits.deadline);
        }
    }

    fn progress(&mut self) {
        let (received, sent) = (self.copy.received(), self.copy.sent());
        if let Some(report) = &mut self.report {
            self.worker.telemetry.tcp_progress(report, received, sent);
        }
        self.copy.release();
    }

    /// Turns the outcome into what the log says. A reset of one side is passed on as a reset: an orderly close would make
    /// truncated data look complete.
    fn settle(&mut self, outcome: Outcome) {
        let (flags, details) = match &outcome {
            Outcome::Cut if self.downstream.must_leave() => (ResponseFlags::NONE, "drain_time_of_removed_listener_over"),
            Outcome::Ended(End::Closed) | Outcome::Cut => (ResponseFlags::NONE, "-"),
            Outcome::Ended(End::Downstream(_)) => (ResponseFlags::DC, "downstream_reset"),
            Outcome::Ended(End::Upstream(_)) => (ResponseFlags::UC, "upstream_reset"),
            Outcome::Idle => (ResponseFlags::SI, "idle_timeout"),
            Outcome::LongEnough => (ResponseFlags::DT, "max_connection_duration"),
        };
        let (client, server) = self.copy.ends();
        match outcome {
            Outcome::Ended(End::Downstream(error)) if is_reset(&error) => abort(SockRef::from(upstream_socket(server))),
            Outcome::Ended(End::Upstream(error)) if is_reset(&error) => downstream_socket(client).into_iter().for_each(abort),
            _ => {}
        }
        self.flags = flags;
        self.details = Cow::Borrowed(details);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let record = TcpRecord {
            duration: self.downstream.accepted_at.elapsed().unwrap_or_default(),
            downstream: Arc::clone(&self.downstream),
            flags: self.flags,
            bytes_received: self.copy.received(),
            bytes_sent: self.copy.sent(),
            termination_details: std::mem::replace(&mut self.details, Cow::Borrowed("-")),
            upstream: self.facts.take(),
        };
        let config = self.worker.config.load();
        self.worker.telemetry.tcp_closed(self.report.take(), &record, config.access_log());
    }
}

fn rearm(timer: std::pin::Pin<&mut Sleep>, pause: Duration, deadline: Instant) {
    timer.reset((clock::now() + pause).min(deadline));
}

fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// Makes closing the socket send a reset.
fn abort(socket: SockRef<'_>) {
    let _ = socket.set_linger(Some(Duration::ZERO));
}

fn downstream_socket(io: &DownstreamIo) -> Option<SockRef<'_>> {
    match io.get_ref() {
        Transport::Plain(socket) => socket.options(),
        Transport::Tls(session) => session.io().get_ref().options(),
    }
}

fn upstream_socket(io: &Prefixed<UpstreamIo>) -> &TcpStream {
    match io.get_ref() {
        UpstreamIo::Plain(stream) => stream,
        UpstreamIo::Tls(session) => session.io(),
    }
}
