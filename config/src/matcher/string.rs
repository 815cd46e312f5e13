//! String conditions: exact, prefix, regex, presence.

use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use serde::{Serialize, Serializer};

/// Bound on one compiled expression; Istio's limit of 1,024 characters keeps ordinary ones far below it.
const REGEX_LIMIT: usize = 1 << 20;

/// Bound on all expressions of one virtual host together.
const REGEX_SET_LIMIT: usize = 16 << 20;

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
        let syntax = syntax_for(source)?;
        let config = Regex::config().nfa_size_limit(Some(REGEX_LIMIT)).hybrid_cache_capacity(REGEX_LIMIT);
        let regex = Regex::builder().configure(config).syntax(syntax).build(&anchored(source));
        regex.map(|regex| FullRegex { source: source.to_owned(), regex }).map_err(|error| one_line(&error.to_string()))
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

/// Chooses how an expression is read, and reports its syntax errors before it is wrapped (a stray `)` must not pair
/// with the wrapping). RE2's `\w`, `\d`, `\s` and `\b` are ASCII, and so much smaller; only expressions that cannot be
/// read that way (`\p{Greek}`, classes of non-ASCII letters) are taken as Unicode.
fn syntax_for(source: &str) -> Result<syntax::Config, String> {
    let ascii = syntax::Config::new().unicode(false).utf8(false);
    if syntax::parse_with(source, &ascii).is_ok() {
        return Ok(ascii);
    }
    let unicode = syntax::Config::new();
    syntax::parse_with(source, &unicode).map(|_| unicode).map_err(|error| one_line(&error.to_string()))
}

fn anchored(source: &str) -> String {
    format!(r"\A(?:{source})\z")
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// All expressions in one automaton, which reports the first that matches; `None` when it would be too large or when
/// the expressions cannot be read alike.
pub(super) fn full_regex_set(sources: &[&str]) -> Option<Regex> {
    let ascii = syntax::Config::new().unicode(false).utf8(false);
    let config = Regex::config().nfa_size_limit(Some(REGEX_SET_LIMIT)).hybrid_cache_capacity(REGEX_LIMIT);
    let patterns: Vec<String> = sources.iter().map(|source| anchored(source)).collect();
    Regex::builder().configure(config).syntax(ascii).build_many(&patterns).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_string_match_follows_istio() {
        let regex = |source| StringMatch::Regex(FullRegex::new(source).expect("valid"));
        for (condition, value, expected) in [
            (StringMatch::Exact("a".into()), "a", true),
            (StringMatch::Exact("a".into()), "A", false),
            (StringMatch::Exact(String::new()), "", true),
            (StringMatch::Exact(String::new()), "a", false),
            (StringMatch::Prefix("/foo".into()), "/foobar", true),
            (StringMatch::Prefix("/foo".into()), "/fo", false),
            (StringMatch::Prefix(String::new()), "", true),
            (StringMatch::Present, "", true),
            (regex("a|ab"), "ab", true),
            (regex("b"), "abc", false),
            (regex("^v[0-9]+$"), "v12", true),
            (regex(r"\d+"), "\u{0665}", false),
            (regex(r"\w{1,200}"), "abc", true),
            (regex(r"\p{Greek}+"), "αβ", true),
            (regex(".*"), "", true),
        ] {
            assert_eq!(condition.is_match(value.as_bytes()), expected, "{condition:?} on {value:?}");
        }
    }

    #[test]
    fn a_broken_expression_is_reported_in_one_line() {
        for source in ["a)(b", "(", "[", "*", "a{2,1}"] {
            let error = FullRegex::new(source).expect_err(source);
            assert!(!error.contains('\n') && !error.is_empty(), "{error}");
        }
    }

    #[test]
    fn an_oversized_expression_is_refused() {
        assert!(FullRegex::new("((a{1,100}){1,100}){1,100}").is_err());
    }
}
