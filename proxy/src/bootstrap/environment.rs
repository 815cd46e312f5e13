//! Environment variables, as a value that tests can make.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

/// A copy of the process's environment.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of this process; values that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        Environment(std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect())
    }

    /// The same with further variables, where this one has none of the name.
    pub fn over<'a>(mut self, further: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        for (name, value) in further {
            self.0.entry(name.clone()).or_insert_with(|| value.clone());
        }
        self
    }

    /// The value of a variable; an empty value counts as absent, as for pilot-agent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The value, or a default.
    pub fn get_or(&self, name: &str, default: &str) -> String {
        self.get(name).unwrap_or(default).to_owned()
    }

    /// The value parsed; a value that does not parse is reported in `warnings` and treated as absent.
    pub fn parse<T: FromStr>(&self, name: &str, warnings: &mut Vec<String>) -> Option<T> {
        let value = self.get(name)?;
        let parsed = value.trim().parse().ok();
        if parsed.is_none() {
            warnings.push(format!("environment variable {name}={value:?} is not understood and ignored"));
        }
        parsed
    }

    /// A duration in Go's notation (`5s`, `1m30s`, `100ms`).
    pub fn duration(&self, name: &str, warnings: &mut Vec<String>) -> Option<Duration> {
        let value = self.get(name)?;
        let parsed = parse_duration(value);
        if parsed.is_none() {
            warnings.push(format!("environment variable {name}={value:?} is not a duration such as 5s and ignored"));
        }
        parsed
    }

    /// All variables whose name starts with `prefix`, without it.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Environment(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

/// Parses a duration as Go and protobuf's JSON write them: numbers with units h, m, s, ms, us, ns, in sequence.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let seconds = number.parse::<f64>().ok()? * unit_seconds(unit)?;
        total = total.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        rest = tail;
    }
    Some(total)
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "h" => 3600.0,
        "m" => 60.0,
        "s" => 1.0,
        "ms" => 1e-3,
        "us" | "µs" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let cases: &[(&str, Option<Duration>)] = &[
            ("5s", Some(Duration::from_secs(5))),
            ("1m30s", Some(Duration::from_secs(90))),
            ("1.5s", Some(Duration::from_millis(1500))),
            ("100ms", Some(Duration::from_millis(100))),
            ("0s", Some(Duration::ZERO)),
            ("5", None),
            ("", None),
            ("s", None),
            ("-5s", None),
            ("1e400s", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration(text), *expected, "{text}");
        }
    }

    #[test]
    fn a_value_that_does_not_parse_is_named_and_ignored() {
        let mut warnings = Vec::new();
        let environment = Environment::from([("PORT", "many"), ("EMPTY", "")]);
        assert_eq!(environment.parse::<u16>("PORT", &mut warnings), None);
        assert_eq!(environment.get("EMPTY"), None);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("PORT=\"many\""), "{}", warnings[0]);
    }
}
