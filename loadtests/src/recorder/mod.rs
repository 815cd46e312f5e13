//! What a sending thread writes its results into: one [`Recorder`] per thread, merged at the end.
//!
//! [`Recorder::record`] takes a [`Sample`] of plain numbers and allocates nothing once every status, target and answer
//! has been seen, apart from one small block per time slice. Texts that repeat (who answered, values to count) are
//! interned: [`Recorder::key`] gives a number for them, which the sample carries.
//!
//! Times are nanoseconds since the start of the measured run. Samples come in roughly the order of `done_ns`.

mod not_sent;
mod sample;
mod tally;

use std::{fmt, sync::Arc, time::Duration};

pub(crate) use self::not_sent::NotSent;
pub use self::sample::{Connection, Key, Outcome, Sample};
pub(crate) use self::tally::{Cell, Ending, Property, TIMED_KEYS, Tally, Times};
use crate::{
    answer::{Answer, Cause},
    histogram::{Hdr, bucket},
    live::{Fate, Live},
    schedule::Stage,
    slices::Slices,
    stages::Stages,
};

/// Messages kept per cause of error.
pub(crate) const EXAMPLES: usize = 3;
/// Answers whose order is kept, 16 bytes each: those of a run with one request at a time, which takes minutes for so many. Of
/// more, windows are looked for among these, and totals are those of all.
const ORDERED: usize = 16 << 20;

/// What all recorders of a run have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    /// The URLs; a sample names one by its index.
    pub targets: Vec<String>,
    /// Names of the properties to count, as given to `--count-by`.
    pub properties: Vec<String>,
    /// Report how evenly values took turns.
    pub turns: bool,
    /// Keep the order of answers, so that turns can be judged over windows: of use where one request at a time is on its way.
    pub keep_order: bool,
    /// The stages of a schedule with several rates, to be told apart; empty without one.
    pub stages: Vec<Stage>,
}

/// An error kept as an example.
#[derive(Clone, Debug)]
pub(crate) struct Example {
    pub(crate) cause: Cause,
    pub(crate) order: u64,
    pub(crate) text: String,
}

/// Collects one thread's samples.
#[derive(Debug, Default)]
pub struct Recorder {
    pub(crate) layout: Arc<Layout>,
    live: Arc<Live>,
    pub(crate) cells: Vec<Cell>,
    /// [`Recorder::who`] first, then [`Layout::properties`].
    pub(crate) properties: Vec<Property>,
    pub(crate) slices: Slices,
    pub(crate) stages: Stages,
    pub(crate) lag: Hdr,
    pub(crate) connect: Hdr,
    pub(crate) reused: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// When the last request was sent, when the last answer came, and when the last request ended, answered or not.
    pub(crate) last_sent_ns: u64,
    pub(crate) last_answer_ns: u64,
    pub(crate) last_end_ns: u64,
    pub(crate) examples: Vec<Example>,
    /// Order and key of the property whose order is kept.
    pub(crate) order: Vec<(u64, u32)>,
    pub(crate) answers: Vec<Answer>,
    who_text: Vec<u8>,
}

/// Separates pod and version within an interned answerer; neither can contain it, as header values cannot.
pub(crate) const WHO_SEPARATOR: u8 = 0;

impl Recorder {
    /// An empty recorder.
    pub fn new(layout: Arc<Layout>) -> Self {
        let properties = vec![Property::default(); layout.properties.len() + 1];
        Self { slices: Slices::new(properties.len()), stages: Stages::new(&layout.stages), properties, layout, ..Self::default() }
    }

    /// Counters that another thread may read while this one records.
    pub fn live(&self) -> Arc<Live> {
        self.live.clone()
    }

    /// The number for a value of the property with this index into [`Layout::properties`]; `None` without such a property.
    pub fn key(&mut self, property: usize, value: &[u8]) -> Option<Key> {
        Some(Key(self.properties.get_mut(property + 1)?.names.key(value)))
    }

    /// The number for the answerer with this pod and version; either may be empty.
    pub fn who(&mut self, pod: &[u8], version: &[u8]) -> Option<Key> {
        self.who_text.clear();
        self.who_text.extend_from_slice(pod);
        self.who_text.push(WHO_SEPARATOR);
        self.who_text.extend_from_slice(version);
        Some(Key(self.properties.first_mut()?.names.key(&self.who_text)))
    }

    /// Keeps an answer with its words for [`crate::Report::answers`]. It still has to be recorded.
    pub fn keep(&mut self, answer: Answer) {
        self.answers.push(answer);
    }

    /// Counts one finished request.
    pub fn record(&mut self, sample: &Sample<'_>) {
        let ending = Ending::of(&sample.outcome);
        let fate = ending.fate();
        let latency = sample.done_ns.saturating_sub(sample.intended_ns);
        let service = sample.done_ns.saturating_sub(sample.sent_ns);
        let coarse = bucket(latency);
        self.live.count(fate, coarse);
        self.cell(sample.target, ending).times.record(latency, service);
        self.stages.record(sample.intended_ns, sample.done_ns, fate);
        self.lag.record(sample.sent_ns.saturating_sub(sample.able_ns.max(sample.intended_ns)));
        self.last_sent_ns = self.last_sent_ns.max(sample.sent_ns);
        self.last_end_ns = self.last_end_ns.max(sample.done_ns);
        if fate != Fate::Lost {
            self.last_answer_ns = self.last_answer_ns.max(sample.done_ns);
        }
        self.bytes_in += sample.bytes_in;
        self.bytes_out += sample.bytes_out;
        match sample.connection {
            Connection::Reused => self.reused += 1,
            Connection::New { connect_ns } => self.connect.record(connect_ns),
            Connection::None => {}
        }
        let slice = self.slices.current(sample.done_ns);
        slice.count(fate, coarse, sample.bytes_in);
        match sample.outcome {
            Outcome::Error(cause, words) => self.example(cause, sample.order, words),
            _ => self.count_answer(sample, latency, service),
        }
    }

    /// What all of a target's requests that ended like this are recorded in.
    fn cell(&mut self, target: usize, ending: Ending) -> &mut Cell {
        let found = self.cells.iter().position(|cell| cell.target == target && cell.ending == ending);
        let index = found.unwrap_or_else(|| {
            self.cells.push(Cell { target, ending, times: Times::default() });
            self.cells.len() - 1
        });
        // The index was found, or pushed a moment ago.
        &mut self.cells[index]
    }

    fn count_answer(&mut self, sample: &Sample<'_>, latency: u64, service: u64) {
        let keys = std::iter::once(sample.who).chain(sample.keys.iter().copied());
        let mut last = None;
        for (index, (property, key)) in self.properties.iter_mut().zip(keys).enumerate() {
            property.record(key, latency, service);
            if let Some(Key(key)) = key {
                self.slices.count_key(index, key);
            }
            last = key;
        }
        if let (true, Some(Key(key))) = (self.layout.keep_order && self.order.len() < ORDERED, last) {
            self.order.push((sample.order, key));
        }
    }

    fn example(&mut self, cause: Cause, order: u64, words: &dyn fmt::Display) {
        if self.examples.iter().filter(|example| example.cause == cause).count() < EXAMPLES {
            self.examples.push(Example { cause, order, text: words.to_string() });
        }
    }

    /// From the start to the last answer; without any, to the end of the last request. What is waited for in vain at the end
    /// is no time in which the server answered, and would dilute every rate.
    pub(crate) fn elapsed(&self) -> Duration {
        Duration::from_nanos(if self.last_answer_ns > 0 { self.last_answer_ns } else { self.last_end_ns })
    }

    /// For how long a loop without a schedule sent, or meant to: until its last request, and for all of its time (`length`) unless
    /// the `most` requests that it had were sent before that was over. While a server hangs nothing is sent, but that time goes by.
    pub(crate) fn went_on(&self, length: Option<Duration>, most: u64) -> Duration {
        // Each request that was sent has its lag.
        let length = length.filter(|_| self.lag.count() < most).unwrap_or_default();
        Duration::from_nanos(self.last_sent_ns).max(length.min(self.ended()))
    }

    /// From the start to the end of the last request.
    pub(crate) fn ended(&self) -> Duration {
        Duration::from_nanos(self.last_end_ns)
    }

    /// Adds what another thread recorded under the same layout.
    pub fn merge(&mut self, other: Self) {
        for cell in other.cells {
            self.cell(cell.target, cell.ending).times.add(&cell.times);
        }
        let keys: Vec<Vec<u32>> = self.properties.iter_mut().zip(other.properties).map(|(mine, theirs)| mine.merge(theirs)).collect();
        self.slices.merge(other.slices, &keys);
        self.stages.merge(&other.stages);
        self.lag.add(&other.lag);
        self.connect.add(&other.connect);
        self.reused += other.reused;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.last_sent_ns = self.last_sent_ns.max(other.last_sent_ns);
        self.last_answer_ns = self.last_answer_ns.max(other.last_answer_ns);
        self.last_end_ns = self.last_end_ns.max(other.last_end_ns);
        self.examples.extend(other.examples);
        let renamed = |key: u32| keys.last()?.get(key as usize).copied();
        self.order.extend(other.order.into_iter().filter_map(|(order, key)| Some((order, renamed(key)?))));
        self.answers.extend(other.answers);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::report::{Facts, Report};

    const MS: u64 = 1_000_000;

    fn layout() -> Arc<Layout> {
        let targets = vec!["http://a".to_owned(), "http://b".to_owned()];
        Arc::new(Layout {
            targets,
            properties: vec!["body:(v[0-9])".to_owned()],
            turns: true,
            keep_order: true,
            stages: vec![Stage::constant(1.0, Some(Duration::from_secs(100))); 3],
        })
    }

    fn sample(order: u64, outcome: Outcome<'_>) -> Sample<'_> {
        let (intended_ns, sent_ns) = (order * MS, order * MS + 100_000);
        Sample {
            order,
            target: 0,
            intended_ns,
            able_ns: intended_ns,
            sent_ns,
            done_ns: sent_ns + MS,
            outcome,
            who: None,
            keys: &[],
            bytes_in: 10,
            bytes_out: 1,
            connection: Connection::Reused,
        }
    }

    fn report(recorder: Recorder) -> Report {
        recorder.into_report(Facts::default(), Duration::from_secs(1))
    }

    #[test]
    fn corrected_latency_counts_from_the_intended_time_and_service_time_from_sending() {
        let mut recorder = Recorder::new(layout());
        (0..100).for_each(|order| recorder.record(&sample(order, Outcome::Status(200))));
        let report = report(recorder);
        assert!((report.latency.p50_us - 1100.0).abs() < 2.0, "{:?}", report.latency);
        assert!((report.service.p50_us - 1000.0).abs() < 2.0, "{:?}", report.service);
        assert!((report.generator.lag.p99_us - 100.0).abs() < 1.0, "{:?}", report.generator.lag);
    }

    #[test]
    fn waiting_for_a_free_connection_is_latency_and_no_lag_of_the_generator() {
        let mut recorder = Recorder::new(layout());
        let late = Sample { able_ns: 50 * MS, sent_ns: 50 * MS, done_ns: 51 * MS, intended_ns: 0, ..sample(0, Outcome::Status(200)) };
        recorder.record(&late);
        let report = report(recorder);
        assert!(report.latency.p50_us > 50_000.0 && report.service.p50_us < 1_100.0);
        assert_eq!(report.generator.lag.max_us, 0.0);
    }

    #[test]
    fn a_run_lasts_until_its_last_answer_and_not_until_a_request_is_given_up() {
        let lost = |order| Sample { done_ns: 9_000 * MS, ..sample(order, Outcome::Error(Cause::Timeout, &"nothing")) };
        let mut recorder = Recorder::new(layout());
        (0..100).for_each(|order| recorder.record(&sample(order, Outcome::Status(200))));
        recorder.record(&lost(100));
        assert_eq!((recorder.elapsed().as_millis(), recorder.ended().as_millis()), (100, 9_000));
        let mut silent = Recorder::new(layout());
        silent.record(&lost(0));
        assert_eq!(silent.elapsed().as_millis(), 9_000, "without any answer nothing else tells how long it took");
    }

    #[test]
    fn a_loop_without_a_schedule_goes_on_for_its_time_or_until_its_requests_are_sent() {
        let mut recorder = Recorder::new(layout());
        (0..100).for_each(|order| recorder.record(&sample(order, Outcome::Status(200))));
        let (sent_ns, done_ns) = (500 * MS, 9_000 * MS);
        recorder.record(&Sample { sent_ns, done_ns, ..sample(100, Outcome::Error(Cause::Timeout, &"nothing")) });
        let went_on = |seconds: Option<u64>, most| recorder.went_on(seconds.map(Duration::from_secs), most).as_millis();
        assert_eq!(went_on(Some(2), u64::MAX), 2_000);
        assert_eq!(went_on(Some(20), u64::MAX), 9_000, "it was over before");
        assert_eq!((went_on(None, 102), went_on(Some(2), 101)), (500, 500), "what is waited for when all are sent is in vain");
    }

    #[test]
    fn errors_count_by_cause_with_a_few_examples_and_stay_out_of_the_latency() {
        let mut recorder = Recorder::new(layout());
        (0..10).for_each(|order| recorder.record(&sample(order, Outcome::Error(Cause::Connect, &"refused"))));
        recorder.record(&sample(10, Outcome::Grpc(200, 14)));
        let report = report(recorder);
        assert_eq!((report.requests, report.error_count(), report.histograms.latency.count()), (11, 10, 1));
        assert_eq!(report.error_examples.first().map(String::as_str), Some("request 0: connect: refused"));
        assert_eq!(report.error_examples.len(), EXAMPLES);
        assert_eq!(report.grpc_statuses.get("14"), Some(&1));
        assert_eq!(report.breakdown.grpc_status["14"].requests, 1);
        assert_eq!(report.series.slices.iter().map(|slice| (slice.errors, slice.refused)).collect::<Vec<_>>(), [(10, 1)]);
    }

    #[test]
    fn a_request_that_was_not_sent_counts_over_time_where_it_was_due() {
        let mut recorder = Recorder::new(layout());
        (0..3).for_each(|order| recorder.record(&sample(order * 500, Outcome::Status(200))));
        let lost: Vec<NotSent> = (3..9).map(|order| NotSent { order, target: 0, due: (order - 3) * 100 * MS }).collect();
        recorder.record_not_sent(&lost, 1_000 * MS, &"no connection");
        let report = report(recorder);
        let slices = report.series.slices.iter().map(|slice| (slice.at_ms, slice.requests, slice.errors));
        assert_eq!(slices.collect::<Vec<_>>(), [(0, 2, 1), (100, 1, 1), (200, 1, 1), (300, 1, 1), (400, 1, 1), (500, 2, 1), (1000, 1, 0)]);
        assert_eq!((report.requests, report.errors[&Cause::NotSent], report.generator.histogram.count()), (9, 6, 3));
    }

    #[test]
    fn who_answered_is_counted_by_version_and_pod_with_times_of_their_own() {
        let mut recorder = Recorder::new(layout());
        for (order, pod, version) in [(0, "a", "v1"), (1, "b", "v1"), (2, "c", "v2")] {
            let who = recorder.who(pod.as_bytes(), version.as_bytes());
            let keys = [recorder.key(0, version.as_bytes())];
            recorder.record(&Sample { who, keys: &keys, ..sample(order, Outcome::Status(200)) });
        }
        recorder.record(&sample(3, Outcome::Status(200)));
        let report = report(recorder);
        assert_eq!((report.version("v1"), report.version("v2"), report.pods.len()), (2, 1, 3));
        assert_eq!(report.breakdown.answer["version"]["v1"].requests, 2);
        assert_eq!(report.groups["body:(v[0-9])"].get("v1"), Some(&2));
        assert_eq!(report.series.slices[0].answers["version"]["v1"], 2);
    }

    #[test]
    fn the_order_of_sending_tells_whether_answers_took_turns() {
        let mut recorder = Recorder::new(layout());
        // Recorded in another order than sent.
        for (order, value) in [(1, "b"), (0, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "a")] {
            let keys = [recorder.key(0, value.as_bytes())];
            recorder.record(&Sample { keys: &keys, ..sample(order, Outcome::Status(200)) });
        }
        let turns = report(recorder).turns.unwrap_or_default();
        assert_eq!(turns.sets[0].worst_window, Some(2));
        assert_eq!(turns.sets[0].counts.values().collect::<Vec<_>>(), [&3, &3]);
    }

    /// A sample's order, milliseconds, target, ending and answer.
    type Spec = (u64, u64, usize, u8, u8);

    fn record(recorder: &mut Recorder, (order, at_ms, target, ending, value): Spec) {
        let text = format!("v{value}");
        let who = recorder.who(text.as_bytes(), b"v");
        let keys = [recorder.key(0, text.as_bytes())];
        let outcome = match ending {
            0 => Outcome::Status(200),
            1 => Outcome::Status(503),
            2 => Outcome::Grpc(200, 7),
            3 => Outcome::Plain,
            _ => Outcome::Error(Cause::Timeout, &"late"),
        };
        let connection = if order % 3 == 0 { Connection::New { connect_ns: order * 1000 } } else { Connection::Reused };
        let (sent_ns, done_ns) = (at_ms * MS + 7, (at_ms + u64::from(value)) * MS);
        let intended_ns = at_ms * MS;
        recorder.record(&Sample { target, who, keys: &keys, intended_ns, sent_ns, done_ns, connection, ..sample(order, outcome) });
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

        #[test]
        fn merged_recorders_report_what_one_would(specs in prop::collection::vec((0..500_000u64, 0..2usize, 0..5u8, 0..9u8), 1..120)) {
            let specs: Vec<Spec> = {
                let mut numbered: Vec<_> = specs.into_iter().collect();
                numbered.sort_unstable();
                numbered.into_iter().zip(0..).map(|((at, target, ending, value), order)| (order, at, target, ending, value)).collect()
            };
            let mut one = Recorder::new(layout());
            let mut threads = [Recorder::new(layout()), Recorder::new(layout()), Recorder::new(layout())];
            for spec in specs {
                record(&mut one, spec);
                record(&mut threads[(spec.0 % 3) as usize], spec);
            }
            let [mut merged, second, third] = threads;
            merged.merge(second);
            merged.merge(third);
            let (mut one, mut merged) = (report(one), report(merged));
            // Which examples are kept depends on the thread; there are at most so many of each cause.
            prop_assert!(merged.error_examples.len() <= EXAMPLES);
            merged.error_examples.clear();
            one.error_examples.clear();
            prop_assert_eq!(one, merged);
        }
    }
}
