//! From a [`Node`] tree to typed structs, collecting every problem instead of stopping at the first.
//!
//! A type that can be read implements [`Decode`]; structs and enums of the API get it from the macros `api_struct!` and
//! `api_enum!`, which name each field once. A value that cannot be read becomes its type's default and leaves a [`Problem`]:
//! the caller drops the object, but the user hears about all of its faults at once.

mod macros;
mod path;
mod primitive;
#[cfg(test)]
mod tests;

pub use path::{Path, Step, camel, is_camel_of, same_field, steps};
pub use primitive::{Bytes, IntOrString, Json, parse_duration};

pub(crate) use macros::{api_enum, api_struct, field_name};

use crate::diagnostic::Severity;
use crate::yaml::{Entry, Node, Position, Value};

/// A type that can be read from a document. `Default` is the value of an absent field.
pub trait Decode: Default {
    /// Reads `node`; problems go to `cx`, and then the result is (partly) default.
    fn decode(node: &Node, path: &Path<'_>, cx: &mut Decoder) -> Self;
}

/// Whose rules the document follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Protobuf JSON: lowerCamelCase or snake_case, integers may be strings, every field of the API is known.
    Istio,
    /// Kubernetes JSON: lowerCamelCase only, integers are numbers, only part of the API is modelled.
    Kubernetes,
}

/// Something wrong at a place in the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Level; an error means that the object cannot be used.
    pub severity: Severity,
    /// Message code.
    pub code: &'static str,
    /// Where.
    pub position: Position,
    /// Field path.
    pub field: String,
    /// What was found and what was expected.
    pub message: String,
}

/// The state of decoding one object: the dialect and the problems so far.
#[derive(Debug)]
pub struct Decoder {
    dialect: Dialect,
    problems: Vec<Problem>,
}

impl Decoder {
    /// A decoder without problems.
    pub fn new(dialect: Dialect) -> Self {
        Decoder { dialect, problems: Vec::new() }
    }

    /// Whose rules apply.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// All problems, in document order of discovery.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Runs `decode` under another dialect (metadata of an Istio object is Kubernetes').
    pub fn within<T>(&mut self, dialect: Dialect, decode: impl FnOnce(&mut Decoder) -> T) -> T {
        let outer = std::mem::replace(&mut self.dialect, dialect);
        let value = decode(self);
        self.dialect = outer;
        value
    }

    /// Records a schema error (IST0106).
    pub fn error(&mut self, position: Position, path: &Path<'_>, message: impl Into<String>) {
        self.push(Severity::Error, "IST0106", position, path, message.into());
    }

    /// Records a schema warning (IST0133).
    pub fn warning(&mut self, position: Position, path: &Path<'_>, message: impl Into<String>) {
        self.push(Severity::Warning, "IST0133", position, path, message.into());
    }

    /// Records that `node` is not what `expected` names.
    pub fn mismatch(&mut self, node: &Node, path: &Path<'_>, expected: &str) {
        self.error(node.position, path, format!("expected {expected}, found {}", node.describe()));
    }

    fn push(&mut self, severity: Severity, code: &'static str, position: Position, path: &Path<'_>, message: String) {
        self.problems.push(Problem { severity, code, position, field: path.to_string(), message });
    }

    /// The entries of the mapping `node`, after reporting keys that are neither in `fields` nor in `known`. `known` lists
    /// what the API has and this program does not model. `None` when `node` is not a mapping.
    pub fn fields<'n>(&mut self, node: &'n Node, path: &Path<'_>, fields: &[&'static str], known: &[&'static str]) -> Option<Fields<'n>> {
        let Value::Mapping(entries) = &node.value else {
            self.mismatch(node, path, "a mapping");
            return None;
        };
        for entry in entries {
            let named = |name: &&str| self.names(&entry.key, name);
            if !fields.iter().any(named) && !known.iter().any(named) {
                self.unknown(entry, path, fields, known);
            }
        }
        Some(Fields { entries, dialect: self.dialect })
    }

    fn names(&self, key: &str, field: &str) -> bool {
        names(self.dialect, key, field)
    }

    fn unknown(&mut self, entry: &Entry, path: &Path<'_>, fields: &[&'static str], known: &[&'static str]) {
        let suggestion = closest(&entry.key, fields.iter().chain(known).copied());
        // Only part of the Kubernetes API is modelled: without a likely typing error there, say it more quietly.
        let severity = match (self.dialect, &suggestion) {
            (Dialect::Kubernetes, None) => Severity::Info,
            _ => Severity::Warning,
        };
        let message = match suggestion {
            Some(name) => format!("unknown field, did you mean {name:?}? It is ignored"),
            None => "unknown field, it is ignored".to_owned(),
        };
        self.push(severity, "IST0133", entry.key_position, &path.field(&entry.key), message);
    }

    /// Reports more than one of a protobuf `oneof` being set.
    pub fn exclusive(&mut self, node: &Node, path: &Path<'_>, names: &[&'static str]) {
        let set: Vec<&Entry> =
            node.entries().iter().filter(|entry| !entry.value.is_null() && names.iter().any(|name| self.names(&entry.key, name))).collect();
        if let [first, second, ..] = set.as_slice() {
            let message = format!("only one of {:?} and {:?} may be set", first.key, second.key);
            self.error(second.key_position, &path.field(&second.key), message);
        }
    }
}

fn names(dialect: Dialect, key: &str, field: &str) -> bool {
    // Putting a name into camel case leaves its first letter as it is; most comparisons end there.
    if let (Some(a), Some(b)) = (key.as_bytes().first(), field.as_bytes().first())
        && a != b
        && *a != b'_'
        && *b != b'_'
    {
        return false;
    }
    match dialect {
        Dialect::Istio => same_field(key, field),
        Dialect::Kubernetes => is_camel_of(key, field),
    }
}

/// The entries of a mapping, to be taken field by field.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'n> {
    entries: &'n [Entry],
    dialect: Dialect,
}

impl<'n> Fields<'n> {
    /// The value of a field; its default when absent or null.
    pub fn get<T: Decode>(&self, name: &'static str, path: &Path<'_>, cx: &mut Decoder) -> T {
        match self.node(name) {
            Some(node) if !node.is_null() => T::decode(node, &path.field(name), cx),
            _ => T::default(),
        }
    }

    /// The node of a field, also when it is null.
    pub fn node(&self, name: &str) -> Option<&'n Node> {
        self.entries.iter().rev().find(|entry| names(self.dialect, &entry.key, name)).map(|entry| &entry.value)
    }
}

/// The candidate a user most likely meant, in lowerCamelCase: at most a third of the letters wrong, two at most.
pub fn closest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    let limit = (word.chars().count() / 3).min(2);
    candidates
        .map(|name| camel(name).collect::<String>())
        .map(|name| (edits(&word.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

/// Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let substitution = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut cost = substitution.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                cost = cost.min(rows[i - 2][j - 2] + 1);
            }
            row.push(cost);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
