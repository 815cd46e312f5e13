//! Typed access to the fields of a text, with the path in every complaint.

use std::collections::BTreeMap;

use outrigger_config::yaml;
use serde_json::{Map, Value};

use super::{ConfigurationError, Part};

/// A mapping somewhere in a text. An absent one has no fields.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    part: Part,
    path: String,
    map: Map<String, Value>,
}

type Read<T> = Result<Option<T>, ConfigurationError>;

impl Fields {
    /// The whole text.
    pub(super) fn of_text(part: Part, text: &str) -> Result<Self, ConfigurationError> {
        let error = |message: String| ConfigurationError { part, field: String::new(), message };
        let value = match yaml::documents(text).into_iter().next().map(|document| document.node) {
            None => Value::Null,
            Some(Err(syntax)) => return Err(error(format!("line {}: {}", syntax.position, syntax.message))),
            Some(Ok(node)) => node.to_json(),
        };
        let whole = Self { part, path: String::new(), map: Map::new() };
        match value {
            Value::Null => Ok(whole),
            Value::Object(map) => Ok(Self { map, ..whole }),
            _ => Err(error("expected a mapping".to_owned())),
        }
    }

    /// A mapping below this one.
    pub(super) fn section(&self, name: &str) -> Result<Self, ConfigurationError> {
        let map = match self.get(name) {
            None => Map::new(),
            Some(Value::Object(map)) => map.clone(),
            Some(_) => return Err(self.error(name, "expected a mapping")),
        };
        Ok(Self { part: self.part, path: self.path_of(name), map })
    }

    /// Names of the fields.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.map.keys().map(String::as_str)
    }

    /// The fields themselves.
    pub(super) fn map(&self) -> &Map<String, Value> {
        &self.map
    }

    /// A field that is there and not null.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// Text; numbers and booleans count as their text. Empty text counts as absent, as in Helm's values.
    pub(super) fn text(&self, name: &str) -> Read<String> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(value.to_string())),
            Some(_) => Err(self.error(name, "expected text")),
        }
    }

    /// True or false, also as text: Helm users quote.
    pub(super) fn boolean(&self, name: &str) -> Read<bool> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) if text == "true" => Ok(Some(true)),
            Some(Value::String(text)) if text == "false" => Ok(Some(false)),
            Some(_) => Err(self.error(name, "expected true or false")),
        }
    }

    /// A number, also as text.
    pub(super) fn number<T: TryFrom<u64>>(&self, name: &str) -> Read<T> {
        let number = match self.get(name) {
            None => return Ok(None),
            Some(Value::String(text)) if text.is_empty() => return Ok(None),
            Some(Value::String(text)) => text.parse().ok(),
            Some(value) => value.as_u64(),
        };
        let fits = number.and_then(|number| T::try_from(number).ok());
        fits.map(Some).ok_or_else(|| self.error(name, "expected a number that fits here"))
    }

    /// A list of texts. A list of mappings with a `name` counts as their names.
    pub(super) fn texts(&self, name: &str) -> Read<Vec<String>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let text = |item: &Value| item.as_str().or_else(|| item.get("name")?.as_str()).map(str::to_owned);
        let texts = value.as_array().and_then(|items| items.iter().map(text).collect::<Option<Vec<_>>>());
        texts.map(Some).ok_or_else(|| self.error(name, "expected a list of names"))
    }

    /// A mapping of texts; numbers and booleans count as their text.
    pub(super) fn strings(&self, name: &str) -> Result<BTreeMap<String, String>, ConfigurationError> {
        let section = self.section(name)?;
        section.names().map(|key| Ok((key.to_owned(), section.text(key)?.unwrap_or_default()))).collect()
    }

    /// A complaint about a field.
    pub(super) fn error(&self, name: &str, message: impl Into<String>) -> ConfigurationError {
        ConfigurationError { part: self.part, field: self.path_of(name), message: message.into() }
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}
