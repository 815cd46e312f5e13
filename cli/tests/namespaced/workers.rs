//! Splits, turns and totals are exact whatever the number of workers that share them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use outrigger_loadtests::Plan;

use crate::bed::{Bed, PATIENCE, Turn, bounded, until};
use crate::manifest::{self, App};
use crate::metrics::series;

const REQUESTS: u64 = 400;
/// Requests of the run that keeps every worker busy.
const BUSY: u64 = 3000;
const WEIGHTS: [(&str, u32); 3] = [("v1", 60), ("v2", 30), ("v3", 10)];

#[test]
fn splits_turns_and_totals_are_exact_with_1_2_and_4_workers() {
    bounded(Turn::Shared, 150, async {
        let client = |workers: u32| {
            let settings = format!("concurrency: {workers}");
            App::new("shop", &format!("client-{workers}")).annotation("proxy.istio.io/config", &settings).yaml()
        };
        let server =
            |version: &str, replicas| App::new("shop", &format!("server-{version}")).of("server", version).replicas(replicas).yaml();
        let pods = [client(1), client(2), client(4), server("v1", 3), server("v2", 2), server("v3", 1)].concat();
        let services = manifest::http_service("shop", "server") + &manifest::subsets("shop", "server", &["v1", "v2", "v3"]);
        let route = manifest::split("shop", "server", "server", "", "server", &WEIGHTS);
        let log = manifest::access_log("decision=%OUTRIGGER_DECISION% cluster=%UPSTREAM_CLUSTER_RAW%");
        let text = manifest::meshed("shop") + &log + &pods + &services + &route;
        let bed = Bed::start("workers", &[("all.yaml", text)]).await?;
        for workers in [1, 2, 4] {
            exact(&bed, workers).await.with_context(|| format!("{workers} workers"))?;
            counted(&bed, workers).await.with_context(|| format!("{workers} workers"))?;
        }
        bed.end().await
    });
}

async fn exact(bed: &Bed, workers: u64) -> Result<()> {
    let client = format!("client-{workers}");
    let mut plan = Plan::new("http://server/", REQUESTS);
    // More connections than workers, so that every worker decides.
    plan.concurrency = 12;
    let report = bed.load_well(&client, &plan).await?;
    for (version, weight) in WEIGHTS {
        let want = REQUESTS * u64::from(weight) / 100;
        ensure!(report.version(version).abs_diff(want) <= 2, "{version}: want {want}, got {:?}", report.versions);
        ensure!(report.spread(version) <= 1, "{version}: {:?}", report.pods);
    }
    windows(&decisions(bed, &client).await?)?;
    let server: serde_json::Value = serde_json::from_str(&bed.page(&client, 15000, "/server_info").await?)?;
    let stated = server["command_line_options"]["concurrency"].as_u64();
    ensure!(stated == Some(workers), "the proxy has {stated:?} workers");
    Ok(())
}

/// After a busy run both sides have counted every answer that arrived, once and under its version.
async fn counted(bed: &Bed, workers: u64) -> Result<()> {
    let client = format!("client-{workers}");
    let mut plan = Plan::new("http://server/", BUSY);
    plan.concurrency = 32;
    let report = bed.load_well(&client, &plan).await?;
    ensure!(report.requests == BUSY, "{} requests", report.requests);
    let sources = series(bed, std::slice::from_ref(&client), 15090).await?;
    for (version, weight) in WEIGHTS {
        let want = report.version(version) + REQUESTS * u64::from(weight) / 100;
        let got = total(&sources, &[("destination_version", version)]);
        ensure!(got.abs_diff(want) <= 2, "{version}: want {want}, the client's proxy counted {got}");
        let servers: Vec<String> = bed.testbed.pods_labelled("version", version).into_iter().map(|pod| pod.name).collect();
        let served = series(bed, &servers, 15090).await?;
        let served = total(&served, &[("reporter", "destination"), ("source_workload", &client), ("response_code", "200")]);
        ensure!(served == got, "{version}: the client's proxy counted {got}, the servers' {served}");
    }
    let all = total(&sources, &[]);
    ensure!(all == REQUESTS + BUSY, "{} requests were sent, the proxy counted {all}", REQUESTS + BUSY);
    Ok(())
}

/// The sum of the series with these labels.
fn total(series: &BTreeMap<BTreeMap<String, String>, u64>, labels: &[(&str, &str)]) -> u64 {
    let has = |series: &BTreeMap<String, String>| labels.iter().all(|(name, value)| series.get(*name).is_some_and(|got| got == value));
    series.iter().filter(|(labels, _)| has(labels)).map(|(_, count)| count).sum()
}

/// Subsets in the order in which the workers together decided for them.
async fn decisions(bed: &Bed, client: &str) -> Result<Vec<String>> {
    let lines = || -> Result<Vec<(u64, String)>> {
        let log = bed.proxy_log(client)?;
        let line = |line: &str| {
            let (number, cluster) = line.strip_prefix("decision=")?.split_once(" cluster=outbound|80|")?;
            Some((number.parse().ok()?, cluster.split('|').next()?.to_owned()))
        };
        Ok(log.lines().filter_map(line).collect())
    };
    until("the log is complete", PATIENCE, || async { Ok(lines()?.len() as u64 >= REQUESTS) }).await?;
    let mut decided = lines()?;
    decided.sort();
    Ok(decided.into_iter().map(|(_, subset)| subset).collect())
}

/// Any hundred decisions in a row are split as any other hundred.
fn windows(decisions: &[String]) -> Result<()> {
    for (start, window) in decisions.windows(100).enumerate() {
        for (version, weight) in WEIGHTS {
            let got = window.iter().filter(|subset| *subset == version).count();
            ensure!(got.abs_diff(weight as usize) <= 2, "decisions {start} and following: {got} of 100 for {version}");
        }
    }
    Ok(())
}
