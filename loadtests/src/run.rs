//! The run itself: workers that take the next request's number, send, and record.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    answer::{Answer, Cause, Failure},
    http,
    plan::{Amount, Plan, Scheme},
    pool::{Dialer, Slot},
    raw,
    report::{Recorder, Report},
    tls,
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
    let shared = Arc::new(Shared::new(plan)?);
    let mut workers = JoinSet::new();
    for worker in 0..shared.plan.concurrency.max(1) {
        workers.spawn(work(shared.clone(), worker));
    }
    let all_done = async { while workers.join_next().await.is_some() {} };
    tokio::pin!(all_done);
    tokio::select! {
        () = &mut all_done => {}
        () = stop => {
            shared.stopped.store(true, Ordering::Relaxed);
            shared.wake.notify_waiters();
            all_done.await;
        }
    }
    let elapsed = shared.start.elapsed();
    let recorder = std::mem::take(&mut *shared.recorder.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(recorder.into_report(&shared.plan, elapsed))
}

/// What the workers of one run share.
struct Shared {
    plan: Plan,
    dialer: Dialer,
    slots: Vec<Slot>,
    start: Instant,
    next: AtomicU64,
    stopped: AtomicBool,
    wake: tokio::sync::Notify,
    recorder: Mutex<Recorder>,
}

impl Shared {
    fn new(plan: Plan) -> anyhow::Result<Self> {
        let target = plan.target()?;
        let tls = match target.scheme {
            Scheme::Https => Some(tls::config(&plan).context("TLS")?),
            _ => None,
        };
        let slots = if plan.http2 || plan.grpc { plan.connections } else { plan.concurrency };
        Ok(Self {
            dialer: Dialer::new(&plan, target, tls),
            slots: (0..slots.max(1)).map(|_| Slot::default()).collect(),
            start: Instant::now(),
            next: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            wake: tokio::sync::Notify::new(),
            recorder: Mutex::new(Recorder::default()),
            plan,
        })
    }

    /// The next request's number and the time it is due, or `None` when the run is over.
    fn claim(&self) -> Option<(u64, Duration)> {
        if self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let due = match self.plan.rate {
            Some(rate) if rate > 0.0 => Duration::from_secs_f64(index as f64 / rate),
            _ => self.start.elapsed(),
        };
        let over = match self.plan.amount {
            Amount::Requests(total) => index >= total,
            Amount::For(length) => due >= length,
        };
        (!over).then_some((index, due))
    }

    /// Sleeps until the request is due; `false` when the run was stopped meanwhile.
    async fn wait_for(&self, due: Duration) -> bool {
        if due > self.start.elapsed() {
            tokio::select! {
                () = tokio::time::sleep_until(self.start + due) => {}
                () = self.wake.notified() => {}
            }
        }
        !self.stopped.load(Ordering::Relaxed)
    }
}

async fn work(shared: Arc<Shared>, worker: usize) {
    let Some(slot) = shared.slots.get(worker % shared.slots.len().max(1)) else { return };
    while let Some((index, due)) = shared.claim() {
        if !shared.wait_for(due).await {
            return;
        }
        let answer = one(&shared, slot, index, due).await;
        shared.recorder.lock().unwrap_or_else(PoisonError::into_inner).add(&shared.plan, answer);
    }
}

/// Sends one request and times it.
async fn one(shared: &Shared, slot: &Slot, index: u64, due: Duration) -> Answer {
    let Shared { plan, dialer, start, .. } = shared;
    let mut answer = Answer { index, sent_us: micros(start.elapsed()), ..Answer::default() };
    let exchange = async {
        match dialer.target.scheme {
            Scheme::Http | Scheme::Https => http::exchange(plan, dialer, slot, &mut answer).await,
            Scheme::WebSocket => raw::websocket(plan, dialer, &mut answer).await,
            Scheme::Tcp => raw::tcp(plan, dialer, &mut answer).await,
        }
    };
    let outcome = tokio::time::timeout(plan.timeout, exchange).await;
    let outcome = outcome.unwrap_or_else(|_| Err(Failure::new(Cause::Timeout, format!("no answer in {:?}", plan.timeout))));
    answer.error = outcome.err();
    answer.latency_us = micros(start.elapsed().saturating_sub(due));
    answer
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
