//! What is demanded of a run on the command line, and the verdict.

use crate::{
    expect::{Expectation, Tolerance, counted, round_robin},
    report::{Check, Expected, Report},
    slo::Slo,
};

/// The options that decide about the exit status.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
#[command(next_help_heading = "Demands (exit status 1 when one is not met)")]
pub struct Demands {
    /// Objectives, such as p99<5ms,errors<0.1%; metrics are pN, service-pN, mean, max, errors and rate
    #[arg(long, value_name = "METRIC<LIMIT,...")]
    pub slo: Option<Slo>,
    /// Shares of the answers by the first --count-by, or by version; requests without an answer are wrong as well
    #[arg(long, value_name = "NAME=WEIGHT,...")]
    pub expect: Option<Expectation>,
    /// How far from its share each may be: percentage points (1, 0.5%) or answers (2n) [default: 1]
    #[arg(long, requires = "expect", value_name = "N")]
    pub tolerance: Option<Tolerance>,
    /// The values of the last --count-by, or the pods of each version (or of these alone), take turns: none is ever two
    /// answers ahead of another
    #[arg(long, num_args = 0..=1, require_equals = true, value_parser = versions, value_name = "VERSION,...")]
    pub expect_round_robin: Option<Option<String>>,
}

/// Names of versions, none of them empty: nothing that could take turns would have such a name.
fn versions(text: &str) -> Result<String, String> {
    let named = text.split(',').all(|version| !version.trim().is_empty());
    named.then(|| text.to_owned()).ok_or_else(|| format!("{text:?}: expected the name of a version behind each = and comma"))
}

impl Demands {
    /// Writes the verdicts into the report; whether all demands are met.
    pub fn judge(&self, report: &mut Report) -> bool {
        report.checks = self.checks(report);
        // What merged reports were expected to have stays, unless something else is now.
        if let Some(expectation) = &self.expect {
            let property = report.run.count_by.first().map_or("version", String::as_str).to_owned();
            report.expected = Some(Expected { property, shares: expectation.shares() });
        }
        report.checks.iter().all(|check| check.ok)
    }

    fn checks(&self, report: &Report) -> Vec<Check> {
        let mut checks = self.slo.as_ref().map(|slo| slo.check(report)).unwrap_or_default();
        if let Some(expectation) = &self.expect {
            checks.extend(expectation.check(&counted(report), self.tolerance.unwrap_or_default()));
        }
        if let Some(versions) = &self.expect_round_robin {
            let versions: Vec<&str> = versions.iter().flat_map(|versions| versions.split(',')).map(str::trim).collect();
            checks.extend(round_robin(report, &versions, report.run.concurrency == 1));
        }
        let counting = if self.expect.is_some() { "--expect" } else { "--expect-round-robin" };
        if self.expect.is_some() || self.expect_round_robin.is_some() {
            let lost = report.error_count();
            let (want, got) = ("0".to_owned(), lost.to_string());
            checks.push(Check { name: "requests without an answer".to_owned(), want, got, ok: lost == 0, by: counting.to_owned() });
        }
        checks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let versions = [("v1".to_owned(), 50), ("v2".to_owned(), 50)].into();
        Report { requests: 100, versions, ..Report::default() }
    }

    #[test]
    fn nothing_demanded_gives_no_verdict() {
        let mut report = report();
        assert!(Demands::default().judge(&mut report));
        assert_eq!(report.checks, []);
    }

    #[test]
    fn a_lost_request_is_no_part_of_an_expectation_met() {
        let demands = Demands { expect: "v1=1,v2=1".parse().ok(), ..Demands::default() };
        assert!(demands.judge(&mut report()));
        let mut lossy = Report { requests: 101, errors: [(crate::Cause::Reset, 1)].into(), ..report() };
        assert!(!demands.judge(&mut lossy));
        assert_eq!(lossy.checks.iter().filter(|check| !check.ok).count(), 1);
    }

    #[test]
    fn with_properties_the_first_is_what_shares_are_expected_of() {
        let group = [("a".to_owned(), 100)].into();
        let mut report = Report { groups: [("body:.*".to_owned(), group)].into(), ..report() };
        let demands = Demands { expect: "a=1".parse().ok(), ..Demands::default() };
        assert!(!demands.judge(&mut report));
        report.run.count_by.push("body:.*".to_owned());
        assert!(demands.judge(&mut report));
        assert_eq!(report.expected.map(|expected| expected.property), Some("body:.*".to_owned()));
    }
}
