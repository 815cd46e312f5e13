//! Part 7: what the proxies cost, from the kernel's own accounting.

use std::fs;

use anyhow::{Context, Result};

use super::bed::Bed;
use super::report::{Section, Table};

const REQUESTS: u64 = 5000;

/// CPU per request and resident memory of the gateway and of one sidecar.
pub async fn section(bed: &Bed) -> Result<Section> {
    let sidecar_pod = bed.pod_of("shopfront-v4")?;
    let (gateway, sidecar) = (bed.proxy_pid(&bed.gateway_pod()?)?, bed.proxy_pid(&sidecar_pod)?);
    let before = [usage(gateway)?, usage(sidecar)?];
    let mut plan = bed.gateway_plan("/", REQUESTS)?;
    plan.concurrency = 8;
    let report = outrigger_loadtests::run(plan).await?;
    let after = [usage(gateway)?, usage(sidecar)?];

    let through_sidecar = report.pods.get(&sidecar_pod).map_or(0, |pod| pod.requests);
    let mut section = Section::new(format!("what it cost, over {REQUESTS} requests with metrics and access log on"));
    let mut table = Table::new(&["proxy", "requests", "CPU µs per request", "resident MB"]);
    let names = ["gateway (mTLS to every pod)".to_owned(), format!("sidecar of {sidecar_pod}")];
    for (index, (name, requests)) in names.into_iter().zip([report.requests, through_sidecar]).enumerate() {
        let cpu = (after[index].cpu_us - before[index].cpu_us) as f64 / requests.max(1) as f64;
        table.row(vec![name, requests.to_string(), format!("{cpu:.0}"), format!("{:.1}", after[index].resident as f64 / 1e6)]);
    }
    section.tables.push(table);
    section.check_no_failures([&report].into_iter());
    Ok(section)
}

struct Usage {
    cpu_us: u64,
    resident: u64,
}

/// User plus system time and resident memory of a process (proc(5)).
fn usage(pid: u32) -> Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    // Fields are counted behind the command name, which may contain spaces: utime is the 12th and stime the 13th there.
    let fields: Vec<&str> = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kilobytes: u64 = rss.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0);
    // The kernel reports in USER_HZ, which is 100 on every Linux architecture.
    Ok(Usage { cpu_us: (ticks(11) + ticks(12)) * 10_000, resident: kilobytes * 1024 })
}
