//! Several reports as one: counts added, distributions merged without loss.
//!
//! Runs that overlapped in time count as one run from several generators: their rates add up. Runs one after the other
//! count as repetitions: their times are put end to end, without the pauses between them.

use std::collections::BTreeMap;

use crate::{
    collect::{generator, group},
    histogram::Hdr,
    recorder::{EXAMPLES, Times},
    report::{Breakdown, Bytes, Connections, Facts, Group, Latency, PodCount, Report, SCHEMA, Series, Slice, TurnSet, Turns},
    slices::common_width,
    stages,
};

/// Merges reports; kept answers and verdicts are left out, since neither holds for the whole. Without reports the result
/// is empty.
pub fn merge(mut reports: Vec<Report>) -> Report {
    reports.sort_by(|a, b| a.run.started.total_cmp(&b.run.started));
    let (starts, seconds) = timeline(&reports);
    let mut merged = Report {
        // Figures mean no more than in the oldest of them.
        schema: reports.iter().map(|report| report.schema).min().unwrap_or(SCHEMA),
        url: reports.first().map(|report| report.url.clone()).unwrap_or_default(),
        seconds,
        run: facts(&reports, seconds),
        series: series(&reports, &starts),
        turns: turns(&reports),
        stages: stages::merged(&reports, &starts),
        expected: reports
            .first()
            .and_then(|report| report.expected.clone())
            .filter(|expected| reports.iter().all(|report| report.expected.as_ref() == Some(expected))),
        ..Report::default()
    };
    let mut all = Times::default();
    let mut lag = Hdr::default();
    for report in &reports {
        counts(&mut merged, report);
        all.latency.add(&report.histograms.latency);
        all.service.add(&report.histograms.service);
        lag.add(&report.generator.histogram);
        connections(&mut merged.connections, &report.connections);
        breakdown(&mut merged.breakdown, &report.breakdown);
    }
    let Group { requests, latency, service, histograms } = group(all);
    (merged.latency, merged.service, merged.histograms) = (latency, service, histograms);
    merged.rate = if seconds > 0.0 { requests as f64 / seconds } else { 0.0 };
    merged.connections.connect = Latency::from(&merged.connections.histogram);
    merged.generator = generator(lag, &merged);
    merged.generator.limits = limits(&reports);
    merged
}

/// What limited the runs, by their numbers in the order of starting: one generator that was the limit is not made good by others
/// that were not.
fn limits(reports: &[Report]) -> Vec<String> {
    let numbered = |(index, report): (usize, &Report)| {
        let limits = report.generator.limits.iter();
        let merged_before = report.run.merged > 0;
        limits.map(|limit| if merged_before { limit.clone() } else { format!("run {}: {limit}", index + 1) }).collect::<Vec<_>>()
    };
    reports.iter().enumerate().flat_map(numbered).collect()
}

/// When each run begins once pauses are taken out, and for how long anything ran. Reports come in the order of starting.
fn timeline(reports: &[Report]) -> (Vec<f64>, f64) {
    let (mut end, mut pauses) = (f64::NEG_INFINITY, 0.0);
    let mut starts = Vec::with_capacity(reports.len());
    let first = reports.first().map_or(0.0, |report| report.run.started);
    for report in reports {
        let started = report.run.started;
        if end.is_finite() && started > end {
            pauses += started - end;
        }
        starts.push(started - first - pauses);
        end = end.max(started + report.seconds);
    }
    let seconds = if end.is_finite() { end - first - pauses } else { 0.0 };
    (starts, seconds)
}

fn facts(reports: &[Report], seconds: f64) -> Facts {
    let Some(Report { run: first, .. }) = reports.first() else { return Facts::default() };
    let all = |of: fn(&Facts) -> f64| reports.iter().map(|report| of(&report.run)).sum::<f64>();
    // Generators side by side add up; repetitions give their mean.
    let mean = |of: &dyn Fn(&Facts) -> f64| {
        let weighted: f64 = reports.iter().map(|report| of(&report.run) * report.seconds).sum();
        if seconds > 0.0 { weighted / seconds } else { 0.0 }
    };
    let asked = reports.iter().all(|report| report.run.asked_rate.is_some());
    Facts {
        protocol: if reports.iter().all(|report| report.run.protocol == first.protocol) { first.protocol.clone() } else { String::new() },
        asked_rate: asked.then(|| mean(&|run| run.asked_rate.unwrap_or_default())),
        concurrency: mean(&|run| run.concurrency as f64).round() as u64,
        threads: mean(&|run| run.threads as f64).round().max(1.0) as u64,
        cpu_seconds: all(|run| run.cpu_seconds),
        interrupted: reports.iter().any(|report| report.run.interrupted),
        gave_up: reports.iter().any(|report| report.run.gave_up),
        abandoned: reports.iter().map(|report| report.run.abandoned).sum(),
        merged: reports.iter().map(|report| report.run.merged.max(1)).sum(),
        ..first.clone()
    }
}

fn counts(merged: &mut Report, report: &Report) {
    merged.requests += report.requests;
    merged.refused += report.refused;
    let Bytes { sent, received } = report.bytes;
    merged.bytes = Bytes { sent: merged.bytes.sent + sent, received: merged.bytes.received + received };
    add(&mut merged.statuses, &report.statuses);
    add(&mut merged.versions, &report.versions);
    add(&mut merged.grpc_statuses, &report.grpc_statuses);
    add(&mut merged.errors, &report.errors);
    for (name, values) in &report.groups {
        add(merged.groups.entry(name.clone()).or_default(), values);
    }
    for (name, PodCount { version, requests }) in &report.pods {
        let pod = merged.pods.entry(name.clone()).or_default();
        *pod = PodCount { version: version.clone(), requests: pod.requests + requests };
    }
    for example in &report.error_examples {
        let of_cause = |text: &String| text.split(": ").nth(1).map(str::to_owned);
        let same = merged.error_examples.iter().filter(|other| of_cause(other) == of_cause(example)).count();
        if same < EXAMPLES {
            merged.error_examples.push(example.clone());
        }
    }
}

fn add<K: Ord + Clone>(into: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (key, count) in from {
        *into.entry(key.clone()).or_default() += count;
    }
}

fn connections(merged: &mut Connections, from: &Connections) {
    merged.opened += from.opened;
    merged.reused += from.reused;
    merged.histogram.add(&from.histogram);
}

fn breakdown(merged: &mut Breakdown, from: &Breakdown) {
    groups(&mut merged.status, &from.status);
    groups(&mut merged.grpc_status, &from.grpc_status);
    groups(&mut merged.error, &from.error);
    groups(&mut merged.url, &from.url);
    for (property, values) in &from.answer {
        groups(merged.answer.entry(property.clone()).or_default(), values);
    }
}

fn groups<K: Ord + Clone>(merged: &mut BTreeMap<K, Group>, from: &BTreeMap<K, Group>) {
    for (key, theirs) in from {
        let mine = merged.entry(key.clone()).or_default();
        let mut times = Times { latency: theirs.histograms.latency.clone(), service: theirs.histograms.service.clone() };
        times.latency.add(&mine.histograms.latency);
        times.service.add(&mine.histograms.service);
        *mine = group(times);
    }
}

/// Counts add up; the order in which several generators' requests arrived is not known.
fn turns(reports: &[Report]) -> Option<Turns> {
    let mut merged = reports.first()?.turns.clone()?;
    merged.sets.clear();
    for turns in reports.iter().map(|report| report.turns.as_ref()) {
        let turns = turns.filter(|turns| turns.property == merged.property)?;
        for set in &turns.sets {
            match merged.sets.iter_mut().find(|known| known.version == set.version) {
                Some(known) => add(&mut known.counts, &set.counts),
                None => merged.sets.push(TurnSet { worst_window: None, ..set.clone() }),
            }
        }
    }
    Some(merged)
}

/// All slices, each at its run's place, as wide as the widest of them or as it takes for a report's number of slices.
fn series(reports: &[Report], starts: &[f64]) -> Series {
    let placed = |start: f64, slice: &Slice| (start * 1000.0) as u64 + slice.at_ms;
    let with_starts = || reports.iter().zip(starts);
    let end = with_starts().flat_map(|(report, start)| report.series.slices.iter().map(move |slice| placed(*start, slice))).max();
    let Some(end) = end else { return Series::default() };
    let widest = reports.iter().map(|report| report.series.slice_ms).max().unwrap_or_default();
    let slice_ms = common_width(widest, end);
    let mut slices: BTreeMap<u64, Slice> = BTreeMap::new();
    for (report, start) in with_starts() {
        for slice in &report.series.slices {
            let at_ms = placed(*start, slice) / slice_ms * slice_ms;
            let into = slices.entry(at_ms).or_insert_with(|| Slice { at_ms, latency: Hdr::coarse(), ..Slice::default() });
            into.add(slice);
        }
    }
    let mut slices: Vec<Slice> = slices.into_values().collect();
    slices.iter_mut().for_each(Slice::summarise);
    Series { slice_ms, slices }
}
