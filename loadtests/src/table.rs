//! A report as aligned text for people.

use std::fmt::Write;

use crate::{expect::Verdict, report::Report};

/// The whole report; ends with a newline.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _infallible = write_all(&mut out, report);
    out
}

/// The comparison with what was expected; ends with a newline.
pub fn render_verdicts(verdicts: &[Verdict]) -> String {
    let rows = verdicts.iter().map(|verdict| {
        let mark = if verdict.ok { "ok" } else { "WRONG" };
        vec![verdict.name.clone(), format!("{:.1}", verdict.want), verdict.got.to_string(), mark.to_owned()]
    });
    aligned(&["version", "want", "got", ""], rows)
}

fn write_all(out: &mut String, report: &Report) -> std::fmt::Result {
    let Report { requests, seconds, rate, latency, .. } = report;
    writeln!(out, "{requests} requests to {} in {seconds:.2} s, {rate:.0} answers/s", report.url)?;
    let ms = |us: f64| us / 1000.0;
    let (p50, p90, p99, max) = (ms(latency.p50_us), ms(latency.p90_us), ms(latency.p99_us), ms(latency.max_us));
    writeln!(out, "latency  p50 {p50:.2} ms  p90 {p90:.2} ms  p99 {p99:.2} ms  max {max:.2} ms\n")?;
    let answered: u64 = requests - report.error_count();
    let share = |count: u64| format!("{:.1} %", 100.0 * count as f64 / answered.max(1) as f64);
    let row = |name: &str, count: u64| vec![name.to_owned(), count.to_string(), share(count)];
    section(out, "status", report.statuses.iter().map(|(status, count)| row(&status.to_string(), *count)));
    section(out, "grpc-status", report.grpc_statuses.iter().map(|(status, count)| row(status, *count)));
    section(out, "version", report.versions.iter().map(|(version, count)| row(version, *count)));
    section(out, "pod", report.pods.iter().map(|(pod, count)| row(&format!("{pod} ({})", count.version), count.requests)));
    for (name, values) in &report.groups {
        section(out, name, values.iter().map(|(value, count)| row(if value.is_empty() { "(none)" } else { value }, *count)));
    }
    section(out, "ERRORS", report.errors.iter().map(|(cause, count)| vec![cause.to_string(), count.to_string()]));
    report.error_examples.iter().try_for_each(|example| writeln!(out, "  {example}"))
}

fn section(out: &mut String, title: &str, rows: impl Iterator<Item = Vec<String>>) {
    let mut rows = rows.peekable();
    if rows.peek().is_some() {
        out.push_str(&aligned(&[title], rows));
        out.push('\n');
    }
}

/// Columns two spaces apart; the first is flush left, the others flush right.
fn aligned(titles: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let head = titles.iter().map(|title| (*title).to_owned()).collect();
    let all: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let columns = all.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in &all {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["v1".into(), "5".into()], vec!["longer".into(), "1000".into()]];
        assert_eq!(aligned(&["version"], rows.into_iter()), "version\nv1          5\nlonger   1000\n");
    }

    #[test]
    fn a_wrong_count_is_marked() {
        let verdict = Verdict { name: "v1".into(), want: 50.0, got: 60, ok: false };
        assert_eq!(render_verdicts(&[verdict]), "version  want  got\nv1       50.0   60  WRONG\n");
    }
}
