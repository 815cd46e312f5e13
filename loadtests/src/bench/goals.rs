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

/// A goal beside what was measured.
struct Verdict {
    test: &'static str,
    figure: String,
    against: &'static str,
    wanted: String,
    found: String,
    reached: bool,
    /// Measured higher than the goal, by a difference that may be chance.
    by_chance: bool,
}

/// One for each goal whose tests were run.
fn verdicts(results: &Results) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = goals().iter().filter_map(|goal| verdict(results, goal)).collect();
    verdicts.extend(log_line(results).map(|cost| Verdict {
        test: "h1_log_sat_c64",
        figure: "cost of a log line".to_owned(),
        against: "log off",
        wanted: format!("<= {LOG_LINE_US} us"),
        found: format!("{} us", number(cost)),
        reached: cost <= LOG_LINE_US,
        by_chance: false,
    }));
    verdicts
}

fn verdict(results: &Results, goal: &Goal) -> Option<Verdict> {
    let (figure, name, measured) = match goal.figure {
        Figure::Plain(figure) => (figure, figure.to_owned(), results.ratio(goal.test, figure, OURS, goal.peer)),
        Figure::Added(figure) => (figure, format!("added {figure}"), results.added_ratio(goal.test, figure, OURS, goal.peer)),
    };
    let measured = measured?;
    let (wanted, found, reached, by_chance) = match goal.limit {
        Limit::Ratio(limit) => (format!("<= {}", number(limit)), beside(measured, limit), measured <= limit, false),
        Limit::Equal => {
            let chance = results.chance(goal.test, figure, OURS, goal.peer).unwrap_or(1.0);
            let more = results.median_difference(goal.test, figure, OURS, goal.peer) > 0.0;
            let insignificant = chance >= SIGNIFICANT;
            ("not more".to_owned(), format!("{} (p = {})", number(measured), number(chance)), !more || insignificant, more && insignificant)
        }
    };
    Some(Verdict { test: goal.test, figure: name, against: goal.peer, wanted, found, reached, by_chance })
}

/// A figure with as many digits as show on which side of the limit it is.
fn beside(measured: f64, limit: f64) -> String {
    let short = number(measured);
    if measured > limit && short == number(limit) { format!("{measured:.3}") } else { short }
}

/// One row for each goal whose tests were run.
pub fn table(results: &Results) -> Table {
    let mut table = Table::new(["test", "figure", "against", "goal", "measured", "reached"]);
    for Verdict { test, figure, against, wanted, found, reached, .. } in verdicts(results) {
        let reached = if reached { "yes" } else { "**no**" };
        table.row([test.to_owned(), figure, against.to_owned(), wanted, found, reached.to_owned()]);
    }
    table
}

/// How many goals are reached, which only because a difference may be chance, and which are not; `None` when no goal's test was
/// run.
pub fn summary(results: &Results) -> Option<String> {
    let verdicts = verdicts(results);
    let list = |wanted: fn(&Verdict) -> bool| verdicts.iter().filter(|verdict| wanted(verdict)).map(named).collect::<Vec<_>>();
    let (missed, by_chance) = (list(|verdict| !verdict.reached), list(|verdict| verdict.by_chance));
    let mut text = format!("{} of {} goals are reached.", verdicts.len() - missed.len(), verdicts.len());
    if !by_chance.is_empty() {
        text += &format!(
            " In {} of these Outrigger was above the peer, by a difference that may be chance: {}.",
            by_chance.len(),
            by_chance.join("; ")
        );
    }
    if !missed.is_empty() {
        text += &format!(" Missed: {}.", missed.join("; "));
    }
    (!verdicts.is_empty()).then_some(text)
}

fn named(verdict: &Verdict) -> String {
    let Verdict { test, figure, against, wanted, found, .. } = verdict;
    let figure = if figure.starts_with("added") { format!(" {figure}") } else { String::new() };
    format!("{test}{figure} against {against} ({found}, goal {wanted})")
}

/// What the access log adds to a request, in microseconds of CPU.
pub fn log_line(results: &Results) -> Option<f64> {
    let median = |test| results.spread(test, OURS, "cpu_us").map(|spread| spread.median);
    Some(median("h1_log_sat_c64")? - median("h1_sat_c64")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::{DIRECT, tests::row};

    #[test]
    fn a_goal_that_is_reached_because_a_difference_may_be_chance_is_named() {
        let turn = |rep: usize, ours: f64| {
            [(DIRECT, 10.0), (OURS, ours), ("haproxy", 20.0)].map(|(peer, value)| row("h1_r4k_c64", peer, rep, &[("p99_us", value)]))
        };
        let results =
            |turns: usize| Results { rows: (0..turns).flat_map(|rep| turn(rep, 25.0 + rep as f64)).collect(), ..Results::default() };
        let few = summary(&results(5)).expect("a goal");
        assert!(few.contains("1 of 1 goals") && few.contains("may be chance: h1_r4k_c64 added p99_us against haproxy"), "{few}");
        let many = summary(&results(9)).expect("a goal");
        assert!(many.contains("0 of 1 goals") && many.contains("Missed: h1_r4k_c64") && !many.contains("chance:"), "{many}");
    }

    #[test]
    fn a_goal_missed_by_a_hair_shows_the_hair() {
        assert_eq!([beside(0.504, 0.5), beside(0.499, 0.5), beside(1.27, 1.1)], ["0.504", "0.50", "1.27"]);
    }
}
