//! Looking into a pod given as JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::InjectError;

/// A map of strings in `metadata`, `labels` or `annotations`. Values that are no strings (an unquoted `true` that never met an API server)
/// count as their text.
pub(crate) fn strings(pod: &Value, field: &str) -> BTreeMap<String, String> {
    let map = pod.pointer("/metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_object);
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    map.into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}

/// A list in `spec`; empty if absent.
pub(crate) fn list<'p>(pod: &'p Value, field: &str) -> &'p [Value] {
    pod.pointer("/spec").and_then(|spec| spec.get(field)).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A list in `spec`, made if absent.
pub(crate) fn list_mut<'p>(pod: &'p mut Value, field: &'static str) -> Result<&'p mut Vec<Value>, InjectError> {
    let spec = object_mut(pod, "spec")?;
    spec.entry(field)
        .and_modify(null_to_list)
        .or_insert_with(|| Value::Array(Vec::new()))
        .as_array_mut()
        .ok_or(InjectError::Shape { field, expected: "a list" })
}

/// `metadata` or `spec`.
pub(crate) fn object_mut<'p>(pod: &'p mut Value, field: &'static str) -> Result<&'p mut Map<String, Value>, InjectError> {
    pod.get_mut(field).and_then(Value::as_object_mut).ok_or(InjectError::Shape { field, expected: "a mapping" })
}

/// `metadata.labels` or `metadata.annotations`, made if absent.
pub(crate) fn strings_mut<'p>(pod: &'p mut Value, field: &'static str) -> Result<&'p mut Map<String, Value>, InjectError> {
    let metadata = object_mut(pod, "metadata")?;
    metadata
        .entry(field)
        .and_modify(|value| {
            if value.is_null() {
                *value = Value::Object(Map::new());
            }
        })
        .or_insert_with(|| Value::Object(Map::new()))
        .as_object_mut()
        .ok_or(InjectError::Shape { field, expected: "a mapping" })
}

/// Name of a container, volume, variable.
pub(crate) fn name(value: &Value) -> &str {
    value.get("name").and_then(Value::as_str).unwrap_or_default()
}

fn null_to_list(value: &mut Value) {
    if value.is_null() {
        *value = Value::Array(Vec::new());
    }
}

/// Removes a list of `spec` that is empty.
pub(crate) fn drop_empty(pod: &mut Value, field: &'static str) -> Result<(), InjectError> {
    if list(pod, field).is_empty() {
        object_mut(pod, "spec")?.remove(field);
    }
    Ok(())
}
