//! Parts 1 and 2: the split, counted, at the gateway and inside the mesh.

use std::collections::BTreeMap;

use anyhow::Result;
use outrigger_loadtests::order::{on_stride, worst_window};
use outrigger_loadtests::{Plan, Report};

use super::bed::{Bed, SHARES};
use super::chance;
use super::report::{Section, Table};

const REQUESTS: u64 = 1000;
/// So many that seven pods chosen by chance do not look like the split by chance.
const UNSPLIT: u64 = 300;
const WINDOW: usize = 100;
/// Clients that act on every so manyth call must not fall into step with the schedule.
const STRIDES: [usize; 4] = [2, 7, 20, 89];

/// A thousand requests from the host through the gateway.
pub async fn at_the_gateway(bed: &Bed) -> Result<Section> {
    let log = bed.mark_gateway_log()?;
    let mut plan = bed.gateway_plan("/", REQUESTS)?;
    plan.concurrency = 8;
    let report = outrigger_loadtests::run(plan).await?;
    let title = format!("{REQUESTS} requests through the gateway, http://{}/ as {}", bed.gateway()?, super::bed::HOST);
    let mut section = counted(title, &report);
    let decisions = bed.gateway_decisions(log, REQUESTS as usize).await?;
    in_decision_order(&mut section, &decisions);
    Ok(section)
}

/// The same from a pod with a sidecar, where the gateway's VirtualService must not act.
pub async fn inside_the_mesh(bed: &Bed) -> Result<Section> {
    let plain = bed.load_in_client(&Plan::new("http://shopfront/", UNSPLIT)).await?;
    bed.write("mesh-split.yaml", include_str!("mesh-split.yaml")).await?;
    let mut plan = Plan::new("http://shopfront/", REQUESTS);
    plan.concurrency = 8;
    let report = bed.load_in_client(&plan).await?;
    let mut section = counted(format!("{REQUESTS} requests from a pod with a sidecar to http://shopfront/"), &report);
    let unsplit = worst_window(&versions(&plain), &SHARES, UNSPLIT as usize);
    section.check("before its own VirtualService: not split by the gateway's", "> 2 off", format!("{unsplit:.0} off"), unsplit > 2.0);
    Ok(section)
}

/// Want and got per version and pod, with the checks that need no order.
fn counted(title: String, report: &Report) -> Section {
    let mut section = Section::new(title);
    section.tables.push(by_version(report));
    section.tables.push(cost_of(report));
    let total = report.requests as f64;
    let off = SHARES.iter().map(|(version, share)| (report.version(version) as f64 - share * total / 100.0).abs());
    let off = off.fold(0.0, f64::max);
    section.check("every version within ±2 of its share", "≤ 2 off", format!("{off:.0} off"), off <= 2.0);
    let spread = report.spread("v2");
    section.check("round robin between v2's pods", "≤ 1 apart", format!("{spread} apart"), spread <= 1 && report.version("v2") > 1);
    section.check_no_failures([report].into_iter());
    section
}

fn by_version(report: &Report) -> Table {
    let mut table = Table::new(&["version", "want", "got", "pods"]);
    for (version, share) in SHARES {
        let pods = report.pods.iter().filter(|(_, pod)| pod.version == version);
        let pods: Vec<String> = pods.map(|(name, pod)| format!("{name} {}", pod.requests)).collect();
        let want = share * report.requests as f64 / 100.0;
        table.row(vec![version.to_owned(), format!("{want:.0}"), report.version(version).to_string(), pods.join(", ")]);
    }
    table
}

fn cost_of(report: &Report) -> Table {
    let mut table = Table::new(&["p50 ms", "p99 ms", "requests/s", "errors"]);
    let ms = |us: f64| format!("{:.2}", us / 1000.0);
    let latency = &report.latency;
    table.row(vec![ms(latency.p50_us), ms(latency.p99_us), format!("{:.0}", report.rate), report.error_count().to_string()]);
    table
}

/// The checks on the order in which the proxy decided.
fn in_decision_order(section: &mut Section, decisions: &[String]) {
    let sequence: Vec<&str> = decisions.iter().map(String::as_str).collect();
    section.check_eq("decisions found in the gateway's log", REQUESTS as usize, sequence.len());
    let worst = worst_window(&sequence, &SHARES, WINDOW);
    section.check(
        format!("every window of {WINDOW} decisions within ±2"),
        "≤ 2 off",
        format!("{worst:.1} off"),
        worst <= 2.0 && sequence.len() >= WINDOW,
    );
    for stride in STRIDES {
        let likelihoods = SHARES.iter().map(|(version, share)| {
            let (seen, of) = on_stride(&sequence, version, stride);
            chance::of_count(seen as u64, of as u64, share / 100.0)
        });
        let name = format!("a client acting on every {} call sees shares within chance", ordinal(stride));
        chance::check(section, name, likelihoods.fold(1.0, f64::min), !sequence.is_empty());
    }
}

fn ordinal(number: usize) -> String {
    let suffix = match number % 10 {
        1 => "st",
        2 => "nd",
        3 => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

fn versions(report: &Report) -> Vec<&str> {
    report.answers.iter().filter_map(|answer| answer.version.as_deref()).collect()
}

/// Answers per version, for other parts.
pub fn per_version<'a>(labels: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, u64> {
    labels.fold(BTreeMap::new(), |mut counts, label| {
        *counts.entry(label).or_default() += 1;
        counts
    })
}
