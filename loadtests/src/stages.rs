//! A schedule with several rates taken apart: what became of the requests of each stage.
//!
//! A request belongs to the stage in which it was due, whenever it was sent: what a stage left behind is not charged to the
//! next. Only the answers that came while a stage lasted make the rate that it got.

use std::time::Duration;

use crate::{
    histogram::Hdr,
    live::Fate,
    pace::nanos,
    report::{Latency, Report, StageReport},
    schedule::Stage,
};

/// The stages of one recorder, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stages(Vec<Tally>);

#[derive(Clone, Debug)]
struct Tally {
    stage: Stage,
    /// Nanoseconds since the start.
    begin: u64,
    end: u64,
    requests: u64,
    errors: u64,
    refused: u64,
    /// Answers that came while it lasted.
    in_time: u64,
    latency: Hdr,
}

impl Stages {
    pub(crate) fn new(stages: &[Stage]) -> Self {
        let mut begin = 0_u64;
        let tally = |stage: &Stage| {
            let end = begin.saturating_add(stage.length.map_or(u64::MAX, nanos));
            let tally = Tally { stage: *stage, begin, end, requests: 0, errors: 0, refused: 0, in_time: 0, latency: Hdr::default() };
            begin = end;
            tally
        };
        Self(stages.iter().map(tally).collect())
    }

    /// Counts a request in the stage in which it was due, and its answer in the one in which it came.
    pub(crate) fn record(&mut self, due: u64, done: u64, fate: Fate) {
        if self.0.is_empty() {
            return;
        }
        if fate != Fate::Lost
            && let Some(tally) = self.at(done)
        {
            tally.in_time += 1;
        }
        let Some(tally) = self.at(due) else { return };
        tally.requests += 1;
        match fate {
            Fate::Lost => return tally.errors += 1,
            Fate::Refused => tally.refused += 1,
            Fate::Answered => {}
        }
        tally.latency.record(done.saturating_sub(due));
    }

    /// Counts requests that were due then and never sent.
    pub(crate) fn lost(&mut self, due: u64, requests: u64) {
        if let Some(tally) = self.at(due) {
            tally.requests += requests;
            tally.errors += requests;
        }
    }

    /// The last moment that is in the same stage as this one.
    pub(crate) fn until(&mut self, time: u64) -> u64 {
        self.at(time).map_or(u64::MAX, |tally| tally.end - 1)
    }

    fn at(&mut self, time: u64) -> Option<&mut Tally> {
        let index = self.0.partition_point(|tally| tally.end <= time);
        self.0.get_mut(index)
    }

    /// Adds what another recorder of the same run has.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            mine.requests += theirs.requests;
            mine.errors += theirs.errors;
            mine.refused += theirs.refused;
            mine.in_time += theirs.in_time;
            mine.latency.add(&theirs.latency);
        }
    }

    /// The stages of a run that took so long; rates are of the part of a stage that was reached.
    pub(crate) fn into_reports(self, elapsed: Duration) -> Vec<StageReport> {
        let elapsed = nanos(elapsed);
        self.0.into_iter().map(|tally| tally.into_report(elapsed)).collect()
    }
}

impl Tally {
    fn into_report(self, elapsed: u64) -> StageReport {
        let seconds = |ns: u64| ns as f64 / 1e9;
        let lasted = seconds(elapsed.clamp(self.begin, self.end) - self.begin);
        StageReport {
            at_seconds: seconds(self.begin),
            seconds: seconds(self.end - self.begin),
            lasted_seconds: Some(lasted),
            from_rate: self.stage.from,
            to_rate: self.stage.to,
            rate: if lasted > 0.0 { self.in_time as f64 / lasted } else { 0.0 },
            requests: self.requests,
            errors: self.errors,
            refused: self.refused,
            latency: Latency::from(&self.latency),
            histogram: self.latency,
        }
    }
}

/// The stages of several runs of one schedule as one: counts and distributions added. `starts` says when each run begins once
/// pauses are taken out, in seconds, as [`crate::merge`] has it. A stage's rates are those of the time in which any run was in
/// it: of runs beside each other they add up, of runs one after the other they are the mean, and a run that ended early has its
/// part by the time it spent there. Runs whose stages differ have none in common; those that went on at a time may differ in
/// their rates.
pub(crate) fn merged(reports: &[Report], starts: &[f64]) -> Vec<StageReport> {
    let Some(first) = reports.first() else { return Vec::new() };
    let whole = |report: &Report, start: f64| (start, start + report.seconds);
    let (spent, passed) = covered(reports.iter().zip(starts).map(|(report, start)| whole(report, *start)));
    let in_turn = spent <= 1.05 * passed;
    let shape = |report: &Report| -> Vec<_> {
        let rates = |stage: &StageReport| if in_turn { (stage.from_rate, stage.to_rate) } else { (0.0, 0.0) };
        report.stages.iter().map(|stage| (stage.seconds, rates(stage))).collect()
    };
    if reports.iter().any(|report| shape(report) != shape(first)) {
        return Vec::new();
    }
    (0..first.stages.len()).map(|index| one_stage(reports, starts, index)).collect()
}

fn one_stage(reports: &[Report], starts: &[f64], index: usize) -> StageReport {
    let mut sum = StageReport::default();
    let mut intervals = Vec::with_capacity(reports.len());
    for ((report, start), stage) in reports.iter().zip(starts).filter_map(|run| Some((run, run.0.stages.get(index)?))) {
        let lasted = stage.lasted_seconds.unwrap_or_else(|| (report.seconds - stage.at_seconds).min(stage.seconds)).max(0.0);
        intervals.push((start + stage.at_seconds, start + stage.at_seconds + lasted));
        (sum.at_seconds, sum.seconds) = (stage.at_seconds, stage.seconds);
        sum.from_rate += stage.from_rate * lasted;
        sum.to_rate += stage.to_rate * lasted;
        sum.rate += stage.rate * lasted;
        sum.requests += stage.requests;
        sum.errors += stage.errors;
        sum.refused += stage.refused;
        sum.histogram.add(&stage.histogram);
    }
    let (_, passed) = covered(intervals.into_iter());
    sum.lasted_seconds = Some(passed);
    for rate in [&mut sum.from_rate, &mut sum.to_rate, &mut sum.rate] {
        *rate = if passed > 0.0 { *rate / passed } else { 0.0 };
    }
    if passed == 0.0
        && let Some(stage) = reports.first().and_then(|report| report.stages.get(index))
    {
        // Nobody came so far: what the first run would have asked for.
        (sum.from_rate, sum.to_rate) = (stage.from_rate, stage.to_rate);
    }
    sum.latency = Latency::from(&sum.histogram);
    sum
}

/// The sum of the intervals' lengths, and the length of what they cover together.
fn covered(intervals: impl Iterator<Item = (f64, f64)>) -> (f64, f64) {
    let mut intervals: Vec<(f64, f64)> = intervals.collect();
    intervals.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut sum, mut union, mut end) = (0.0, 0.0, f64::NEG_INFINITY);
    for (begin, until) in intervals {
        sum += until - begin;
        union += (until - begin.max(end)).max(0.0);
        end = end.max(until);
    }
    (sum, union)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn stages() -> Stages {
        let second = Some(Duration::from_secs(1));
        Stages::new(&[Stage::constant(2.0, second), Stage { from: 2.0, to: 8.0, length: second }])
    }

    fn run() -> Report {
        let mut stages = stages();
        for (due, done, fate) in [
            (0, 10, Fate::Answered),
            (500, 1_500, Fate::Answered),
            (1_000, 1_001, Fate::Refused),
            (1_500, 1_600, Fate::Lost),
            (1_900, 2_100, Fate::Answered),
        ] {
            stages.record(due * MS, done * MS, fate);
        }
        Report { seconds: 2.0, stages: stages.into_reports(Duration::from_secs(2)), ..Report::default() }
    }

    /// The same, ended after its first stage.
    fn cut() -> Report {
        let mut cut = Report { seconds: 1.0, ..run() };
        let lasted_seconds = Some(0.0);
        cut.stages[1] = StageReport { lasted_seconds, rate: 0.0, requests: 0, errors: 0, refused: 0, ..cut.stages[1].clone() };
        cut
    }

    #[test]
    fn a_run_that_ended_early_takes_nothing_from_the_rate_of_a_stage_it_did_not_reach() {
        let whole = run();
        let cut = cut();
        let [first, second] = &merged(&[whole, cut], &[0.0, 2.0])[..] else { panic!("two stages") };
        assert_eq!((first.rate, first.requests), (1.0, 4));
        assert_eq!((second.rate, second.from_rate, second.to_rate, second.requests), (2.0, 2.0, 8.0, 3));
    }

    #[test]
    fn of_runs_beside_each_other_of_which_one_ended_early_each_stage_has_the_rates_of_its_time() {
        let whole = run();
        let cut = cut();
        let [first, second] = &merged(&[whole, cut.clone()], &[0.0, 0.0])[..] else { panic!("two stages") };
        assert_eq!((first.rate, first.from_rate), (2.0, 4.0), "both");
        assert_eq!((second.rate, second.to_rate), (2.0, 8.0), "one alone");
        let short = merged(&[cut.clone(), cut], &[0.0, 0.0]);
        assert_eq!((short[1].rate, short[1].to_rate), (0.0, 8.0), "a stage that nobody reached");
    }

    #[test]
    fn runs_one_after_the_other_that_asked_for_different_rates_have_no_stages_in_common() {
        let (slow, mut fast) = (run(), run());
        fast.stages[1].to_rate = 80.0;
        assert!(merged(&[slow.clone(), fast.clone()], &[0.0, 2.0]).is_empty());
        assert_eq!(merged(&[slow, fast], &[0.0, 0.0])[1].to_rate, 88.0, "beside each other they add up");
    }

    #[test]
    fn a_request_belongs_to_the_stage_in_which_it_was_due_and_an_answer_in_time_to_the_rate() {
        let [first, second] = &run().stages[..] else { panic!("two stages") };
        assert_eq!((first.requests, first.errors, first.refused, first.rate), (2, 0, 0, 1.0));
        assert!(first.latency.max_us > 999_000.0, "the late answer is the first stage's: {first:?}");
        assert_eq!((second.requests, second.errors, second.refused, second.rate), (3, 1, 1, 2.0));
        assert_eq!((second.at_seconds, second.seconds, second.from_rate, second.to_rate), (1.0, 1.0, 2.0, 8.0));
    }

    #[test]
    fn of_a_run_that_ended_early_a_stage_has_the_rate_of_the_time_it_had() {
        let mut stages = stages();
        (0..4).for_each(|number| stages.record(1_000 * MS, (1_000 + number) * MS, Fate::Answered));
        let reports = stages.into_reports(Duration::from_millis(1_500));
        assert_eq!((reports[0].rate, reports[1].rate), (0.0, 8.0));
    }

    #[test]
    fn stages_of_reports_from_before_their_time_was_kept_have_that_of_their_run_and_nonsense_has_none() {
        let old = |mut report: Report| {
            report.stages.iter_mut().for_each(|stage| stage.lasted_seconds = None);
            report
        };
        assert_eq!(merged(&[old(run()), old(cut())], &[0.0, 2.0]), merged(&[run(), cut()], &[0.0, 2.0]));
        let mut nonsense = old(run());
        nonsense.stages[0].seconds = -1.0;
        assert_eq!(merged(&[nonsense], &[0.0])[0].lasted_seconds, Some(0.0));
    }

    #[test]
    fn merged_runs_of_one_schedule_keep_its_stages_and_others_have_none() {
        let one = run();
        let repeated = merged(&[one.clone(), one.clone()], &[0.0, 2.0]);
        assert_eq!((repeated[1].requests, repeated[1].to_rate, repeated[1].rate), (6, 8.0, 2.0));
        let beside = merged(&[one.clone(), one.clone()], &[0.0, 0.0]);
        assert_eq!((beside[1].requests, beside[1].to_rate, beside[1].rate), (6, 16.0, 4.0));
        assert_eq!(beside[0].histogram.count(), 4);
        assert_eq!(merged(&[one, Report::default()], &[0.0, 2.0]), []);
    }
}
