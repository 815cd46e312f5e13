//! The search for the highest rate that meets an objective: probes of bounded length, doubling until one fails, then halving
//! the distance between the highest good and the lowest bad rate.

use std::{future::Future, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    plan::{Amount, Plan},
    report::{Check, Report, SCHEMA},
    run::{Run, Unreachable},
    slo::Slo,
    table::number,
};

/// A probe that achieves less than this share of its rate has failed, whatever its latency.
const ACHIEVED: f64 = 0.98;
/// No search makes more probes.
const MOST_PROBES: usize = 40;
/// Warm-up of each probe when the plan has none.
const WARM_UP: Duration = Duration::from_millis(500);

/// What to search for.
#[derive(Clone, Debug)]
pub struct Search {
    /// What a good rate meets.
    pub slo: Slo,
    /// The first rate to try.
    pub first: f64,
    /// The highest rate to try.
    pub most: f64,
    /// The length of a probe, without its warm-up.
    pub probe: Duration,
    /// Ends when the lowest bad rate is at most by this share above the highest good one.
    pub precision: f64,
}

/// One probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Requests per second asked for.
    pub rate: f64,
    /// Answers per second.
    pub achieved: f64,
    /// Whether everything in `checks` holds.
    pub ok: bool,
    /// The objectives, and whether the rate was kept.
    pub checks: Vec<Check>,
    /// Why the generator may have been the limit, if so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
}

/// The outcome of a search. Serialised, it is what `outrigger load --find-max -o json` prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The version of this JSON, as [`Report::schema`].
    pub schema: u32,
    /// What was searched for.
    pub slo: String,
    /// The highest rate that met it; none if no probe did.
    pub rate: Option<f64>,
    /// All probes, in the order in which they were made.
    pub probes: Vec<Probe>,
    /// The report of the best probe.
    pub report: Option<Report>,
    /// Whether a signal ended the search early.
    pub interrupted: bool,
}

impl Search {
    /// Makes probes until the rate is known well enough, or `stop` resolves. Each is handed to `show` as it ends.
    ///
    /// # Errors
    /// As [`crate::run`]; a server that becomes unreachable after the first probe is none.
    pub async fn run(&self, plan: &Plan, stop: impl Future<Output = ()>, mut show: impl FnMut(&Probe)) -> anyhow::Result<Found> {
        let mut found = Found { schema: SCHEMA, slo: self.slo.to_string(), ..Found::default() };
        let mut bracket = Bracket::new(self.first, self.most, self.precision);
        tokio::pin!(stop);
        while let Some(rate) = bracket.next().filter(|_| found.probes.len() < MOST_PROBES && !found.interrupted) {
            let mut ok = false;
            // One disturbance is not the server's limit: what fails once is tried again.
            for _ in 0..2 {
                let (probe, report) = match Run::prepare(self.plan(plan, rate))?.finish(&mut stop).await {
                    Ok(report) if report.run.interrupted => {
                        found.interrupted = true;
                        break;
                    }
                    Ok(report) => (self.judge(rate, &report), Some(report)),
                    // A server that answered before and takes no connection now has had too much, which is a finding.
                    Err(error) if error.is::<Unreachable>() && !found.probes.is_empty() => (unreachable(rate, &error), None),
                    Err(error) => return Err(error),
                };
                show(&probe);
                ok = probe.ok;
                found.probes.push(probe);
                if ok {
                    (found.rate, found.report) = (Some(rate), report);
                    break;
                }
            }
            bracket.learn(rate, ok);
        }
        Ok(found)
    }

    fn plan(&self, plan: &Plan, rate: f64) -> Plan {
        let warmup = if plan.warmup.is_zero() { WARM_UP } else { plan.warmup };
        Plan { rate: Some(rate), amount: Amount::For(self.probe), at_most: None, warmup, keep_answers: false, ..plan.clone() }
    }

    fn judge(&self, rate: f64, report: &Report) -> Probe {
        let mut checks = self.slo.check(report);
        let achieved = self.achieved(report);
        let wanted = ACHIEVED * self.due(rate);
        let (want, got) = (format!(">={}", number(wanted)), number(achieved));
        let kept = achieved >= wanted;
        checks.push(Check { name: "rate".to_owned(), want, got, ok: kept, by: "--find-max".to_owned() });
        let ok = checks.iter().all(|check| check.ok);
        Probe { rate, achieved, ok, checks, limits: report.generator.limits.clone() }
    }

    /// The rate of the whole requests that a probe is sure to have: at 12.5 a second, 12 of a second are no failure.
    fn due(&self, rate: f64) -> f64 {
        let seconds = self.probe.as_secs_f64();
        (rate * seconds).floor() / seconds
    }

    /// Answers per second of the schedule. The last answer comes after the schedule's end by as long as an answer takes; only
    /// what is later than that shows that the server fell behind.
    fn achieved(&self, report: &Report) -> f64 {
        let answers = report.requests - report.error_count();
        let seconds = (report.seconds - report.service.p99_us / 1e6).max(self.probe.as_secs_f64());
        if report.run.interrupted { report.rate } else { answers as f64 / seconds }
    }
}

/// A probe that found nobody to connect to.
fn unreachable(rate: f64, error: &anyhow::Error) -> Probe {
    let check =
        Check { name: "connect".to_owned(), want: "reachable".to_owned(), got: error.to_string(), ok: false, by: "--find-max".to_owned() };
    Probe { rate, checks: vec![check], ..Probe::default() }
}

/// What is known about the rate.
#[derive(Clone, Debug)]
struct Bracket {
    first: f64,
    most: f64,
    precision: f64,
    good: Option<f64>,
    bad: Option<f64>,
}

impl Bracket {
    fn new(first: f64, most: f64, precision: f64) -> Self {
        Self { first: first.min(most), most, precision, good: None, bad: None }
    }

    /// The next rate to try: above what is known good, below what is known bad. `None` when they are close.
    fn next(&self) -> Option<f64> {
        match (self.good, self.bad) {
            (None, None) => Some(self.first),
            (Some(good), None) => (good < self.most).then(|| (good * 2.0).min(self.most)),
            (None, Some(bad)) => (bad > 1.0).then(|| round(bad / 2.0).max(0.5)),
            (Some(good), Some(bad)) => {
                let middle = round(f64::midpoint(good, bad));
                (bad > good * (1.0 + self.precision) && middle > good && middle < bad).then_some(middle)
            }
        }
    }

    fn learn(&mut self, rate: f64, ok: bool) {
        if ok {
            self.good = Some(rate);
        } else {
            self.bad = Some(rate);
        }
    }
}

/// Rates to three digits read better, and more says nothing.
fn round(rate: f64) -> f64 {
    // Both ways round, because a tenth has no exact double and a product with one shows it.
    let digits = (2.0 - rate.log10().floor()).min(1.0);
    let scale = 10_f64.powf(digits.abs());
    if digits > 0.0 { (rate * scale).round() / scale } else { (rate / scale).round() * scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches a server whose limit is known; the rate found, and how many rates were tried.
    fn search(first: f64, most: f64, limit: f64) -> (Option<f64>, usize) {
        let mut bracket = Bracket::new(first, most, 0.05);
        let mut tried = 0;
        while let Some(rate) = bracket.next() {
            assert!(rate <= most && tried < MOST_PROBES, "{bracket:?}");
            bracket.learn(rate, rate <= limit);
            tried += 1;
        }
        (bracket.good, tried)
    }

    #[test]
    fn the_limit_is_found_from_below_and_from_above() {
        for limit in [1.7, 63.0, 1234.0, 98_765.0] {
            for first in [1.0, 100.0, 50_000.0] {
                let (found, tried) = search(first, 1e6, limit);
                let found = found.unwrap_or_default();
                assert!(found <= limit && found * 1.06 >= limit - 0.2, "{found} for {limit} from {first}");
                assert!(tried <= 25, "{tried} for {limit} from {first}");
            }
        }
    }

    #[test]
    fn rates_are_round_numbers() {
        let rounded = [56.25, 61.0 / 3.0, 1234.5, 98_765.0, 1.87].map(|rate| round(rate).to_string());
        assert_eq!(rounded, ["56.3", "20.3", "1230", "98800", "1.9"]);
    }

    #[test]
    fn an_answer_that_takes_its_time_does_not_make_a_rate_missed_but_falling_behind_does() {
        let slo = "errors<1%".parse().unwrap_or_else(|error| panic!("{error}"));
        let search = Search { slo, first: 100.0, most: 1e6, probe: Duration::from_secs(5), precision: 0.05 };
        let mut report = Report { requests: 500, seconds: 5.3, rate: 500.0 / 5.3, ..Report::default() };
        report.service.p99_us = 300_000.0;
        assert!(search.judge(100.0, &report).ok, "every answer took 300 ms, and all came");
        report.service.p99_us = 2_000.0;
        assert!(!search.judge(100.0, &report).ok, "the last request waited 300 ms for its turn");
    }

    #[test]
    fn a_low_rate_is_held_against_whole_requests() {
        let slo = "errors<1%".parse().unwrap_or_else(|error| panic!("{error}"));
        let search = Search { slo, first: 100.0, most: 1e6, probe: Duration::from_secs(1), precision: 0.05 };
        let report = |requests: u64| Report { requests, seconds: 1.0, rate: requests as f64, ..Report::default() };
        assert!(search.judge(12.5, &report(12)).ok, "twelve and a half cannot be sent");
        assert!(!search.judge(12.5, &report(11)).ok);
    }

    #[test]
    fn it_ends_at_the_highest_rate_allowed_and_when_nothing_is_good() {
        assert_eq!(search(100.0, 1000.0, 1e9), (Some(1000.0), 5));
        assert_eq!(search(5000.0, 1000.0, 1e9).0, Some(1000.0));
        assert_eq!(search(100.0, 1e6, 0.0).0, None);
    }
}
