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
    turns::worst_window,
};

/// Busier threads than this count as the limit of a run.
const BUSY: f64 = 0.9;
/// Lag that counts as the limit of a run: at the 99th percentile this long, and this part of the median service time.
const LAG_US: f64 = 1_000.0;
const LAG_PART: f64 = 0.1;

impl Recorder {
    /// Everything recorded, as a report. `elapsed` is the measured time, from the first request to the last answer.
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
    let Breakdown { status, error, url, .. } = &mut report.breakdown;
    let mut by_status: BTreeMap<String, Times> = BTreeMap::new();
    // A URL that never answered is worth a row as well.
    let mut by_url: BTreeMap<String, Times> = recorder.layout.targets.iter().map(|url| (url.clone(), Times::default())).collect();
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
        }
        if cell.ending.fate() == Fate::Refused {
            report.refused += count;
        }
        all.add(&cell.times);
        by_status.entry(name).or_default().add(&cell.times);
        by_url.entry(recorder.layout.targets.get(cell.target).cloned().unwrap_or_default()).or_default().add(&cell.times);
    }
    *status = by_status.into_iter().map(|(name, times)| (name, group(times))).collect();
    *url = by_url.into_iter().map(|(name, times)| (name, group(times))).collect();
    *error = by_cause.into_iter().map(|(cause, times)| (cause, group(times))).collect();
    let Group { requests, latency, service, histograms } = group(all);
    report.rate = if report.seconds > 0.0 { requests as f64 / report.seconds } else { 0.0 };
    (report.latency, report.service, report.histograms) = (latency, service, histograms);
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
    let named = |values: BTreeMap<String, Times>| values.into_iter().map(|(value, times)| (value, group(times))).collect();
    report.breakdown.answer = times.into_iter().map(|(property, values)| (property, named(values))).collect();
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

/// What the generator cost, and whether that was the limit.
pub(crate) fn generator(lag: Hdr, report: &Report) -> Generator {
    let Facts { cpu_seconds, threads, .. } = report.run;
    let per = |amount: f64, of: f64| if of > 0.0 { amount / of } else { 0.0 };
    let mut generator = Generator {
        cpu_us_per_request: per(cpu_seconds * 1e6, report.requests as f64),
        busy: per(cpu_seconds, report.seconds * threads as f64),
        lag: Latency::from(&lag),
        histogram: lag,
        limits: Vec::new(),
    };
    if generator.busy >= BUSY {
        let percent = generator.busy * 100.0;
        generator
            .limits
            .push(format!("its {threads} threads were busy {percent:.0} % of the time: the server may be faster than this shows"));
    }
    let late = generator.lag.p99_us;
    if late >= LAG_US && late >= LAG_PART * report.service.p50_us {
        let late = late / 1000.0;
        generator.limits.push(format!("1 % of the requests were sent {late:.1} ms late or more although a connection was free"));
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
    if !recorder.layout.keep_order {
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
        let worst_window = worst_window(order.iter().map(|(_, key)| *key), &keys);
        TurnSet { version, counts: members.into_iter().map(|(_, value, count)| (value, count)).collect(), worst_window }
    });
    Some(Turns { property: named.map_or("pod", String::as_str).to_owned(), sets: sets.collect() })
}
