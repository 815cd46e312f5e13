//! Whether the other program, `orbench.py`, comes to the same ratios in the tests that both have.
//!
//! Two programs agree about proxies when their ratios do; microseconds differ with the hour. So every row compares the
//! median of ratios taken within a turn by one program with that of the other. Two quantities are not the proxies' own; the
//! row as measured stands beside the one that is judged, so that nothing is hidden:
//! - what the other program calls `start_ms` begins before it has forked itself, a large Python process, which takes the
//!   same time whatever is started then. Both programs measure what a start takes of which nothing is a proxy
//!   ([`super::floor`]), and what each proxy adds to that is judged;
//! - PSS divides the pages of a shared library by those who map it, and the other program's HTTP/2 origin, which runs on
//!   once a test has needed it, maps OpenSSL as HAProxy and nginx do. Resident memory is judged, which no neighbour changes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::cases::{CASES, Case, Method};
use super::measure::Figures;
use super::results::{DIRECT, Results, Row};
use super::stats::{self, Spread};
use super::table::{Table, number};

const OURS: &str = "outrigger";
/// What `loadtests/peers/orbench.toml` calls the program of [`super::floor`].
const FLOOR: &str = "floor";
/// Judged of tests of memory: see above.
const RESIDENT: &str = "rss_mib";
const AGAINST: [&str; 3] = ["envoy", "haproxy", "nginx"];

/// What the comparison of two runs came to.
pub struct Agreement {
    /// One row per test and proxy; ends with a line feed.
    pub table: String,
    /// What has to be known about the table, a sentence each.
    pub notes: Vec<String>,
    /// Rows compared, and those of them that differ by more than the tolerance.
    pub compared: usize,
    /// See `compared`.
    pub apart: Vec<String>,
}

impl Agreement {
    /// All of it as Markdown.
    pub fn text(&self) -> String {
        let notes: String = self.notes.iter().map(|note| format!("- {note}\n")).collect();
        format!("{}\n{notes}", self.table)
    }

    /// The same as a document of its own, beside the run `mine`.
    pub fn document(&self, mine: &Results) -> String {
        format!(
            "# Two programs, the same ratios\n\nWritten by `make agree`: Outrigger's figure over each peer's in every test that `make bench` \
             ({}, revision {}) and the program of `make bench-peers` both have; medians of ratios within a turn, with their range.\n\n{}",
            mine.header.date,
            mine.header.revision,
            self.text()
        )
    }
}

/// A line of what `orbench.py --out` writes; figures stand among the other fields.
#[derive(Deserialize)]
struct Line {
    test: String,
    peer: String,
    rep: usize,
    #[serde(default)]
    foreign: f64,
    error: Option<String>,
    #[serde(flatten)]
    fields: BTreeMap<String, Value>,
}

/// Reads the results of `orbench.py`, its figures under our names.
///
/// # Errors
/// A line that is none of its, with its number.
pub fn theirs(text: &str) -> Result<Results> {
    let parse = |(index, line): (usize, &str)| {
        let line: Line = serde_json::from_str(line).with_context(|| format!("line {}", index + 1))?;
        let figures = line.fields.iter().filter_map(|(name, value)| Some((ours(name).to_owned(), value.as_f64()?)));
        let figures: Figures = if line.error.is_some() { Figures::new() } else { figures.collect() };
        let peer = if line.peer == FLOOR { DIRECT.to_owned() } else { line.peer };
        Ok(Row { test: line.test, peer, rep: line.rep, foreign: line.foreign, figures, error: line.error })
    };
    let rows = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(parse).collect::<Result<Vec<Row>>>()?;
    ensure!(!rows.is_empty(), "nothing was measured");
    Ok(Results { rows, ..Results::default() })
}

/// What was measured while other programs used at most so many CPUs; memory does not depend on that. With how many rows were
/// left out.
pub fn quiet(results: Results, most: f64) -> (Results, usize) {
    let all = results.rows.len();
    let rows: Vec<Row> = results.rows.into_iter().filter(|row| row.foreign <= most || row.test.starts_with("mem")).collect();
    let left_out = all - rows.len();
    (Results { rows, ..results }, left_out)
}

/// Our name of a figure.
fn ours(theirs: &str) -> &str {
    match theirs {
        "cpu_us_per_req" => "cpu_us",
        "sys_per_req" => "calls",
        other => other,
    }
}

/// Compares the ratios of both; they may differ by `tolerance` (0.1 is 10 %).
pub fn compare(mine: &Results, theirs: &Results, tolerance: f64) -> Agreement {
    let mut rows = Rows::new(tolerance);
    let mut notes = Vec::new();
    for case in CASES.iter().filter(|case| mine.has(case.name) && theirs.has(case.name)) {
        let key = case.key();
        if matches!(case.method, Method::Memory { .. }) && theirs.rows.iter().any(|row| row.figures.contains_key(RESIDENT)) {
            rows.add(case, (case.name, key), mine, theirs, false);
            rows.add(case, (&format!("{}, resident", case.name), RESIDENT), mine, theirs, true);
        } else if let Some(((mine_added, mine_floor), (theirs_added, theirs_floor))) = added(case, mine).zip(added(case, theirs)) {
            rows.add(case, (case.name, key), mine, theirs, false);
            rows.add(case, (&format!("{}, added", case.name), key), &mine_added, &theirs_added, true);
            notes.push(format!(
                "`{}`: of each {} ms here and {} ms there belong to no proxy: that is what a program takes that only passes requests on.",
                case.name,
                number(mine_floor),
                number(theirs_floor)
            ));
        } else {
            rows.add(case, (case.name, key), mine, theirs, true);
        }
    }
    let Rows { table, compared, apart, .. } = rows;
    let verdict = if apart.is_empty() { "None is apart.".to_owned() } else { format!("Apart: {}.", apart.join(", ")) };
    notes.insert(0, format!("{} of {compared} ratios agree within {:.0} %. {verdict}", compared - apart.len(), tolerance * 100.0));
    notes.extend(only_here(mine, theirs));
    Agreement { table: table.render(), notes, compared, apart }
}

struct Rows {
    table: Table,
    tolerance: f64,
    compared: usize,
    apart: Vec<String>,
}

impl Rows {
    fn new(tolerance: f64) -> Rows {
        let heading = format!("within {:.0} %", tolerance * 100.0);
        let table = Table::new(["test", "against", "make bench", "the other program", "deviation", &heading]);
        Rows { table, tolerance, compared: 0, apart: Vec::new() }
    }

    /// The ratios of one figure of a test to each peer; those shown for information only are not judged.
    fn add(&mut self, case: &Case, (name, figure): (&str, &str), mine: &Results, theirs: &Results, judged: bool) {
        for peer in AGAINST {
            let ratios = |results| ratios(results, case.name, figure, peer);
            let (Some(a), Some(b)) = (ratios(mine), ratios(theirs)) else { continue };
            let near = (a.median / b.median - 1.0).abs() <= self.tolerance;
            let verdict = match (judged, near) {
                (false, _) => "-",
                (true, true) => "yes",
                (true, false) => "**no**",
            };
            self.table.row(row(name, peer, a, b, verdict));
            self.compared += usize::from(judged);
            self.apart.extend((judged && !near).then(|| format!("{} / {peer}", case.name)));
        }
    }
}

fn row(test: &str, peer: &str, a: Spread, b: Spread, verdict: &str) -> [String; 6] {
    let cell = |ratio: Spread| format!("{} ({}..{})", number(ratio.median), number(ratio.low), number(ratio.high));
    let deviation = format!("{:+.0} %", (a.median / b.median - 1.0) * 100.0);
    [test.to_owned(), peer.to_owned(), cell(a), cell(b), deviation, verdict.to_owned()]
}

/// The ratios within each turn of a program.
fn ratios(results: &Results, test: &str, figure: &str, peer: &str) -> Option<Spread> {
    let other = results.turns(test, peer, figure);
    let turns = results.turns(test, OURS, figure).into_iter();
    stats::spread(turns.filter_map(|(rep, value)| Some(value / other.get(&rep).filter(|other| **other > 0.0)?)))
}

/// For tests of the start: the results less what starting anything takes, and that. It is the median of all turns, since the
/// other program's own fork varies from turn to turn by a good part of what a fast proxy adds.
fn added(case: &Case, results: &Results) -> Option<(Results, f64)> {
    let floor = results.turns(case.name, DIRECT, case.key());
    let median = stats::spread(floor.values().copied()).filter(|_| case.method == Method::Start)?.median;
    let mut results = results.clone();
    for row in results.rows.iter_mut().filter(|row| row.test == case.name) {
        row.figures.entry(case.key().to_owned()).and_modify(|figure| *figure -= median);
    }
    Some((results, median))
}

fn only_here(mine: &Results, theirs: &Results) -> Option<String> {
    let tests: BTreeSet<&str> = mine.rows.iter().map(|row| row.test.as_str()).filter(|test| !theirs.has(test)).collect();
    let list = tests.into_iter().collect::<Vec<_>>().join(", ");
    (!list.is_empty()).then(|| format!("Measured by `make bench` alone: {list}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::tests::row;

    fn line(test: &str, peer: &str, rep: usize, figure: &str, value: f64) -> String {
        format!(
            "{{\"test\": \"{test}\", \"peer\": \"{peer}\", \"rep\": {rep}, \"{figure}\": {value}, \"calls\": {{\"read\": 1}}, \"foreign\": 0.0}}\n"
        )
    }

    fn mine(rows: &[(&str, &str, f64)], figure: &str) -> Results {
        Results { rows: rows.iter().map(|(test, peer, value)| row(test, peer, 0, &[(figure, *value)])).collect(), ..Results::default() }
    }

    #[test]
    fn ratios_count_and_not_the_speed_of_the_hour() {
        let mine = mine(&[("h1_sat_c64", "outrigger", 10.0), ("h1_sat_c64", "envoy", 30.0), ("h1_sat_c64", "haproxy", 10.0)], "cpu_us");
        let text = [("outrigger", 20.0), ("envoy", 61.0), ("haproxy", 17.0)]
            .map(|(peer, value)| line("h1_sat_c64", peer, 0, "cpu_us_per_req", value))
            .concat();
        let agreement = compare(&mine, &theirs(&text).expect("results"), 0.1);
        assert_eq!((agreement.compared, agreement.apart.as_slice()), (2, &["h1_sat_c64 / haproxy".to_owned()][..]), "{}", agreement.table);
        assert!(agreement.table.contains("-15 %") && agreement.text().contains("Apart: h1_sat_c64 / haproxy."), "{}", agreement.text());
    }

    #[test]
    fn of_a_start_what_a_proxy_adds_to_a_program_that_only_passes_on_is_judged() {
        let mine = mine(&[("start", DIRECT, 2.0), ("start", "outrigger", 6.0), ("start", "envoy", 50.0)], "start_ms");
        let text =
            [("floor", 5.0), ("outrigger", 9.0), ("envoy", 54.0)].map(|(peer, value)| line("start", peer, 0, "start_ms", value)).concat();
        let agreement = compare(&mine, &theirs(&text).expect("results"), 0.1);
        assert_eq!((agreement.compared, agreement.apart.len()), (1, 0), "{}", agreement.table);
        assert!(agreement.table.contains("-28 %") && agreement.table.contains("start, added"), "{}", agreement.table);
        assert!(agreement.notes[1].contains("each 2.00 ms here and 5.00 ms there"), "{:?}", agreement.notes);
    }

    #[test]
    fn a_start_without_that_program_is_judged_as_it_was_measured() {
        let mine = mine(&[("start", "outrigger", 6.0), ("start", "envoy", 50.0)], "start_ms");
        let text = [("outrigger", 9.0), ("envoy", 54.0)].map(|(peer, value)| line("start", peer, 0, "start_ms", value)).concat();
        let agreement = compare(&mine, &theirs(&text).expect("results"), 0.1);
        assert_eq!((agreement.compared, agreement.apart.len()), (1, 1), "{}", agreement.table);
    }

    #[test]
    fn memory_is_judged_by_what_is_resident_and_the_part_shared_with_neighbours_is_shown() {
        let figures = |pss: f64, rss: f64| [("pss_mib", pss), ("rss_mib", rss)];
        let results = |haproxy: f64| Results {
            rows: vec![row("mem_idle", "outrigger", 0, &figures(9.0, 10.0)), row("mem_idle", "haproxy", 0, &figures(haproxy, 14.5))],
            ..Results::default()
        };
        let agreement = compare(&results(12.4), &results(10.9), 0.1);
        assert_eq!((agreement.compared, agreement.apart.len()), (1, 0), "{}", agreement.table);
        assert!(agreement.table.contains("-12 %") && agreement.table.contains("mem_idle, resident"), "{}", agreement.table);
    }

    #[test]
    fn a_disturbed_or_failed_turn_of_the_other_program_says_nothing() {
        let good = line("start", "envoy", 0, "start_ms", 50.0);
        let text = good.clone()
            + &good.replace("\"foreign\": 0.0", "\"foreign\": 0.5")
            + &good.replace("\"calls\"", "\"error\": \"x\", \"calls\"");
        let (results, left_out) = quiet(theirs(&text).expect("results"), 0.2);
        assert_eq!((results.rows.len(), results.rows[1].figures.len(), left_out), (2, 0, 1));
        assert!(theirs("").is_err() && theirs("{}").expect_err("no row").to_string().contains("line 1"));
    }
}
