//! The plots of a page.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
};

use super::{
    chart::{Chart, Mark, Scale, Series, trimmed},
    tables::section,
    text::Escaped,
};
use crate::{
    report::{Report, Slice},
    table::{number, time},
};

/// Values with a colour of their own; further ones are drawn together.
const COLOURS: usize = 8;
/// Places along the percentile axis per tenfold.
const PER_DECADE: u32 = 40;

/// All plots for which there is data.
pub(crate) fn all(out: &mut String, report: &Report) -> fmt::Result {
    writeln!(out, "<div class=\"charts\">")?;
    if report.histograms.latency.count() > 0 {
        percentiles(report).write(out)?;
    }
    let slices = dense(report);
    if slices.len() > 1 {
        rate(report, &slices).write(out)?;
        latency(report, &slices).write(out)?;
        if report.failed() > 0 {
            errors(report, &slices).write(out)?;
        }
        if let Some(chart) = answers(report, &slices) {
            chart.write(out)?;
        }
    }
    totals(out, report)?;
    writeln!(out, "</div>")
}

/// The latency that each share of the answers stays within, the rare ones drawn out.
fn percentiles(report: &Report) -> Chart {
    let decades = (report.histograms.latency.count() as f64).log10().clamp(1.0, 5.0);
    let steps = (decades * f64::from(PER_DECADE)).ceil() as u32;
    let at: Vec<f64> = (0..=steps).map(|step| (f64::from(step) / f64::from(PER_DECADE)).min(decades)).collect();
    let share = |at: f64| 1.0 - 10f64.powf(-at);
    let micros = |hdr: &crate::histogram::Hdr| at.iter().map(|at| hdr.at(share(*at)) as f64 / 1000.0).collect::<Vec<_>>();
    let (corrected, raw) = (micros(&report.histograms.latency), micros(&report.histograms.service));
    let ticks = [0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999].into_iter().map(|share: f64| (-(1.0 - share).log10(), percent(share)));
    Chart {
        id: "percentiles",
        title: "Latency by percentile".to_owned(),
        note: format!("corrected p99 {}, raw p99 {}", time(report.latency.p99_us), time(report.service.p99_us)),
        x: Scale::Linear { low: 0.0, high: decades },
        x_ticks: ticks.filter(|(at, _)| *at <= decades + 0.01).collect(),
        x_label: "share of answers within",
        y: Scale::times(corrected.iter().chain(&raw).copied()),
        y_label: "latency",
        show: time,
        at: at.iter().map(|at| (*at, percent(share(*at)))).collect(),
        series: vec![line("corrected", "c0", corrected), line("raw", "c1", raw)],
    }
}

fn percent(share: f64) -> String {
    let text = format!("{:.3}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

fn line(name: &str, class: &str, values: Vec<f64>) -> Series {
    Series { name: name.to_owned(), class: class.to_owned(), mark: Mark::Line, values }
}

/// All slices from the beginning to the last one, those without a request included.
fn dense(report: &Report) -> Vec<Slice> {
    let width = report.series.slice_ms.max(1);
    let mut known: BTreeMap<u64, &Slice> = report.series.slices.iter().map(|slice| (slice.at_ms / width, slice)).collect();
    let last = known.keys().next_back().copied().unwrap_or_default().min(10_000);
    let empty = |index| Slice { at_ms: index * width, ..Slice::default() };
    (0..=last).map(|index| known.remove(&index).cloned().unwrap_or_else(|| empty(index))).collect()
}

/// A chart over time, still without series.
fn over_time(report: &Report, slices: &[Slice], id: &'static str, title: &str) -> Chart {
    let width = report.series.slice_ms as f64 / 1000.0;
    let middle = |slice: &Slice| slice.at_ms as f64 / 1000.0 + width / 2.0;
    let end = slices.last().map_or(1.0, |slice| slice.at_ms as f64 / 1000.0 + width);
    let x = Scale::Linear { low: 0.0, high: end };
    let words = |slice: &Slice| format!("{:.1} to {:.1} s", slice.at_ms as f64 / 1000.0, slice.at_ms as f64 / 1000.0 + width);
    Chart {
        id,
        title: title.to_owned(),
        note: format!("in slices of {width} s"),
        x,
        x_ticks: x.ticks().into_iter().map(|tick| (tick, trimmed(&number(tick)))).collect(),
        x_label: "seconds",
        at: slices.iter().map(|slice| (middle(slice), words(slice))).collect(),
        y: Scale::from_zero(1.0),
        y_label: "per second",
        show: short,
        series: Vec::new(),
    }
}

/// A rate short enough for an axis.
fn short(value: f64) -> String {
    match value {
        _ if value >= 100_000.0 => format!("{:.0}k", value / 1000.0),
        _ if value >= 10_000.0 => format!("{:.1}k", value / 1000.0),
        _ if value >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.1}"),
    }
}

fn per_second(report: &Report, count: u64) -> f64 {
    count as f64 * 1000.0 / report.series.slice_ms.max(1) as f64
}

fn rate(report: &Report, slices: &[Slice]) -> Chart {
    let mut chart = over_time(report, slices, "rate", "Answers per second");
    let rates: Vec<f64> = slices.iter().map(|slice| per_second(report, slice.requests - slice.errors)).collect();
    let mut high = rates.iter().copied().fold(0.0, f64::max);
    chart.series.push(line("answered", "c0", rates));
    if let Some((name, values)) = asked(report, &chart) {
        high = values.iter().copied().fold(high, f64::max);
        chart.series.push(Series { name: name.to_owned(), class: "want".to_owned(), mark: Mark::Wanted, values });
    }
    chart.y = Scale::from_zero(high);
    chart
}

/// The schedule's rate at each place of the chart: of its stages, unless several runs lie one after the other there.
fn asked(report: &Report, chart: &Chart) -> Option<(&'static str, Vec<f64>)> {
    if report.stages.is_empty() || report.run.merged > 1 {
        return Some(("asked on average", vec![report.run.asked_rate?; chart.at.len()]));
    }
    let rate = |at: f64| report.stages.iter().find_map(|stage| stage.asked(at)).unwrap_or(f64::NAN);
    Some(("asked", chart.at.iter().map(|(at, _)| rate(*at)).collect()))
}

fn latency(report: &Report, slices: &[Slice]) -> Chart {
    let mut chart = over_time(report, slices, "latency", "Latency over time (corrected)");
    let values = |of: fn(&Slice) -> f64| slices.iter().map(|slice| if slice.max_us > 0.0 { of(slice) } else { f64::NAN }).collect();
    chart.series = vec![
        line("max", "c3", values(|slice| slice.max_us)),
        line("p99", "c1", values(|slice| slice.p99_us)),
        line("p90", "c2", values(|slice| slice.p90_us)),
        line("p50", "c0", values(|slice| slice.p50_us)),
    ];
    chart.y = Scale::times(chart.series.iter().flat_map(|series| series.values.iter().copied()).filter(|value| !value.is_nan()));
    (chart.y_label, chart.show) = ("latency", time);
    chart
}

fn errors(report: &Report, slices: &[Slice]) -> Chart {
    let mut chart = over_time(report, slices, "errors", "Failed requests per second");
    let bars = |name: &str, class: &str, of: fn(&Slice) -> u64| {
        let values = slices.iter().map(|slice| per_second(report, of(slice))).collect();
        Series { name: name.to_owned(), class: class.to_owned(), mark: Mark::Bars, values }
    };
    chart.series =
        vec![bars("no answer", "bad", |slice| slice.errors), bars("refused (status 400 and above)", "c1", |slice| slice.refused)];
    chart.y = Scale::from_zero(slices.iter().map(|slice| per_second(report, slice.errors + slice.refused)).fold(0.0, f64::max));
    chart
}

/// The property whose values tell who answered: what shares were expected of, else the first counted, else the version.
fn property(report: &Report) -> &str {
    let expected = report.expected.as_ref().map(|expected| expected.property.as_str());
    expected.or(report.run.count_by.first().map(String::as_str)).unwrap_or("version")
}

/// How often each value answered; the empty text stands for answers without one.
fn counts(report: &Report) -> BTreeMap<String, u64> {
    let found = if property(report) == "version" { Some(&report.versions) } else { report.groups.get(property(report)) };
    found.cloned().unwrap_or_default()
}

/// The values to draw, the expected ones first, then the most frequent.
fn values_drawn(report: &Report) -> Vec<String> {
    let counts = counts(report);
    let mut values: Vec<(bool, u64, String)> = Vec::new();
    let expected = report.expected.as_ref().map(|expected| expected.shares.keys().cloned().collect::<BTreeSet<_>>()).unwrap_or_default();
    for value in counts.keys().chain(&expected).collect::<BTreeSet<_>>() {
        values.push((!expected.contains(value), u64::MAX - counts.get(value).copied().unwrap_or_default(), value.clone()));
    }
    values.sort();
    let mut drawn: Vec<String> = values.into_iter().take(COLOURS).map(|(.., value)| value).collect();
    drawn.sort();
    drawn
}

fn named(value: &str) -> String {
    if value.is_empty() { "(none)".to_owned() } else { value.to_owned() }
}

fn answers(report: &Report, slices: &[Slice]) -> Option<Chart> {
    let property = property(report);
    let mut chart = over_time(report, slices, "answers", &format!("Answers per second by {property}"));
    let in_slice =
        |slice: &Slice, value: &str| slice.answers.get(property).and_then(|values| values.get(value)).copied().unwrap_or_default();
    let stacked = |name: String, class: String, values| Series { name, class, mark: Mark::Stacked, values };
    let drawn = values_drawn(report);
    for (index, value) in drawn.iter().enumerate() {
        let values = slices.iter().map(|slice| per_second(report, in_slice(slice, value))).collect();
        chart.series.push(stacked(named(value), format!("c{index}"), values));
    }
    let others = |slice: &Slice| {
        let all: u64 = slice.answers.get(property).map(|values| values.values().sum()).unwrap_or_default();
        per_second(report, all - drawn.iter().map(|value| in_slice(slice, value)).sum::<u64>())
    };
    let others: Vec<f64> = slices.iter().map(others).collect();
    if others.iter().any(|value| *value > 0.0) {
        chart.series.push(stacked("others".to_owned(), "other".to_owned(), others));
    }
    let highest = (0..slices.len()).map(|i| chart.series.iter().filter_map(|series| series.values.get(i)).sum::<f64>()).fold(0.0, f64::max);
    chart.y = Scale::from_zero(highest);
    (highest > 0.0).then_some(chart)
}

/// Answers of the whole run by value, beside the share each should have.
fn totals(out: &mut String, report: &Report) -> fmt::Result {
    let counts = counts(report);
    let answers: u64 = counts.values().sum();
    if answers == 0 {
        return Ok(());
    }
    let shares = report.expected.as_ref().map(|expected| &expected.shares);
    section(out, "totals", &format!("Answers by {}", property(report)))?;
    writeln!(out, "<div class=\"bars\">")?;
    for (index, value) in values_drawn(report).iter().enumerate() {
        let got = counts.get(value).copied().unwrap_or_default();
        let part = got as f64 / answers as f64 * 100.0;
        let want = shares.map(|shares| shares.get(value).copied().unwrap_or_default() * 100.0);
        let wanted = want.map(|want| format!(", want {want:.1} %")).unwrap_or_default();
        let words = format!("{got} ({part:.2} %{wanted})");
        writeln!(out, "<div class=\"bar\"><span>{}</span>", Escaped(&named(value)))?;
        writeln!(out, "<svg viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">", Escaped(&words))?;
        writeln!(
            out,
            "<rect class=\"rail\" width=\"100\" height=\"10\"/><rect class=\"fill c{index}\" width=\"{part:.3}\" height=\"10\"/>"
        )?;
        if let Some(want) = want {
            writeln!(out, "<rect class=\"mark\" x=\"{:.3}\" width=\".4\" height=\"10\"/>", (want - 0.2).max(0.0))?;
        }
        writeln!(out, "</svg><em>{}</em></div>", Escaped(&words))?;
    }
    let legend = if shares.is_some() { "<p class=\"hint\">The upright mark is the share wanted.</p>" } else { "" };
    writeln!(out, "</div>{legend}\n</section>")
}
