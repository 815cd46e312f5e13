//! What was measured, as it is kept in a file of JSON lines: first a header, then one line per measurement.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::measure::Figures;
use super::stats::{self, Spread};

/// The name of rows without proxy.
pub const DIRECT: &str = "direct";

/// Circumstances of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// When it began, UTC.
    pub date: String,
    /// Commit of the working copy; `+` when files differ from it.
    pub revision: String,
    /// CPUs, memory, kernel.
    pub machine: String,
    /// What the programs say about themselves, by name.
    pub versions: BTreeMap<String, String>,
    /// How it was measured.
    pub flags: String,
}

/// One measurement.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The test.
    pub test: String,
    /// The proxy, or `direct`.
    pub peer: String,
    /// The turn; what has the same number was measured next to each other.
    pub rep: usize,
    /// CPUs that other programs of the machine kept busy meanwhile.
    pub foreign: f64,
    /// What was found.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: Figures,
    /// Why nothing was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Results {
    /// Its circumstances.
    pub header: Header,
    /// Its measurements.
    pub rows: Vec<Row>,
}

impl Results {
    /// Reads what [`Results::to_lines`] has written.
    ///
    /// # Errors
    /// A line that is something else, with its number.
    pub fn parse(text: &str) -> Result<Results> {
        let mut lines = text.lines();
        let header = serde_json::from_str(lines.next().unwrap_or_default()).context("line 1: expected the header")?;
        let rows = lines.enumerate().map(|(index, line)| serde_json::from_str(line).with_context(|| format!("line {}", index + 2)));
        Ok(Results { header, rows: rows.collect::<Result<_>>()? })
    }

    /// JSON lines.
    ///
    /// # Errors
    /// Never in practice; the serialiser's.
    pub fn to_lines(&self) -> Result<String> {
        let mut text = serde_json::to_string(&self.header)? + "\n";
        for row in &self.rows {
            text += &(serde_json::to_string(row)? + "\n");
        }
        Ok(text)
    }

    /// Whether a test was run.
    pub fn has(&self, test: &str) -> bool {
        self.rows.iter().any(|row| row.test == test)
    }

    /// The figure of each turn.
    pub fn turns(&self, test: &str, peer: &str, figure: &str) -> BTreeMap<usize, f64> {
        let rows = self.rows.iter().filter(|row| row.test == test && row.peer == peer);
        rows.filter_map(|row| Some((row.rep, *row.figures.get(figure)?))).collect()
    }

    /// Median and extremes of a figure.
    pub fn spread(&self, test: &str, peer: &str, figure: &str) -> Option<Spread> {
        stats::spread(self.turns(test, peer, figure).into_values())
    }

    /// The figure of each turn, less that of the row without proxy in the same turn.
    pub fn added(&self, test: &str, peer: &str, figure: &str) -> BTreeMap<usize, f64> {
        let direct = self.turns(test, DIRECT, figure);
        let all = self.turns(test, peer, figure).into_iter();
        all.filter_map(|(rep, value)| Some((rep, value - direct.get(&rep)?))).collect()
    }

    /// The median of the ratios taken within each turn.
    pub fn ratio(&self, test: &str, figure: &str, ours: &str, theirs: &str) -> Option<f64> {
        paired(&self.turns(test, ours, figure), &self.turns(test, theirs, figure))
    }

    /// The same of what each adds to the row without proxy.
    pub fn added_ratio(&self, test: &str, figure: &str, ours: &str, theirs: &str) -> Option<f64> {
        paired(&self.added(test, ours, figure), &self.added(test, theirs, figure))
    }

    /// How likely a difference like this is by chance; see [`stats::signed_rank`].
    pub fn chance(&self, test: &str, figure: &str, ours: &str, theirs: &str) -> Option<f64> {
        stats::signed_rank(&self.differences(test, figure, ours, theirs))
    }

    /// The median of the differences taken within each turn; 0 without any.
    pub fn median_difference(&self, test: &str, figure: &str, ours: &str, theirs: &str) -> f64 {
        stats::spread(self.differences(test, figure, ours, theirs)).map_or(0.0, |spread| spread.median)
    }

    fn differences(&self, test: &str, figure: &str, ours: &str, theirs: &str) -> Vec<f64> {
        let other = self.turns(test, theirs, figure);
        self.turns(test, ours, figure).into_iter().filter_map(|(rep, value)| Some(value - other.get(&rep)?)).collect()
    }

    /// Every error with the tests and proxies it hit.
    pub fn errors(&self) -> BTreeSet<String> {
        let failed = self.rows.iter().filter_map(|row| Some(format!("{} {}: {}", row.test, row.peer, row.error.as_ref()?)));
        let faulty = self.rows.iter().filter_map(|row| {
            let (errors, requests) = (*row.figures.get("errors")?, *row.figures.get("requests")?);
            (errors > 0.0).then(|| format!("{} {}: {errors} of {} requests failed", row.test, row.peer, errors + requests))
        });
        failed.chain(faulty).collect()
    }
}

/// The median of the ratios within each turn. A turn in which noise made the other add less than nothing has none.
fn paired(ours: &BTreeMap<usize, f64>, theirs: &BTreeMap<usize, f64>) -> Option<f64> {
    let ratios = ours.iter().filter_map(|(rep, value)| Some(value / theirs.get(rep).filter(|other| **other > 0.0)?));
    stats::spread(ratios).map(|spread| spread.median)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn row(test: &str, peer: &str, rep: usize, figures: &[(&str, f64)]) -> Row {
        let figures = figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Row { test: test.to_owned(), peer: peer.to_owned(), rep, figures, ..Row::default() }
    }

    #[test]
    fn ratios_pair_what_was_measured_in_the_same_turn() {
        // The machine is twice as slow in the second turn, and the third has only one of the two.
        let rows = vec![
            row("t", "a", 0, &[("cpu_us", 10.0)]),
            row("t", "b", 0, &[("cpu_us", 20.0)]),
            row("t", "a", 1, &[("cpu_us", 20.0)]),
            row("t", "b", 1, &[("cpu_us", 40.0)]),
            row("t", "a", 2, &[("cpu_us", 1000.0)]),
        ];
        let results = Results { rows, ..Results::default() };
        assert_eq!(results.ratio("t", "cpu_us", "a", "b"), Some(0.5));
        assert_eq!(results.ratio("t", "cpu_us", "a", "c"), None);
    }

    #[test]
    fn added_latency_is_taken_against_the_same_turn_without_proxy() {
        let rows =
            vec![row("t", DIRECT, 0, &[("p50_us", 30.0)]), row("t", "a", 0, &[("p50_us", 50.0)]), row("t", "b", 0, &[("p50_us", 70.0)])];
        let results = Results { rows, ..Results::default() };
        assert_eq!(results.added("t", "b", "p50_us")[&0], 40.0);
        assert_eq!(results.added_ratio("t", "p50_us", "a", "b"), Some(0.5));
    }

    #[test]
    fn results_survive_the_file() {
        let error = Row { error: Some("ended".to_owned()), ..row("t", "b", 0, &[]) };
        let results = Results {
            header: Header { revision: "abc".to_owned(), ..Header::default() },
            rows: vec![row("t", "a", 1, &[("x", 0.5)]), error],
        };
        let text = results.to_lines().expect("written");
        assert_eq!(Results::parse(&text).expect("read"), results);
        assert!(Results::parse("{}\nx").expect_err("no row").to_string().contains("line"));
        assert_eq!(results.errors().into_iter().collect::<Vec<_>>(), ["t b: ended"]);
    }
}
