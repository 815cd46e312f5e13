//! One container from its first start to its last end: restarts with back-off, readiness, termination.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use tokio::sync::watch;

use super::plan::{ContainerPlan, PodPlan, PreStop, Role};
use super::probe::{Place, Verdict};
use crate::container::process::{Backoff, Launcher, Running, describe};

/// Where a container stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not started, and why: `PodInitializing`, `CrashLoopBackOff: exit status 1`.
    Waiting(String),
    /// Its process runs.
    Running {
        /// On the host.
        pid: i32,
        /// Since when.
        since: SystemTime,
    },
    /// It ended and stays so.
    Terminated {
        /// Whether its status was 0.
        success: bool,
        /// In words.
        how: String,
    },
}

/// What is known of a container at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where it stands.
    pub state: State,
    /// Whether its probe says yes.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: u32,
}

impl Status {
    /// A container that has not started yet.
    pub fn waiting(reason: &str) -> Status {
        Status { state: State::Waiting(reason.to_owned()), ready: false, restarts: 0 }
    }

    /// Process id, while it runs.
    pub fn pid(&self) -> Option<i32> {
        match self.state {
            State::Running { pid, .. } => Some(pid),
            State::Waiting(_) | State::Terminated { .. } => None,
        }
    }

    /// Whether it ended for good.
    pub fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated { .. })
    }
}

/// Runs one container until it ends for good or `stop` becomes true; every change goes to `status`.
pub struct Supervisor {
    launcher: Launcher,
    plan: ContainerPlan,
    place: Place,
    grace: Duration,
    status: watch::Sender<Status>,
    stop: watch::Receiver<bool>,
}

/// Why the process is no longer watched.
enum End {
    Exited(ExitStatus),
    Stopped,
}

impl Supervisor {
    /// Prepares the container at position `index` of the pod.
    pub fn new(
        launcher: &Launcher,
        pod: &PodPlan,
        plan: &ContainerPlan,
        status: watch::Sender<Status>,
        stop: watch::Receiver<bool>,
    ) -> Supervisor {
        let place = Place {
            netns: pod.netns.clone(),
            address: pod.address,
            folder: pod.folder.clone(),
            container: plan.name.clone(),
            launcher: launcher.clone(),
        };
        Supervisor { launcher: launcher.clone(), plan: plan.clone(), place, grace: pod.grace, status, stop }
    }

    /// The whole life. Returns whether the last run succeeded.
    pub async fn run(mut self) -> bool {
        if let Err(reason) = &self.plan.spec {
            self.set(State::Waiting(reason.clone()), false);
            let _ = self.stop.wait_for(|stop| *stop).await;
            return false;
        }
        let mut backoff = Backoff::default();
        loop {
            let started = Instant::now();
            let (success, how) = match self.run_once().await {
                Ok(End::Exited(status)) => (status.success(), self.explain(status)),
                Ok(End::Stopped) => return self.finish(true, "stopped"),
                Err(error) => (false, format!("{error:#}")),
            };
            if *self.stop.borrow() || !self.plan.restart.restarts(success) {
                return self.finish(success, &how);
            }
            let pause = backoff.next(started.elapsed());
            let reason = if pause.is_zero() { "restarting" } else { "CrashLoopBackOff" };
            self.set(State::Waiting(format!("{reason}: {how}")), false);
            let stopped = tokio::time::timeout(pause, self.stop.wait_for(|stop| *stop)).await.is_ok();
            if stopped {
                return self.finish(success, &how);
            }
            self.status.send_modify(|status| status.restarts += 1);
        }
    }

    /// How the process ended; for a failure with the last line it printed, which usually says why.
    fn explain(&self, status: ExitStatus) -> String {
        let how = describe(status);
        match last_line(&self.log()) {
            Some(line) if status.code().is_some_and(|code| code != 0) => format!("{how}: {line}"),
            _ => how,
        }
    }

    fn log(&self) -> PathBuf {
        self.place.folder.join(format!("{}.log", self.plan.name))
    }

    async fn run_once(&mut self) -> Result<End> {
        let mut process = self.launcher.start(&self.place.folder, &self.plan.name, &self.log())?;
        let pid = process.pid();
        self.set(State::Running { pid, since: SystemTime::now() }, false);
        let mut stop = self.stop.clone();
        tokio::select! {
            status = process.wait() => return Ok(End::Exited(status?)),
            _ = self.watch_readiness(pid) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        // Like the kubelet, a container being stopped is no longer probed: its endpoint is gone already.
        self.terminate(&mut process).await?;
        Ok(End::Stopped)
    }

    /// Never returns while the container runs; an init container has no readiness.
    async fn watch_readiness(&self, pid: i32) {
        if self.plan.role == Role::Init {
            return std::future::pending().await;
        }
        let probe = &self.plan.readiness;
        tokio::time::sleep(probe.initial_delay).await;
        let mut verdict = Verdict::new();
        loop {
            let answer = self.place.ask(probe, pid).await;
            if verdict.record(probe, answer.is_ok()) {
                let ready = verdict.ready();
                self.status.send_modify(|status| status.ready = ready);
            }
            if probe.check == super::probe::Check::Running {
                return std::future::pending().await;
            }
            tokio::time::sleep(verdict.pause(probe)).await;
        }
    }

    async fn terminate(&self, process: &mut Running) -> Result<()> {
        let deadline = Instant::now() + self.grace;
        if let Some(hook) = &self.plan.pre_stop {
            let _ = tokio::time::timeout(self.grace, self.run_hook(hook, process.pid())).await;
        }
        process.terminate(deadline.saturating_duration_since(Instant::now())).await?;
        Ok(())
    }

    async fn run_hook(&self, hook: &PreStop, pid: i32) {
        match hook {
            PreStop::Sleep(time) => tokio::time::sleep(*time).await,
            PreStop::Exec(argv) => {
                let mut command = self.launcher.command(&self.place.folder, &self.plan.name, Some(pid), argv);
                if let Err(error) = command.stdin(std::process::Stdio::null()).status().await {
                    tracing::warn!(container = self.plan.name, %error, "preStop hook did not run");
                }
            }
        }
    }

    fn finish(&self, success: bool, how: &str) -> bool {
        self.set(State::Terminated { success, how: how.to_owned() }, false);
        success
    }

    fn set(&self, state: State, ready: bool) {
        self.status.send_modify(|status| (status.state, status.ready) = (state, ready));
    }
}

/// The last line of a log that is not empty, at most 200 letters of it.
fn last_line(log: &Path) -> Option<String> {
    const TAIL: u64 = 1024;
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    let line = tail.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(200).collect())
}
