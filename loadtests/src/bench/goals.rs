//! What the project wants to reach against its peers, and whether it is reached.

use super::results::Results;
use super::table::{Table, number};

const OURS: &str = "outrigger";
/// Below this probability of chance a difference counts as one.
pub const SIGNIFICANT: f64 = 0.05;

/// Outrigger's figure over the peer's, at most.
#[derive(Debug, Clone, Copy)]
struct Goal {
    test: &'static str,
    figure: Figure,
    peer: &'static str,
    limit: Limit,
}

#[derive(Debug, Clone, Copy)]
enum Figure {
    /// Taken as it is.
    Plain(&'static str),
    /// What the proxy adds to the row without one.
    Added(&'static str),
}

#[derive(Debug, Clone, Copy)]
enum Limit {
    Ratio(f64),
    /// Not significantly more.
    Equal,
}

const fn ratio(test: &'static str, figure: &'static str, peer: &'static str, limit: f64) -> Goal {
    Goal { test, figure: Figure::Plain(figure), peer, limit: Limit::Ratio(limit) }
}

fn goals() -> Vec<Goal> {
    let mut goals = Vec::new();
    for test in ["h1_sat_c16", "h1_sat_c64", "h1_sat_c256", "h1_istio_sat_c64"] {
        goals.extend([ratio(test, "cpu_us", "envoy", 0.5), ratio(test, "cpu_us", "haproxy", 1.2)]);
    }
    goals.extend([ratio("h1_r4k_c64", "cpu_us", "envoy", 0.62), ratio("h1_r4k_c64", "cpu_us", "haproxy", 1.05)]);
    for test in ["h1_r4k_c16", "h1_r4k_c64", "h1_r10k_c16", "h1_r10k_c64"] {
        for figure in ["p50_us", "p99_us"] {
            goals.push(Goal { test, figure: Figure::Added(figure), peer: "envoy", limit: Limit::Ratio(0.75) });
            goals.push(Goal { test, figure: Figure::Added(figure), peer: "haproxy", limit: Limit::Equal });
        }
    }
    goals.extend([
        ratio("h2h2_c8", "cpu_us", "envoy", 0.5),
        ratio("mtls_sat_c64", "cpu_us", "envoy", 0.5),
        ratio("mtls_sat_c64", "cpu_us", "haproxy", 1.0),
        ratio("mtls_hs_c16", "cpu_us", "envoy", 0.9),
        ratio("mtls_hs_c16", "cpu_us", "haproxy", 0.55),
        ratio("h1_close_c16", "cpu_us", "envoy", 0.75),
        ratio("h1_close_c16", "cpu_us", "haproxy", 1.1),
        ratio("tcp_bulk_c2", "cpu_s_per_gb", "envoy", 0.55),
        ratio("tcp_bulk_c2", "cpu_s_per_gb", "haproxy", 0.4),
        ratio("mtls_bulk_c2", "cpu_s_per_gb", "envoy", 0.85),
        ratio("mtls_bulk_c2", "cpu_s_per_gb", "haproxy", 0.65),
        ratio("mem_idle", "pss_mib", "envoy", 0.18),
        ratio("mem_1000", "pss_mib", "envoy", 0.4),
        ratio("mem_big", "pss_mib", "envoy", 0.15),
        ratio("start", "start_ms", "envoy", 0.2),
        ratio("start", "start_ms", "haproxy", 1.0),
    ]);
    goals
}

/// What an access log line may cost.
const LOG_LINE_US: f64 = 1.5;

/// One row for each goal whose tests were run.
pub fn table(results: &Results) -> Table {
    let mut table = Table::new(["test", "figure", "against", "goal", "measured", "reached"]);
    for goal in goals() {
        let (figure, name, measured) = match goal.figure {
            Figure::Plain(figure) => (figure, figure.to_owned(), results.ratio(goal.test, figure, OURS, goal.peer)),
            Figure::Added(figure) => (figure, format!("added {figure}"), results.added_ratio(goal.test, figure, OURS, goal.peer)),
        };
        let Some(measured) = measured else { continue };
        let (wanted, found, reached) = match goal.limit {
            Limit::Ratio(limit) => (format!("<= {}", number(limit)), number(measured), measured <= limit),
            Limit::Equal => {
                let chance = results.chance(goal.test, figure, OURS, goal.peer).unwrap_or(1.0);
                let more = results.median_difference(goal.test, figure, OURS, goal.peer) > 0.0;
                ("not more".to_owned(), format!("{} (p = {})", number(measured), number(chance)), !more || chance >= SIGNIFICANT)
            }
        };
        table.row([goal.test.to_owned(), name, goal.peer.to_owned(), wanted, found, yes(reached)]);
    }
    if let Some(cost) = log_line(results) {
        table.row([
            "h1_log_sat_c64",
            "cost of a log line",
            "log off",
            "<= 1.5 us",
            &format!("{} us", number(cost)),
            &yes(cost <= LOG_LINE_US),
        ]);
    }
    table
}

/// What the access log adds to a request, in microseconds of CPU.
pub fn log_line(results: &Results) -> Option<f64> {
    let median = |test| results.spread(test, OURS, "cpu_us").map(|spread| spread.median);
    Some(median("h1_log_sat_c64")? - median("h1_sat_c64")?)
}

fn yes(reached: bool) -> String {
    if reached { "yes" } else { "**no**" }.to_owned()
}
