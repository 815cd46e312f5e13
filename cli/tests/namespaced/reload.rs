//! Changed files under load: soon in effect, never half, and no request pays for it.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use outrigger_loadtests::{Plan, Report, run_until};

use crate::bed::{Bed, Turn, bounded, replace, well};
use crate::manifest::{self, App};
use crate::stalls::Stalls;

const CHANGES: usize = 50;
const PROMISED: Duration = Duration::from_millis(100);
const STALLED: Duration = Duration::from_secs(5);

/// The ways in which programs write files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Way {
    /// Empties the file, then writes it piece by piece: many editors, `>`.
    Truncate,
    /// Writes beside and renames: the other editors, configuration management.
    Rename,
    /// Swaps the link `..data`: a mounted ConfigMap.
    ConfigMap,
}

const WAYS: [Way; 3] = [Way::Truncate, Way::Rename, Way::ConfigMap];

impl Way {
    fn host(self) -> &'static str {
        match self {
            Way::Truncate => "truncate.example.com",
            Way::Rename => "rename.example.com",
            Way::ConfigMap => "configmap.example.com",
        }
    }

    fn name(self) -> &'static str {
        self.host().split('.').next().unwrap_or_default()
    }

    /// A route of everything to one version.
    fn text(self, version: &str) -> String {
        let (one, other) = if version == "v1" { (100, 0) } else { (0, 100) };
        manifest::split("shop", self.name(), self.host(), "gateway", "server", &[("v1", one), ("v2", other)])
    }

    /// Writes the route and returns when it was complete.
    fn write(self, folder: &Path, number: usize, version: &str) -> Result<Instant> {
        let (text, file) = (self.text(version), folder.join(format!("{}.yaml", self.name())));
        match self {
            Way::Truncate => {
                let (first, rest) = text.split_at(text.len() / 2);
                let mut file = File::create(file)?;
                std::thread::sleep(Duration::from_millis(2));
                file.write_all(first.as_bytes())?;
                std::thread::sleep(Duration::from_millis(2));
                file.write_all(rest.as_bytes())?;
            }
            Way::Rename => replace(&file, &text)?,
            Way::ConfigMap => swap(&folder.join("mounted"), number, &text)?,
        }
        Ok(Instant::now())
    }
}

/// As the kubelet updates a mounted ConfigMap: a new folder, a new link beside, a rename over the old link.
fn swap(folder: &Path, number: usize, text: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    let version = format!("..2026_01_01_{number}");
    fs::create_dir(folder.join(&version))?;
    fs::write(folder.join(&version).join("route.yaml"), text)?;
    let (data, new) = (folder.join("..data"), folder.join("..data_tmp"));
    let old = fs::read_link(&data).ok();
    symlink(&version, &new)?;
    fs::rename(&new, &data)?;
    match old {
        Some(old) => fs::remove_dir_all(folder.join(old))?,
        None => symlink("..data/route.yaml", folder.join("route.yaml"))?,
    }
    Ok(())
}

#[test]
fn fifty_changes_under_load_act_within_100_ms_and_lose_nothing() {
    bounded(Turn::Alone, 90, async {
        let bed = bed().await?;
        let folder = bed.path("routes");
        let stop = Arc::new(tokio::sync::Notify::new());
        let load = WAYS.map(|way| tokio::spawn(load(plan(&bed, way, 0), stop.clone())));
        let stalls = Stalls::start();
        let (mut worst, mut versions) = ((Duration::ZERO, Way::Rename), [1; 3]);
        for number in 0..CHANGES {
            let way = WAYS[number % 3];
            let version = versions[number % 3] % 2 + 1;
            versions[number % 3] = version;
            let took = effect(&bed, &folder, way, number, &format!("v{version}"), &stalls).await?;
            worst = worst.max((took, way));
        }
        stop.notify_waiters();
        for (way, load) in WAYS.iter().zip(load) {
            let report = load.await??;
            well(&report).with_context(|| format!("under {way:?}"))?;
            ensure!(report.version("v1") > 0 && report.version("v2") > 0, "{way:?}: {:?}", report.versions);
        }
        println!("slowest of {CHANGES} changes: {:?}, by {:?}", worst.0, worst.1);
        ensure!(worst.0 < PROMISED, "a change took {:?} by {:?}", worst.0, worst.1);
        bed.end().await
    });
}

async fn bed() -> Result<Bed> {
    let pods = App::new("shop", "server-v1").of("server", "v1").yaml() + &App::new("shop", "server-v2").of("server", "v2").yaml();
    let services = manifest::http_service("shop", "server") + &manifest::subsets("shop", "server", &["v1", "v2"]);
    let text = manifest::meshed("shop") + &manifest::gateway("shop") + &pods + &services;
    let bed = Bed::start("reload", &[("all.yaml", text)]).await?;
    let folder = bed.path("routes");
    fs::create_dir(&folder)?;
    for (number, way) in WAYS.into_iter().enumerate() {
        way.write(&folder, 1000 + number, "v1")?;
    }
    for way in WAYS {
        let answers = || async { Ok(outrigger_loadtests::run(plan(&bed, way, 1)).await?.version("v1") == 1) };
        crate::bed::until("the first route", Duration::from_secs(10), answers).await?;
    }
    Ok(bed)
}

fn plan(bed: &Bed, way: Way, requests: u64) -> Plan {
    let mut plan = Plan::new(format!("http://{}/", way.host()), requests);
    plan.connect = bed.gateway().ok();
    plan
}

/// A steady load, slow enough to leave the machine some air.
async fn load(mut plan: Plan, stop: Arc<tokio::sync::Notify>) -> Result<Report> {
    plan.amount = outrigger_loadtests::Amount::For(Duration::from_secs(80));
    (plan.concurrency, plan.rate, plan.keep_answers) = (2, Some(100.0), false);
    run_until(plan, stop.notified()).await
}

/// Makes one change; returns the time from its completion to the first answer that shows it, less what the machine
/// kept everybody waiting meanwhile.
async fn effect(bed: &Bed, folder: &Path, way: Way, number: usize, version: &str, stalls: &Stalls) -> Result<Duration> {
    let folder = PathBuf::from(folder);
    let wanted = version.to_owned();
    stalls.reset();
    let written = tokio::task::spawn_blocking(move || way.write(&folder, number, &wanted)).await??;
    loop {
        // The request that shows the effect was decided after it began; its own time does not count.
        let asked = Instant::now();
        let report = outrigger_loadtests::run(plan(bed, way, 1)).await?;
        well(&report).with_context(|| format!("during change {number} by {way:?}"))?;
        if report.version(version) == 1 {
            return Ok(asked.saturating_duration_since(written).saturating_sub(stalls.total()));
        }
        ensure!(written.elapsed() < STALLED, "change {number} by {way:?} has no effect");
    }
}
