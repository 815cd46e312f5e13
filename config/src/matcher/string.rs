//! String conditions: exact, prefix, regex, presence.

use regex_automata::meta::Regex;
use serde::{Serialize, Serializer};

/// A regular expression that must match a whole value (RE2's FullMatch, as Envoy uses it).
#[derive(Clone, Debug)]
pub struct FullRegex {
    source: String,
    regex: Regex,
}

impl FullRegex {
    /// Compiles `source`; the size of the automaton is bounded.
    ///
    /// # Errors
    /// The syntax error in one line, for a diagnostic.
    pub fn new(source: &str) -> Result<Self, String> {
        let config = Regex::config().nfa_size_limit(Some(1 << 20)).hybrid_cache_capacity(1 << 20);
        let regex = Regex::builder().configure(config).build(&format!(r"\A(?:{source})\z"));
        regex.map(|regex| FullRegex { source: source.to_owned(), regex }).map_err(|error| error.to_string().replace('\n', " "))
    }

    /// Whether the whole of `value` matches.
    pub fn is_match(&self, value: &[u8]) -> bool {
        self.regex.is_match(value)
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl PartialEq for FullRegex {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Serialize for FullRegex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}

/// Istio's StringMatch.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StringMatch {
    /// Byte equality.
    Exact(String),
    /// Starts with.
    Prefix(String),
    /// Whole value matches.
    Regex(FullRegex),
    /// `{}`: any value, also an empty one.
    Present,
}

impl StringMatch {
    /// Whether a value that exists satisfies the condition.
    pub fn is_match(&self, value: &[u8]) -> bool {
        match self {
            StringMatch::Exact(expected) => value == expected.as_bytes(),
            StringMatch::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
            StringMatch::Regex(regex) => regex.is_match(value),
            StringMatch::Present => true,
        }
    }
}
