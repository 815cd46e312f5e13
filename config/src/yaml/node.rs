//! The tree a document is read into, with a position at every node.

use std::fmt;

use super::scalar::{self, Scalar};

/// A place in a text: line and column in characters, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Position {
    /// Line, from 1; 0 means "nowhere".
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value of a YAML or JSON document.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where the value starts. For an alias, where the alias is written.
    pub position: Position,
    /// The value.
    pub value: Value,
}

/// The three shapes of a YAML value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A single value. Whether `text` means a string, a number or a boolean follows from `quoted`: see [`Node::scalar`].
    Scalar {
        /// The text after unquoting, unfolding and unescaping.
        text: Box<str>,
        /// True when it can only be a string: quoted, a block scalar, or tagged `!!str`.
        quoted: bool,
    },
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping in the order written. Keys are unique: of a repeated key the last value counts, as for kubectl.
    Mapping(Vec<Entry>),
}

/// One key of a mapping with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key as JSON would have it (`on:` is the key `true`, as for kubectl).
    pub key: Box<str>,
    /// Where the key is written.
    pub key_position: Position,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The value of a scalar under YAML 1.1 rules as go-yaml applies them; `None` for sequences and mappings.
    pub fn scalar(&self) -> Option<Scalar<'_>> {
        match &self.value {
            Value::Scalar { text, quoted: true } => Some(Scalar::String(text)),
            Value::Scalar { text, quoted: false } => Some(scalar::resolve(text)),
            _ => None,
        }
    }

    /// True for `null`, `~` and a value left empty.
    pub fn is_null(&self) -> bool {
        matches!(self.scalar(), Some(Scalar::Null))
    }

    /// The entries of a mapping; empty for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a sequence; empty for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The entry of exactly this key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| &*entry.key == key)
    }

    /// The value of exactly this key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The text of a string scalar.
    pub fn as_str(&self) -> Option<&str> {
        match self.scalar() {
            Some(Scalar::String(text)) => Some(text),
            _ => None,
        }
    }

    /// What the value is, for messages: `the number 3`, `a mapping`.
    pub fn describe(&self) -> String {
        match (&self.value, self.scalar()) {
            (Value::Sequence(_), _) => "a list".into(),
            (Value::Mapping(_), _) => "a mapping".into(),
            (_, Some(Scalar::Null)) => "null".into(),
            (Value::Scalar { text, .. }, Some(Scalar::Bool(value))) if **text != *value.to_string() => {
                format!("the boolean {value} (YAML takes {text} for one)")
            }
            (_, Some(Scalar::Bool(value))) => format!("the boolean {value}"),
            (Value::Scalar { text, .. }, Some(Scalar::Int(_) | Scalar::UInt(_) | Scalar::Float(_))) => {
                format!("the number {}", shorten(text))
            }
            (Value::Scalar { text, .. }, _) => format!("the string {:?}", shorten(text)),
        }
    }

    /// The same value as JSON. Numbers JSON cannot express (`.nan`, `.inf`) become strings.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Sequence(items) => items.iter().map(Node::to_json).collect(),
            Value::Mapping(entries) => {
                serde_json::Value::Object(entries.iter().map(|entry| (entry.key.to_string(), entry.value.to_json())).collect())
            }
            Value::Scalar { text, .. } => match self.scalar() {
                None | Some(Scalar::Null) => serde_json::Value::Null,
                Some(Scalar::Bool(value)) => value.into(),
                Some(Scalar::Int(value)) => value.into(),
                Some(Scalar::UInt(value)) => value.into(),
                Some(Scalar::Float(value)) => {
                    serde_json::Number::from_f64(value).map_or_else(|| text.to_string().into(), serde_json::Value::Number)
                }
                Some(Scalar::String(value)) => value.into(),
            },
        }
    }

    /// A tree without positions from JSON, for objects that programs make.
    pub fn from_json(value: &serde_json::Value) -> Node {
        let scalar = |text: String, quoted| Value::Scalar { text: text.into(), quoted };
        let value = match value {
            serde_json::Value::Null => scalar("null".into(), false),
            serde_json::Value::Bool(value) => scalar(value.to_string(), false),
            serde_json::Value::Number(number) => scalar(number.to_string(), false),
            serde_json::Value::String(text) => scalar(text.clone(), true),
            serde_json::Value::Array(items) => Value::Sequence(items.iter().map(Node::from_json).collect()),
            serde_json::Value::Object(map) => Value::Mapping(
                map.iter()
                    .map(|(key, value)| Entry {
                        key: key.as_str().into(),
                        key_position: Position::default(),
                        value: Node::from_json(value),
                    })
                    .collect(),
            ),
        };
        Node { position: Position::default(), value }
    }
}

/// The first 60 characters of a text on one line, for messages.
fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
