//! Part 4: injected faults, their shares, and their spread over the versions.

use anyhow::Result;
use outrigger_loadtests::Answer;

use super::bed::{Bed, SHARES};
use super::chance;
use super::log::LogLine;
use super::report::{Section, Table};
use super::split::per_version;

const REQUESTS: u64 = 1000;
const ABORTED: f64 = 20.0;
const DELAYED: f64 = 30.0;
/// An injected delay is at least this long, and hardly anything else is, even on a busy machine.
const DELAY_US: u64 = 100_000;

/// 20 % aborts with 503 and 30 % delays of 100 ms at the gateway.
pub async fn section(bed: &Bed) -> Result<Section> {
    bed.write("virtual-service.yaml", include_str!("faults.yaml")).await?;
    let mark = bed.mark_gateway_log()?;
    let mut plan = bed.gateway_plan("/", REQUESTS)?;
    plan.concurrency = 8;
    let report = outrigger_loadtests::run(plan).await?;
    let lines = bed.gateway_log(mark, REQUESTS as usize).await?;
    bed.restore_virtual_service().await?;

    let mut section = Section::new(format!("faults: {ABORTED} % aborts with 503 and {DELAYED} % delays of 100 ms, {REQUESTS} requests"));
    let count = |of: fn(&Answer) -> bool| report.answers.iter().filter(|answer| of(answer)).count() as f64;
    let (aborts, delays, both) = (count(aborted), count(delayed), count(|a| aborted(a) && delayed(a)));
    share(&mut section, "aborted", ABORTED, aborts);
    share(&mut section, "delayed", DELAYED, delays);
    let both_by_chance = chance::of_count(both as u64, REQUESTS, ABORTED * DELAYED / 1e4);
    chance::check(&mut section, format!("both, {both} requests: the product of the shares within chance"), both_by_chance, true);
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
    let mut least_likely: f64 = 1.0;
    for (version, _) in SHARES {
        let of = |counts: &std::collections::BTreeMap<&str, u64>| counts.get(version).copied().unwrap_or(0);
        let (requests, aborts, delays) = (of(&all), of(&aborts), of(&delays));
        table.row(vec![version.into(), requests.to_string(), aborts.to_string(), delays.to_string()]);
        for (count, percent) in [(aborts, ABORTED), (delays, DELAYED)] {
            least_likely = least_likely.min(chance::of_count(count, requests, percent / 100.0));
        }
    }
    section.tables.push(table);
    chance::check(section, "the same share in each version, within chance", least_likely, !lines.is_empty());
}
