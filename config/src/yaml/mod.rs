//! Reading of YAML and JSON text into a tree of [`Node`]s that know their positions.
//!
//! The rules are those of `kubectl` (go-yaml v2 below sigs.k8s.io/yaml): YAML 1.1 scalars, documents divided by `---` lines,
//! merge keys, and the last of repeated keys counts. Documents are read one by one, so that a syntax error spoils only its
//! own. Input may be hostile: sizes, depth and alias expansion are limited, and nothing panics.

mod document;
pub mod emit;
mod json;
mod mapping;
mod node;
mod plain;
mod read;
mod scalar;
#[cfg(test)]
mod tests;

pub use document::{Document, Repeated, documents, read_document, stream};
pub use node::{Entry, Node, Position, Value};
pub use scalar::{Scalar, resolve};

use crate::decode::{Step, same_field, steps};

/// Largest text that is read, in bytes.
pub const MAX_TEXT: usize = 64 << 20;
/// Deepest nesting.
pub const MAX_DEPTH: usize = 100;
/// Most nodes in a document, those made by aliases included. An API server takes at most 3 MiB per object.
pub const MAX_NODES: usize = 1_000_000;

/// Why a document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where.
    pub position: Position,
    /// What was expected.
    pub message: String,
}

/// The position of a field path in a tree, or of the nearest part of it that exists. A scalar or list item is where its value
/// starts, a field with a list or mapping is where its key starts.
pub fn locate(root: &Node, path: &str) -> Position {
    let mut node = root;
    let mut position = root.position;
    for step in steps(path) {
        let entry = |key: &str| node.entries().iter().rev().find(|entry| same_field(&entry.key, key));
        let (place, next) = match step {
            Step::Field(name) => match entry(name) {
                Some(entry) => (entry_position(entry), &entry.value),
                None => break,
            },
            Step::Bracket(text) => match (node.entry(text), text.parse::<usize>().ok().and_then(|i| node.items().get(i))) {
                (Some(entry), _) => (entry_position(entry), &entry.value),
                (None, Some(item)) => (item.position, item),
                (None, None) => break,
            },
        };
        (position, node) = (place, next);
    }
    position
}

fn entry_position(entry: &Entry) -> Position {
    match &entry.value.value {
        Value::Scalar { .. } if !entry.value.is_null() => entry.value.position,
        _ => entry.key_position,
    }
}

/// The path of the mapping entry whose key is written at `position`.
pub fn path_of_key(root: &Node, position: Position) -> Option<String> {
    let inside = |child: &Node, step: String| path_of_key(child, position).map(|rest| join(&step, &rest));
    match &root.value {
        Value::Scalar { .. } => None,
        Value::Sequence(items) => items.iter().enumerate().find_map(|(index, item)| inside(item, format!("[{index}]"))),
        Value::Mapping(entries) => entries.iter().find_map(|entry| {
            let step = entry.key.to_string();
            if entry.key_position == position { Some(step) } else { inside(&entry.value, step) }
        }),
    }
}

fn join(step: &str, rest: &str) -> String {
    let dot = if rest.starts_with('[') { "" } else { "." };
    format!("{step}{dot}{rest}")
}

/// The part of a tree that a path such as `items[3]` leads to.
pub fn descend<'n>(root: &'n Node, path: &str) -> Option<&'n Node> {
    steps(path).try_fold(root, |node, step| match step {
        Step::Field(name) => node.get(name),
        Step::Bracket(text) => node.items().get(text.parse::<usize>().ok()?),
    })
}
