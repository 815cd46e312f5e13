//! Readiness probes, asked from inside the pod as root.
//!
//! A connection from the pod to its own address stays on the loopback interface and, made by another user than the
//! proxy's, is exempt from capture (sidecar contract, 2.1, rule 12). So a probe reaches the application itself, as
//! the kubelet's does after the injector's probe rewrite, also where STRICT mTLS would refuse plain text.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::container::process::Launcher;
use crate::network::NetNs;
use crate::network::client;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing: a process that runs is ready.
    Running,
    /// GET, ready on status 200 to 399.
    Http {
        /// Port.
        port: u16,
        /// Path with query.
        path: String,
        /// Further headers; `host` replaces the address.
        headers: Vec<(String, String)>,
    },
    /// The port accepts connections.
    Tcp {
        /// Port.
        port: u16,
    },
    /// The command ends with status 0.
    Exec {
        /// Program and arguments.
        argv: Vec<String>,
    },
}

/// A probe with its timing. Defaults are those of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What is asked.
    pub check: Check,
    /// Before the first question.
    pub initial_delay: Duration,
    /// Between questions, once the container is ready.
    pub period: Duration,
    /// For one answer.
    pub timeout: Duration,
    /// Failures in a row that make a ready container unready.
    pub failure_threshold: u32,
    /// Successes in a row that make an unready container ready.
    pub success_threshold: u32,
}

impl Probe {
    /// A probe with default timing.
    pub fn new(check: Check) -> Probe {
        Probe {
            check,
            initial_delay: Duration::ZERO,
            period: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            failure_threshold: 3,
            success_threshold: 1,
        }
    }
}

/// Turns single answers into readiness. Pure.
#[derive(Clone, Debug)]
pub struct Verdict {
    ready: bool,
    ever_ready: bool,
    in_a_row: u32,
}

impl Verdict {
    /// Until a container was ready for the first time it is asked this often, not at the probe's period: a kubelet
    /// may wait 10 s, a person at a terminal does not.
    const EAGER: Duration = Duration::from_millis(20);

    /// A container that has just started.
    pub fn new() -> Verdict {
        Verdict { ready: false, ever_ready: false, in_a_row: 0 }
    }

    /// Takes one answer; true if readiness changed.
    pub fn record(&mut self, probe: &Probe, success: bool) -> bool {
        if success == self.ready {
            self.in_a_row = 0;
            return false;
        }
        self.in_a_row += 1;
        let threshold = if success { probe.success_threshold } else { probe.failure_threshold };
        if self.in_a_row < threshold.max(1) {
            return false;
        }
        self.ready = success;
        self.ever_ready |= success;
        self.in_a_row = 0;
        true
    }

    /// Whether the container counts as ready.
    pub fn ready(&self) -> bool {
        self.ready
    }

    /// How long to wait before the next question.
    pub fn pause(&self, probe: &Probe) -> Duration {
        if self.ever_ready { probe.period } else { Self::EAGER.min(probe.period) }
    }
}

impl Default for Verdict {
    fn default() -> Verdict {
        Verdict::new()
    }
}

/// Where a probe is asked.
#[derive(Clone, Debug)]
pub struct Place {
    /// The pod's namespace.
    pub netns: NetNs,
    /// The pod's address.
    pub address: IpAddr,
    /// The pod's folder.
    pub folder: PathBuf,
    /// The container's name.
    pub container: String,
    /// Runs exec probes.
    pub launcher: Launcher,
}

impl Place {
    /// Asks once; the error says why the container is not ready.
    ///
    /// # Errors
    /// On any answer but success, and after the probe's timeout.
    pub async fn ask(&self, probe: &Probe, pid: i32) -> Result<()> {
        let answer = tokio::time::timeout(probe.timeout, self.answer(&probe.check, pid)).await;
        answer.unwrap_or_else(|_| bail!("no answer within {:?}", probe.timeout))
    }

    async fn answer(&self, check: &Check, pid: i32) -> Result<()> {
        match check {
            Check::Running => Ok(()),
            Check::Tcp { port } => {
                client::connect(&self.netns, SocketAddr::new(self.address, *port)).await?;
                Ok(())
            }
            Check::Http { port, path, headers } => {
                let target = SocketAddr::new(self.address, *port);
                let response = client::get(&self.netns, target, path, headers).await?;
                ensure!((200..400).contains(&response.status), "GET {path} on port {port}: status {}", response.status);
                Ok(())
            }
            Check::Exec { argv } => {
                let mut command = self.launcher.command(&self.folder, &self.container, Some(pid), argv);
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                let status = command.status().await.context("running the probe's command")?;
                ensure!(status.success(), "{}: {}", argv.join(" "), crate::container::process::describe(status));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_success_makes_ready_and_three_failures_in_a_row_make_unready() {
        let probe = Probe::new(Check::Running);
        let mut verdict = Verdict::new();
        let changes: Vec<bool> =
            [false, true, false, false, true, false, false, false].map(|success| verdict.record(&probe, success)).to_vec();
        assert_eq!(changes, [false, true, false, false, false, false, false, true]);
        assert!(!verdict.ready());
    }

    #[test]
    fn a_container_is_asked_eagerly_until_it_was_ready_once() {
        let probe = Probe::new(Check::Running);
        let mut verdict = Verdict::new();
        assert_eq!(verdict.pause(&probe), Duration::from_millis(20));
        verdict.record(&probe, true);
        assert_eq!(verdict.pause(&probe), Duration::from_secs(10));
    }
}
