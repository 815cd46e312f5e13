//! Joining what is injected with what the user wrote (contract 3.4).

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::pod;

/// Written by the injector: what it added.
pub(crate) const STATUS: &str = "sidecar.istio.io/status";
/// Written by the injector: the user's own fields for the injected containers.
pub(crate) const OVERRIDES: &str = "proxy.istio.io/overrides";

/// The status annotation, keys in Istio's order; an empty list is `null`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    pub init_containers: Option<Vec<String>>,
    pub containers: Option<Vec<String>>,
    pub volumes: Option<Vec<String>>,
    pub image_pull_secrets: Option<Vec<String>>,
    pub revision: String,
}

/// The user's own containers of names that templates have too, `istio-proxy` above all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Overrides {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub init_containers: Vec<Value>,
}

impl Overrides {
    pub(crate) fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.init_containers.is_empty()
    }

    /// Lays the user's fragments of this name over a rendered container; the user wins. Image `auto` keeps the template's.
    pub(crate) fn lay_over(&self, container: &mut Value) {
        let name = pod::name(container).to_owned();
        for fragment in self.containers.iter().chain(&self.init_containers).filter(|fragment| pod::name(fragment) == name) {
            let mut fragment = fragment.clone();
            if let Some(fields) = fragment.as_object_mut().filter(|fields| fields.get("image").and_then(Value::as_str) == Some("auto")) {
                fields.remove("image");
            }
            merge(container, &fragment);
        }
    }
}

/// Kubernetes' strategic merge, as far as containers need it: mappings field by field, keyed lists item by item, the rest replaced.
pub(crate) fn merge(base: &mut Value, patch: &Value) {
    let (Some(fields), Some(changes)) = (base.as_object_mut(), patch.as_object()) else {
        *base = patch.clone();
        return;
    };
    for (field, change) in changes {
        merge_field(fields, field, change);
    }
}

fn merge_field(fields: &mut Map<String, Value>, field: &str, change: &Value) {
    match (fields.get_mut(field), change, merge_key(field)) {
        (_, Value::Null, _) => {
            fields.remove(field);
        }
        (Some(Value::Array(items)), Value::Array(changes), Some(key)) => merge_items(items, changes, key),
        (Some(old), change, _) if old.is_object() => merge(old, change),
        _ => {
            fields.insert(field.to_owned(), change.clone());
        }
    }
}

/// A user's own lists may be long: items are found by a table of their keys. The first item of a key is the one that is meant.
fn merge_items(items: &mut Vec<Value>, changes: &[Value], key: &str) {
    let present = items.iter().enumerate().rev();
    let mut places: HashMap<Value, usize> = present.filter_map(|(place, item)| Some((item.get(key)?.clone(), place))).collect();
    for change in changes {
        match change.get(key).and_then(|value| places.get(value)).and_then(|place| items.get_mut(*place)) {
            Some(item) => merge(item, change),
            None => {
                if let Some(value) = change.get(key) {
                    places.insert(value.clone(), items.len());
                }
                items.push(change.clone());
            }
        }
    }
}

/// The `patchMergeKey` of a list in Kubernetes' Container and PodSpec types.
fn merge_key(field: &str) -> Option<&'static str> {
    match field {
        "env" => Some("name"),
        "volumeMounts" => Some("mountPath"),
        "volumeDevices" => Some("devicePath"),
        "ports" => Some("containerPort"),
        "hostAliases" => Some("ip"),
        "topologySpreadConstraints" => Some("topologyKey"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::merge;

    #[test]
    fn keyed_lists_merge_by_key_other_lists_are_replaced_and_null_removes() {
        let mut base = json!({
            "args": ["a", "b"],
            "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }],
            "resources": { "limits": { "cpu": "2", "memory": "1Gi" } },
            "lifecycle": { "preStop": {} },
        });
        merge(
            &mut base,
            &json!({
                "args": ["c"],
                "env": [{ "name": "B", "value": "3" }, { "name": "C", "value": "4" }],
                "resources": { "limits": { "cpu": "4" } },
                "lifecycle": null,
            }),
        );
        assert_eq!(
            base,
            json!({
                "args": ["c"],
                "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "3" }, { "name": "C", "value": "4" }],
                "resources": { "limits": { "cpu": "4", "memory": "1Gi" } },
            })
        );
    }
}
