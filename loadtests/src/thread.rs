//! One sending thread: a runtime of its own, its workers, its record, its CPU time.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::sys::resource::{UsageWho, getrusage};
use rustls::ClientConfig;
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{oneshot, watch},
    task::{JoinError, JoinSet},
};

use crate::{
    answer::Failure,
    connect::Dialer,
    http2::Slot,
    pace::Pacer,
    plan::Plan,
    recorder::Recorder,
    run::Phase,
    worker::{Site, Work, Worker},
};

/// A thread's part of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    workers: usize,
    /// HTTP/2 connections per URL.
    connections: usize,
}

impl Share {
    /// The part of thread `number` of `threads`.
    pub(crate) fn of(plan: &Plan, number: usize, threads: usize) -> Self {
        let part = |all: usize| all / threads + usize::from(number < all % threads);
        // More workers than requests would only connect.
        let workers = plan.concurrency.max(1).min(usize::try_from(plan.most()).unwrap_or(usize::MAX).max(threads));
        Self { workers: part(workers), connections: part(plan.connections.max(threads)) }
    }
}

/// What a thread leaves behind.
pub(crate) struct Ended {
    pub(crate) recorder: Recorder,
    /// Its user and system time, without the warm-up.
    pub(crate) cpu: Duration,
    /// Requests in flight that a stop left without an answer.
    pub(crate) abandoned: u64,
}

/// The thread's whole life: connects, says so, waits for the start, sends.
///
/// # Errors
/// The kernel gives no runtime or timer.
pub(crate) fn run(
    work: Arc<Work>,
    share: Share,
    tls: Option<&Arc<ClientConfig>>,
    recorder: Recorder,
    phase: watch::Receiver<Phase>,
    ready: oneshot::Sender<Vec<Result<(), Failure>>>,
) -> anyhow::Result<Ended> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).context("a runtime for a thread")?;
    let outcome = runtime.block_on(async {
        let site = Rc::new(site(work, share, tls, recorder)?);
        let workers = connected(&site, share, ready).await;
        let (cpu, abandoned) = send(&site, workers, phase).await?;
        Ok(Ended { recorder: site.recorder.take(), cpu, abandoned })
    });
    // A name that is still being looked up must not hold the end of the run up.
    runtime.shutdown_background();
    outcome
}

fn site(work: Arc<Work>, share: Share, tls: Option<&Arc<ClientConfig>>, recorder: Recorder) -> anyhow::Result<Site> {
    let dialers = work.jobs.iter().map(|job| Dialer::new(&work.plan, &job.target, tls.cloned())).collect::<anyhow::Result<_>>()?;
    let slots = work.jobs.iter().map(|_| (0..share.connections.max(1)).map(|_| Slot::default()).collect()).collect();
    Ok(Site {
        pacer: Pacer::new().context("a timer for a thread")?,
        recorder: RefCell::new(recorder),
        dialers,
        slots,
        start: Cell::new(Instant::now()),
        stopped: Cell::new(false),
        work,
    })
}

/// The workers, connected beforehand if the plan wants that.
async fn connected(site: &Rc<Site>, share: Share, ready: oneshot::Sender<Vec<Result<(), Failure>>>) -> Vec<Worker> {
    let mut workers: Vec<Worker> = (0..share.workers).map(|place| Worker::new(site.clone(), place)).collect();
    let dialled = match site.work.plan.preconnect {
        true => futures_util::future::join_all(workers.iter_mut().map(Worker::preconnect)).await.into_iter().flatten().collect(),
        false => Vec::new(),
    };
    let _nobody_waits = ready.send(dialled);
    workers
}

/// Sends from the start to the end; returns the CPU time it took, and how many requests were in flight still.
async fn send(site: &Rc<Site>, workers: Vec<Worker>, mut phase: watch::Receiver<Phase>) -> anyhow::Result<(Duration, u64)> {
    let Some(start) = started(&mut phase).await else { return Ok((Duration::ZERO, 0)) };
    site.start.set(start);
    let warm_cpu = Rc::new(Cell::new(cpu()));
    if !site.work.plan.warmup.is_zero() {
        let (end, warm_cpu) = (tokio::time::Instant::from_std(start + site.work.plan.warmup), warm_cpu.clone());
        tokio::task::spawn_local(async move {
            tokio::time::sleep_until(end).await;
            warm_cpu.set(cpu());
        });
    }
    let driven = site.clone();
    let driver = async move { driven.pacer.drive(start).await };
    let mut running = JoinSet::new();
    workers.into_iter().for_each(|worker| drop(running.spawn_local(worker.run())));
    let all = async {
        while let Some(ended) = running.join_next().await {
            // A worker that panicked has counted nothing since: a run without it would look whole. The thread ends as it did.
            if let Err(Ok(panic)) = ended.map_err(JoinError::try_into_panic) {
                std::panic::resume_unwind(panic);
            }
        }
    };
    let stop = async {
        // The sender lives as long as the run.
        let _stopped = phase.wait_for(|phase| *phase == Phase::Stop).await;
        site.stop();
        tokio::time::sleep(site.work.plan.patience).await;
    };
    tokio::select! {
        () = all => {}
        () = stop => {}
        broken = driver => broken.context("the timer of a thread")?,
    }
    // Stopped, a worker without a request has ended; the others have one each.
    let abandoned = u64::try_from(running.len()).unwrap_or(u64::MAX);
    Ok((cpu().saturating_sub(warm_cpu.get()), abandoned))
}

/// When the clock was started; `None` when the run is over before that.
async fn started(phase: &mut watch::Receiver<Phase>) -> Option<Instant> {
    match *phase.wait_for(|phase| *phase != Phase::Prepare).await.ok()? {
        Phase::Send(start) => Some(start),
        Phase::Prepare | Phase::Stop => None,
    }
}

/// User and system time of this thread.
fn cpu() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else { return Duration::ZERO };
    let part = |time: nix::sys::time::TimeVal| {
        Duration::new(u64::try_from(time.tv_sec()).unwrap_or_default(), u32::try_from(time.tv_usec()).unwrap_or_default() * 1000)
    };
    part(usage.user_time()) + part(usage.system_time())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_workers_and_connections_without_loss() {
        let plan = Plan { concurrency: 7, connections: 3, ..Plan::new("http://a", 1000) };
        let shares: Vec<Share> = (0..3).map(|number| Share::of(&plan, number, 3)).collect();
        assert_eq!(shares.iter().map(|share| share.workers).collect::<Vec<_>>(), [3, 2, 2]);
        assert_eq!(shares.iter().map(|share| share.connections).collect::<Vec<_>>(), [1, 1, 1]);
        let few = Plan { amount: crate::Amount::Requests(2), ..plan };
        assert_eq!(Share::of(&few, 0, 1).workers, 2);
    }
}
