//! A comparison as text.

use std::fmt::Write;

use super::{Comparison, Failed, Verdict};
use crate::table::{Paint, aligned, number, time};

/// The verdicts that have a colour.
const PAINTED: [Verdict; 4] = [Verdict::Faster, Verdict::Slower, Verdict::FailsLess, Verdict::FailsMore];

/// The comparison as aligned text; ends with a newline.
pub fn render(comparison: &Comparison, paint: Paint) -> String {
    let mut out = String::new();
    for (name, side) in [("A", &comparison.a), ("B", &comparison.b)] {
        // Writing to a String cannot fail.
        let _infallible = writeln!(out, "{name}  {} answers, {} failed: {}", side.answers, side.failed, side.runs.join(", "));
    }
    out.push('\n');
    let rows = comparison.metrics.iter().map(|metric| {
        let show = |value: f64| match metric.name.as_str() {
            _ if value.is_infinite() => "never".to_owned(),
            _ if value.is_nan() => "-".to_owned(),
            "rate" => format!("{}/s", number(value)),
            _ => time(value),
        };
        let ratio = |value: f64| if value.is_finite() { format!("{value:.3}") } else { String::new() };
        let interval = if metric.low.is_finite() { format!("{:.3} to {:.3}", metric.low, metric.high) } else { String::new() };
        let (a, b) = (show(metric.a), show(metric.b));
        vec![metric.name.clone(), a, b, ratio(metric.ratio), interval, metric.verdict.words().to_owned()]
    });
    let rows = std::iter::once(failed(&comparison.failed)).chain(rows);
    let table = aligned("lrrrrl", &["", "A", "B", "B/A", "95 % interval", "verdict"], rows);
    for line in table.lines() {
        let painted = PAINTED.into_iter().find_map(|verdict| {
            let (words, good) = (verdict.words(), verdict.is_good()?);
            let rest = line.strip_suffix(words)?;
            Some(format!("{rest}{}", if good { paint.good(words) } else { paint.bad(words) }))
        });
        out.push_str(painted.as_deref().unwrap_or(line));
        out.push('\n');
    }
    let cautions = comparison.cautions.iter().map(|caution| format!("{} {caution}\n", paint.bad("note:")));
    cautions.fold(out + "\n", |out, caution| out + &caution).trim_end().to_owned() + "\n"
}

/// The row on failures: shares, with their difference in percentage points where the others have a ratio.
fn failed(failed: &Failed) -> Vec<String> {
    let share = |share: f64| if share.is_nan() { "-".to_owned() } else { format!("{:.2} %", share * 100.0) };
    let points = |share: f64| format!("{:+.2}", share * 100.0);
    let known = !failed.low.is_nan();
    let difference = if known { format!("{} pt", points(failed.difference)) } else { String::new() };
    let interval = if known { format!("{} to {} pt", points(failed.low), points(failed.high)) } else { String::new() };
    vec!["failed".to_owned(), share(failed.a), share(failed.b), difference, interval, failed.verdict.words().to_owned()]
}
