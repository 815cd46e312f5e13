//! Part 4: injected faults, their shares, and their spread over the versions.

use anyhow::Result;
use outrigger_loadtests::Answer;

use super::bed::{Bed, SHARES};
use super::log::LogLine;
use super::report::{Section, Table};
use super::split::per_version;

const REQUESTS: u64 = 1000;
const ABORTED: f64 = 20.0;
const DELAYED: f64 = 30.0;
/// An injected delay is at least this long; nothing else in the demo is.
const DELAY_US: u64 = 50_000;

/// 20 % aborts with 503 and 30 % delays of 50 ms at the gateway.
pub async fn section(bed: &Bed) -> Result<Section> {
    bed.write("virtual-service.yaml", include_str!("faults.yaml")).await?;
    let mark = bed.mark_gateway_log()?;
    let mut plan = bed.gateway_plan("/", REQUESTS)?;
    plan.concurrency = 4;
    let report = outrigger_loadtests::run(plan).await?;
    let lines = bed.gateway_log(mark, REQUESTS as usize).await?;
    bed.restore_virtual_service().await?;

    let mut section = Section::new(format!("faults: {ABORTED} % aborts with 503 and {DELAYED} % delays of 50 ms, {REQUESTS} requests"));
    let count = |of: fn(&Answer) -> bool| report.answers.iter().filter(|answer| of(answer)).count() as f64;
    let (aborts, delays, both) = (count(aborted), count(delayed), count(|a| aborted(a) && delayed(a)));
    share(&mut section, "aborted", ABORTED, aborts);
    share(&mut section, "delayed", DELAYED, delays);
    share(&mut section, "both", ABORTED * DELAYED / 100.0, both);
    section.check_eq("requests without an answer", 0, report.error_count());
    by_version(&mut section, &lines);
    Ok(section)
}

fn aborted(answer: &Answer) -> bool {
    answer.status == Some(503)
}

fn delayed(answer: &Answer) -> bool {
    answer.latency_us >= DELAY_US
}

/// Within ±2 per 100.
fn share(section: &mut Section, name: &str, want: f64, got: f64) {
    let got = got * 100.0 / REQUESTS as f64;
    section.check(name, format!("{want} % ±2"), format!("{got:.1} %"), (got - want).abs() <= 2.0);
}

/// The versions' shares of the faults, from the gateway's log: it names the cluster drawn also for aborted requests.
fn by_version(section: &mut Section, lines: &[LogLine]) {
    let all = per_version(lines.iter().filter_map(LogLine::subset));
    let with = |flag: &str| per_version(lines.iter().filter(|line| line.has_flag(flag)).filter_map(LogLine::subset));
    let (aborts, delays) = (with("FI"), with("DI"));
    let mut table = Table::new(&["version", "requests", "aborted", "delayed"]);
    let mut worst: f64 = 0.0;
    for (version, _) in SHARES {
        let of = |counts: &std::collections::BTreeMap<&str, u64>| counts.get(version).copied().unwrap_or(0);
        let (requests, aborts, delays) = (of(&all), of(&aborts), of(&delays));
        table.row(vec![version.into(), requests.to_string(), aborts.to_string(), delays.to_string()]);
        worst = worst.max(sigmas(aborts, requests, ABORTED)).max(sigmas(delays, requests, DELAYED));
    }
    section.tables.push(table);
    section.check("the same share in each version, within chance", "≤ 4 σ", format!("{worst:.1} σ"), worst <= 4.0 && !lines.is_empty());
}

fn sigmas(got: u64, of: u64, percent: f64) -> f64 {
    let (p, n) = (percent / 100.0, of as f64);
    (got as f64 - n * p).abs() / (n * p * (1.0 - p)).sqrt().max(0.5)
}
