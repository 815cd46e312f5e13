//! The results as text: Markdown that is also aligned in a terminal.

use super::cases::{CASES, Case, Method};
use super::goals;
use super::peers::Kind;
use super::results::{DIRECT, Results};
use super::stats::Spread;
use super::table::{Table, number};

const OURS: &str = "outrigger";
const PEERS: [&str; 3] = ["envoy", "haproxy", "nginx"];

/// The whole document.
pub fn document(results: &Results) -> String {
    let header = &results.header;
    let mut text = String::from(
        "# Outrigger beside Envoy, HAProxy and nginx\n\nWritten by `make bench`; every measurement stands in `latest.jsonl`.\n\n",
    );
    text += &format!(
        "- **Run**: {}, revision {}\n- **Machine**: {}\n- **Measured with**: {}\n",
        header.date, header.revision, header.machine, header.flags
    );
    for (name, version) in &header.versions {
        text += &format!("- **{name}**: {version}\n");
    }
    text += "\n";
    text += METHOD;
    for (title, body) in sections(results) {
        text += &format!("\n## {title}\n\n{body}");
    }
    text
}

const METHOD: &str = "One worker per proxy on one CPU, generator and origin on another, all in a network namespace of their own; the proxies \
take turns, and every other turn goes backwards. A cell is the median of all turns with the range in brackets. A ratio is the \
median of the ratios within each turn, so that a drift of the machine counts for both; below 1 Outrigger needs less. CPU is the \
proxy's own time by the scheduler's count, the kernel's work for it included. Statistics are on where a proxy has a switch for \
them, connections are reused, the access log is off where the test does not name it. Answers have 1 KiB, requests eight headers.\n";

/// Title and text of each part that has something to say.
pub fn sections(results: &Results) -> Vec<(&'static str, String)> {
    let tables = [
        ("Cost", cost(results)),
        ("Latency", latency(results)),
        ("Goals", goals::table(results)),
        ("Everything measured under load", everything(results)),
    ];
    let mut sections: Vec<(&'static str, String)> =
        tables.into_iter().filter(|(_, table)| !table.is_empty()).map(|(title, table)| (title, table.render())).collect();
    let reading = reading(results);
    sections.insert(0, ("Reading", reading.into_iter().map(|line| format!("- {line}\n")).collect()));
    if let Some((_, text)) = sections.iter_mut().find(|(title, _)| *title == "Latency") {
        text.push_str(LATENCY_NOTE);
    }
    sections
}

const LATENCY_NOTE: &str = "\nAdded is what the proxy adds to the same load sent straight to the origin in the same turn; latency counts from the moment a \
request was due. p is the probability that a difference between Outrigger and HAProxy like this comes by chance (Wilcoxon's signed-rank \
test over the turns, two-sided); from 0.05 on it is none. Fewer than six turns cannot get below 0.05.\n";

fn present<'a>(results: &'a Results) -> impl Iterator<Item = &'static Case> + 'a {
    CASES.iter().filter(|case| results.has(case.name))
}

/// The figure by which proxies are compared, for each test and proxy.
fn cost(results: &Results) -> Table {
    let mut header: Vec<String> = ["test", "figure"].map(str::to_owned).into();
    header.extend(Kind::ALL.map(|kind| kind.name().to_owned()));
    header.extend(PEERS.map(|peer| format!("/ {peer}")));
    let mut table = Table::new(header);
    for case in present(results) {
        let key = case.key();
        let cells = Kind::ALL.map(|kind| spread(results.spread(case.name, kind.name(), key)));
        let ratios = PEERS.map(|peer| results.ratio(case.name, key, OURS, peer).map_or_else(|| "-".to_owned(), number));
        table.row([case.name.to_owned(), unit(key).to_owned()].into_iter().chain(cells).chain(ratios));
    }
    table
}

fn unit(key: &str) -> &'static str {
    match key {
        "cpu_us" => "CPU us/request",
        "cpu_s_per_gb" => "CPU s/GB",
        "pss_mib" => "PSS MiB",
        "start_ms" => "ms",
        _ => "calls/request",
    }
}

fn spread(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "-".to_owned(), |s| format!("{} ({}..{})", number(s.median), number(s.low), number(s.high)))
}

fn latency(results: &Results) -> Table {
    let header = [
        "test",
        "figure, us",
        "direct",
        "outrigger adds",
        "envoy adds",
        "haproxy adds",
        "nginx adds",
        "/ envoy",
        "/ haproxy",
        "p (haproxy)",
    ];
    let mut table = Table::new(header);
    for case in present(results).filter(|case| case.is_latency()) {
        for figure in ["p50_us", "p99_us"] {
            let adds = Kind::ALL.map(|kind| spread(super::stats::spread(results.added(case.name, kind.name(), figure).into_values())));
            let ratio = |peer| results.added_ratio(case.name, figure, OURS, peer).map_or_else(|| "-".to_owned(), number);
            let chance = results.chance(case.name, figure, OURS, "haproxy").map_or_else(|| "-".to_owned(), |p| format!("{p:.3}"));
            let name = [case.name.to_owned(), figure.trim_end_matches("_us").to_owned(), spread(results.spread(case.name, DIRECT, figure))];
            table.row(name.into_iter().chain(adds).chain([ratio("envoy"), ratio("haproxy"), chance]));
        }
    }
    table
}

fn everything(results: &Results) -> Table {
    let mut table =
        Table::new(["test", "proxy", "requests/s", "p50 us", "p99 us", "p99.9 us", "CPU us", "in the kernel", "busy", "Gbit/s", "failed"]);
    for case in present(results).filter(|case| matches!(case.method, Method::Load { .. } | Method::Bulk { .. } | Method::Http2 { .. })) {
        for peer in Kind::ALL.map(Kind::name).into_iter().chain([DIRECT]) {
            let median = |figure: &str| results.spread(case.name, peer, figure).map(|spread| spread.median);
            let plain = |figure: &str| median(figure).map_or_else(|| "-".to_owned(), number);
            let percent = |figure: &str| median(figure).map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0));
            if median("rps").is_none() {
                continue;
            }
            let failed: f64 = results.turns(case.name, peer, "errors").into_values().sum();
            let cells =
                [plain("rps"), plain("p50_us"), plain("p99_us"), plain("p999_us"), plain("cpu_us"), percent("kernel"), percent("busy")];
            let name = [case.name.to_owned(), peer.to_owned()];
            table.row(name.into_iter().chain(cells).chain([plain("gbit_s"), format!("{failed:.0}")]));
        }
    }
    table
}

/// Sentences that follow from the figures.
fn reading(results: &Results) -> Vec<String> {
    let mut lines = vec![coverage(results)];
    lines.extend(goals::summary(results));
    lines.extend(PEERS.iter().filter_map(|peer| against(results, peer)));
    lines.extend(split_of_time(results));
    lines.extend(generator(results));
    lines.extend(floor(results));
    lines.extend(load_bound(results));
    let foreign = super::stats::spread(results.rows.iter().map(|row| row.foreign));
    if let Some(foreign) = foreign {
        let quiet =
            format!("Other programs used {:.2} CPUs in the median and at most {:.2} during a measurement.", foreign.median, foreign.high);
        lines.push(if foreign.high > 0.2 {
            format!("{quiet} **The machine was not quiet: only large differences mean something.**")
        } else {
            quiet
        });
    }
    lines.extend(results.errors().into_iter().map(|error| format!("**Failed**: {error}")));
    lines
}

/// How much of the comparison this run is.
fn coverage(results: &Results) -> String {
    let tests = present(results).count();
    let absent: Vec<&str> =
        Kind::ALL.map(Kind::name).into_iter().filter(|peer| !results.rows.iter().any(|row| row.peer == *peer)).collect();
    let peers = if absent.is_empty() { "all proxies".to_owned() } else { format!("without {}", absent.join(" and ")) };
    let some_unpaced = results.rows.iter().any(|row| row.test.contains("_reno_"));
    let all = CASES.iter().filter(|case| some_unpaced || case.method != (Method::Bulk { reno: true })).count();
    let which = if tests == all { "Every test".to_owned() } else { format!("{tests} of {all} tests") };
    format!("{which}, {peers}.")
}

/// In how many rows Outrigger needs less than this peer, and where it does not.
fn against(results: &Results, peer: &str) -> Option<String> {
    let ratios: Vec<(&str, f64)> =
        present(results).filter_map(|case| Some((case.name, results.ratio(case.name, case.key(), OURS, peer)?))).collect();
    let less = ratios.iter().filter(|(_, ratio)| *ratio <= 1.0).count();
    let mut more: Vec<&(&str, f64)> = ratios.iter().filter(|(_, ratio)| *ratio > 1.0).collect();
    more.sort_by(|a, b| b.1.total_cmp(&a.1));
    let list: Vec<String> = more.iter().map(|(test, ratio)| format!("{test} ({})", number(*ratio))).collect();
    let rest = if list.is_empty() { "no row needs more".to_owned() } else { format!("more, in ratio: {}", list.join(", ")) };
    (!ratios.is_empty()).then(|| format!("Against {peer} Outrigger needs less, or the same, in {less} of {} rows; {rest}.", ratios.len()))
}

/// Where the time of a request goes, and how much of that only the kernel could save.
fn split_of_time(results: &Results) -> Option<String> {
    let test = "h1_sat_c64";
    let parts = Kind::ALL.map(Kind::name).into_iter().filter_map(|peer| {
        let cpu = results.spread(test, peer, "cpu_us")?.median;
        let kernel = results.spread(test, peer, "kernel")?.median;
        Some(format!("{peer} {} = {} in the kernel + {} of its own", number(cpu), number(cpu * kernel), number(cpu * (1.0 - kernel))))
    });
    let parts: Vec<String> = parts.collect();
    let calls = results
        .spread("sys_h1_c64", OURS, "calls")
        .map(|calls| format!(" Outrigger makes {} system calls for each.", number(calls.median)));
    let text = format!(
        "A request of {test} costs, in microseconds: {}. The kernel's part is receiving, sending and waiting on loopback, which every proxy \
         pays; what differs is how many calls it takes, and what lies between them.{}",
        parts.join("; "),
        calls.unwrap_or_default()
    );
    (!parts.is_empty()).then_some(text)
}

fn generator(results: &Results) -> Option<String> {
    let rps = |peer: &str| results.spread("h1_sat_c64", peer, "rps").map(|spread| spread.median);
    let direct = rps(DIRECT)?;
    let fastest = Kind::ALL.into_iter().filter_map(|kind| rps(kind.name())).max_by(f64::total_cmp)?;
    Some(format!(
        "Without a proxy the generator gets {} answers a second from the origin on the other CPU, {} times what the fastest proxy passes.",
        number(direct),
        number(direct / fastest)
    ))
}

/// What of every start is no proxy's.
fn floor(results: &Results) -> Option<String> {
    let floor = results.spread("start", DIRECT, "start_ms")?;
    let adds = Kind::ALL.map(Kind::name).into_iter().filter_map(|peer| {
        let added = super::stats::spread(results.added("start", peer, "start_ms").into_values())?;
        Some(format!("{peer} {}", number(added.median)))
    });
    let adds: Vec<String> = adds.collect();
    Some(format!(
        "A program that only passes requests on takes {} ms from its start to its first answer; beyond that, in milliseconds: {}.",
        number(floor.median),
        adds.join(", ")
    ))
}

/// Saturated tests in which a proxy was not busy: their rates are the generator's, their CPU is the proxy's all the same.
fn load_bound(results: &Results) -> Option<String> {
    let idle = present(results).filter(|case| !case.is_latency()).flat_map(|case| {
        Kind::ALL.map(Kind::name).into_iter().filter_map(move |peer| {
            let busy = results.spread(case.name, peer, "busy")?.median;
            (busy < 0.9).then(|| format!("{} {peer} ({:.0} %)", case.name, busy * 100.0))
        })
    });
    let idle: Vec<String> = idle.collect();
    (!idle.is_empty()).then(|| {
        format!("The load side was the limit, so that rates say little but CPU per request still holds, where the proxy was not fully busy: {}.", idle.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::tests::row;

    fn results() -> Results {
        let mut rows = Vec::new();
        for rep in 0..6 {
            let drift = 1.0 + rep as f64 / 10.0;
            for (peer, cpu, p50) in [("outrigger", 15.0, 90.0), ("envoy", 30.0, 130.0), ("haproxy", 12.0, 80.0)] {
                let figures =
                    [("cpu_us", cpu * drift), ("rps", 50_000.0), ("busy", 1.0), ("kernel", 0.7), ("requests", 9.0), ("errors", 0.0)];
                rows.push(row("h1_sat_c64", peer, rep, &figures));
                rows.push(row(
                    "h1_r4k_c64",
                    peer,
                    rep,
                    &[("cpu_us", cpu), ("p50_us", p50 * drift), ("p99_us", p50 * 2.0), ("rps", 4000.0)],
                ));
            }
            rows.push(row("h1_r4k_c64", DIRECT, rep, &[("p50_us", 50.0 * drift), ("p99_us", 60.0)]));
        }
        Results { rows, ..Results::default() }
    }

    #[test]
    fn unfavourable_rows_are_named_first_in_the_reading() {
        let text = document(&results());
        assert!(text.contains("Against envoy Outrigger needs less, or the same, in 2 of 2 rows; no row needs more."), "{text}");
        assert!(
            text.contains("Against haproxy Outrigger needs less, or the same, in 0 of 2 rows; more, in ratio: h1_sat_c64 (1.25)"),
            "{text}"
        );
    }

    #[test]
    fn the_reading_begins_with_what_was_run_and_which_goals_are_missed() {
        let text = document(&results());
        assert!(text.contains("- 2 of 25 tests, without nginx.\n- "), "{text}");
        assert!(text.contains("Missed: h1_sat_c64 against haproxy (1.25, goal <= 1.20)"), "{text}");
        assert!(text.contains("h1_r4k_c64 added p50_us against haproxy (1.33 (p = 0.03), goal not more)"), "{text}");
    }

    #[test]
    fn a_drift_of_the_machine_does_not_touch_the_ratios() {
        let cost = cost(&results()).render();
        let line = cost.lines().find(|line| line.contains("h1_sat_c64")).expect("the row");
        assert!(line.contains("0.50") && line.contains("1.25"), "{line}");
    }

    #[test]
    fn goals_tell_what_is_missed() {
        let table = goals::table(&results()).render();
        let verdict = |start: &str| table.lines().find(|line| line.replace(' ', "").starts_with(start)).map(|line| line.contains("yes"));
        assert_eq!(verdict("|h1_sat_c64|cpu_us|envoy|"), Some(true), "{table}");
        assert_eq!(verdict("|h1_sat_c64|cpu_us|haproxy|"), Some(false), "{table}");
        assert_eq!(verdict("|h1_r4k_c64|addedp50_us|envoy|"), Some(true), "{table}");
        assert_eq!(verdict("|h1_r4k_c64|addedp50_us|haproxy|"), Some(false), "six turns of six: {table}");
    }

    #[test]
    fn errors_and_a_busy_machine_are_said() {
        let mut results = results();
        results.rows[0].foreign = 0.5;
        results.rows[0].figures.insert("errors".to_owned(), 3.0);
        let text = document(&results);
        assert!(text.contains("**Failed**: h1_sat_c64 outrigger: 3 of 12 requests failed"), "{text}");
        assert!(text.contains("The machine was not quiet"), "{text}");
    }
}
