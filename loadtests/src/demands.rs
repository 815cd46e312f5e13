//! What is demanded of a run on the command line, and the verdict.

use crate::{
    expect::{Expectation, Tolerance, counted, round_robin},
    report::{Check, Report},
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
    /// How far from its share each may be: percentage points (1, 0.5%) or answers (2n)
    #[arg(long, default_value = "1", value_name = "N")]
    pub tolerance: Tolerance,
    /// Values of the last --count-by, or the pods of each version, take turns: none is ever two answers ahead
    #[arg(long)]
    pub expect_round_robin: bool,
}

impl Demands {
    /// The verdicts on a report whose run counted these properties.
    pub fn judge(&self, report: &Report, properties: &[String]) -> Vec<Check> {
        let mut checks = self.slo.as_ref().map(|slo| slo.check(report)).unwrap_or_default();
        if let Some(expectation) = &self.expect {
            checks.extend(expectation.check(&counted(report, properties.first().map(String::as_str)), self.tolerance));
        }
        if self.expect_round_robin {
            checks.extend(round_robin(report, report.run.concurrency == 1));
        }
        let counting = if self.expect.is_some() { "--expect" } else { "--expect-round-robin" };
        if self.expect.is_some() || self.expect_round_robin {
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
        assert_eq!(Demands::default().judge(&report(), &[]), []);
    }

    #[test]
    fn a_lost_request_is_no_part_of_an_expectation_met() {
        let demands = Demands { expect: "v1=1,v2=1".parse().ok(), ..Demands::default() };
        assert!(demands.judge(&report(), &[]).iter().all(|check| check.ok));
        let lossy = Report { requests: 101, errors: [(crate::Cause::Reset, 1)].into(), ..report() };
        assert_eq!(demands.judge(&lossy, &[]).iter().filter(|check| !check.ok).count(), 1);
    }

    #[test]
    fn with_properties_the_first_is_what_shares_are_expected_of() {
        let group = [("a".to_owned(), 100)].into();
        let report = Report { groups: [("body:.*".to_owned(), group)].into(), ..report() };
        let demands = Demands { expect: "a=1".parse().ok(), ..Demands::default() };
        assert!(demands.judge(&report, &["body:.*".to_owned()]).iter().all(|check| check.ok));
        assert!(!demands.judge(&report, &[]).iter().all(|check| check.ok));
    }
}
