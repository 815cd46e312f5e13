//! Ends of a run, orderly and not: nothing stays on the machine.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use crate::bed::{Turn, bounded};
use crate::manifest::{self, App};
use crate::program::{Traces, Up, outrigger};

fn manifests(folder: &Path) -> Result<()> {
    let text = manifest::meshed("shop") + &App::new("shop", "server").yaml() + &manifest::http_service("shop", "server");
    Ok(std::fs::write(folder.join("all.yaml"), text)?)
}

#[test]
fn a_crashed_run_is_removed_by_the_next_up_or_by_down_and_others_live_on() {
    bounded(Turn::Shared, 90, async { tokio::task::spawn_blocking(crashes).await? });
}

fn crashes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    manifests(folder.path())?;
    // Two at the same time, over the same manifests.
    let (mut crashed, mut bystander) = (Up::start("crash-a", folder.path())?, Up::start("crash-b", folder.path())?);
    for up in [&crashed, &bystander] {
        up.wait_for("pods ready")?;
    }
    ensure!(crashed.state()?.subnet.pod_v4(0) != bystander.state()?.subnet.pod_v4(0), "both runs have the same addresses");
    let traces = kill(&mut crashed)?;
    ensure!(!traces.left().is_empty(), "kill -9 left nothing to remove, so the next run's removal is not tested");

    let mut next = Up::start("crash-c", folder.path())?;
    next.wait_for("pods ready")?;
    traces.gone()?;

    let traces = kill(&mut next)?;
    let (status, said) = outrigger(&["down", "--name", &next.name])?;
    // Whoever starts a run meanwhile may have removed it first.
    ensure!(status.success() || said.contains("no run named"), "{status}: {said}");
    traces.gone()?;

    let served = bystander.statuses("server", "http://server/", 3)?;
    ensure!(served == ["200"; 3], "the other run has suffered: {served:?}");
    let traces = Traces::of(&bystander)?;
    bystander.interrupt()?;
    traces.gone()
}

/// `kill -9` of `up`: its containers end with it.
fn kill(up: &mut Up) -> Result<Traces> {
    let traces = Traces::of(up)?;
    up.signal(Signal::SIGKILL)?;
    up.ended()?;
    let begin = Instant::now();
    while !traces.containers_ended() {
        ensure!(begin.elapsed() < Duration::from_secs(2), "containers outlive `up`: {:?}", traces.processes());
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(traces)
}

#[test]
fn ctrl_c_while_pods_are_still_starting_removes_everything() {
    bounded(Turn::Shared, 60, async {
        tokio::task::spawn_blocking(|| {
            let folder = tempfile::tempdir()?;
            manifests(folder.path())?;
            let mut up = Up::start("early", folder.path())?;
            up.wait("its first process runs", || Ok(Traces::of(&up).is_ok()))?;
            let traces = Traces::of(&up)?;
            up.interrupt()?;
            traces.gone()
        })
        .await?
    });
}
