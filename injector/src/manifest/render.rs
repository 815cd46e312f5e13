//! Values as text: YAML that every reader from YAML 1.1 on (kubectl's among them) takes for the same values, and JSON.

use outrigger_config::yaml::{Node, Scalar, resolve};
use serde_json::{Map, Value};

/// How a document is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns by which a mapping is indented in its parent.
    pub step: usize,
    /// Columns by which a sequence is indented in its parent: 0 as kubectl does, or [`Style::step`].
    pub sequence: usize,
}

impl Default for Style {
    /// As kubectl prints.
    fn default() -> Self {
        Self { step: 2, sequence: 0 }
    }
}

/// A value whose mappings have an order.
#[derive(Clone, Debug, PartialEq)]
pub enum Ordered {
    /// A scalar.
    Scalar(Value),
    /// A list.
    List(Vec<Ordered>),
    /// A mapping.
    Map(Vec<(String, Ordered)>),
}

impl Ordered {
    /// The value in the order of `before`, the document it came from. What is new stands behind, by name; `name` and `image` first, as people write.
    #[must_use]
    pub fn like(value: &Value, before: Option<&Node>) -> Ordered {
        match value {
            Value::Array(items) => {
                Ordered::List(items.iter().enumerate().map(|(index, item)| Ordered::like(item, counterpart(item, index, before))).collect())
            }
            Value::Object(map) => {
                let keys = ordered_keys(map, before);
                let entry = |key: &String| Some((key.clone(), Ordered::like(map.get(key)?, before.and_then(|node| node.get(key)))));
                Ordered::Map(keys.iter().filter_map(entry).collect())
            }
            scalar => Ordered::Scalar(scalar.clone()),
        }
    }
}

/// What an item of a list was before: the item of the same name, or the one in the same place.
fn counterpart<'n>(item: &Value, index: usize, before: Option<&'n Node>) -> Option<&'n Node> {
    let items = before?.items();
    match item.get("name").and_then(Value::as_str) {
        Some(name) => items.iter().find(|item| item.get("name").and_then(Node::as_str) == Some(name)),
        None => items.get(index),
    }
}

fn ordered_keys(map: &Map<String, Value>, before: Option<&Node>) -> Vec<String> {
    let old: Vec<&str> = before.map(Node::entries).unwrap_or_default().iter().map(|entry| &*entry.key).collect();
    let mut keys: Vec<String> = map.keys().cloned().collect();
    if old.is_empty() {
        keys.sort_by_key(|key| (key != "name", key != "image"));
    } else {
        let places: std::collections::HashMap<&str, usize> = old.into_iter().zip(0..).collect();
        keys.sort_by_key(|key| places.get(key.as_str()).copied().unwrap_or(usize::MAX));
    }
    keys
}

/// The value as lines that start at column `indent`, without line break behind the last.
#[must_use]
pub fn yaml(value: &Ordered, indent: usize, style: Style) -> String {
    let mut out = " ".repeat(indent);
    block(&mut out, value, indent, style);
    out.truncate(out.trim_end_matches('\n').len());
    out
}

/// As [`yaml`], from where the cursor stands in column `indent`; ends in a line break.
fn block(out: &mut String, value: &Ordered, indent: usize, style: Style) {
    match value {
        Ordered::Map(entries) if !entries.is_empty() => mapping(out, entries, indent, style),
        Ordered::List(items) if !items.is_empty() => sequence(out, items, indent, style),
        Ordered::Scalar(Value::String(text)) if is_block(text) => literal(out, text, indent),
        other => {
            out.push_str(&inline(other));
            out.push('\n');
        }
    }
}

fn mapping(out: &mut String, entries: &[(String, Ordered)], indent: usize, style: Style) {
    for (index, (key, value)) in entries.iter().enumerate() {
        if index > 0 {
            pad(out, indent);
        }
        out.push_str(&string(key));
        out.push(':');
        let child = match value {
            Ordered::Map(entries) if !entries.is_empty() => Some(indent + style.step),
            Ordered::List(items) if !items.is_empty() => Some(indent + style.sequence),
            _ => None,
        };
        match child {
            Some(child) => {
                out.push('\n');
                pad(out, child);
                block(out, value, child, style);
            }
            None => {
                out.push(' ');
                block(out, value, indent + style.step, style);
            }
        }
    }
}

fn sequence(out: &mut String, items: &[Ordered], indent: usize, style: Style) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            pad(out, indent);
        }
        out.push_str("- ");
        block(out, item, indent + 2, style);
    }
}

fn pad(out: &mut String, columns: usize) {
    out.extend(std::iter::repeat_n(' ', columns));
}

/// A scalar or an empty collection on one line; a collection with content as JSON, which is YAML too.
#[must_use]
pub fn inline(value: &Ordered) -> String {
    match value {
        Ordered::Scalar(Value::String(text)) => string(text),
        Ordered::Scalar(Value::Number(number)) => self::number(&number.to_string()),
        Ordered::Scalar(other) => other.to_string(),
        Ordered::List(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Ordered::Map(entries) => {
            let entry = |(key, value): &(String, Ordered)| format!("{}: {}", quoted(key), inline(value));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

/// A number with an exponent needs a point and a sign to be a number in all of YAML 1.1.
fn number(text: &str) -> String {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return text.to_owned() };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['-', '+']) { "" } else { "+" };
    format!("{mantissa}{point}e{sign}{exponent}")
}

/// Whether a text is best and safely written as a literal block: several printable lines, the first not indented.
fn is_block(text: &str) -> bool {
    // Many line breaks at the end are legible only in quotes; besides, then nothing depends on the lines that follow the value.
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.ends_with('\n')
        && !body.starts_with([' ', '\n', '\t'])
        && body.chars().all(|c| matches!(c, '\n' | '\t') || is_printable(c))
}

fn literal(out: &mut String, text: &str, indent: usize) {
    out.push_str(if text.ends_with('\n') { "|\n" } else { "|-\n" });
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        if !line.is_empty() {
            pad(out, indent);
            out.push_str(line);
        }
        out.push('\n');
    }
}

/// A string on one line: plain where every reader takes it for the same string, else in double quotes.
#[must_use]
pub fn string(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ' ' | ':' | '+' | '=' | '@' | '$' | '(' | ')');
    let safe = text.chars().all(plain)
        && starts_plainly(text)
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && matches!(resolve(text), Scalar::String(_));
    // JSON inside of annotations stays legible in single quotes.
    let single = text.contains('"') && text.chars().all(|c| c != '\'' && is_printable(c));
    match (safe, single) {
        (true, _) => text.to_owned(),
        (false, true) => format!("'{text}'"),
        (false, false) => quoted(text),
    }
}

/// Whether a text begins like a word, a path, a variable or a flag.
fn starts_plainly(text: &str) -> bool {
    let flag = text.strip_prefix("--").or_else(|| text.strip_prefix('-')).unwrap_or(text);
    flag.starts_with(|c: char| c.is_ascii_alphabetic()) || text.starts_with(['/', '$', '('])
}

/// In double quotes, with the escapes that YAML and JSON share.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_printable(c) => out.push(c),
            c => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    out.push('"');
    out
}

/// Whether YAML lets the character stand as it is. All that is not printable lies in the basic plane, so that no escape needs a pair.
fn is_printable(c: char) -> bool {
    !(c.is_control() || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}'))
}

/// The value as JSON, laid out with `indent` per level, or on one line without one. No line break behind it.
#[must_use]
pub fn json(value: &Ordered, indent: Option<&str>) -> String {
    let mut out = String::new();
    json_value(&mut out, value, indent, 0);
    out
}

fn json_value(out: &mut String, value: &Ordered, indent: Option<&str>, depth: usize) {
    match value {
        Ordered::Scalar(value) => out.push_str(&value.to_string()),
        Ordered::List(items) => {
            json_collection(out, ('[', ']'), items.iter().map(|item| (None, item)), indent, depth);
        }
        Ordered::Map(entries) => {
            json_collection(out, ('{', '}'), entries.iter().map(|(key, value)| (Some(key.as_str()), value)), indent, depth);
        }
    }
}

fn json_collection<'v>(
    out: &mut String,
    (open, close): (char, char),
    items: impl Iterator<Item = (Option<&'v str>, &'v Ordered)>,
    indent: Option<&str>,
    depth: usize,
) {
    let newline = |out: &mut String, depth: usize| {
        if let Some(indent) = indent {
            out.push('\n');
            out.push_str(&indent.repeat(depth));
        }
    };
    out.push(open);
    let mut empty = true;
    for (key, value) in items {
        if !std::mem::replace(&mut empty, false) {
            out.push(',');
        }
        newline(out, depth + 1);
        if let Some(key) = key {
            out.push_str(&Value::from(key).to_string());
            out.push_str(if indent.is_some() { ": " } else { ":" });
        }
        json_value(out, value, indent, depth + 1);
    }
    if !empty {
        newline(out, depth);
    }
    out.push(close);
}

#[cfg(test)]
mod tests {
    use outrigger_config::yaml::documents;
    use serde_json::{Value, json};

    use super::{Ordered, Style, json as to_json, string, yaml};

    fn rendered(value: &Value) -> String {
        yaml(&Ordered::like(value, None), 0, Style::default())
    }

    #[test]
    fn texts_that_look_like_something_else_are_quoted() {
        for text in [
            "yes",
            "No",
            "on",
            "y",
            "null",
            "~",
            "true",
            "0x1f",
            "0644",
            "0o17",
            "1e3",
            "1_000",
            ".5",
            "1.5",
            "12:30:45",
            "2001-12-14",
            "-",
            "- a",
            "=",
            "<<",
            "!tag",
            "&a",
            "*a",
            "a: b",
            "a #b",
            "#",
            "",
            " a",
            "a ",
            "a:",
            "@x",
            "`x",
            "%x",
            "{",
            "[",
            "|",
            ">",
            "\"",
            "'",
            "a\tb",
            "---",
            "...",
            "é",
            ".inf",
            ".nan",
            "a\u{85}b",
            "a\u{7f}b",
            "\u{feff}",
        ] {
            let emitted = string(text);
            assert!(emitted.len() >= 2 && emitted.starts_with(['"', '\'']) && emitted.ends_with(['"', '\'']), "{text:?} became {emitted}");
        }
        for text in ["web", "/healthz", "example.com/web:v1", "$(POD_NAMESPACE).svc.cluster.local", "--flag=1", "-c", "a b"] {
            assert_eq!(string(text), text);
        }
    }

    #[test]
    fn the_layout_is_kubectls() {
        let value = json!({
            "spec": {"containers": [{"image": "i", "name": "web", "command": ["sh", "-c", "set -e\necho hi\n"], "env": [], "resources": {}}]},
            "nested": [[1, 2], ["a"]],
        });
        let expected = "nested:\n- - 1\n  - 2\n- - a\nspec:\n  containers:\n  - name: web\n    image: i\n    command:\n    - sh\n    - -c\n    - |\n      set -e\n      echo hi\n    env: []\n    resources: {}";
        assert_eq!(rendered(&value), expected);
    }

    #[test]
    fn what_is_rendered_reads_back_the_same() {
        let value = json!({
            "big": 1e21, "small": 1.5e-9, "whole": 10.0, "max": u64::MAX, "min": i64::MIN,
            "script": "a\n  b\n\nc", "blank lines": "a\n\n\n", "starts": " a\nb", "tabs": "a\tb\n\tc\n", "bell": "\u{7}", "wide": "é 😀\nü\n", "cr": "a\r\nb",
            "trailing": "a  \nb ", "yes": "yes", "": "", "a: b": null, "list": [null, true, [], {}, [[]], "x\ny"],
        });
        for style in [Style::default(), Style { step: 4, sequence: 4 }, Style { step: 2, sequence: 2 }] {
            let text = yaml(&Ordered::like(&value, None), 0, style);
            let read = documents(&text).remove(0).node.unwrap_or_else(|error| panic!("{error:?}\n{text}")).to_json();
            assert_eq!(read, value, "{text}");
        }
    }

    #[test]
    fn the_order_of_the_document_is_kept_and_new_fields_follow() {
        let before = documents("z: 1\na: {w: 1, v: 2}\nl:\n- {q: 1, name: b}\n").remove(0).node.unwrap();
        let value = json!({"a": {"v": 2, "w": 1, "b": 0}, "z": 1, "l": [{"name": "n"}, {"name": "b", "q": 1}], "c": 3});
        assert_eq!(
            to_json(&Ordered::like(&value, Some(&before)), None),
            r#"{"z":1,"a":{"w":1,"v":2,"b":0},"l":[{"name":"n"},{"q":1,"name":"b"}],"c":3}"#
        );
        assert_eq!(
            to_json(&Ordered::like(&json!({"a": [1, {}], "b": []}), None), Some("  ")),
            "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}"
        );
    }
}
