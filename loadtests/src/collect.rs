//! From a recorder to the report: sums, distributions and the series over time.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    histogram::{Hdr, middle},
    live::Fate,
    recorder::{Ending, Example, Property, Recorder, Tally, Times, WHO_SEPARATOR},
    report::{
        Breakdown, Bytes, Connections, Facts, Generator, Group, Histograms, Latency, PodCount, Report, SCHEMA, Series, Slice, TurnSet,
        Turns,
    },
    slices,
    table::time,
    turns::worst_window,
};

/// Busier threads than this count as the limit of a run.
const BUSY: f64 = 0.9;
/// Lag that counts as the limit of a run: this long, and this part of the median service time.
const LAG_US: f64 = 1_000.0;
const LAG_PART: f64 = 0.1;
/// So many requests are late before it is more than one disturbance, and this share of all.
const LATE: f64 = 10.0;
const LATE_SHARE: f64 = 0.01;

impl Recorder {
    /// Everything recorded, as a report. `elapsed` is the measured time, as [`Report::seconds`] has it.
    pub fn into_report(mut self, facts: Facts, elapsed: Duration) -> Report {
        let mut report = Report {
            schema: SCHEMA,
            url: self.layout.targets.first().cloned().unwrap_or_default(),
            seconds: elapsed.as_secs_f64(),
            run: Facts { count_by: self.layout.properties.clone(), ..facts },
            bytes: Bytes { sent: self.bytes_out, received: self.bytes_in },
            connections: connections(&self),
            turns: turns(&mut self),
            stages: std::mem::take(&mut self.stages).into_reports(elapsed),
            ..Report::default()
        };
        totals(&self, &mut report);
        answers(&self, &mut report);
        report.error_examples = examples(&mut self.examples);
        report.generator = generator(std::mem::take(&mut self.lag), &report);
        report.series = series(&mut self);
        report.answers = std::mem::take(&mut self.answers);
        report.answers.sort_by_key(|answer| answer.index);
        report
    }
}

/// Counts and times by status, error and URL, and over all.
fn totals(recorder: &Recorder, report: &mut Report) {
    let mut all = Times::default();
    let Breakdown { status, grpc_status, error, url, .. } = &mut report.breakdown;
    let mut by_status: BTreeMap<String, Times> = BTreeMap::new();
    // A URL that never answered is worth a row as well.
    let mut by_url: BTreeMap<String, Times> = recorder.layout.targets.iter().map(|url| (url.clone(), Times::default())).collect();
    let mut by_grpc: BTreeMap<String, Times> = BTreeMap::new();
    let mut by_cause = BTreeMap::new();
    for cell in &recorder.cells {
        let count = cell.times.latency.count();
        report.requests += count;
        let name = match cell.ending {
            Ending::Error(cause) => {
                *report.errors.entry(cause).or_default() += count;
                by_cause.entry(cause).or_insert_with(Times::default).add(&cell.times);
                continue;
            }
            Ending::Status(status) | Ending::Grpc(status, _) => {
                *report.statuses.entry(status).or_default() += count;
                status.to_string()
            }
            Ending::Plain => "-".to_owned(),
        };
        if let Ending::Grpc(_, grpc) = cell.ending {
            *report.grpc_statuses.entry(grpc.to_string()).or_default() += count;
            by_grpc.entry(grpc.to_string()).or_default().add(&cell.times);
        }
        if cell.ending.fate() == Fate::Refused {
            report.refused += count;
        }
        all.add(&cell.times);
        by_status.entry(name).or_default().add(&cell.times);
        by_url.entry(recorder.layout.targets.get(cell.target).cloned().unwrap_or_default()).or_default().add(&cell.times);
    }
    (*status, *grpc_status, *url, *error) = (groups(by_status), groups(by_grpc), groups(by_url), groups(by_cause));
    let Group { requests, latency, service, histograms } = group(all);
    report.rate = if report.seconds > 0.0 { requests as f64 / report.seconds } else { 0.0 };
    (report.latency, report.service, report.histograms) = (latency, service, histograms);
}

fn groups<K: Ord>(times: BTreeMap<K, Times>) -> BTreeMap<K, Group> {
    times.into_iter().map(|(key, times)| (key, group(times))).collect()
}

/// The group of all requests with these times.
pub(crate) fn group(times: Times) -> Group {
    let Times { latency, service } = times;
    Group {
        requests: latency.count(),
        latency: Latency::from(&latency),
        service: Latency::from(&service),
        histograms: Histograms { latency, service },
    }
}

/// Who answered, and the values of the properties.
fn answers(recorder: &Recorder, report: &mut Report) {
    let mut properties = recorder.properties.iter();
    let mut times: BTreeMap<String, BTreeMap<String, Times>> = BTreeMap::new();
    let mut timed = |property: &str, value: &str, tally: &Tally| {
        if let Some(found) = &tally.times {
            times.entry(property.to_owned()).or_default().entry(value.to_owned()).or_default().add(found);
        }
    };
    for (who, tally) in properties.next().into_iter().flat_map(values) {
        let (pod, version) = pod_and_version(who);
        if !version.is_empty() {
            *report.versions.entry(version.clone()).or_default() += tally.count;
            timed("version", &version, tally);
        }
        if !pod.is_empty() {
            timed("pod", &pod, tally);
            let entry = report.pods.entry(pod).or_default();
            *entry = PodCount { version, requests: entry.requests + tally.count };
        }
    }
    for (name, property) in recorder.layout.properties.iter().zip(properties) {
        let group = report.groups.entry(name.clone()).or_default();
        if property.absent > 0 {
            group.insert(String::new(), property.absent);
        }
        for (value, tally) in values(property) {
            let value = String::from_utf8_lossy(value).into_owned();
            timed(name, &value, tally);
            *group.entry(value).or_default() += tally.count;
        }
    }
    report.breakdown.answer = times.into_iter().map(|(property, values)| (property, groups(values))).collect();
}

/// A property's values that were recorded at least once.
fn values(property: &Property) -> impl Iterator<Item = (&[u8], &Tally)> {
    property.names.iter().zip(&property.tallies).filter(|(_, tally)| tally.count > 0)
}

fn pod_and_version(who: &[u8]) -> (String, String) {
    let mut parts = who.splitn(2, |byte| *byte == WHO_SEPARATOR).map(|part| String::from_utf8_lossy(part).into_owned());
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

fn examples(examples: &mut [Example]) -> Vec<String> {
    examples.sort_by_key(|example| (example.cause, example.order));
    examples
        .chunk_by(|a, b| a.cause == b.cause)
        .flat_map(|same| same.iter().take(crate::recorder::EXAMPLES))
        .map(|Example { cause, order, text }| format!("request {order}: {cause}: {text}"))
        .collect()
}

fn connections(recorder: &Recorder) -> Connections {
    Connections {
        opened: recorder.connect.count(),
        reused: recorder.reused,
        connect: Latency::from(&recorder.connect),
        histogram: recorder.connect.clone(),
    }
}

/// What the generator cost, per request that it sent (each of them has its lag), and whether that was the limit.
pub(crate) fn generator(lag: Hdr, report: &Report) -> Generator {
    let Facts { cpu_seconds, threads, .. } = report.run;
    let per = |amount: f64, of: f64| if of > 0.0 { amount / of } else { 0.0 };
    let mut generator = Generator {
        cpu_us_per_request: per(cpu_seconds * 1e6, lag.count() as f64),
        busy: per(cpu_seconds, report.seconds * threads as f64),
        lag: Latency::from(&lag),
        histogram: lag,
        limits: Vec::new(),
    };
    if generator.busy >= BUSY {
        let whose = if threads == 1 { "its thread was".to_owned() } else { format!("its {threads} threads were") };
        let percent = generator.busy * 100.0;
        generator.limits.push(format!("{whose} busy {percent:.0} % of the time: the server may be faster than this shows"));
    }
    let sent = generator.histogram.count() as f64;
    let long = LAG_US.max(LAG_PART * report.service.p50_us);
    let late = ((1.0 - generator.histogram.share_within((long * 1e3) as u64)) * sent).round();
    if late >= LATE && late >= LATE_SHARE * sent {
        let (long, sent) = (time(long), sent.round());
        generator.limits.push(format!("{late} of {sent} requests were sent {long} late or more although a connection was free"));
    }
    generator
}

fn series(recorder: &mut Recorder) -> Series {
    let (slice_ms, slices) = std::mem::take(&mut recorder.slices).finish(slices::REPORTED);
    let slices = slices.into_iter().map(|slice| public(slice, slice_ms, recorder)).collect();
    Series { slice_ms, slices }
}

fn public(slice: slices::Slice, slice_ms: u64, recorder: &Recorder) -> Slice {
    let mut latency = Hdr::coarse();
    slice.latency.iter().for_each(|(bucket, count)| latency.record_n(middle(usize::from(*bucket)), u64::from(*count)));
    let mut answers: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for (property, key, count) in &slice.keys {
        let property = usize::from(*property);
        let Some(name) = recorder.properties.get(property).and_then(|found| found.names.get(*key)) else { continue };
        let mut add = |property: &str, value: String| {
            *answers.entry(property.to_owned()).or_default().entry(value).or_default() += u64::from(*count);
        };
        match property.checked_sub(1).and_then(|index| recorder.layout.properties.get(index)) {
            Some(property) => add(property, String::from_utf8_lossy(name).into_owned()),
            None => {
                let (pod, version) = pod_and_version(name);
                [("pod", pod), ("version", version)]
                    .into_iter()
                    .filter(|(_, value)| !value.is_empty())
                    .for_each(|(p, value)| add(p, value));
            }
        }
    }
    let mut slice = Slice {
        at_ms: slice.index * slice_ms,
        requests: slice.requests,
        errors: slice.errors,
        refused: slice.refused,
        bytes_in: slice.bytes_in,
        latency,
        answers,
        ..Slice::default()
    };
    slice.summarise();
    slice
}

/// How evenly the last property's values, or without one the pods of each version, took turns.
fn turns(recorder: &mut Recorder) -> Option<Turns> {
    if !recorder.layout.turns {
        return None;
    }
    let mut order = std::mem::take(&mut recorder.order);
    order.sort_unstable_by_key(|(order, _)| *order);
    let property = recorder.properties.last()?;
    let named = recorder.layout.properties.last();
    let mut sets: BTreeMap<Option<String>, Vec<(u32, String, u64)>> = BTreeMap::new();
    for ((name, tally), key) in property.names.iter().zip(&property.tallies).zip(0..).filter(|((_, tally), _)| tally.count > 0) {
        let (value, version) = match named {
            Some(_) => (String::from_utf8_lossy(name).into_owned(), None),
            None => {
                let (pod, version) = pod_and_version(name);
                (pod, Some(version))
            }
        };
        sets.entry(version).or_default().push((key, value, tally.count));
    }
    let sets = sets.into_iter().map(|(version, members)| {
        let keys: Vec<u32> = members.iter().map(|(key, ..)| *key).collect();
        let in_order = recorder.layout.keep_order.then(|| order.iter().map(|(_, key)| *key));
        let worst_window = in_order.and_then(|order| worst_window(order, &keys));
        TurnSet { version, counts: members.into_iter().map(|(_, value, count)| (value, count)).collect(), worst_window }
    });
    Some(Turns { property: named.map_or("pod", String::as_str).to_owned(), sets: sets.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Histograms;

    /// What is said of a run of a second on one thread: its CPU time, its median service time, and how late its requests were.
    fn limits(cpu_seconds: f64, p50_us: f64, lags_ms: &[(u64, u64)]) -> Vec<String> {
        let mut lag = Hdr::default();
        lags_ms.iter().for_each(|(ms, count)| lag.record_n(ms * 1_000_000, *count));
        let run = Facts { cpu_seconds, threads: 1, ..Facts::default() };
        let service = Latency { p50_us, ..Latency::default() };
        generator(lag, &Report { seconds: 1.0, run, service, histograms: Histograms::default(), ..Report::default() }).limits
    }

    #[test]
    fn threads_that_were_busy_nearly_all_the_time_were_the_limit() {
        let limits = limits(0.95, 100.0, &[(0, 1000)]);
        assert!(matches!(&limits[..], [busy] if busy.contains("its thread was busy 95 % of the time")), "{limits:?}");
        assert_eq!(super::tests::limits(0.85, 100.0, &[(0, 1000)]), Vec::<String>::new());
    }

    #[test]
    fn many_requests_sent_late_were_the_limit_and_a_few_were_not() {
        let late = |lags: &[(u64, u64)]| limits(0.1, 100.0, lags);
        assert_eq!(late(&[(0, 980), (3, 20)]), ["20 of 1000 requests were sent 1.000 ms late or more although a connection was free"]);
        for few in [&[(0, 19), (3, 1)][..], &[(0, 991), (3, 9)], &[(0, 100_000), (3, 900)], &[(0, 1000)]] {
            assert_eq!(late(few), Vec::<String>::new(), "{few:?}");
        }
        assert_eq!(limits(0.1, 50_000.0, &[(0, 900), (3, 100)]), Vec::<String>::new(), "3 ms are nothing beside 50");
    }

    #[test]
    fn what_a_request_cost_is_told_of_those_that_were_sent() {
        let mut lag = Hdr::default();
        lag.record_n(0, 10);
        let run = Facts { cpu_seconds: 0.001, threads: 1, ..Facts::default() };
        let report = Report { requests: 1000, seconds: 1.0, run, ..Report::default() };
        assert!((generator(lag, &report).cpu_us_per_request - 100.0).abs() < 1e-9);
    }
}
