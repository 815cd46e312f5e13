//! One request in flight at a time: claim, wait until it is due, send, read, record.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    answer::{Answer, Cause, Failure},
    connect::Dialer,
    deadline::Deadline,
    feed::{Claim, Feed},
    http1::Http1,
    http2,
    io::Io,
    pace::{Pacer, nanos},
    plan::Plan,
    raw,
    recorder::{Connection, Key, Outcome, Recorder, Sample},
    seen::{Seen, Wants},
    target::{Prepared, Scheme, Target},
};

/// How long a closed loop waits after a connection could not be made, so that a server that is gone is not hammered.
const PAUSE: Duration = Duration::from_millis(5);

/// How often a request goes on to a new connection because the server ended the last in order.
const GOODBYES: u32 = 5;

/// What all threads of a run share.
pub(crate) struct Work {
    pub(crate) plan: Plan,
    pub(crate) wants: Wants,
    pub(crate) jobs: Vec<Job>,
    pub(crate) feed: Feed,
    /// Length of the warm-up in nanoseconds; records count from its end.
    pub(crate) warmup: u64,
}

impl Work {
    /// How many different servers the URLs name.
    pub(crate) fn origins(&self) -> usize {
        self.jobs.iter().enumerate().filter(|(index, job)| job.origin == *index).count()
    }
}

/// A URL with its request.
pub(crate) struct Job {
    pub(crate) target: Target,
    pub(crate) request: Prepared,
    /// Index of the first URL with the same scheme, host and port: connections are shared with it.
    pub(crate) origin: usize,
}

/// What the workers of one thread share.
pub(crate) struct Site {
    pub(crate) work: Arc<Work>,
    pub(crate) pacer: Pacer,
    pub(crate) recorder: RefCell<Recorder>,
    /// One per URL; used are those of origins.
    pub(crate) dialers: Vec<Dialer>,
    /// Per URL the HTTP/2 connections of this thread; used are those of origins.
    pub(crate) slots: Vec<Vec<http2::Slot>>,
    pub(crate) start: Cell<Instant>,
    pub(crate) stopped: Cell<bool>,
}

impl Site {
    fn now(&self) -> u64 {
        nanos(self.start.get().elapsed())
    }

    /// No further request begins on this thread.
    pub(crate) fn stop(&self) {
        self.stopped.set(true);
        self.pacer.stop();
    }
}

/// A connection that is kept for the next request.
enum Held {
    Http1(Http1),
    Raw(Io),
}

/// With how it was made, and how many requests it has carried.
struct Kept {
    held: Held,
    made: Connection,
    used: u64,
}

impl Kept {
    fn connection(&self) -> Connection {
        if self.used > 0 { Connection::Reused } else { self.made }
    }
}

/// Where one of the requests in flight is made.
pub(crate) struct Worker {
    site: Rc<Site>,
    /// Its place among the thread's workers, which chooses the HTTP/2 connection.
    place: usize,
    /// Per URL; used are those of origins.
    kept: Vec<Option<Kept>>,
    seen: Seen,
    /// How the current request got its connection.
    connection: Connection,
    keys: Vec<Option<Key>>,
}

impl Worker {
    pub(crate) fn new(site: Rc<Site>, place: usize) -> Self {
        let kept = site.work.jobs.iter().map(|_| None).collect();
        let seen = site.work.wants.seen();
        Self { site, place, kept, seen, connection: Connection::None, keys: Vec::new() }
    }

    /// Makes its connection to the first URL before the clock runs, where connections are kept; `None` when it needs none of
    /// its own, which says nothing about the server.
    pub(crate) async fn preconnect(&mut self) -> Option<Result<(), Failure>> {
        let site = self.site.clone();
        let ((job, dialer), slots) = site.work.jobs.iter().zip(&site.dialers).zip(&site.slots).next()?;
        let kept = site.work.plan.per_connection() > 1 && keeps(&site.work.plan, job.target.scheme);
        if !kept && self.place > 0 {
            return None;
        }
        if matches!(job.request, Prepared::Http2 { .. }) {
            return Some(slots.get(self.place)?.open(dialer).await);
        }
        let (io, made) = match dialer.timed().await {
            Ok(made) => made,
            Err(failure) => return Some(Err(failure)),
        };
        let held = if matches!(job.request, Prepared::Raw) {
            Held::Raw(io)
        } else {
            let mut http1 = Http1::new(io);
            if let Err(failure) = http1.objection().await {
                return Some(Err(failure));
            }
            Held::Http1(http1)
        };
        if kept && let Some(place) = self.kept.first_mut() {
            *place = Some(Kept { held, made, used: 0 });
        }
        Some(Ok(()))
    }

    /// Sends requests until there are no more.
    pub(crate) async fn run(mut self) {
        let site = self.site.clone();
        let mut deadline = Deadline::new(site.work.plan.timeout);
        while !site.stopped.get() {
            let able = site.now();
            let Some(claim) = site.work.feed.claim(able) else { return };
            if claim.due > able && !site.pacer.until(claim.due).await {
                return site.work.feed.hand_back(&claim);
            }
            let ended = self.one(&claim, able, &mut deadline).await;
            if site.work.feed.hopeless(ended.is_ok(), site.now()) {
                site.stop();
            }
            let unreachable = matches!(ended, Err(Cause::Dns | Cause::Refused | Cause::Connect | Cause::Tls));
            if unreachable && !site.work.feed.is_open_loop() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// One request, from sending to recording.
    async fn one(&mut self, claim: &Claim, able: u64, deadline: &mut Deadline) -> Result<(), Cause> {
        let site = self.site.clone();
        self.seen.clear(&site.work.wants);
        self.connection = Connection::None;
        let begin = tokio::time::Instant::now();
        let sent = nanos(begin.into_std().saturating_duration_since(site.start.get()));
        let outcome = deadline.within(begin, self.exchange(claim.target)).await;
        let outcome = outcome.unwrap_or_else(|| Err(Failure::new(Cause::Timeout, format!("no answer in {:?}", site.work.plan.timeout))));
        let times = Times {
            intended: if site.work.feed.is_open_loop() { claim.due } else { sent },
            able: able.max(claim.due),
            sent,
            done: site.now(),
        };
        let ended = outcome.as_ref().copied().map_err(|failure| failure.cause);
        if !claim.warm {
            self.record(claim, times.after(site.work.warmup), outcome);
        }
        ended
    }

    /// The request's way over a connection and back.
    async fn exchange(&mut self, target: usize) -> Result<(), Failure> {
        let site = self.site.clone();
        let Some(job) = site.work.jobs.get(target) else { return Ok(()) };
        match &job.request {
            Prepared::Http1 { bytes, bodiless } => self.http1(&site, job, bytes, *bodiless).await,
            Prepared::Http2 { head, body } => self.http2(&site, job, head, body).await,
            Prepared::Raw => self.raw(&site, job).await,
        }
    }

    async fn http1(&mut self, site: &Site, job: &Job, bytes: &[u8], bodiless: bool) -> Result<(), Failure> {
        let (mut http1, used) = match self.open_http1(job.origin).await {
            Some(kept) => kept,
            None => (Http1::new(self.dial(site, job.origin).await?), 0),
        };
        http1.exchange(bytes, bodiless, &site.work.wants, &mut self.seen).await?;
        if http1.reusable() {
            self.keep(job.origin, Held::Http1(http1), used + 1);
        }
        Ok(())
    }

    async fn http2(&mut self, site: &Site, job: &Job, head: &http::Request<()>, body: &bytes::Bytes) -> Result<(), Failure> {
        let Work { plan, wants, .. } = &*site.work;
        let slots = site.slots.get(job.origin).map(Vec::as_slice).unwrap_or_default();
        let (Some(slot), Some(dialer)) = (slots.get(self.place % slots.len().max(1)), site.dialers.get(job.origin)) else { return Ok(()) };
        for _ in 0..GOODBYES {
            let taken = slot.take(plan.per_connection(), dialer).await?;
            self.connection = taken.connection;
            if http2::exchange(taken, head, body, wants, &mut self.seen).await? {
                return self.called(plan);
            }
        }
        Err(Failure::new(Cause::Closed, format!("the server ended {GOODBYES} connections in a row without looking at the request")))
    }

    fn called(&self, plan: &Plan) -> Result<(), Failure> {
        // A gRPC answer says how the call ended, or is none.
        if plan.grpc && self.seen.status == Some(200) && self.seen.grpc_status().is_none() {
            return Err(Failure::new(Cause::Protocol, "no grpc-status, neither in headers nor in trailers"));
        }
        Ok(())
    }

    async fn raw(&mut self, site: &Site, job: &Job) -> Result<(), Failure> {
        let Work { plan, wants, .. } = &*site.work;
        if job.target.scheme == Scheme::WebSocket {
            let io = self.dial(site, job.origin).await?;
            return raw::websocket(io, plan, &job.target, wants, &mut self.seen).await;
        }
        if !plan.tcp_echo {
            let io = self.dial(site, job.origin).await?;
            return raw::line_exchange(io, plan, wants, &mut self.seen).await;
        }
        let (mut io, used) = match self.take(job.origin) {
            Some((Held::Raw(kept), used)) => (kept, used),
            _ => (self.dial(site, job.origin).await?, 0),
        };
        raw::echo(&mut io, plan, wants, &mut self.seen).await?;
        self.keep(job.origin, Held::Raw(io), used + 1);
        Ok(())
    }

    async fn dial(&mut self, site: &Site, origin: usize) -> Result<Io, Failure> {
        self.connection = Connection::None;
        let Some(dialer) = site.dialers.get(origin) else { return Err(Failure::new(Cause::Connect, "no such URL")) };
        let (io, made) = dialer.timed().await?;
        self.connection = made;
        Ok(io)
    }

    /// The connection kept for an origin, and how many requests it has carried.
    fn take(&mut self, origin: usize) -> Option<(Held, u64)> {
        let kept = self.kept.get_mut(origin)?.take()?;
        self.connection = kept.connection();
        Some((kept.held, kept.used))
    }

    /// The HTTP/1.1 connection kept for an origin, unless the server has closed it meanwhile.
    async fn open_http1(&mut self, origin: usize) -> Option<(Http1, u64)> {
        let (Held::Http1(mut http1), used) = self.take(origin)? else { return None };
        http1.is_open().await.then_some((http1, used))
    }

    /// Keeps a connection that has carried `used` requests, unless these were enough.
    fn keep(&mut self, origin: usize, held: Held, used: u64) {
        if used < self.site.work.plan.per_connection()
            && let Some(place) = self.kept.get_mut(origin)
        {
            *place = Some(Kept { held, made: self.connection, used });
        }
    }

    fn record(&mut self, claim: &Claim, times: Times, outcome: Result<(), Failure>) {
        let Work { plan, wants, .. } = &*self.site.work;
        let seen = &self.seen;
        let mut recorder = self.site.recorder.borrow_mut();
        let (pod, version) = seen.who();
        let who = if pod.is_empty() && version.is_empty() { None } else { recorder.who(pod, version) };
        self.keys.clear();
        for property in 0..plan.count_by.len() {
            let key = wants.value(seen, property).and_then(|value| recorder.key(property, value));
            self.keys.push(key);
        }
        let grpc = || seen.grpc_status().map(|code| code.parse().unwrap_or(u16::MAX));
        recorder.record(&Sample {
            order: claim.number,
            target: claim.target,
            intended_ns: times.intended,
            able_ns: times.able,
            sent_ns: times.sent,
            done_ns: times.done,
            outcome: match (&outcome, seen.status) {
                (Err(failure), _) => Outcome::Error(failure.cause, &failure.detail),
                (Ok(()), None) => Outcome::Plain,
                (Ok(()), Some(status)) => grpc().map_or(Outcome::Status(status), |code| Outcome::Grpc(status, code)),
            },
            who,
            keys: &self.keys,
            bytes_in: seen.received,
            bytes_out: seen.sent,
            connection: self.connection,
        });
        if plan.keep_answers {
            recorder.keep(answer(plan, wants, seen, claim, &times, outcome.err()));
        }
    }
}

/// Whether connections of this scheme carry more than one request.
fn keeps(plan: &Plan, scheme: Scheme) -> bool {
    match scheme {
        Scheme::Http | Scheme::Https => true,
        Scheme::Tcp => plan.tcp_echo,
        Scheme::WebSocket => false,
    }
}

/// Nanoseconds since the start.
struct Times {
    intended: u64,
    able: u64,
    sent: u64,
    done: u64,
}

impl Times {
    /// Since the end of the warm-up.
    fn after(self, warmup: u64) -> Self {
        let since = |time: u64| time.saturating_sub(warmup);
        Self { intended: since(self.intended), able: since(self.able), sent: since(self.sent), done: since(self.done) }
    }
}

/// The answer with its words.
fn answer(plan: &Plan, wants: &Wants, seen: &Seen, claim: &Claim, times: &Times, error: Option<Failure>) -> Answer {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let known = |bytes: &[u8]| (!bytes.is_empty()).then(|| text(bytes));
    let (pod, version) = seen.who();
    Answer {
        index: claim.number,
        sent_us: times.sent / 1000,
        latency_us: times.done.saturating_sub(times.intended) / 1000,
        status: seen.status,
        version: known(version),
        pod: known(pod),
        grpc_status: seen.grpc_status().map(std::borrow::Cow::into_owned),
        bytes: seen.body_length,
        headers: seen.headers(),
        body: plan.keep_bodies.then(|| text(seen.body())),
        values: (0..plan.count_by.len()).map(|property| wants.value(seen, property).map(text)).collect(),
        error,
    }
}
