//! Part 6: a pod goes and a pod comes while requests are in flight.

use std::time::Duration;

use anyhow::Result;
use outrigger_loadtests::{Amount, Plan, Run};
use tokio::sync::Notify;

use super::bed::Bed;
use super::report::{Section, Table};

/// Of the traffic inside the mesh.
const LOAD: Duration = Duration::from_secs(9);
/// Of the traffic through the gateway at most: it ends when the change has been over for [`AFTERWARDS`], however long a busy
/// machine takes for it.
const AT_MOST: Duration = Duration::from_secs(60);
const AFTERWARDS: Duration = Duration::from_secs(3);
/// Before the change, so that requests are in flight at it.
const PAUSE: Duration = Duration::from_secs(2);

/// Removes one pod of v1 as Kubernetes does, adds one, and counts failed requests of four kinds of traffic.
pub async fn section(bed: &Bed) -> Result<Section> {
    let names = ["gateway, keep-alive, 200 ms", "gateway, HTTP/2, 200 ms", "mesh, keep-alive, 200 ms", "mesh, streams of 2 s"];
    let slow = |http2| for_a_while(bed.gateway_plan("/delay/200", 0)?, AT_MOST, 16, http2);
    let (keep_alive, http2) = (slow(false)?, slow(true)?);
    let mesh = for_a_while(Plan::new("http://shopfront/delay/200", 0), LOAD, 8, false)?;
    let stream = for_a_while(Plan::new("http://shopfront/stream/20/100", 0), LOAD, 4, false)?;
    let over = Notify::new();
    let (first, second) = (over.notified(), over.notified());
    let (changed, keep_alive, http2, mesh, stream) = tokio::join!(
        change(bed, &over),
        Run::prepare(keep_alive)?.finish(first),
        Run::prepare(http2)?.finish(second),
        bed.load_in_client(&mesh),
        bed.load_in_client(&stream),
    );
    let (gone, new) = changed?;

    let reports = [keep_alive?, http2?, mesh?, stream?];
    let mut section = Section::new("a pod of v1 removed as Kubernetes does it, and one added, under load");
    let mut table = Table::new(&["traffic", "requests", "failed", "p99 ms"]);
    for (name, report) in names.iter().zip(&reports) {
        let p99 = (report.latency.p99_us / 1000.0) as u64;
        table.row(vec![(*name).to_owned(), report.requests.to_string(), report.failed_count().to_string(), p99.to_string()]);
    }
    section.tables.push(table);
    let served = |pod: &str| reports.iter().filter_map(|report| report.pods.get(pod)).map(|count| count.requests).sum::<u64>();
    section.check("the removed pod served before it went", "> 0", served(&gone), served(&gone) > 0);
    section.check("the new pod serves", "> 0", served(&new), served(&new) > 0);
    section.check_no_failures(reports.iter());
    Ok(section)
}

/// [`change_pods`], and says when the load may end.
async fn change(bed: &Bed, over: &Notify) -> Result<(String, String)> {
    let changed = change_pods(bed).await;
    tokio::time::sleep(AFTERWARDS).await;
    over.notify_waiters();
    changed
}

fn for_a_while(mut plan: Plan, time: Duration, concurrency: usize, http2: bool) -> Result<Plan> {
    plan.amount = Amount::For(time);
    plan.concurrency = concurrency;
    plan.http2 = http2;
    plan.keep_answers = false;
    Ok(plan)
}

/// Names of the pod removed and of the one that its Deployment starts instead.
async fn change_pods(bed: &Bed) -> Result<(String, String)> {
    let before = bed.pods_of("shopfront-v1");
    let Some(gone) = before.first().cloned() else { anyhow::bail!("no pod of shopfront-v1 is running") };
    tokio::time::sleep(PAUSE).await;
    bed.delete_pod(&gone).await?;
    let after = bed.pods_of("shopfront-v1");
    let Some(new) = after.into_iter().find(|pod| !before.contains(pod)) else { anyhow::bail!("no pod took the place of {gone}") };
    Ok((gone, new))
}
