//! The conditions of one route entry, ANDed.

use http::HeaderName;
use serde::Serialize;

use super::{FullRegex, RequestHead, StringMatch};

/// Condition on the path without query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum PathMatch {
    /// `exact`.
    Exact {
        /// Expected path.
        path: String,
        /// `ignoreUriCase`.
        ignore_case: bool,
    },
    /// `prefix`; `/foo` matches `/foobar`.
    Prefix {
        /// Expected beginning.
        prefix: String,
        /// `ignoreUriCase`.
        ignore_case: bool,
    },
    /// `regex`, whole path.
    Regex(FullRegex),
}

impl PathMatch {
    /// The condition of a rule without `uri`.
    pub fn any() -> Self {
        PathMatch::Prefix { prefix: "/".to_owned(), ignore_case: false }
    }

    /// Whether the path satisfies the condition.
    pub fn is_match(&self, path: &str) -> bool {
        match self {
            PathMatch::Exact { path: expected, ignore_case: false } => path == expected,
            PathMatch::Exact { path: expected, ignore_case: true } => path.eq_ignore_ascii_case(expected),
            PathMatch::Prefix { prefix, ignore_case: false } => path.starts_with(prefix.as_str()),
            PathMatch::Prefix { prefix, ignore_case: true } => {
                path.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
            }
            PathMatch::Regex(regex) => regex.is_match(path.as_bytes()),
        }
    }
}

/// Condition on one header.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeaderMatch {
    /// Which header.
    #[serde(serialize_with = "name_as_text")]
    pub name: HeaderName,
    /// Expected value; repeated headers are joined with `,`.
    pub value: StringMatch,
    /// `withoutHeaders`: the condition is negated; a missing header counts as an empty value for value conditions.
    pub invert: bool,
}

fn name_as_text<S: serde::Serializer>(name: &HeaderName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.as_str())
}

impl HeaderMatch {
    /// Whether the request satisfies the condition.
    pub fn is_match(&self, head: &RequestHead<'_>) -> bool {
        let mut values = head.headers.get_all(&self.name).iter();
        let matched = match (values.next(), values.next()) {
            (None, _) => self.invert && !matches!(self.value, StringMatch::Present) && self.value.is_match(b""),
            (Some(value), None) => self.value.is_match(value.as_bytes()),
            (Some(_), Some(_)) => {
                let all: Vec<&[u8]> = head.headers.get_all(&self.name).iter().map(|value| value.as_bytes()).collect();
                self.value.is_match(&all.join(&b','))
            }
        };
        matched != self.invert
    }
}

/// Condition on one query parameter: its first occurrence, not percent-decoded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueryMatch {
    /// Key.
    pub name: String,
    /// Expected value.
    pub value: StringMatch,
}

impl QueryMatch {
    /// Whether the query string satisfies the condition.
    pub fn is_match(&self, query: Option<&str>) -> bool {
        let pairs = query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(|(key, _)| *key == self.name).map(|(_, value)| self.value.is_match(value.as_bytes())).next().unwrap_or(false)
    }
}

/// All conditions of a route entry. Static conditions (port, source labels, gateways) are resolved by the compiler.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RouteMatch {
    /// Path.
    pub path: PathMatch,
    /// `:scheme`.
    pub scheme: Option<StringMatch>,
    /// Method, case-sensitive.
    pub method: Option<StringMatch>,
    /// Host value as received, port included.
    pub authority: Option<StringMatch>,
    /// Headers, `withoutHeaders` included.
    pub headers: Vec<HeaderMatch>,
    /// Query parameters.
    pub query: Vec<QueryMatch>,
}

impl RouteMatch {
    /// Matches every request.
    pub fn any() -> Self {
        RouteMatch { path: PathMatch::any(), scheme: None, method: None, authority: None, headers: Vec::new(), query: Vec::new() }
    }

    /// Whether a request satisfies every condition.
    pub fn is_match(&self, head: &RequestHead<'_>) -> bool {
        self.path.is_match(head.path) && self.is_match_beyond_path(head)
    }

    /// The conditions other than the path, for callers that have checked the path already.
    pub fn is_match_beyond_path(&self, head: &RequestHead<'_>) -> bool {
        let text = |condition: &Option<StringMatch>, value: &str| condition.as_ref().is_none_or(|c| c.is_match(value.as_bytes()));
        text(&self.method, head.method)
            && text(&self.scheme, head.scheme)
            && text(&self.authority, head.authority)
            && self.headers.iter().all(|condition| condition.is_match(head))
            && self.query.iter().all(|condition| condition.is_match(head.query))
    }
}
