//! Service level objectives, such as `p99<5ms,errors<0.1%`, and whether a report meets them.

use std::{fmt, str::FromStr};

use crate::{
    histogram::Hdr,
    report::{Check, Report},
};

/// Objectives that have to hold together.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    objectives: Vec<Objective>,
}

#[derive(Clone, Debug, PartialEq)]
struct Objective {
    metric: Metric,
    bound: Bound,
    /// Microseconds, a share from 0 to 1, or a number, as the metric has it.
    limit: f64,
    /// As written.
    limit_text: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Metric {
    /// The corrected latency's quantile.
    Quantile(f64),
    /// The raw service time's quantile.
    Service(f64),
    Mean,
    Max,
    /// Requests that were not answered, or answered with a status of 400 or above or a gRPC status other than 0.
    Errors,
    /// The same as a share of all requests.
    ErrorShare,
    /// Complete answers per second.
    Rate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    Below,
    AtMost,
    Above,
    AtLeast,
}

const EXPECTED: &str = "expected METRIC<LIMIT[,...] with METRIC p50 ... p99.99, service-p50 ..., mean, max (LIMIT such as 5ms), \
                        errors (0.1% or a number) or rate (a number), and <, <=, > or >=";

impl FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let objectives = text.split(',').map(|part| objective(part.trim()).ok_or_else(|| format!("{part:?}: {EXPECTED}")));
        Ok(Self { objectives: objectives.collect::<Result<_, _>>()? })
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.objectives.iter().map(|objective| format!("{}{}", objective.name(), objective.want()));
        f.write_str(&parts.collect::<Vec<_>>().join(","))
    }
}

fn objective(text: &str) -> Option<Objective> {
    let at = text.find(['<', '>'])?;
    let (name, rest) = (text.get(..at)?.trim(), text.get(at..)?);
    let (bound, limit) = if let Some(limit) = rest.strip_prefix("<=") {
        (Bound::AtMost, limit)
    } else if let Some(limit) = rest.strip_prefix(">=") {
        (Bound::AtLeast, limit)
    } else if let Some(limit) = rest.strip_prefix('<') {
        (Bound::Below, limit)
    } else {
        (Bound::Above, rest.strip_prefix('>')?)
    };
    let limit_text = limit.trim().to_owned();
    let percent = limit_text.strip_suffix('%').map(str::trim);
    let metric = match name {
        "errors" if percent.is_some() => Metric::ErrorShare,
        "errors" => Metric::Errors,
        "rate" => Metric::Rate,
        "mean" => Metric::Mean,
        "max" => Metric::Max,
        _ => match name.strip_prefix("service-") {
            Some(quantile) => Metric::Service(quantile_of(quantile)?),
            None => Metric::Quantile(quantile_of(name)?),
        },
    };
    let limit = match metric {
        Metric::ErrorShare => percent?.parse::<f64>().ok()? / 100.0,
        Metric::Errors | Metric::Rate => limit_text.parse().ok()?,
        _ => micros(&limit_text)?,
    };
    (limit.is_finite() && limit >= 0.0).then_some(Objective { metric, bound, limit, limit_text })
}

/// The fraction that `p99.9` names.
fn quantile_of(name: &str) -> Option<f64> {
    let percent: f64 = name.strip_prefix('p')?.parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
}

/// Microseconds of a number with `us`, `ms` or `s` behind it.
fn micros(text: &str) -> Option<f64> {
    let (number, factor) = [("us", 1.0), ("µs", 1.0), ("ms", 1e3), ("s", 1e6)]
        .into_iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    Some(number.trim().parse::<f64>().ok()? * factor)
}

impl Slo {
    /// A verdict on each objective. Times are those of all requests: one without an answer takes longer than any limit, or a
    /// server that answers a hundred requests and then none would look quick.
    pub fn check(&self, report: &Report) -> Vec<Check> {
        self.objectives.iter().map(|objective| objective.check(report)).collect()
    }

    /// Whether no objective asks for more than something: only then a lower rate is met more easily than a higher one.
    pub(crate) fn is_met_below_a_limit(&self) -> bool {
        self.objectives.iter().all(|objective| matches!(objective.bound, Bound::Below | Bound::AtMost) && objective.metric != Metric::Rate)
    }

    /// Whether all objectives hold.
    pub fn holds(&self, report: &Report) -> bool {
        self.check(report).iter().all(|check| check.ok)
    }
}

/// Microseconds that the fraction `quantile` of all `requests` does not exceed, of which the histogram has those with an
/// answer. `None` when the request at that place has none.
fn quantile(answered: &Hdr, requests: u64, quantile: f64) -> Option<f64> {
    if requests > 0 && answered.count() == requests {
        return Some(answered.at(quantile) as f64 / 1000.0);
    }
    // Rounded up to a whole request, but not for an error in the last digit of the product.
    let place = (quantile * requests as f64 * (1.0 - 1e-12)).ceil().max(1.0);
    let count = answered.count() as f64;
    // Half a request less, so that the way back to a place cannot end at the next one.
    (place <= count).then(|| answered.at((place - 0.5) / count) as f64 / 1000.0)
}

impl Objective {
    fn check(&self, report: &Report) -> Check {
        let got = self.got(report);
        let holds = |got: f64| match self.bound {
            Bound::Below => got < self.limit,
            Bound::AtMost => got <= self.limit,
            Bound::Above => got > self.limit,
            Bound::AtLeast => got >= self.limit,
        };
        let none = if report.error_count() == report.requests { "no answers" } else { "no answer" };
        let shown = got.map_or_else(|| none.to_owned(), |got| self.show(got, report.failed()));
        Check { name: self.name(), want: self.want(), got: shown, ok: got.is_some_and(holds), by: "--slo".to_owned() }
    }

    /// What the run has of the metric; `None` where requests that were never answered decide it.
    fn got(&self, report: &Report) -> Option<f64> {
        // Those in flight at a stop are in no count, being no failure of the server, but so long they took already.
        let begun = report.requests + report.run.abandoned;
        let all_answered = report.histograms.latency.count() == begun && begun > 0;
        let requests = report.requests as f64;
        match self.metric {
            Metric::Quantile(q) => quantile(&report.histograms.latency, begun, q),
            Metric::Service(q) => quantile(&report.histograms.service, begun, q),
            Metric::Mean => all_answered.then_some(report.latency.mean_us),
            Metric::Max => all_answered.then_some(report.latency.max_us),
            Metric::Errors => (requests > 0.0).then_some(report.failed() as f64),
            Metric::ErrorShare => (requests > 0.0).then(|| report.failed() as f64 / requests),
            Metric::Rate => Some(report.rate),
        }
    }

    fn name(&self) -> String {
        let percent = |quantile: f64| format!("p{}", (quantile * 1e8).round() / 1e6);
        match self.metric {
            Metric::Quantile(quantile) => percent(quantile),
            Metric::Service(quantile) => format!("service-{}", percent(quantile)),
            Metric::Mean => "mean".to_owned(),
            Metric::Max => "max".to_owned(),
            Metric::Errors | Metric::ErrorShare => "errors".to_owned(),
            Metric::Rate => "rate".to_owned(),
        }
    }

    fn want(&self) -> String {
        let sign = match self.bound {
            Bound::Below => "<",
            Bound::AtMost => "<=",
            Bound::Above => ">",
            Bound::AtLeast => ">=",
        };
        format!("{sign}{}", self.limit_text)
    }

    fn show(&self, got: f64, failed: u64) -> String {
        match self.metric {
            Metric::Errors => format!("{got:.0}"),
            Metric::ErrorShare => format!("{:.3}% ({failed})", got * 100.0),
            Metric::Rate => format!("{got:.1}"),
            _ => crate::table::time(got),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Histograms, Latency};

    /// A thousand answers of 1 to 1,000 ms, ten of them refused, and ten requests lost.
    fn report() -> Report {
        let mut latency = Hdr::default();
        (1..=1000u64).for_each(|ms| latency.record(ms * 1_000_000));
        Report {
            requests: 1010,
            refused: 10,
            errors: [(crate::Cause::Reset, 10)].into(),
            rate: 100.0,
            latency: Latency::from(&latency),
            histograms: Histograms { service: latency.clone(), latency },
            ..Report::default()
        }
    }

    fn holds(text: &str) -> bool {
        text.parse::<Slo>().unwrap_or_else(|error| panic!("{error}")).holds(&report())
    }

    #[test]
    fn requests_without_an_answer_are_later_than_any_limit() {
        // 1,000 of 1,010 are answered: the slowest answer is at 99.0099 %.
        for text in ["p99<1001ms", "p98<991ms"] {
            assert!(holds(text), "{text}");
        }
        for text in ["p98<989ms", "p99.1<1h", "service-p99.9<1h", "max<1h", "mean<1h", "p99.9>1ms"] {
            let text = text.replace("1h", "3600s");
            let check = text.parse::<Slo>().unwrap_or_else(|error| panic!("{error}")).check(&report()).remove(0);
            assert!(!check.ok && (check.got == "no answer" || text.starts_with("p98")), "{text}: {check:?}");
        }
    }

    #[test]
    fn quantiles_of_a_run_without_losses_are_those_of_its_histogram() {
        let mut report = report();
        (report.requests, report.errors) = (1000, Default::default());
        for percent in [1.0, 50.0, 55.0, 99.0, 99.9, 100.0] {
            let got = quantile(&report.histograms.latency, 1000, percent / 100.0);
            assert_eq!(got, Some(report.histograms.latency.at(percent / 100.0) as f64 / 1000.0), "p{percent}");
        }
    }

    #[test]
    fn objectives_on_times_rate_and_errors_hold_or_do_not() {
        for text in ["p50<506ms", "p99 <= 1001ms", "p98>980ms", "service-p50<506ms", "errors<2%", "errors<=20"] {
            assert!(holds(text), "{text}");
        }
        for text in ["p50<499ms", "p99<900ms", "errors<1.9%", "errors<20", "rate>100", "p50<506ms,errors<0.1%"] {
            assert!(!holds(text), "{text}");
        }
        assert!(holds("rate>=100"));
    }

    #[test]
    fn requests_that_a_stop_left_in_flight_are_later_than_any_limit_too() {
        let mut stopped = report();
        (stopped.requests, stopped.errors) = (1000, Default::default());
        let holds = |report: &Report, text: &str| text.parse::<Slo>().is_ok_and(|slo| slo.holds(report));
        for text in ["max<3600s", "mean<3600s", "p99.1<3600s", "service-p99.1<3600s"] {
            stopped.run.abandoned = 0;
            assert!(holds(&stopped, text), "{text}");
            stopped.run.abandoned = 10;
            assert!(!holds(&stopped, text), "{text}");
        }
        assert!(holds(&stopped, "p98<991ms,errors<=10"));
    }

    #[test]
    fn a_run_without_answers_meets_nothing() {
        for text in ["p99<5ms", "errors<1%", "rate>0"] {
            assert!(!text.parse::<Slo>().expect("an SLO").holds(&Report::default()), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_objective_is_refused_with_the_form_that_was_expected() {
        for text in ["", "p99", "p99<5", "p101<5ms", "p99<5%", "errors<5ms", "latency<5ms", "rate>x", "p99<-5ms", "p99<5ms,"] {
            let error = text.parse::<Slo>().expect_err(text);
            assert!(error.contains("expected METRIC<LIMIT"), "{error}");
        }
    }

    #[test]
    fn an_slo_is_shown_as_it_was_written() {
        assert_eq!("p99.9 < 5ms, errors<=0.1%".parse::<Slo>().map(|slo| slo.to_string()), Ok("p99.9<5ms,errors<=0.1%".to_owned()));
    }
}
