//! The search for the highest rate that meets an objective: probes of bounded length, doubling until one fails, then halving
//! the distance between the highest good and the lowest bad rate.

use std::{future::Future, time::Duration};

use futures_util::FutureExt;
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
        // Every probe asks, also when one has been told already.
        let stop = stop.shared();
        while let Some(rate) = bracket.next().filter(|_| found.probes.len() < MOST_PROBES && !found.interrupted) {
            let mut ok = false;
            // One disturbance is not the server's limit: what fails once is tried again.
            for _ in 0..2 {
                let (probe, report) = match Run::prepare(self.plan(plan, rate))?.finish(stop.clone()).await {
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
        let wanted = self.due(rate);
        let (want, got) = (format!(">={}", number(wanted)), number(achieved));
        let kept = achieved >= wanted;
        checks.push(Check { name: "rate".to_owned(), want, got, ok: kept, by: "--find-max".to_owned() });
        let ok = checks.iter().all(|check| check.ok);
        Probe { rate, achieved, ok, checks, limits: report.generator.limits.clone() }
    }

    /// The answers per second to expect in that part of a probe: of whole requests, as 12.5 of them cannot be sent, and one less,
    /// which may come just before or after.
    fn due(&self, rate: f64) -> f64 {
        let (all, window) = (self.probe.as_secs_f64(), self.window().as_secs_f64());
        (ACHIEVED * ((rate * all).floor() - rate * (all - window)) - 1.0).max(0.0) / window
    }

    /// The part of a probe by which its rate is judged: when answers began to come, half of the schedule before.
    fn window(&self) -> Duration {
        self.probe / 2
    }

    /// Answers per second in the second half of the schedule, seen by as much later as an answer takes at least. As long as the
    /// server keeps up, what it owes at the end of that time it owed at the beginning too, however long an answer takes. When it
    /// falls behind, its answers come at its own rate, whatever the schedule; how long they took would hide that, since waiting
    /// in the server's queue is part of it.
    fn achieved(&self, report: &Report) -> f64 {
        let (shift, window) = (report.service.min_us / 1e3, self.window().as_secs_f64() * 1e3);
        let (begin, end) = (shift + window, shift + 2.0 * window);
        let width = report.series.slice_ms as f64;
        let within = |at: f64| ((at + width).min(end) - at.max(begin)).max(0.0) / width;
        let answers = report.series.slices.iter().map(|slice| (slice.requests - slice.errors) as f64 * within(slice.at_ms as f64));
        answers.sum::<f64>() / window * 1e3
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
    use std::sync::Arc;

    use super::*;
    use crate::{
        recorder::{Connection, Layout, Outcome, Recorder, Sample},
        report::Facts,
    };

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

    /// Whether a probe of so long at this rate is good, when the request due then (in seconds) has its answer so much later.
    fn good(rate: f64, seconds: u64, answered: impl Fn(f64) -> f64) -> bool {
        let slo = "errors<1%".parse().unwrap_or_else(|error| panic!("{error}"));
        let search = Search { slo, first: rate, most: 1e6, probe: Duration::from_secs(seconds), precision: 0.05 };
        let mut recorder = Recorder::new(Arc::new(Layout { targets: vec!["http://a".to_owned()], ..Layout::default() }));
        let ns = |seconds: f64| (seconds * 1e9) as u64;
        for order in 0..(rate * seconds as f64) as u64 {
            let due = order as f64 / rate;
            let (intended_ns, done_ns) = (ns(due), ns(due + answered(due)));
            recorder.record(&Sample {
                order,
                target: 0,
                intended_ns,
                able_ns: intended_ns,
                sent_ns: intended_ns,
                done_ns,
                outcome: Outcome::Status(200),
                who: None,
                keys: &[],
                bytes_in: 1,
                bytes_out: 1,
                connection: Connection::Reused,
            });
        }
        search.judge(rate, &recorder.into_report(Facts::default(), search.probe)).ok
    }

    #[test]
    fn answers_that_take_their_time_do_not_make_a_rate_missed() {
        assert!(good(100.0, 5, |_| 0.002));
        assert!(good(100.0, 5, |_| 0.3), "every answer took 300 ms, and all came");
        assert!(good(100.0, 5, |_| 7.0), "longer than the probe");
        assert!(good(1000.0, 5, |due| 0.01 + (due * 7919.0).fract() * 0.4), "some take 10 ms, some 400");
        assert!(good(12.5, 1, |_| 0.01), "twelve and a half cannot be sent");
    }

    #[test]
    fn a_server_that_falls_behind_misses_the_rate_however_many_connections_wait_for_it() {
        // What it answers per second; what comes faster waits in it, which looks like an answer that takes longer and longer.
        let behind = |rate: f64, capacity: f64| move |due: f64| 0.01 + due * (rate / capacity - 1.0);
        assert!(!good(100.0, 5, behind(100.0, 95.0)));
        assert!(!good(38.0, 2, behind(38.0, 10.0)), "all of it within the connections that it has");
        assert!(!good(14.0, 2, behind(14.0, 10.0)));
        assert!(good(100.0, 5, behind(100.0, 99.5)), "within the tolerance");
    }

    #[test]
    fn it_ends_at_the_highest_rate_allowed_and_when_nothing_is_good() {
        assert_eq!(search(100.0, 1000.0, 1e9), (Some(1000.0), 5));
        assert_eq!(search(5000.0, 1000.0, 1e9).0, Some(1000.0));
        assert_eq!(search(100.0, 1e6, 0.0).0, None);
    }
}
