//! The run itself: threads that send, started together and stopped together, and their records made one report.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, anyhow};
use tokio::sync::{oneshot, watch};

use crate::{
    answer::Failure,
    connect, descriptors,
    feed::Feed,
    live::Live,
    pace::nanos,
    plan::{Amount, Plan},
    recorder::{Layout, NotSent, Recorder},
    report::{Facts, Report},
    seen::Wants,
    target::{Prepared, Scheme, Target},
    thread::{self, Ended, Share},
    worker::{Job, Work},
};

/// Carries a plan out.
///
/// # Errors
/// A plan that cannot be carried out at all: a URL that is none, TLS files that are unusable. Requests that fail are
/// part of the report.
pub async fn run(plan: Plan) -> anyhow::Result<Report> {
    run_until(plan, std::future::pending()).await
}

/// Carries a plan out, but starts no more requests once `stop` resolves.
///
/// # Errors
/// As [`run`].
pub async fn run_until(plan: Plan, stop: impl Future<Output = ()>) -> anyhow::Result<Report> {
    Run::prepare(plan)?.finish(stop).await
}

/// What the threads are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Connections are being made.
    Prepare,
    /// Requests are sent; the clock started then.
    Send(Instant),
    /// No further request is sent.
    Stop,
}

/// So many requests that were not sent are counted in one go.
const BATCH: usize = 1 << 16;
/// Why a request of a whole run was not sent.
const NO_CONNECTION: &str = "no connection was free until a second after the end";

/// So late a request may be sent because the sending side was busy.
const MOMENT: Duration = Duration::from_millis(100);

/// Threads that are ready to begin.
pub struct Run {
    work: Arc<Work>,
    lives: Vec<Arc<Live>>,
    phase: watch::Sender<Phase>,
    ready: Vec<oneshot::Receiver<Vec<Result<(), Failure>>>>,
    ended: Vec<oneshot::Receiver<anyhow::Result<Ended>>>,
    threads: usize,
}

impl Run {
    /// Starts the threads; they send nothing yet.
    ///
    /// # Errors
    /// As [`run`].
    pub fn prepare(plan: Plan) -> anyhow::Result<Self> {
        let targets = plan.urls().map(|url| url.parse()).collect::<anyhow::Result<Vec<Target>>>()?;
        let tls = connect::tls_config(&plan, &targets)?;
        // Each thread makes dialers of its own; what can be wrong about one is known now.
        for target in &targets {
            connect::Dialer::new(&plan, target, tls.clone())?;
        }
        let layout = Arc::new(layout(&plan));
        let work = Arc::new(work(plan, targets)?);
        let (phase, _) = watch::channel(Phase::Prepare);
        let threads = threads(&work.plan);
        descriptors::provide(&work.plan, work.origins(), threads)?;
        let mut run = Self { work, lives: Vec::new(), phase, ready: Vec::new(), ended: Vec::new(), threads };
        for number in 0..threads {
            let recorder = Recorder::new(layout.clone());
            run.lives.push(recorder.live());
            let share = Share::of(&run.work.plan, number, threads);
            let (ready, when_ready) = oneshot::channel();
            let (ended, when_ended) = oneshot::channel();
            let (work, tls, phase) = (run.work.clone(), tls.clone(), run.phase.subscribe());
            let body = move || {
                // Whoever waits for it sees a thread that cannot say how it ended as one that failed.
                let _nobody_waits = ended.send(thread::run(work, share, tls.as_ref(), recorder, phase, ready));
            };
            std::thread::Builder::new().name(format!("load-{number}")).spawn(body).context("starting a thread")?;
            run.ready.push(when_ready);
            run.ended.push(when_ended);
        }
        Ok(run)
    }

    /// Counters to watch the run by, one per thread.
    pub fn lives(&self) -> Vec<Arc<Live>> {
        self.lives.clone()
    }

    /// By what its progress is seen.
    pub(crate) fn amount(&self) -> Amount {
        self.work.plan.progress()
    }

    /// Tells whether it has begun.
    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Sends, until the plan is carried out or `stop` resolves.
    ///
    /// # Errors
    /// Nobody to connect to, when the plan wants connections made beforehand; a thread that failed.
    pub async fn finish(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<Report> {
        tokio::pin!(stop);
        tokio::select! {
            biased;
            // The threads end with the run, as soon as they have made their connections or given them up.
            () = &mut stop => return Ok(self.not_begun()),
            ready = self.wait_until_ready() => ready?,
        }
        let started = SystemTime::now() + self.work.plan.warmup;
        let start = Instant::now();
        self.phase.send_replace(Phase::Send(start));
        // The first that fails fails the run: the others' requests would make no report, however long they took.
        let all = futures_util::future::try_join_all(std::mem::take(&mut self.ended).into_iter().map(thread_ended));
        tokio::pin!(all);
        let mut stopped = None;
        let ended = tokio::select! {
            ended = &mut all => ended,
            () = &mut stop => {
                stopped = Some(start.elapsed());
                self.phase.send_replace(Phase::Stop);
                all.await
            }
        };
        let (mut recorder, spent) = joined(ended?)?;
        let answering = recorder.elapsed();
        let facts = Facts { abandoned: spent.abandoned, ..self.facts(started, spent.cpu.as_secs_f64(), stopped.is_some()) };
        // Of a run that ended early, what was due by then counts; of another, all of it. What became due in the very moment of a
        // stop was not kept waiting by the server: no more than what is on its way then is it a failure.
        let early = stopped.or_else(|| self.work.feed.gave_up().map(Duration::from_nanos));
        let asking = self.asking(&recorder, early);
        let due_by = stopped.map(|stopped| stopped.saturating_sub(MOMENT)).or(early);
        // At a high rate these may be so many that counting them takes seconds: whoever listens for signals has his turns meanwhile.
        let mut told = stopped.is_some();
        let end = nanos(recorder.ended());
        while self.record_not_sent(&mut recorder, end, due_by) {
            tokio::select! {
                biased;
                () = &mut stop, if !told => told = true,
                () = tokio::task::yield_now() => {}
            }
        }
        Ok(recorder.into_report(facts, answering.max(asking)))
    }

    /// The report of a run that was stopped before its first request.
    fn not_begun(&self) -> Report {
        let facts = self.facts(SystemTime::now(), 0.0, true);
        Recorder::new(Arc::new(layout(&self.work.plan))).into_report(facts, Duration::ZERO)
    }

    /// How long the run lasts at least, whenever its last answer came: for its schedule, without one as long as it went on to
    /// send, and either until its early end.
    fn asking(&self, recorder: &Recorder, early: Option<Duration>) -> Duration {
        let plan = &self.work.plan;
        let early = early.map(|early| early.saturating_sub(plan.warmup));
        match (plan.meant_to_take(), early) {
            (Some(meant), Some(early)) => meant.min(early),
            (Some(lasts), None) | (None, Some(lasts)) => lasts,
            (None, None) => recorder.went_on(plan.length(), plan.most()),
        }
    }

    /// Waits for the threads' connections. One that fails may be one too many for the server; all of them are no server.
    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let mut failures = Vec::new();
        let mut connected = false;
        for ready in self.ready.drain(..) {
            for dialled in ready.await.unwrap_or_default() {
                match dialled {
                    Ok(()) => connected = true,
                    Err(failure) => failures.push(failure),
                }
            }
        }
        match failures.first() {
            Some(Failure { cause, detail }) if !connected => {
                Err(anyhow!(Unreachable(format!("{} is not reachable: {cause}: {detail}", self.work.plan.url))))
            }
            _ => Ok(()),
        }
    }

    /// Requests that the schedule had and the run did not send are requests without an answer, given up when it ended. Records
    /// some of them; `true` until none are left.
    fn record_not_sent(&self, recorder: &mut Recorder, end: u64, early: Option<Duration>) -> bool {
        let Work { feed, warmup, .. } = &*self.work;
        let why = if early.is_some() { "no connection was free before the run ended" } else { NO_CONNECTION };
        let batch = feed.not_sent(early.map_or(u64::MAX, nanos), BATCH);
        let lost = |(order, due): (u64, u64)| NotSent { order, target: feed.target(order), due: due.saturating_sub(*warmup) };
        let batch: Vec<NotSent> = batch.into_iter().map(lost).collect();
        recorder.record_not_sent(&batch, end, &why);
        !batch.is_empty()
    }

    fn facts(&self, started: SystemTime, cpu_seconds: f64, interrupted: bool) -> Facts {
        let plan = &self.work.plan;
        Facts {
            started: started.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
            protocol: protocol(plan, self.work.jobs.first().map(|job| job.target.scheme)).to_owned(),
            asked_rate: plan.asked_rate(),
            concurrency: plan.concurrency as u64,
            threads: self.threads as u64,
            warm_up_seconds: plan.warmup.as_secs_f64(),
            cpu_seconds,
            interrupted,
            gave_up: self.work.feed.gave_up().is_some(),
            ..Facts::default()
        }
    }
}

/// What the threads spent.
#[derive(Default)]
struct Spent {
    cpu: Duration,
    abandoned: u64,
}

async fn thread_ended(thread: oneshot::Receiver<anyhow::Result<Ended>>) -> anyhow::Result<Ended> {
    thread.await.map_err(|_| anyhow!("a sending thread ended unexpectedly"))?
}

/// All threads' records as one.
fn joined(threads: Vec<Ended>) -> anyhow::Result<(Recorder, Spent)> {
    let mut spent = Spent::default();
    let mut recorder: Option<Recorder> = None;
    for thread in threads {
        spent.cpu += thread.cpu;
        spent.abandoned += thread.abandoned;
        match &mut recorder {
            Some(all) => all.merge(thread.recorder),
            None => recorder = Some(thread.recorder),
        }
    }
    Ok((recorder.context("a run without threads")?, spent))
}

/// Nobody answered to the first connections: nothing was sent.
#[derive(Debug)]
pub struct Unreachable(String);

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreachable {}

fn layout(plan: &Plan) -> Layout {
    Layout {
        targets: plan.urls().cloned().collect(),
        properties: plan.count_by.iter().map(|by| by.name.clone()).collect(),
        turns: plan.keep_order,
        keep_order: plan.keep_order && plan.concurrency == 1,
        stages: plan.stages.clone(),
    }
}

fn work(plan: Plan, targets: Vec<Target>) -> anyhow::Result<Work> {
    let origin = |target: &Target| targets.iter().position(|other| other.same_origin(target)).unwrap_or_default();
    let job = |target: &Target| Ok(Job { target: target.clone(), request: Prepared::new(&plan, target)?, origin: origin(target) });
    let jobs = targets.iter().map(job).collect::<anyhow::Result<_>>()?;
    let (wants, feed, warmup) = (Wants::new(&plan), Feed::new(&plan)?, nanos(plan.warmup));
    Ok(Work { plan, wants, jobs, feed, warmup })
}

/// As many threads as the plan wants and has connections for.
fn threads(plan: &Plan) -> usize {
    let connections = if plan.speaks_http2() { plan.connections.min(plan.concurrency) } else { plan.concurrency };
    plan.threads.min(connections).max(1)
}

fn protocol(plan: &Plan, scheme: Option<Scheme>) -> &'static str {
    match scheme {
        Some(Scheme::WebSocket) => "WebSocket",
        Some(Scheme::Tcp) => "TCP",
        _ if plan.grpc => "gRPC",
        _ if plan.http2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_fails_ends_a_long_run_at_once() -> anyhow::Result<()> {
        let hour = Amount::For(Duration::from_secs(3_600));
        let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let slow = Plan { amount: hour, rate: Some(1.0), concurrency: 2, threads: 2, ..Plan::new(format!("http://{nobody}/"), 0) };
        let mut run = Run::prepare(slow)?;
        // What is left of a thread that panicked.
        let (gone, panicked) = oneshot::channel();
        drop(gone);
        *run.ended.last_mut().context("two threads")? = panicked;
        let finished = tokio::time::timeout(Duration::from_secs(10), run.finish(std::future::pending())).await?;
        let error = finished.err().context("an error")?;
        assert!(error.to_string().contains("ended unexpectedly"), "{error:#}");
        Ok(())
    }
}
