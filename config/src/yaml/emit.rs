//! JSON values as YAML text, in the form `kubectl get -o yaml` prints.

use serde_json::Value;

use super::{Scalar, resolve};

/// The value as a YAML document without `---`, ending in a line break.
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => mapping(&mut out, map, 0),
        Value::Array(items) if !items.is_empty() => sequence(&mut out, items, 0),
        other => {
            inline(&mut out, other, 0);
        }
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n(' ', depth));
}

fn mapping(out: &mut String, map: &serde_json::Map<String, Value>, depth: usize) {
    for (index, (key, value)) in map.iter().enumerate() {
        if index > 0 {
            indent(out, depth);
        }
        out.push_str(&string(key));
        out.push(':');
        match value {
            Value::Object(map) if !map.is_empty() => {
                out.push('\n');
                indent(out, depth + 2);
                mapping(out, map, depth + 2);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                indent(out, depth);
                sequence(out, items, depth);
            }
            other => {
                out.push(' ');
                inline(out, other, depth + 2);
            }
        }
    }
}

fn sequence(out: &mut String, items: &[Value], depth: usize) {
    for (index, value) in items.iter().enumerate() {
        if index > 0 {
            indent(out, depth);
        }
        out.push_str("- ");
        match value {
            Value::Object(map) if !map.is_empty() => mapping(out, map, depth + 2),
            Value::Array(items) if !items.is_empty() => sequence(out, items, depth + 2),
            other => inline(out, other, depth + 2),
        }
    }
}

/// A scalar or an empty collection, with the line break. `depth` is where the lines of a block scalar start.
fn inline(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::String(text) if is_block(text) => return block(out, text, depth),
        Value::String(text) => out.push_str(&string(text)),
        other => out.push_str(&other.to_string()),
    }
    out.push('\n');
}

/// Whether a text is best and safely written as a literal block: several printable lines, the first not indented.
fn is_block(text: &str) -> bool {
    text.contains('\n')
        && !text.starts_with([' ', '\n', '\t'])
        && text.chars().all(|c| matches!(c, '\n' | '\t') || !(c.is_control() || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}')))
}

fn block(out: &mut String, text: &str, depth: usize) {
    let body = text.trim_end_matches('\n');
    out.push_str(match text.len() - body.len() {
        0 => "|-\n",
        1 => "|\n",
        _ => "|+\n",
    });
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        if !line.is_empty() {
            indent(out, depth);
            out.push_str(line);
        }
        out.push('\n');
    }
}

/// A string on one line: plain where every YAML reader takes it for the same string, else in double quotes.
fn string(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ' ' | ':' | '+' | '=' | '@' | '$' | '(' | ')');
    let safe = text.chars().all(plain)
        && text.starts_with(|c: char| c.is_alphabetic() || matches!(c, '/' | '$' | '('))
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && matches!(resolve(text), Scalar::String(_));
    if safe { text.to_owned() } else { Value::from(text).to_string() }
}
