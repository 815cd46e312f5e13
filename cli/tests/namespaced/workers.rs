//! Splits and turns are exact whatever the number of workers that share them.

use anyhow::{Context, Result, ensure};
use outrigger_loadtests::Plan;

use crate::bed::{Bed, Turn, bounded};
use crate::manifest::{self, App};

const REQUESTS: u64 = 400;
const WEIGHTS: [(&str, u32); 3] = [("v1", 60), ("v2", 30), ("v3", 10)];

#[test]
fn splits_and_turns_are_exact_with_1_2_and_4_workers() {
    bounded(Turn::Shared, 90, async {
        let client = |workers: u32| {
            let settings = format!("concurrency: {workers}");
            App::new("shop", &format!("client-{workers}")).annotation("proxy.istio.io/config", &settings).yaml()
        };
        let server =
            |version: &str, replicas| App::new("shop", &format!("server-{version}")).of("server", version).replicas(replicas).yaml();
        let pods = [client(1), client(2), client(4), server("v1", 3), server("v2", 2), server("v3", 1)].concat();
        let services = manifest::http_service("shop", "server") + &manifest::subsets("shop", "server", &["v1", "v2", "v3"]);
        let route = manifest::split("shop", "server", "server", "", "server", &WEIGHTS);
        let text = manifest::meshed("shop") + &pods + &services + &route;
        let bed = Bed::start("workers", &[("all.yaml", text)]).await?;
        for workers in [1, 2, 4] {
            exact(&bed, workers).await.with_context(|| format!("{workers} workers"))?;
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
    let server: serde_json::Value = serde_json::from_str(&bed.page(&client, 15000, "/server_info").await?)?;
    let stated = server["command_line_options"]["concurrency"].as_u64();
    ensure!(stated == Some(workers), "the proxy has {stated:?} workers");
    Ok(())
}
