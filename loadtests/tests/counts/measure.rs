//! Runs a scenario twice, with few and with many requests, and divides the difference by the difference of requests, so that
//! start, warm-up and end cancel out.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use outrigger_testbed::ca::{Ca, Identity, LIFETIME};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::LocalSet;
use tokio::time::timeout;

use crate::client::Client;
use crate::compare::Counts;
use crate::origin::{self, Arrival, Ticket};
use crate::preload::Extra;
use crate::scenario::{IN_FLIGHT, Scenario};
use crate::stream::Tls;
use crate::subject::{Subject, Totals};

/// Rounds of [`IN_FLIGHT`] requests until connections, buffers and tables have their size.
const WARM_UP: usize = 15;
/// Rounds that count.
const COUNTED: usize = 50;
/// For one half of a round; callgrind needs milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one request of a scenario costs.
#[derive(Clone, Debug)]
pub struct Measured {
    pub counts: Counts,
    /// Instructions by part of the program, most first.
    pub areas: Vec<(String, f64)>,
    /// Allocations by function, most first; those that not every tenth request makes are left out.
    pub callers: Vec<(String, f64)>,
}

/// Measures a scenario. Needs root, for a network namespace.
pub fn per_request(binary: &Path, scenario: Scenario, extra: Option<Extra>) -> Result<Measured> {
    let few = run(binary, scenario, WARM_UP, extra)?;
    let many = run(binary, scenario, WARM_UP + COUNTED, extra)?;
    let each = |few: u64, many: u64| (many as f64 - few as f64) / (COUNTED * IN_FLIGHT) as f64;
    let counts = Counts {
        instructions: each(few.profile.instructions, many.profile.instructions),
        allocations: each(few.profile.allocations, many.profile.allocations),
        system_calls: each(few.system_calls, many.system_calls),
    };
    let before = |few: Option<&u64>| few.copied().unwrap_or_default();
    let areas = many.profile.by_area.iter().map(|(area, sum)| ((*area).to_owned(), each(before(few.profile.by_area.get(area)), *sum)));
    let callers =
        many.profile.by_caller.iter().map(|(caller, sum)| (caller.clone(), each(before(few.profile.by_caller.get(caller)), *sum)));
    let callers = callers.filter(|(_, each)| *each >= 0.1);
    Ok(Measured { counts, areas: most_first(areas), callers: most_first(callers) })
}

fn most_first(rows: impl Iterator<Item = (String, f64)>) -> Vec<(String, f64)> {
    let mut rows: Vec<(String, f64)> = rows.collect();
    rows.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    rows
}

/// One life of the proxy, in a thread that has a network namespace for itself.
fn run(binary: &Path, scenario: Scenario, rounds: usize, extra: Option<Extra>) -> Result<Totals> {
    let work = || -> Result<Totals> {
        private_network()?;
        let folder = tempfile::tempdir()?;
        let certificates = folder.path().join("certificates");
        issue_certificates(&certificates)?;
        let tls = Rc::new(Tls::load(&certificates)?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, async {
            let arrivals = origin::start(scenario, Rc::clone(&tls)).await?;
            let subject = Subject::start(binary, &scenario, folder.path(), extra).await?;
            let mut load = Load { scenario, tls, clients: Vec::new(), arrivals };
            load.connect().await?;
            for _ in 0..rounds {
                load.round(&subject).await.with_context(|| format!("the proxy said:\n{}", subject.said()))?;
            }
            subject.finish(&format!("{}-{rounds}", scenario.name))
        })
    };
    let outcome = std::thread::scope(|scope| scope.spawn(work).join());
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).with_context(|| format!("scenario {}", scenario.name))
}

fn private_network() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("a network namespace of its own (root is needed)")?;
    let status = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().context("ip (package iproute2)")?;
    anyhow::ensure!(status.success(), "ip link set lo up: {status}");
    Ok(())
}

fn issue_certificates(folder: &Path) -> Result<()> {
    std::fs::create_dir(folder)?;
    let identity =
        Identity { trust_domain: "cluster.local".to_owned(), namespace: "counts".to_owned(), service_account: "default".to_owned() };
    let now = time::OffsetDateTime::now_utc();
    Ca::new("counts", now)?.issue(&identity, now, LIFETIME)?.save(folder)
}

/// Client and origin in lock-step.
struct Load {
    scenario: Scenario,
    tls: Rc<Tls>,
    clients: Vec<Client>,
    arrivals: UnboundedReceiver<Arrival>,
}

impl Load {
    /// Takes new connections in the place of those there are. One without TLS is there as soon as the kernel has it.
    async fn connect(&mut self) -> Result<()> {
        self.clients.clear();
        for _ in 0..self.scenario.connections() {
            self.clients.push(Client::connect(self.scenario, &self.tls).await?);
        }
        Ok(())
    }

    /// All requests at once, then all answers at once.
    async fn round(&mut self, subject: &Subject) -> Result<()> {
        subject
            .unaware(async {
                if self.scenario.anew {
                    self.connect().await?;
                }
                for client in &mut self.clients {
                    client.send().await?;
                }
                Ok(())
            })
            .await?;
        let tickets = timeout(PATIENCE, self.arrived()).await.context("not all requests reached the origin in time")??;
        subject
            .unaware(async {
                for ticket in tickets {
                    ticket.answer().await?;
                }
                Ok(())
            })
            .await?;
        timeout(PATIENCE, self.answered()).await.context("not all answers reached the client in time")?
    }

    async fn arrived(&mut self) -> Result<Vec<Ticket>> {
        let mut tickets = Vec::new();
        while tickets.len() < IN_FLIGHT {
            tickets.push(self.arrivals.recv().await.context("the origin is gone")??);
        }
        Ok(tickets)
    }

    async fn answered(&mut self) -> Result<()> {
        for client in &mut self.clients {
            client.receive().await?;
        }
        Ok(())
    }
}
