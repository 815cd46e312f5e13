//! Starting and ending processes of a pod.
//!
//! All of them are children of the thread that runs the testbed and carry a parent-death signal, so that not even
//! `kill -9` of `outrigger up` leaves a container behind. Each leads a session, and what it leaves running in that
//! session is killed after it, as a container's process namespace would.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

/// Starts processes through `outrigger pod-exec`.
#[derive(Clone, Debug)]
pub struct Launcher {
    program: PathBuf,
}

impl Launcher {
    /// `program` is the `outrigger` binary.
    pub fn new(program: PathBuf) -> Launcher {
        Launcher { program }
    }

    /// The `outrigger` binary.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Starts a container's own command with its output appended to `log`.
    ///
    /// # Errors
    /// When the process cannot be made; a missing program shows up in the log and as exit status instead.
    pub fn start(&self, pod: &Path, container: &str, log: &Path) -> Result<Running> {
        let open = || OpenOptions::new().create(true).append(true).open(log);
        let (out, err) = (open()?, open()?);
        let child = self
            .pod_exec(pod, container)
            .arg("--parent")
            .arg(std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .with_context(|| format!("starting container {container}"))?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).context("the process ended at once")?;
        Ok(Running { child, pid: Pid::from_raw(pid) })
    }

    /// A command in a container's surroundings, standard streams inherited; `join` is the pid of the running
    /// container whose files it shares.
    pub fn command(&self, pod: &Path, container: &str, join: Option<i32>, argv: &[String]) -> Command {
        let mut command = self.pod_exec(pod, container);
        if let Some(pid) = join {
            command.arg("--join").arg(pid.to_string());
        }
        command.arg("--").args(argv);
        command
    }

    fn pod_exec(&self, pod: &Path, container: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("pod-exec").arg("--pod").arg(pod).arg("--container").arg(container).kill_on_drop(true);
        command
    }
}

/// A started container.
#[derive(Debug)]
pub struct Running {
    child: Child,
    pid: Pid,
}

impl Running {
    /// Process id on the host.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Waits for the end and kills what the container left in its session.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait().await?;
        let _ = killpg(self.pid, Signal::SIGKILL);
        Ok(status)
    }

    /// SIGTERM to the main process, SIGKILL to the whole session after `grace`.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub async fn terminate(&mut self, grace: Duration) -> Result<ExitStatus> {
        let _ = kill(self.pid, Signal::SIGTERM);
        if let Ok(status) = tokio::time::timeout(grace, self.wait()).await {
            return status;
        }
        let _ = killpg(self.pid, Signal::SIGKILL);
        self.wait().await
    }
}

/// How a process ended, in the shell's words: `exit status 1`, `signal 9`.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// Waiting times between restarts: none at first, then 1 s, 2 s, 4 s up to a minute.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    const STABLE: Duration = Duration::from_secs(10);
    const LONGEST: Duration = Duration::from_secs(60);

    /// How long to wait before the next start, after a run that lasted `uptime`. A run of 10 s or more counts as
    /// healthy and begins anew.
    pub fn next(&mut self, uptime: Duration) -> Duration {
        if uptime >= Self::STABLE {
            self.failures = 0;
        }
        let wait = match self.failures {
            0 => Duration::ZERO,
            n => Duration::from_secs(1 << (n - 1).min(6)).min(Self::LONGEST),
        };
        self.failures += 1;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_come_at_once_then_ever_later_until_a_run_was_stable() {
        let mut backoff = Backoff::default();
        let short = Duration::from_millis(20);
        let waits: Vec<u64> = (0..9).map(|_| backoff.next(short).as_secs()).collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.next(Duration::from_secs(11)), Duration::ZERO);
        assert_eq!(backoff.next(short), Duration::from_secs(1));
    }
}
