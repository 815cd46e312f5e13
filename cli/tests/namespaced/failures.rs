//! `kill -9`: noticed at once, felt only by the requests that were there, and mended.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use outrigger_loadtests::{Amount, Plan};

use crate::bed::{Bed, PATIENCE, Turn, bounded, until};
use crate::manifest::{self, App};
use crate::stalls::Stalls;

const NOTICED: Duration = Duration::from_millis(100);
const ENDPOINT_GONE: Duration = Duration::from_secs(1);
const LOAD: Duration = Duration::from_secs(6);
const CLUSTER: &str = "outbound|80||server.shop.svc.cluster.local";

#[test]
fn a_killed_application_is_noticed_avoided_and_started_again() {
    bounded(Turn::Alone, 60, killed(None));
}

#[test]
fn a_killed_sidecar_is_noticed_avoided_and_started_again() {
    bounded(Turn::Alone, 60, killed(Some("istio-proxy")));
}

async fn killed(container: Option<&str>) -> Result<()> {
    // A container that is not asked for a second cannot be back before its absence was seen.
    let server = App::new("shop", "server").replicas(3).probe("{httpGet: {path: /, port: 8080}, initialDelaySeconds: 1, periodSeconds: 1}");
    let log = manifest::access_log("answer code=%RESPONSE_CODE% flags=%RESPONSE_FLAGS% host=%UPSTREAM_HOST%");
    let pods = App::new("shop", "client").yaml() + &server.yaml() + &manifest::http_service("shop", "server");
    let name = if container.is_none() { "kill-app" } else { "kill-sidecar" };
    let bed = Bed::start(name, &[("all.yaml", manifest::meshed("shop") + &log + &pods)]).await?;
    let victim = bed.testbed.pods_labelled("app", "server").first().context("a server")?.name.clone();
    let address = bed.address(&victim)?;

    let mut plan = Plan::new("http://server/delay/20", 0);
    (plan.amount, plan.concurrency, plan.keep_answers) = (Amount::For(LOAD), 8, false);
    let (report, murder) = tokio::join!(bed.load("client", &plan), murder(&bed, &victim, container));
    let (report, _) = (report?, murder?);

    ensure!(report.error_count() == 0, "the client's own sidecar always answers: {:?}", report.error_examples);
    let failed = failures(&bed.proxy_log("client")?)?;
    ensure!(failed.keys().all(|host| *host == format!("{address}:8080")), "killed {address}; failures at {failed:?}");
    // Those in flight, and at most a few more until the endpoint was gone.
    let count: u64 = failed.values().sum();
    println!("{count} of {} requests failed", report.requests);
    ensure!(count * 10 < report.requests, "{count} of {} failed", report.requests);
    bed.testbed.wait_ready(PATIENCE).await?;
    until("the victim serves again", Duration::from_secs(10), || async {
        let report = bed.load_well("client", &Plan::new("http://server/", 30)).await?;
        Ok(report.pods.contains_key(&victim))
    })
    .await?;
    bed.end().await
}

/// Kills under load and watches what follows.
async fn murder(bed: &Bed, victim: &str, container: Option<&str>) -> Result<()> {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let restarts = |pod: &outrigger_testbed::run::state::PodInfo| pod.container(container).map(|container| container.restarts).unwrap_or(0);
    let (before, address, pid) = (restarts(&bed.testbed.pod(victim)?), bed.address(victim)?, bed.pid(victim, container)?);
    let stalls = Stalls::start();
    kill(Pid::from_raw(pid), Signal::SIGKILL)?;
    let killed = Instant::now();
    let since = || killed.elapsed().saturating_sub(stalls.total());
    let changed = |state: &std::sync::Arc<outrigger_testbed::run::state::State>| {
        let pod = state.pods.iter().find(|pod| pod.name == victim);
        pod.and_then(|pod| pod.container(container).ok()).is_none_or(|now| now.pid != Some(pid) || now.restarts > before)
    };
    bed.testbed.wait_until(PATIENCE, changed).await.context("the death is not noticed")?;
    let noticed = since();
    ensure!(noticed < NOTICED, "noticed after {noticed:?}");
    until("the endpoint disappears", PATIENCE, || async { Ok(!endpoints(bed).await?.contains(&address)) }).await?;
    let gone = since();
    ensure!(gone < ENDPOINT_GONE, "the endpoint was gone after {gone:?}");
    println!("noticed after {noticed:?}, endpoint gone after {gone:?}");
    bed.testbed.wait_until(PATIENCE, |state| state.settled).await.context("not started again")?;
    let after = restarts(&bed.testbed.pod(victim)?);
    ensure!(after == before + 1, "{before} restarts before, {after} after");
    Ok(())
}

/// Where the client's sidecar may send a request now.
async fn endpoints(bed: &Bed) -> Result<Vec<IpAddr>> {
    let clusters = bed.page("client", 15000, "/clusters").await?;
    let healthy =
        clusters.lines().filter_map(|line| line.strip_prefix(CLUSTER)?.strip_prefix("::")?.strip_suffix(":8080::health_flags::healthy"));
    healthy.map(|address| address.parse().with_context(|| address.to_owned())).collect()
}

/// Requests that failed, by the host they were sent to, as the client's sidecar logged them.
fn failures(log: &str) -> Result<BTreeMap<String, u64>> {
    let mut failed = BTreeMap::new();
    let answers: Vec<&str> = log.lines().filter(|line| line.starts_with("answer ")).collect();
    ensure!(answers.len() > 100, "only {} lines in the access log", answers.len());
    for line in answers.iter().filter(|line| !line.contains("code=200")) {
        let host = line.split_once("host=").context("a host")?.1;
        *failed.entry(host.to_owned()).or_default() += 1;
    }
    Ok(failed)
}
