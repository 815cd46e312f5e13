//! SIGTERM to a sidecar under load.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use outrigger_loadtests::{Amount, Plan};

use crate::bed::{Bed, PATIENCE, Turn, bounded, well};
use crate::manifest::{self, App};

const PROXY: Option<&str> = Some("istio-proxy");

async fn bed(name: &str) -> Result<(Bed, String)> {
    let pods = App::new("shop", "client").yaml() + &App::new("shop", "server").replicas(2).yaml();
    let text = manifest::meshed("shop") + &pods + &manifest::http_service("shop", "server");
    let bed = Bed::start(name, &[("all.yaml", text)]).await?;
    let pod = bed.testbed.pods_labelled("app", "server").first().context("a server")?.name.clone();
    Ok((bed, pod))
}

#[test]
fn a_sidecar_that_is_asked_to_end_fails_no_request() {
    bounded(Turn::Shared, 60, async {
        let (bed, pod) = bed("drain").await?;
        let load = |http2| {
            let mut plan = Plan::new("http://server/delay/200", 0);
            (plan.amount, plan.concurrency, plan.http2, plan.keep_answers) = (Amount::For(Duration::from_secs(10)), 8, http2, false);
            plan
        };
        let (keep_alive, http2) = (load(false), load(true));
        let ended = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let pid = bed.pid(&pod, PROXY)?;
            kill(Pid::from_raw(pid), Signal::SIGTERM)?;
            let restarted = bed.testbed.wait_until(PATIENCE, |state| {
                let proxy = state.pod(&pod).ok().and_then(|pod| pod.container(PROXY).ok().cloned());
                proxy.is_some_and(|proxy| proxy.restarts == 1 && proxy.ready)
            });
            restarted.await.context("the sidecar did not end and come back")
        };
        let (keep_alive, http2, ended) = tokio::join!(bed.load("client", &keep_alive), bed.load("client", &http2), ended);
        ended?;
        for report in [keep_alive?, http2?] {
            well(&report)?;
            ensure!(report.pods.get(&pod).is_some_and(|count| count.requests > 0), "{pod} was not part of it: {:?}", report.pods);
        }
        bed.end().await
    });
}

#[test]
fn a_second_signal_ends_a_sidecar_at_once() {
    bounded(Turn::Shared, 60, async {
        let (bed, pod) = bed("drain-twice").await?;
        let mut plan = Plan::new("http://server/delay/3000", 4);
        plan.concurrency = 4;
        let twice = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let pid = Pid::from_raw(bed.pid(&pod, PROXY)?);
            kill(pid, Signal::SIGTERM)?;
            tokio::time::sleep(Duration::from_millis(300)).await;
            ensure!(kill(pid, None).is_ok(), "ended at the first signal, with requests in flight");
            kill(pid, Signal::SIGTERM)?;
            let begin = Instant::now();
            while kill(pid, None).is_ok() {
                ensure!(begin.elapsed() < Duration::from_secs(1), "still there {:?} after the second signal", begin.elapsed());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            anyhow::Ok(())
        };
        let (report, twice) = tokio::join!(bed.load("client", &plan), twice);
        twice?;
        // They were in flight there, and nobody waited for them.
        ensure!(report?.failed_count() > 0, "no request was lost, so none was in flight");
        bed.end().await
    });
}
