//! For each workload: injected or not, why, what was added, and what its author should know.

use std::collections::BTreeMap;

use outrigger_injector::manifest::{Report, Transformed};
use outrigger_loadtests::table::Paint;
use serde_json::Value;

use super::input::Source;
use super::output::coloured;

/// What happened to all workloads of all sources.
pub fn explain(sources: &[Source], done: &[Transformed], paint: Paint) -> String {
    let mut out = String::new();
    let (mut changed, mut all) = (0, 0);
    for (source, transformed) in sources.iter().zip(done) {
        for report in &transformed.reports {
            all += 1;
            changed += usize::from(report.change.pod.is_some());
            workload(&mut out, source, report, paint);
        }
        for warning in &transformed.warnings {
            out.push_str(&format!("{}:{}\n", source.name, warning.line));
            line(&mut out, "warning", &coloured(paint, "33", &warning.message));
            out.push('\n');
        }
    }
    out.push_str(&format!("{all} workload{}, {changed} injected\n", if all == 1 { "" } else { "s" }));
    out
}

fn workload(out: &mut String, source: &Source, report: &Report, paint: Paint) {
    let verdict = match &report.change.pod {
        Some(_) => coloured(paint, "32", "injected"),
        None => coloured(paint, "33", "not injected"),
    };
    let name = coloured(paint, "1", &report.workload.to_string());
    out.push_str(&format!("{name} ({}:{}): {verdict}\n", source.name, report.line));
    line(out, "why", &report.change.reason);
    if let Some(pod) = &report.change.pod {
        let differences = differences(&report.before, pod);
        if differences.is_empty() {
            line(out, "unchanged", "it was injected before, by the same settings");
        }
        for (what, names) in differences {
            line(out, what, &names.join(", "));
        }
    }
    for warning in &report.change.warnings {
        line(out, "warning", &coloured(paint, "33", warning));
    }
    out.push('\n');
}

fn line(out: &mut String, what: &str, text: &str) {
    out.push_str(&format!("  {what:<16}  {text}\n"));
}

/// Named things of a pod that are new, gone or different, by what they are.
fn differences(before: &Value, after: &Value) -> Vec<(&'static str, Vec<String>)> {
    let mut found = Vec::new();
    for (what, pointer) in [
        ("init containers", "/spec/initContainers"),
        ("containers", "/spec/containers"),
        ("volumes", "/spec/volumes"),
        ("labels", "/metadata/labels"),
        ("annotations", "/metadata/annotations"),
    ] {
        found.extend(compare(before.pointer(pointer), after.pointer(pointer)).map(|names| (what, names)));
    }
    found
}

fn compare(before: Option<&Value>, after: Option<&Value>) -> Option<Vec<String>> {
    let (before, after) = (named(before), named(after));
    let new = after.iter().filter(|(name, value)| before.get(*name) != Some(value)).map(|(name, value)| match before.get(name) {
        Some(old) => format!("~{name}{}", fields(old, value)),
        None => format!("+{name}{}", label(value)),
    });
    let gone = before.keys().filter(|name| !after.contains_key(*name)).map(|name| format!("-{name}"));
    Some(new.chain(gone).collect::<Vec<_>>()).filter(|names| !names.is_empty())
}

/// Entries of a mapping, or the items of a list by their names.
fn named(value: Option<&Value>) -> BTreeMap<String, Value> {
    match value {
        Some(Value::Object(map)) => map.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        Some(Value::Array(items)) => items.iter().filter_map(|item| Some((item.get("name")?.as_str()?.to_owned(), item.clone()))).collect(),
        _ => BTreeMap::new(),
    }
}

/// Which fields of a container changed; nothing for a scalar.
fn fields(old: &Value, new: &Value) -> String {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return String::new() };
    let changed: Vec<&str> = new.keys().filter(|key| old.get(*key) != new.get(*key)).map(String::as_str).collect();
    format!(" ({})", changed.join(", "))
}

/// The value of a short label or annotation.
fn label(value: &Value) -> String {
    value.as_str().filter(|text| text.len() <= 40).map(|text| format!("={text}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::differences;

    #[test]
    fn what_is_new_gone_or_different_is_named() {
        let before =
            json!({"metadata": {"labels": {"a": "1"}}, "spec": {"containers": [{"name": "app", "image": "i", "livenessProbe": {}}]}});
        let after = json!({
            "metadata": {"labels": {"a": "1", "b": "2"}},
            "spec": {"containers": [{"name": "app", "image": "i", "livenessProbe": {"x": 1}}, {"name": "istio-proxy"}]},
        });
        let expected =
            vec![("containers", vec!["~app (livenessProbe)".to_owned(), "+istio-proxy".to_owned()]), ("labels", vec!["+b=2".to_owned()])];
        assert_eq!(differences(&before, &after), expected);
        let back = differences(&after, &before);
        assert_eq!(back[0].1, ["~app (livenessProbe)", "-istio-proxy"]);
    }
}
