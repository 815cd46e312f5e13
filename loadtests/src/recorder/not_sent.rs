//! Requests that were due and never sent. At a high rate a server that stands still leaves millions of them behind, so they are
//! counted in bulk: those that no figure tells apart, because they were due in one slice and one stage and have a latency of one
//! step of the histogram, are one entry. The report is the one that each by itself would have made.

use std::{collections::BTreeMap, fmt};

use super::{Cause, Ending, Recorder};

/// A request that was due and never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotSent {
    /// Its number in the order of sending.
    pub(crate) order: u64,
    /// Index of its URL.
    pub(crate) target: usize,
    /// When it was due, in nanoseconds since the start of the measured run.
    pub(crate) due: u64,
}

impl Recorder {
    /// Counts requests that were given up at the `end` of the run; best in the order of `due`. Over time each belongs to where it
    /// was due: at the end it would look as if all had gone well until then.
    pub(crate) fn record_not_sent(&mut self, mut batch: &[NotSent], end: u64, why: &dyn fmt::Display) {
        while let Some(first) = batch.first() {
            let alike = first.due..=self.alike_until(first.due, end);
            let others = batch.iter().position(|lost| !alike.contains(&lost.due));
            let (group, later) = batch.split_at(others.unwrap_or(batch.len()));
            self.record_alike(group, first.due, end.saturating_sub(first.due));
            group.iter().take(super::EXAMPLES).for_each(|lost| self.example(Cause::NotSent, lost.order, why));
            batch = later;
        }
    }

    /// Until when requests are due that no figure tells apart from one that was due then.
    fn alike_until(&mut self, due: u64, end: u64) -> u64 {
        // Those that became due after the end have a latency of 0, like those in the step before it.
        let same_latency = match self.lag.least_alike(end.saturating_sub(due)) {
            0 => u64::MAX,
            latency => end - latency,
        };
        same_latency.min(self.slices.until(due)).min(self.stages.until(due))
    }

    fn record_alike(&mut self, group: &[NotSent], due: u64, latency: u64) {
        let requests = group.len() as u64;
        self.live.lost(requests);
        self.stages.lost(due, requests);
        self.slices.lost(due, requests);
        let mut by_target: BTreeMap<usize, u64> = BTreeMap::new();
        group.iter().for_each(|lost| *by_target.entry(lost.target).or_default() += 1);
        for (target, requests) in by_target {
            let times = &mut self.cell(target, Ending::Error(Cause::NotSent)).times;
            times.latency.record_n(latency, requests);
            times.service.record_n(0, requests);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        histogram::MAX_NS,
        live::Snapshot,
        recorder::Layout,
        report::{Facts, Report},
        schedule::Stage,
    };

    const MS: u64 = 1_000_000;

    fn recorder() -> Recorder {
        let stage = |ms| Stage::constant(1.0, Some(Duration::from_millis(ms)));
        let targets = vec!["http://a".to_owned(), "http://b".to_owned()];
        Recorder::new(Arc::new(Layout { targets, stages: vec![stage(1_250), stage(330), stage(60_000)], ..Layout::default() }))
    }

    fn report(recorder: Recorder) -> Report {
        recorder.into_report(Facts::default(), Duration::from_secs(1))
    }

    #[test]
    fn what_no_figure_tells_apart_is_one_entry() {
        let mut recorder = recorder();
        let end = 10_000 * MS;
        // Latencies around 8 s are told apart by 8 ms, and the second of these stages begins within a slice.
        assert_eq!(recorder.slices.until(2_010 * MS), 2_100 * MS - 1);
        assert_eq!(recorder.stages.until(1_200 * MS), 1_250 * MS - 1);
        let until = recorder.alike_until(2_010 * MS, end);
        assert!((2_010 * MS..2_019 * MS).contains(&until), "{until}");
        assert_eq!(recorder.alike_until(1_249_999_999, end), 1_249_999_999, "the stage ends");
        assert_eq!(recorder.alike_until(10_000 * MS, end), 10_100 * MS - 1, "after the end only slices differ");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

        #[test]
        fn the_report_is_the_one_that_each_by_itself_makes(
            dues in prop::collection::vec(prop_oneof![0..3_000 * MS, 900 * MS..901 * MS, 0..2 * MAX_NS], 1..400),
            targets in 1..3usize,
            end in prop_oneof![Just(0), 0..3_000 * MS, Just(900 * MS), 0..2 * MAX_NS],
            in_order: bool,
        ) {
            let mut dues = dues;
            if in_order {
                dues.sort_unstable();
            }
            let lost = |(order, due): (usize, u64)| NotSent { order: order as u64, target: order % targets, due };
            let batch: Vec<NotSent> = dues.into_iter().enumerate().map(lost).collect();
            let (mut bulk, mut single) = (recorder(), recorder());
            bulk.record_not_sent(&batch, end, &"no connection");
            batch.chunks(1).for_each(|one| single.record_not_sent(one, end, &"no connection"));
            let counted = |recorder: &Recorder| Snapshot::of([&*recorder.live()].into_iter());
            let (now, then) = (counted(&bulk), counted(&single));
            prop_assert_eq!((now.requests, now.errors), (then.requests, then.errors));
            let (bulk, single) = (report(bulk), report(single));
            let times = |report: &Report| {
                let latency = &report.breakdown.error[&Cause::NotSent].histograms.latency;
                (latency.min(), latency.max(), latency.mean().to_bits())
            };
            prop_assert_eq!(times(&bulk), times(&single));
            prop_assert_eq!(bulk, single);
        }
    }
}
