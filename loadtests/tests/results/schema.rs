//! The JSON keeps to its published schema, docs/load.schema.json.

use outrigger_loadtests::{
    Answer, Report,
    compare::{Comparison, compare},
    find_max::{Found, Probe},
    merge::merge,
    report::SCHEMA,
};
use serde::Serialize;
use serde_json::Value;

use crate::shopfront;

/// What in `value` breaks `schema`. Knows the keywords that the schema uses and no others, so that none goes unchecked.
fn violations(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let keywords = schema.as_object().expect("a schema is an object");
    let mut wrong = Vec::new();
    for (keyword, want) in keywords {
        match keyword.as_str() {
            "$schema" | "title" | "description" | "$defs" => {}
            "$ref" => {
                let name = want.as_str().and_then(|path| path.strip_prefix("#/$defs/")).expect("a local reference");
                wrong.extend(violations(root, &root["$defs"][name], value, at));
            }
            "type" if !has_type(want, value) => wrong.push(format!("{at}: want {want}, got {value}")),
            "oneOf" => {
                let tried = want.as_array().expect("alternatives").iter().map(|schema| violations(root, schema, value, at));
                let tried: Vec<Vec<String>> = tried.collect();
                let closest = tried.iter().min_by_key(|wrong| wrong.len()).cloned().unwrap_or_default();
                match tried.iter().filter(|wrong| wrong.is_empty()).count() {
                    0 => wrong.extend(closest),
                    1 => {}
                    several => wrong.push(format!("{at}: fits {several} of the alternatives")),
                }
            }
            "enum" if !want.as_array().is_some_and(|any| any.contains(value)) => {
                wrong.push(format!("{at}: want one of {want}, got {value}"))
            }
            "const" if want != value => wrong.push(format!("{at}: want {want}, got {value}")),
            "minimum" if value.as_f64() < want.as_f64() => wrong.push(format!("{at}: {value} is below {want}")),
            "required" => {
                let missing = want.as_array().into_iter().flatten().filter(|name| value.get(name.as_str().unwrap_or_default()).is_none());
                wrong.extend(missing.map(|name| format!("{at}: {name} is missing")));
            }
            "properties" | "additionalProperties" => {}
            "items" => wrong.extend(
                value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .enumerate()
                    .flat_map(|(i, item)| violations(root, want, item, &format!("{at}[{i}]"))),
            ),
            "type" | "const" | "enum" | "minimum" => {}
            other => panic!("{at}: this test does not know the keyword {other}"),
        }
    }
    wrong.extend(members(root, schema, value, at));
    wrong
}

fn members(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let known = |name: &str| schema.get("properties").and_then(|known| known.get(name));
    let others = schema.get("additionalProperties");
    let member = |(name, value): (&String, &Value)| match (known(name), others) {
        (Some(schema), _) => violations(root, schema, value, &format!("{at}.{name}")),
        (None, Some(Value::Bool(false))) => vec![format!("{at}: {name} is not in the schema")],
        (None, Some(schema @ Value::Object(_))) => violations(root, schema, value, &format!("{at}.{name}")),
        (None, _) => Vec::new(),
    };
    value.as_object().into_iter().flatten().flat_map(member).collect()
}

fn has_type(want: &Value, value: &Value) -> bool {
    let one = |want: &Value| match want.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        other => panic!("this test does not know the type {other:?}"),
    };
    want.as_array().map_or_else(|| one(want), |any| any.iter().any(one))
}

fn broken(printed: &impl Serialize) -> Vec<String> {
    let schema = include_str!("../../../docs/load.schema.json");
    let schema: Value = serde_json::from_str(schema).expect("docs/load.schema.json is JSON");
    violations(&schema, &schema, &as_printed(printed), "report")
}

/// By way of text, as `null` is what becomes of numbers that are not finite.
fn as_printed(printed: &impl Serialize) -> Value {
    let text = serde_json::to_string(printed).expect("it is JSON");
    serde_json::from_str(&text).expect("it is JSON")
}

fn kinds() -> (Report, Found, Comparison) {
    let report = shopfront::report(1.0);
    let probe = Probe { rate: 100.0, achieved: 99.0, ok: true, checks: report.checks.clone(), limits: vec!["busy".to_owned()] };
    let search = Found { schema: SCHEMA, rate: Some(100.0), probes: vec![probe], report: Some(report.clone()), ..Found::default() };
    let run = ("a.json".to_owned(), report.clone());
    (report, search, compare(std::slice::from_ref(&run), std::slice::from_ref(&run)))
}

#[test]
fn searches_with_and_without_a_rate_keep_to_the_schema() {
    let (_, search, _) = kinds();
    assert_eq!(broken(&search), Vec::<String>::new());
    assert_eq!(broken(&Found { rate: None, report: None, ..search }), Vec::<String>::new());
}

#[test]
fn comparisons_keep_to_the_schema_also_of_runs_without_answers() {
    let (report, _, comparison) = kinds();
    assert_eq!(broken(&comparison), Vec::<String>::new());
    let empty = ("b.json".to_owned(), Report::default());
    let run = ("a.json".to_owned(), report);
    assert_eq!(broken(&compare(&[run.clone(), run], &[empty.clone(), empty])), Vec::<String>::new());
}

#[test]
fn one_field_tells_the_three_kinds_apart() {
    let (report, search, comparison) = kinds();
    for printed in [as_printed(&report), as_printed(&search), as_printed(&comparison)] {
        let telling = ["histograms", "probes", "metrics"].into_iter().filter(|name| printed.get(name).is_some());
        assert_eq!(telling.count(), 1, "{printed}");
    }
}

#[test]
fn reports_single_and_merged_keep_to_the_schema() {
    let mut report = shopfront::report(1.0);
    assert_eq!(broken(&report), Vec::<String>::new());
    report.answers.push(Answer::default());
    report.stages.push(outrigger_loadtests::report::StageReport::default());
    report.grpc_statuses.insert("0".to_owned(), 3);
    report.generator.limits.push("busy".to_owned());
    assert_eq!(broken(&report), Vec::<String>::new());
    assert_eq!(broken(&merge(vec![report.clone(), report])), Vec::<String>::new());
}

#[test]
fn what_breaks_the_schema_is_found() {
    let report = shopfront::report(1.0);
    assert_eq!(broken(&Report { schema: 1, ..report.clone() }), ["report.schema: want 2, got 1"]);
    assert_eq!(broken(&Report { seconds: -1.0, ..report }), ["report.seconds: -1.0 is below 0"]);
}
