//! Writing into objects kept as JSON. Indexing would panic where a manifest has a text in place of a mapping.

use serde_json::{Map, Value};

/// Puts a value at a path of keys; whatever stands in the way and is no mapping is replaced by one.
pub fn put(tree: &mut Value, path: &[&str], value: Value) {
    let Some((key, rest)) = path.split_first() else {
        *tree = value;
        return;
    };
    if !tree.is_object() {
        *tree = Value::Object(Map::new());
    }
    if let Some(object) = tree.as_object_mut() {
        put(object.entry(*key).or_insert(Value::Null), rest, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_stands_in_the_way_is_replaced() {
        let mut tree = json!({"metadata": {"name": "a", "annotations": "none"}});
        put(&mut tree, &["metadata", "annotations", "x"], json!("y"));
        assert_eq!(tree, json!({"metadata": {"name": "a", "annotations": {"x": "y"}}}));
    }
}
