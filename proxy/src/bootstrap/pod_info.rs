//! Labels and annotations of the pod: files of the downward API, and their JSON form in the environment.
//!
//! A downward API file holds one `key="value"` per line, the value quoted as Go's `strconv.Quote` does it.

use std::collections::BTreeMap;
use std::path::Path;

use super::Environment;

/// Labels and annotations as the pod carries them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodInfo {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

impl PodInfo {
    /// Reads the files `labels` and `annotations` of a folder over what ISTIO_METAJSON_LABELS and
    /// ISTIO_METAJSON_ANNOTATIONS say. Missing files are normal outside Kubernetes; broken content is a warning.
    pub fn read(folder: &Path, environment: &Environment, warnings: &mut Vec<String>) -> PodInfo {
        let mut section = |name: &str, variable: &str| {
            let mut values = from_json(environment, variable, warnings);
            match std::fs::read_to_string(folder.join(name)) {
                Ok(text) => values.extend(parse(&text)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => warnings.push(format!("{}: {error}; pod {name} from there are missing", folder.join(name).display())),
            }
            values
        };
        let mut labels = section("labels", "ISTIO_METAJSON_LABELS");
        // As in istiod's view of a node: the hash names a revision of the Deployment, not the workload.
        labels.remove("pod-template-hash");
        PodInfo { labels, annotations: section("annotations", "ISTIO_METAJSON_ANNOTATIONS") }
    }
}

fn from_json(environment: &Environment, variable: &str, warnings: &mut Vec<String>) -> BTreeMap<String, String> {
    let Some(text) = environment.get(variable) else { return BTreeMap::new() };
    serde_json::from_str(text).unwrap_or_else(|error| {
        warnings.push(format!("environment variable {variable} is not a JSON object of strings and ignored: {error}"));
        BTreeMap::new()
    })
}

/// Parses a downward API file. Lines without `=` are skipped, as they cannot occur.
fn parse(text: &str) -> BTreeMap<String, String> {
    text.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.trim().to_owned(), unquote(value.trim()))).collect()
}

/// Undoes Go's quoting; text without quotes is taken as it stands.
fn unquote(quoted: &str) -> String {
    let Some(inner) = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return quoted.to_owned() };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => push_escape(&mut chars, &mut out),
            c => out.push(c),
        }
    }
    out
}

fn push_escape(chars: &mut std::str::Chars<'_>, out: &mut String) {
    let digits = match chars.next() {
        Some('n') => return out.push('\n'),
        Some('t') => return out.push('\t'),
        Some('r') => return out.push('\r'),
        Some('x') => 2,
        Some('u') => 4,
        Some('U') => 8,
        Some(other) => return out.push(other),
        None => return,
    };
    let code: String = chars.by_ref().take(digits).collect();
    out.push(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_values_come_back_as_they_were_set() {
        let parsed = parse(
            "app=\"shop\"\nproxy.istio.io/config=\"concurrency: 3\\nterminationDrainDuration: \\\"7s\\\"\\n\"\nodd=\"\\u00e9\\\\\"\n",
        );
        assert_eq!(parsed["app"], "shop");
        assert_eq!(parsed["proxy.istio.io/config"], "concurrency: 3\nterminationDrainDuration: \"7s\"\n");
        assert_eq!(parsed["odd"], "é\\");
    }

    #[test]
    fn files_win_over_the_environment_and_the_template_hash_is_dropped() {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::write(folder.path().join("labels"), "app=\"from-file\"\npod-template-hash=\"abc\"\n").expect("written");
        let environment = Environment::from([("ISTIO_METAJSON_LABELS", r#"{"app":"from-env","version":"v1"}"#)]);
        let mut warnings = Vec::new();
        let info = PodInfo::read(folder.path(), &environment, &mut warnings);
        assert_eq!(info.labels, BTreeMap::from([("app".into(), "from-file".into()), ("version".into(), "v1".into())]));
        assert!(warnings.is_empty());
    }

    #[test]
    fn broken_json_is_a_warning_not_an_end() {
        let mut warnings = Vec::new();
        let environment = Environment::from([("ISTIO_METAJSON_LABELS", "{nonsense")]);
        assert_eq!(PodInfo::read(Path::new("/nonexistent"), &environment, &mut warnings), PodInfo::default());
        assert!(warnings[0].contains("ISTIO_METAJSON_LABELS"), "{warnings:?}");
    }
}
