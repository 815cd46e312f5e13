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
                path.as_bytes().get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix.as_bytes()))
            }
            PathMatch::Regex(regex) => regex.is_match(path.as_bytes()),
        }
    }
}

/// What a header condition looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderKey {
    /// An ordinary header.
    Header(HeaderName),
    /// `:method`.
    Method,
    /// `:scheme`.
    Scheme,
    /// `:authority` and `host`, which are one field whatever the HTTP version.
    Authority,
    /// `:path`, with the query string.
    Path,
}

impl HeaderKey {
    /// Reads a key of `headers` or `withoutHeaders`; `None` when it cannot be a header name of a request.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            ":method" => HeaderKey::Method,
            ":scheme" => HeaderKey::Scheme,
            ":authority" | "host" => HeaderKey::Authority,
            ":path" => HeaderKey::Path,
            other => HeaderKey::Header(HeaderName::from_bytes(other.as_bytes()).ok()?),
        })
    }
}

impl Serialize for HeaderKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            HeaderKey::Header(name) => name.as_str(),
            HeaderKey::Method => ":method",
            HeaderKey::Scheme => ":scheme",
            HeaderKey::Authority => ":authority",
            HeaderKey::Path => ":path",
        })
    }
}

/// Condition on one header.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeaderMatch {
    /// Which header.
    pub name: HeaderKey,
    /// Expected value; repeated headers are joined with `,`.
    pub value: StringMatch,
    /// `withoutHeaders`: the condition is negated; a missing header counts as an empty value for value conditions.
    pub invert: bool,
}

impl HeaderMatch {
    /// Whether the request satisfies the condition.
    pub fn is_match(&self, head: &RequestHead<'_>) -> bool {
        let matched = match &self.name {
            HeaderKey::Header(name) => self.matches_header(head, name),
            HeaderKey::Method => self.value.is_match(head.method.as_bytes()),
            HeaderKey::Scheme => self.value.is_match(head.scheme.as_bytes()),
            HeaderKey::Authority => self.value.is_match(head.authority.as_bytes()),
            HeaderKey::Path => match head.query {
                None => self.value.is_match(head.path.as_bytes()),
                Some(query) => self.value.is_match([head.path, "?", query].concat().as_bytes()),
            },
        };
        matched != self.invert
    }

    fn matches_header(&self, head: &RequestHead<'_>, name: &HeaderName) -> bool {
        let mut values = head.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => self.invert && !matches!(self.value, StringMatch::Present) && self.value.is_match(b""),
            (Some(value), None) => self.value.is_match(value.as_bytes()),
            (Some(_), Some(_)) => {
                let all: Vec<&[u8]> = head.headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
                self.value.is_match(&all.join(&b','))
            }
        }
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
        pairs.filter(|(key, _)| *key == self.name).map(|(_, value)| self.value.is_match(value.as_bytes())).next().unwrap_or_default()
    }
}

/// All conditions of a route entry; most have but a path, so the others are boxed. Static conditions (port, source labels, gateways) are resolved by the compiler.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RouteMatch {
    /// Path.
    pub path: PathMatch,
    /// `:scheme`.
    pub scheme: Option<Box<StringMatch>>,
    /// Method, case-sensitive.
    pub method: Option<Box<StringMatch>>,
    /// Host value as received, port included.
    pub authority: Option<Box<StringMatch>>,
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

    /// Whether every request satisfies the conditions, so that no later rule can run.
    pub fn is_catch_all(&self) -> bool {
        let path = match &self.path {
            PathMatch::Exact { .. } => false,
            PathMatch::Prefix { prefix, .. } => prefix == "/" || prefix.is_empty(),
            PathMatch::Regex(regex) => matches!(regex.as_str(), ".*" | "/.*"),
        };
        let open = self.scheme.is_none() && self.method.is_none() && self.authority.is_none();
        path && open && self.headers.is_empty() && self.query.is_empty()
    }

    /// Whether a request satisfies every condition.
    pub fn is_match(&self, head: &RequestHead<'_>) -> bool {
        self.path.is_match(head.path) && self.is_match_beyond_path(head)
    }

    /// The conditions other than the path, for callers that have checked the path already.
    pub fn is_match_beyond_path(&self, head: &RequestHead<'_>) -> bool {
        let text = |condition: &Option<Box<StringMatch>>, value: &str| condition.as_ref().is_none_or(|c| c.is_match(value.as_bytes()));
        text(&self.method, head.method)
            && text(&self.scheme, head.scheme)
            && text(&self.authority, head.authority)
            && self.headers.iter().all(|condition| condition.is_match(head))
            && self.query.iter().all(|condition| condition.is_match(head.query))
    }
}

#[cfg(test)]
mod tests;
