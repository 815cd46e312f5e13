//! The difference between a pod and the injected pod, as a JSON Patch (RFC 6902).
//!
//! Lists whose items have names (containers, volumes, variables) are compared by name, so that a container put in front reads as one
//! addition in the audit log and not as a rewriting of all that follow. Other lists are compared item by item.

use serde::Serialize;
use serde_json::Value;

use crate::pod;

/// One step of a patch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Operation<'v> {
    op: &'static str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'v Value>,
}

/// Steps that make `before` into `after`.
#[must_use]
pub fn difference<'v>(before: &Value, after: &'v Value) -> Vec<Operation<'v>> {
    let mut steps = Vec::new();
    compare(before, after, &mut String::new(), &mut steps);
    steps
}

fn compare<'v>(before: &Value, after: &'v Value, path: &mut String, steps: &mut Vec<Operation<'v>>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            for key in old.keys().filter(|key| !new.contains_key(*key)) {
                below(path, key, |path| steps.push(remove(path)));
            }
            for (key, value) in new {
                below(path, key, |path| match old.get(key) {
                    Some(old) => compare(old, value, path, steps),
                    None => steps.push(add(path, value)),
                });
            }
        }
        (Value::Array(old), Value::Array(new)) if have_names(old) && have_names(new) => compare_named(old, new, path, steps),
        (Value::Array(old), Value::Array(new)) => compare_items(old, new, path, steps),
        (before, after) if before == after => {}
        (_, after) => steps.push(Operation { op: "replace", path: path.clone(), value: Some(after) }),
    }
}

fn compare_items<'v>(old: &[Value], new: &'v [Value], path: &mut String, steps: &mut Vec<Operation<'v>>) {
    for index in (new.len()..old.len()).rev() {
        below(path, &index.to_string(), |path| steps.push(remove(path)));
    }
    for (index, value) in new.iter().enumerate() {
        below(path, &index.to_string(), |path| match old.get(index) {
            Some(old) => compare(old, value, path, steps),
            None => steps.push(add(path, value)),
        });
    }
}

/// Removes what is gone or has moved, from the back so that positions hold; then walks the new order, comparing what stayed and adding the rest.
fn compare_named<'v>(old: &[Value], new: &'v [Value], path: &mut String, steps: &mut Vec<Operation<'v>>) {
    let kept = in_same_order(old, new);
    for index in (0..old.len()).rev().filter(|index| !kept.contains(index)) {
        below(path, &index.to_string(), |path| steps.push(remove(path)));
    }
    let mut kept = kept.into_iter().peekable();
    for (index, value) in new.iter().enumerate() {
        let same = kept.next_if(|position| pod::name(&old[*position]) == pod::name(value));
        below(path, &index.to_string(), |path| match same {
            Some(position) => compare(&old[position], value, path, steps),
            None => steps.push(add(path, value)),
        });
    }
}

/// Positions of old items that appear among the new in the same relative order, taken greedily.
fn in_same_order(old: &[Value], new: &[Value]) -> Vec<usize> {
    let mut from = 0;
    let mut kept = Vec::new();
    for value in new {
        if let Some(found) = old[from..].iter().position(|item| pod::name(item) == pod::name(value)) {
            kept.push(from + found);
            from += found + 1;
        }
    }
    kept
}

/// Whether every item has a name of its own. Long lists go item by item: comparing by name takes quadratic time.
fn have_names(items: &[Value]) -> bool {
    const LONG: usize = 256;
    let names: std::collections::BTreeSet<&str> = items.iter().map(pod::name).filter(|name| !name.is_empty()).collect();
    names.len() == items.len() && items.len() <= LONG
}

fn below(path: &mut String, key: &str, step: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push('/');
    for character in key.chars() {
        match character {
            '~' => path.push_str("~0"),
            '/' => path.push_str("~1"),
            character => path.push(character),
        }
    }
    step(path);
    path.truncate(length);
}

fn add<'v>(path: &str, value: &'v Value) -> Operation<'v> {
    Operation { op: "add", path: path.to_owned(), value: Some(value) }
}

fn remove<'v>(path: &str) -> Operation<'v> {
    Operation { op: "remove", path: path.to_owned(), value: None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::difference;

    fn apply(before: &Value, after: &Value) -> Value {
        let steps: json_patch::Patch = serde_json::from_value(json!(difference(before, after))).unwrap();
        let mut result = before.clone();
        json_patch::patch(&mut result, &steps).unwrap();
        result
    }

    #[test]
    fn a_container_put_in_front_is_one_addition() {
        let before = json!({ "c": [{ "name": "a", "v": 1 }, { "name": "b", "v": 1 }] });
        let after = json!({ "c": [{ "name": "x" }, { "name": "a", "v": 1 }, { "name": "b", "v": 2 }] });
        let steps = json!(difference(&before, &after));
        assert_eq!(
            steps,
            json!([
                { "op": "add", "path": "/c/0", "value": { "name": "x" } },
                { "op": "replace", "path": "/c/2/v", "value": 2 },
            ])
        );
        assert_eq!(apply(&before, &after), after);
    }

    #[test]
    fn slashes_and_tildes_in_keys_are_escaped() {
        let (before, after) = (json!({ "a": {} }), json!({ "a": { "x/y~z": 1 } }));
        assert_eq!(json!(difference(&before, &after))[0]["path"], "/a/x~1y~0z");
        assert_eq!(apply(&before, &after), after);
    }

    #[test]
    fn equal_documents_differ_in_nothing() {
        let document = json!({ "a": [{ "name": "x" }, 1, null], "b": null });
        assert_eq!(difference(&document, &document), []);
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..3_u8).prop_map(Value::from),
            "[ab/~]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("[ab/~]{1,2}", inner.clone(), 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
                proptest::collection::vec(("[abcd]", inner), 0..5).prop_map(named),
            ]
        })
    }

    fn named(items: Vec<(String, Value)>) -> Value {
        items.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
    }

    proptest! {
        #[test]
        fn applying_the_difference_gives_the_second_document(before in documents(), after in documents()) {
            prop_assert_eq!(apply(&before, &after), after);
        }
    }
}
