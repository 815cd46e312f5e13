//! Reads Prometheus' text format, as far as tests ask for values of it.

use std::collections::BTreeMap;

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Sample {
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// All samples of a metric.
pub fn samples(text: &str, metric: &str) -> Vec<Sample> {
    text.lines().filter_map(|line| sample(line, metric)).collect()
}

fn sample(line: &str, metric: &str) -> Option<Sample> {
    let rest = line.strip_prefix(metric)?;
    if let Some(value) = rest.strip_prefix(' ') {
        return Some(Sample { labels: BTreeMap::new(), value: value.parse().ok()? });
    }
    let mut rest = rest.strip_prefix('{')?;
    let mut labels = BTreeMap::new();
    while !rest.starts_with('}') {
        let (name, after) = rest.trim_start_matches(',').split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.insert(name.to_owned(), value);
        rest = after;
    }
    let value = rest.strip_prefix("} ")?.split(' ').next()?.parse().ok()?;
    Some(Sample { labels, value })
}

/// A label's value up to its closing quote, and what follows that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut letters) = (String::new(), text.char_indices());
    loop {
        match letters.next()? {
            (at, '"') => return Some((value, text.get(at + 1..)?)),
            (_, '\\') => value.push(match letters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            (_, letter) => value.push(letter),
        }
    }
}

#[test]
fn values_may_hold_commas_braces_and_quotes() {
    let found = samples("a{x=\"1,}\",y=\"q\\\"\"} 3\nab{x=\"2\"} 4\na 5\n", "a");
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].label("x"), found[0].label("y"), found[0].value), ("1,}", "q\"", 3.0));
    assert_eq!((found[1].labels.len(), found[1].value), (0, 5.0));
}
