//! A report as one HTML file: everything is inside it, nothing is fetched, and the plots are there without a script.
//!
//! The plots are SVG drawn here. The script only adds a readout under the pointer; the page's own policy forbids it, and
//! everything else, to load anything. Whatever came from a server (values, messages, URLs) is escaped where it is written.

mod chart;
mod plots;
mod tables;
mod text;

use std::fmt::Write;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    report::Report,
    table::ended_early,
    table::{number, pace, time},
};
use text::Escaped;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Nothing may be loaded from anywhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The whole page.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _infallible = page(&mut out, report);
    out
}

fn page(out: &mut String, report: &Report) -> std::fmt::Result {
    let url = Escaped(&report.url);
    writeln!(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">")?;
    writeln!(out, "<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">")?;
    writeln!(
        out,
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">"
    )?;
    writeln!(out, "<title>Load on {url}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>")?;
    writeln!(out, "<header>\n<h1>Load on <span class=\"url\">{url}</span></h1>\n<p>{}</p>\n</header>", Escaped(&subtitle(report)))?;
    tiles(out, report)?;
    for limit in &report.generator.limits {
        writeln!(out, "<p class=\"warning\"><strong>The generator was the limit:</strong> {}.</p>", Escaped(limit))?;
    }
    tables::checks(out, report)?;
    plots::all(out, report)?;
    tables::all(out, report)?;
    writeln!(out, "<footer>outrigger load, report schema {}</footer>\n</main>", report.schema)?;
    writeln!(out, "<script>\n{SCRIPT}</script>\n</body>\n</html>")
}

fn subtitle(report: &Report) -> String {
    let run = &report.run;
    let begun = OffsetDateTime::from_unix_timestamp(run.started as i64).ok().filter(|_| run.started > 0.0);
    let begun = begun.and_then(|begun| begun.format(&Rfc3339).ok()).unwrap_or_default();
    let merged = if run.merged > 1 { format!("{} runs merged", run.merged) } else { String::new() };
    let early = ended_early(run).to_owned();
    let left = if run.abandoned > 0 { format!("{} more had no answer by then", run.abandoned) } else { String::new() };
    let in_flight = format!("{} in flight", run.concurrency);
    let parts = [run.protocol.clone(), pace(report), in_flight, format!("{:.1} s", report.seconds), merged, early, left, begun];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

/// The figures most people look for first.
fn tiles(out: &mut String, report: &Report) -> std::fmt::Result {
    let failed = report.failed();
    let share = 100.0 * failed as f64 / report.requests.max(1) as f64;
    let tiles = [
        ("answers/s", number(report.rate), "", false),
        ("p50", time(report.latency.p50_us), "corrected", false),
        ("p99", time(report.latency.p99_us), "corrected", false),
        ("p99.9", time(report.latency.p999_us), "corrected", false),
        ("requests", report.requests.to_string(), "", false),
        ("failed", failed.to_string(), &format!("{share:.2} %"), failed > 0),
    ];
    writeln!(out, "<section class=\"tiles\" id=\"tiles\">")?;
    for (name, value, note, bad) in tiles {
        let class = if bad { "tile bad" } else { "tile" };
        writeln!(out, "<div class=\"{class}\"><span>{name}</span><strong>{}</strong><small>{note}</small></div>", Escaped(&value))?;
    }
    writeln!(out, "</section>")
}
