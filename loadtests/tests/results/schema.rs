//! The JSON keeps to its published schema, docs/load.schema.json.

use outrigger_loadtests::{Answer, Report, merge::merge};
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
            "type" | "const" | "minimum" => {}
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

fn broken(report: &Report) -> Vec<String> {
    let schema = include_str!("../../../docs/load.schema.json");
    let schema: Value = serde_json::from_str(schema).expect("docs/load.schema.json is JSON");
    violations(&schema, &schema, &serde_json::to_value(report).expect("a report is JSON"), "report")
}

#[test]
fn reports_single_and_merged_keep_to_the_schema() {
    let mut report = shopfront::report(1.0);
    assert_eq!(broken(&report), Vec::<String>::new());
    report.answers.push(Answer::default());
    report.grpc_statuses.insert("0".to_owned(), 3);
    report.generator.limits.push("busy".to_owned());
    assert_eq!(broken(&report), Vec::<String>::new());
    assert_eq!(broken(&merge(vec![report.clone(), report])), Vec::<String>::new());
}

#[test]
fn what_breaks_the_schema_is_found() {
    let report = shopfront::report(1.0);
    assert_eq!(broken(&Report { schema: 2, ..report.clone() }), ["report.schema: want 1, got 2"]);
    assert_eq!(broken(&Report { seconds: -1.0, ..report }), ["report.seconds: -1.0 is below 0"]);
}
