//! The tables of a page.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

use super::text::Escaped;
use crate::{
    report::{Group, Latency, Report},
    table::{STAGE, stage, time},
};

/// Rows of one table; the JSON has all.
const ROWS: usize = 50;

/// Opens a section with a heading; the caller closes it.
pub(crate) fn section(out: &mut String, id: &str, title: &str) -> fmt::Result {
    writeln!(out, "<section class=\"card\" id=\"{id}\">\n<h2>{}</h2>", Escaped(title))
}

/// A table whose first column is text and whose others are figures; what is left out of it is said below.
fn table(out: &mut String, head: &[&str], mut rows: impl Iterator<Item = Vec<String>>) -> fmt::Result {
    writeln!(out, "<div class=\"scroll\"><table>\n<thead><tr>")?;
    head.iter().try_for_each(|title| write!(out, "<th>{}</th>", Escaped(title)))?;
    writeln!(out, "</tr></thead>\n<tbody>")?;
    for row in rows.by_ref().take(ROWS) {
        write!(out, "<tr>")?;
        row.iter().try_for_each(|cell| write!(out, "<td>{}</td>", Escaped(cell)))?;
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</tbody></table></div>")?;
    match rows.count() {
        0 => Ok(()),
        more => writeln!(out, "<p class=\"hint\">And {more} more: the JSON has all.</p>"),
    }
}

/// What was demanded, if anything was.
pub(crate) fn checks(out: &mut String, report: &Report) -> fmt::Result {
    if report.checks.is_empty() {
        return Ok(());
    }
    let missed = report.checks.iter().filter(|check| !check.ok).count();
    let title = if missed == 0 { "All demands met".to_owned() } else { format!("{missed} of {} demands missed", report.checks.len()) };
    section(out, "checks", &title)?;
    writeln!(
        out,
        "<div class=\"scroll\"><table>\n<thead><tr><th>demand</th><th>want</th><th>got</th><th></th><th></th></tr></thead>\n<tbody>"
    )?;
    for check in &report.checks {
        let (class, words) = if check.ok { ("ok", "ok") } else { ("wrong", "missed") };
        let (name, want, got, by) = (Escaped(&check.name), Escaped(&check.want), Escaped(&check.got), Escaped(&check.by));
        writeln!(
            out,
            "<tr><td>{name}</td><td>{want}</td><td>{got}</td><td><b class=\"{class}\">{words}</b></td><td><code>{by}</code></td></tr>"
        )?;
    }
    writeln!(out, "</tbody></table></div>\n</section>")
}

/// All other tables.
pub(crate) fn all(out: &mut String, report: &Report) -> fmt::Result {
    writeln!(out, "<div class=\"charts\">")?;
    section(out, "times", "Latency")?;
    let rows = report.latency.named().into_iter().zip(report.service.named());
    table(out, &["", "corrected", "raw"], rows.map(|((name, latency), (_, raw))| vec![name.to_owned(), time(latency), time(raw)]))?;
    writeln!(out, "<p class=\"hint\">Corrected: from when a request was due. Raw: from when it was sent.</p>\n</section>")?;
    stages(out, report)?;
    errors(out, report)?;
    let breakdown = &report.breakdown;
    groups(out, "status", "status", report, &breakdown.status)?;
    groups(out, "grpc-status", "grpc-status", report, &breakdown.grpc_status)?;
    if breakdown.url.len() > 1 {
        groups(out, "urls", "URL", report, &breakdown.url)?;
    }
    for (index, (property, values)) in breakdown.answer.iter().enumerate() {
        groups(out, &format!("by-{index}"), property, report, values)?;
    }
    costs(out, report)?;
    writeln!(out, "</div>")
}

fn stages(out: &mut String, report: &Report) -> fmt::Result {
    if report.stages.is_empty() {
        return Ok(());
    }
    section(out, "stages", "By stage of the schedule")?;
    table(out, &STAGE, report.stages.iter().map(stage))?;
    writeln!(
        out,
        "<p class=\"hint\">A request belongs to the stage in which it was due; got are the answers that came in it.</p>\n</section>"
    )
}

fn groups(out: &mut String, id: &str, name: &str, report: &Report, groups: &BTreeMap<String, Group>) -> fmt::Result {
    if groups.is_empty() {
        return Ok(());
    }
    let answers = (report.requests - report.error_count()).max(1) as f64;
    section(out, id, &format!("By {name}"))?;
    let mut listed: Vec<(&String, &Group)> = groups.iter().collect();
    if listed.len() > ROWS {
        // Of too many the most frequent.
        listed.sort_by_key(|(_, group)| std::cmp::Reverse(group.requests));
    }
    let rows = listed.into_iter().map(|(value, group)| {
        let Latency { p50_us, p99_us, max_us, .. } = group.latency;
        let share = format!("{:.2} %", group.requests as f64 / answers * 100.0);
        vec![value.clone(), group.requests.to_string(), share, time(p50_us), time(p99_us), time(max_us)]
    });
    table(out, &[name, "answers", "share", "p50", "p99", "max"], rows)?;
    writeln!(out, "</section>")
}

fn errors(out: &mut String, report: &Report) -> fmt::Result {
    if report.errors.is_empty() {
        return Ok(());
    }
    section(out, "causes", "Requests without an answer")?;
    table(out, &["cause", "requests"], report.errors.iter().map(|(cause, count)| vec![cause.to_string(), count.to_string()]))?;
    writeln!(out, "<ul class=\"examples\">")?;
    report.error_examples.iter().try_for_each(|example| writeln!(out, "<li>{}</li>", Escaped(example)))?;
    writeln!(out, "</ul>\n</section>")
}

fn costs(out: &mut String, report: &Report) -> fmt::Result {
    let (connections, generator, bytes) = (&report.connections, &report.generator, &report.bytes);
    let rows = [
        ("connections opened", connections.opened.to_string()),
        ("requests over a kept connection", connections.reused.to_string()),
        ("time to connect, p50", time(connections.connect.p50_us)),
        ("time to connect, max", time(connections.connect.max_us)),
        ("bytes sent", bytes.sent.to_string()),
        ("bytes received", bytes.received.to_string()),
        ("generator: CPU per request", time(generator.cpu_us_per_request)),
        ("generator: busy", format!("{:.0} %", generator.busy * 100.0)),
        ("generator: late, p99", time(generator.lag.p99_us)),
    ];
    section(out, "costs", "Connections and generator")?;
    table(out, &["", ""], rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]))?;
    writeln!(out, "</section>")
}
