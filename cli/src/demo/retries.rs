//! Part 5: retries, seen by the client and counted at the servers.

use anyhow::Result;
use outrigger_loadtests::Plan;

use super::bed::Bed;
use super::report::{Section, Table};

const REQUESTS: u64 = 100;

/// One v2 pod answers 503 to every second request it gets.
pub async fn section(bed: &Bed) -> Result<Section> {
    let mut section = Section::new(format!("retries: one of v2's two pods answers 503 to half its requests, {REQUESTS} requests to v2"));
    let pods = bed.pods_of("shopfront-v2");
    let Some(flaky) = pods.first() else { anyhow::bail!("no pod of shopfront-v2 is running") };
    bed.in_pod(flaky, "/admin/fail?status=503&rate=0.5&path=/retries").await?;

    let mut table = Table::new(&["policy", "client errors", "attempts at v2's pods"]);
    let without = run(bed, include_str!("no-retries.yaml")).await?;
    let with = run(bed, include_str!("retries.yaml")).await?;
    table.row(vec!["Istio's default".into(), without.errors.to_string(), without.attempts.to_string()]);
    table.row(vec!["retryOn: 5xx".into(), with.errors.to_string(), with.attempts.to_string()]);
    section.tables.push(table);
    bed.in_pod(flaky, "/admin/fail?status=503&rate=0&path=/retries").await?;
    bed.remove("mesh-split.yaml").await?;

    section.check_eq("errors without a policy: half of one pod's requests", REQUESTS / 4, without.errors);
    section.check_eq("attempts without a policy: one per request", REQUESTS, without.attempts);
    section.check_eq("errors with retryOn: 5xx", 0, with.errors);
    section.check_eq("attempts with retryOn: 5xx: one more per 503 sent", REQUESTS + with.failed_at_servers, with.attempts);
    Ok(section)
}

struct Outcome {
    errors: u64,
    attempts: u64,
    failed_at_servers: u64,
}

/// Applies a policy and counts one batch of requests at both ends.
async fn run(bed: &Bed, policy: &str) -> Result<Outcome> {
    bed.write("mesh-split.yaml", policy).await?;
    let pods = bed.pods_of("shopfront-v2");
    let before = bed.served(&pods, "/retries").await?;
    let report = bed.load_in_client(&Plan::new("http://shopfront/retries", REQUESTS)).await?;
    let after = bed.served(&pods, "/retries").await?;
    Ok(Outcome {
        errors: report.failed_count(),
        attempts: after.requests - before.requests,
        failed_at_servers: after.failures - before.failures,
    })
}
