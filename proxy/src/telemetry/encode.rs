//! The Prometheus text format, version 0.0.4, written without intermediate values.
//!
//! An own encoder because the `istio_*` families live in per-worker cells with their label text made in advance; a
//! general library would format and hash every label again at every scrape.

use std::fmt::Write;

use super::cells::{BOUNDS, HistogramTotal};

/// The content type of what [`Exposition`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Type of a metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

/// A text under construction.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Starts a family. Families must not be interleaved.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One sample. `labels` is text as [`push_label`] makes it.
    pub fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = match labels {
            "" => writeln!(self.text, "{name} {value}"),
            labels => writeln!(self.text, "{name}{{{labels}}} {value}"),
        };
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.sample(name, "", value);
    }

    /// All lines of one histogram.
    pub fn histogram(&mut self, name: &str, labels: &str, total: &HistogramTotal) {
        let mut count = 0;
        for (position, in_bucket) in total.buckets.iter().enumerate() {
            count += in_bucket;
            let _ = match BOUNDS.get(position) {
                Some(bound) => writeln!(self.text, "{name}_bucket{{{labels},le=\"{}\"}} {count}", Thousandths(*bound)),
                None => writeln!(self.text, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}"),
            };
        }
        let _ = writeln!(self.text, "{name}_sum{{{labels}}} {}\n{name}_count{{{labels}}} {count}", Thousandths(total.sum));
    }

    /// The finished text.
    pub fn finish(self) -> String {
        self.text
    }
}

/// Appends `name="value"` to label text, with a comma when it is not the first.
pub fn push_label(text: &mut String, name: &str, value: &str) {
    if !text.is_empty() {
        text.push(',');
    }
    text.push_str(name);
    text.push_str("=\"");
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
    text.push('"');
}

/// A number of thousandths, printed as a decimal without trailing zeros.
struct Thousandths(u64);

impl std::fmt::Display for Thousandths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, fraction) = (self.0 / 1000, self.0 % 1000);
        match fraction {
            0 => write!(f, "{whole}"),
            fraction => write!(f, "{whole}.{}", format!("{fraction:03}").trim_end_matches('0')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        let mut text = String::new();
        push_label(&mut text, "a", "x\"y\\z\n");
        push_label(&mut text, "b", "");
        assert_eq!(text, r#"a="x\"y\\z\n",b="""#);
    }

    #[test]
    fn thousandths_print_as_the_shortest_decimal() {
        for (thousandths, printed) in [(0, "0"), (500, "0.5"), (1000, "1"), (1001, "1.001"), (12_340, "12.34"), (7_050, "7.05")] {
            assert_eq!(Thousandths(thousandths).to_string(), printed);
        }
    }

    #[test]
    fn buckets_are_cumulative_and_end_in_the_count() {
        let mut total = HistogramTotal::default();
        total.buckets[0] = 2;
        total.buckets[2] = 1;
        total.sum = 3_700;
        let mut out = Exposition::default();
        out.family("d", Kind::Histogram, "Durations.");
        out.histogram("d", "a=\"b\"", &total);
        let text = out.finish();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["# HELP d Durations.", "# TYPE d histogram"]);
        assert_eq!(lines[2..5], ["d_bucket{a=\"b\",le=\"0.5\"} 2", "d_bucket{a=\"b\",le=\"1\"} 2", "d_bucket{a=\"b\",le=\"5\"} 3"]);
        assert_eq!(lines[lines.len() - 3..], ["d_bucket{a=\"b\",le=\"+Inf\"} 3", "d_sum{a=\"b\"} 3.7", "d_count{a=\"b\"} 3"]);
    }
}
