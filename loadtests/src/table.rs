//! A report as aligned text for people.

use std::{collections::BTreeMap, fmt::Write};

use crate::report::{Check, Facts, Group, Latency, Report, StageReport};

/// How many values of a property the summary lists; the JSON has all.
const LISTED: usize = 20;

/// So many rates of a schedule are named in a line, more only counted.
const SPELT_OUT: usize = 6;

/// Whether marks and warnings are coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paint {
    /// Plain text.
    #[default]
    Plain,
    /// ANSI colours.
    Colour,
}

impl Paint {
    /// Colour on a terminal, unless `NO_COLOR` is set and not empty (<https://no-color.org>).
    pub fn for_terminal(is_terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if is_terminal && !refused { Self::Colour } else { Self::Plain }
    }

    fn wrap(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.wrap("32", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.wrap("31", text)
    }

    fn title(self, text: &str) -> String {
        self.wrap("1", text)
    }
}

/// The whole report with its verdicts; ends with a newline.
pub fn render(report: &Report, paint: Paint) -> String {
    let mut blocks = vec![head(report), times(report, paint), stages(report, paint)];
    blocks.extend(groups(report, paint));
    blocks.push(errors(report, paint));
    blocks.push(render_checks(&report.checks, paint));
    blocks.push(
        report.generator.limits.iter().map(|limit| format!("{} the generator was the limit: {limit}\n", paint.bad("warning:"))).collect(),
    );
    blocks.retain(|block| !block.is_empty());
    blocks.join("\n")
}

/// What was demanded beside what was found; ends with a newline unless it is empty.
pub fn render_checks(checks: &[Check], paint: Paint) -> String {
    let mut out = String::new();
    for same in checks.chunk_by(|a, b| a.by == b.by) {
        if !out.is_empty() {
            out.push('\n');
        }
        let rows = same.iter().map(|check| {
            let mark = if check.ok { "ok" } else { "WRONG" };
            vec![check.name.clone(), check.want.clone(), check.got.clone(), mark.to_owned()]
        });
        let title = same.first().map(|check| check.by.as_str()).unwrap_or_default();
        let text = aligned("lrrl", &[title, "want", "got", ""], rows);
        // Marks are painted once they are in place, so that they do not count in the widths.
        for line in text.lines() {
            let painted = match (line.strip_suffix(" ok"), line.strip_suffix(" WRONG")) {
                (Some(rest), _) => format!("{rest} {}", paint.good("ok")),
                (_, Some(rest)) => format!("{rest} {}", paint.bad("WRONG")),
                _ => paint.title(line),
            };
            out.push_str(&painted);
            out.push('\n');
        }
    }
    out
}

/// What was sent, how fast, over what.
fn head(report: &Report) -> String {
    let answers = report.requests - report.error_count();
    let lines = [
        ("target", targets(report)),
        ("load", manner(report)),
        ("requests", format!("{} in {:.2} s{}", report.requests, report.seconds, circumstances(report))),
        ("answers", format!("{answers}, {} per second", number(report.rate))),
        ("connections", connections(report)),
        ("bytes", bytes(report)),
        ("generator", generator(report)),
    ];
    lines.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| format!("{name:<12} {text}\n")).collect()
}

fn manner(report: &Report) -> String {
    let run = &report.run;
    let parts = [run.protocol.clone(), pace(report), count(run.concurrency, "request") + " in flight", count(run.threads, "thread")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// The rate asked, or the rates one after the other.
pub(crate) fn pace(report: &Report) -> String {
    let stages = &report.stages;
    match report.run.asked_rate {
        Some(_) if (1..=SPELT_OUT).contains(&stages.len()) => {
            let rates: Vec<String> = stages.iter().map(asked).collect();
            format!("{} requests/s asked", rates.join(", "))
        }
        Some(rate) if !stages.is_empty() => format!("{} requests/s asked on average in {} stages", number(rate), stages.len()),
        Some(rate) => format!("{} requests/s asked", number(rate)),
        None => "as fast as answers come".to_owned(),
    }
}

/// The rate of a stage, or how it changes.
fn asked(stage: &StageReport) -> String {
    let (from, to) = (number(stage.from_rate), number(stage.to_rate));
    if from == to { from } else { format!("{from} to {to}") }
}

/// The titles of [`stage`].
pub(crate) const STAGE: [&str; 6] = ["stage", "asked/s", "got/s", "p50", "p99", "failed"];

/// A stage as cells of a table.
pub(crate) fn stage(stage: &StageReport) -> Vec<String> {
    let StageReport { at_seconds, seconds, latency, .. } = stage;
    let short = |seconds: f64| number((seconds * 100.0).round() / 100.0);
    let failed = (stage.errors + stage.refused).to_string();
    let when = format!("{} to {} s", short(*at_seconds), short(at_seconds + seconds));
    let times = if stage.requests > stage.errors { [latency.p50_us, latency.p99_us].map(time) } else { ["-", "-"].map(str::to_owned) };
    [when, asked(stage), number(stage.rate)].into_iter().chain(times).chain([failed]).collect()
}

/// What became of each stage of the schedule.
fn stages(report: &Report, paint: Paint) -> String {
    if report.stages.is_empty() {
        return String::new();
    }
    titled(&aligned("lrrrrr", &STAGE, report.stages.iter().map(stage)), paint)
}

fn circumstances(report: &Report) -> String {
    let run = &report.run;
    let warm_up = if run.warm_up_seconds > 0.0 { format!(" after {:.1} s of warm-up", run.warm_up_seconds) } else { String::new() };
    let merged = if run.merged > 1 { format!(", {} runs merged", run.merged) } else { String::new() };
    let early = match ended_early(run) {
        "" => String::new(),
        early => format!(", {early}"),
    };
    let left = if run.abandoned > 0 { format!("; {} more had no answer by then", run.abandoned) } else { String::new() };
    warm_up + &merged + &early + &left
}

/// How a run ended before its time; empty for one that did not.
pub(crate) fn ended_early(run: &Facts) -> &'static str {
    match (run.interrupted, run.gave_up) {
        (true, _) => "ended early by a signal",
        (false, true) => "ended early: nothing was answered for twice the time that --timeout gives",
        (false, false) => "",
    }
}

fn connections(report: &Report) -> String {
    let connections = &report.connections;
    let Latency { p50_us, max_us, .. } = connections.connect;
    match (connections.opened, connections.reused) {
        (0, 0) => String::new(),
        (0, reused) => format!("{reused} requests over kept ones"),
        (opened, reused) => format!("{opened} opened in {} (p50), {} (max); {reused} requests over kept ones", time(p50_us), time(max_us)),
    }
}

fn bytes(report: &Report) -> String {
    let per_second = if report.seconds > 0.0 { report.bytes.received as f64 / report.seconds } else { 0.0 };
    format!("{} sent, {} received, {}/s", size(report.bytes.sent as f64), size(report.bytes.received as f64), size(per_second))
}

fn generator(report: &Report) -> String {
    let generator = &report.generator;
    if generator.busy == 0.0 {
        return String::new();
    }
    let late = time(generator.lag.p99_us);
    format!("{:.1} µs CPU per request, {:.0} % busy, at most {late} late (p99)", generator.cpu_us_per_request, generator.busy * 100.0)
}

fn targets(report: &Report) -> String {
    let others = report.breakdown.url.len().saturating_sub(1);
    if others > 0 { format!("{} and {others} more", report.url) } else { report.url.clone() }
}

fn count(number: u64, what: &str) -> String {
    match number {
        0 => String::new(),
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

/// Corrected and raw times side by side, one percentile per line.
fn times(report: &Report, paint: Paint) -> String {
    if report.requests == report.error_count() {
        return String::new();
    }
    let rows = report.latency.named().into_iter().zip(report.service.named());
    let rows = rows.map(|((name, latency), (_, service))| vec![name.to_owned(), time(latency), time(service)]);
    titled(&aligned("lrr", &["latency", "corrected", "raw"], rows), paint)
}

/// By status, URL, and who answered.
fn groups(report: &Report, paint: Paint) -> Vec<String> {
    let breakdown = &report.breakdown;
    let owned = |counts: &BTreeMap<String, u64>| counts.iter().map(|(name, count)| (name.clone(), *count)).collect::<Vec<_>>();
    let statuses = report.statuses.iter().map(|(status, count)| (status.to_string(), *count)).collect();
    let urls: Vec<_> = breakdown.url.iter().map(|(url, group)| (url.clone(), group.requests)).collect();
    let urls = if urls.len() > 1 { urls } else { Vec::new() };
    let pods = report.pods.iter().map(|(pod, count)| (pod.clone(), count.requests)).collect();
    let none = BTreeMap::new();
    let times_of = |property: &str| breakdown.answer.get(property).unwrap_or(&none);
    let mut blocks = vec![
        ("status", statuses, &breakdown.status),
        ("grpc-status", owned(&report.grpc_statuses), &breakdown.grpc_status),
        ("url", urls, &breakdown.url),
        ("version", owned(&report.versions), times_of("version")),
        ("pod", pods, times_of("pod")),
    ];
    blocks.extend(report.groups.iter().map(|(name, counts)| (name.as_str(), owned(counts), times_of(name))));
    blocks.retain(|(_, counts, _)| !counts.is_empty());
    let answers = report.requests - report.error_count();
    blocks.into_iter().map(|(title, counts, times)| group(title, listed(counts), times, answers, paint)).collect()
}

fn group(
    title: &str,
    (counts, hidden): (Vec<(String, u64)>, usize),
    times: &BTreeMap<String, Group>,
    answers: u64,
    paint: Paint,
) -> String {
    let rows = counts.into_iter().map(|(name, count)| {
        let share = format!("{:.2} %", 100.0 * count as f64 / answers.max(1) as f64);
        let times = times.get(&name).map(|group| [group.latency.p50_us, group.latency.p99_us, group.latency.max_us].map(time));
        let name = if name.is_empty() { "(none)".to_owned() } else { name };
        [name, count.to_string(), share].into_iter().chain(times.into_iter().flatten()).collect()
    });
    let text = titled(&aligned("lrrrrr", &[title, "answers", "share", "p50", "p99", "max"], rows), paint);
    if hidden > 0 { format!("{text}and {hidden} more\n") } else { text }
}

/// The values to list, the most frequent first when not all are, and how many are not.
fn listed(mut counts: Vec<(String, u64)>) -> (Vec<(String, u64)>, usize) {
    let hidden = counts.len().saturating_sub(LISTED);
    if hidden > 0 {
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts.truncate(LISTED);
    }
    (counts, hidden)
}

fn errors(report: &Report, paint: Paint) -> String {
    if report.errors.is_empty() {
        return String::new();
    }
    let example = |cause: &str| {
        let begin = format!(": {cause}: ");
        let of = report.error_examples.iter().find_map(|text| text.split_once(&begin));
        of.map_or(String::new(), |(_, words)| words.to_owned())
    };
    let rows = report.errors.iter().map(|(cause, count)| {
        let share = format!("{:.2} %", 100.0 * *count as f64 / report.requests.max(1) as f64);
        vec![cause.to_string(), count.to_string(), share, example(&cause.to_string())]
    });
    titled(&aligned("lrrl", &["ERRORS", "requests", "share", "for example"], rows), paint)
}

fn titled(text: &str, paint: Paint) -> String {
    match text.split_once('\n') {
        Some((title, rest)) => format!("{}\n{rest}", paint.title(title)),
        None => text.to_owned(),
    }
}

/// Microseconds with a unit and at most four digits.
pub(crate) fn time(us: f64) -> String {
    match us {
        _ if us < 1.0 => format!("{us:.2} µs"),
        _ if us < 100.0 => format!("{us:.1} µs"),
        _ if us < 1_000.0 => format!("{us:.0} µs"),
        _ if us < 10_000.0 => format!("{:.3} ms", us / 1e3),
        _ if us < 100_000.0 => format!("{:.2} ms", us / 1e3),
        _ if us < 1_000_000.0 => format!("{:.1} ms", us / 1e3),
        _ => format!("{:.3} s", us / 1e6),
    }
}

/// Bytes with a decimal unit.
fn size(bytes: f64) -> String {
    let (value, unit) = match bytes {
        _ if bytes < 1e3 => return format!("{bytes:.0} B"),
        _ if bytes < 1e6 => (bytes / 1e3, "kB"),
        _ if bytes < 1e9 => (bytes / 1e6, "MB"),
        _ => (bytes / 1e9, "GB"),
    };
    format!("{value:.1} {unit}")
}

/// A rate: whole from a hundred up.
pub fn number(value: f64) -> String {
    if value >= 100.0 || value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// Columns two spaces apart, each flush left (`l`) or right (`r`).
pub(crate) fn aligned(columns: &str, titles: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let head = titles.iter().map(|title| (*title).to_owned()).collect();
    let all: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let mut out = String::new();
    for row in &all {
        let cells = row.iter().zip(&widths).zip(columns.chars()).map(|((cell, width), side)| match side {
            'l' => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        // Writing to a String cannot fail.
        let _infallible = writeln!(out, "{}", line.trim_end());
    }
    out
}
