//! `uriRegexRewrite`: RE2 substitution with `\1` style groups.

use regex_automata::meta::Regex;
use serde::{Serialize, Serializer};

/// A compiled expression and its replacement text.
#[derive(Clone, Debug)]
pub struct Substitution {
    pattern: String,
    regex: Regex,
    replacement: String,
}

impl Substitution {
    /// Compiles a pattern; `replacement` uses `\0` to `\9` for groups and `\\` for a backslash.
    ///
    /// # Errors
    /// The syntax error in one line.
    pub fn new(pattern: &str, replacement: &str) -> Result<Self, String> {
        let config = Regex::config().nfa_size_limit(Some(4 << 20));
        let regex = Regex::builder().configure(config).build(pattern).map_err(|error| error.to_string().replace('\n', " "))?;
        Ok(Substitution { pattern: pattern.to_owned(), regex, replacement: replacement.to_owned() })
    }

    /// Replaces every match in `path`.
    pub fn apply(&self, path: &str) -> String {
        let mut output = String::with_capacity(path.len() + self.replacement.len());
        let mut end = 0;
        for captures in self.regex.captures_iter(path) {
            let Some(whole) = captures.get_match() else { continue };
            output.push_str(&path[end..whole.start()]);
            self.expand(path, &captures, &mut output);
            end = whole.end();
        }
        output.push_str(&path[end..]);
        output
    }

    fn expand(&self, path: &str, captures: &regex_automata::util::captures::Captures, output: &mut String) {
        let mut chars = self.replacement.chars();
        while let Some(char) = chars.next() {
            match (char, if char == '\\' { chars.next() } else { None }) {
                ('\\', Some(digit)) if digit.is_ascii_digit() => {
                    let group = digit as usize - '0' as usize;
                    let span = captures.get_group(group).map(|span| span.range()).unwrap_or(0..0);
                    output.push_str(&path[span]);
                }
                ('\\', Some(other)) => output.push(other),
                _ => output.push(char),
            }
        }
    }
}

impl PartialEq for Substitution {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern && self.replacement == other.replacement
    }
}

impl Eq for Substitution {}

impl Serialize for Substitution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{} -> {}", self.pattern, self.replacement))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_match_is_replaced_and_groups_are_numbered_with_backslashes() {
        for (pattern, replacement, path, expected) in [
            ("^/service/([^/]+)(/.*)$", r"\2/instance/\1", "/service/foo/v1/api", "/v1/api/instance/foo"),
            ("one", "two", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/two/zzz"),
            ("^(.*?)one(.*)$", r"\1two\2", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/one/zzz"),
            ("(?i)/xxx/", "/yyy/", "/aaa/XxX/bbb", "/aaa/yyy/bbb"),
            ("/a", r"\0\\\9", "/a", r"/a\"),
            ("x", "y", "/none", "/none"),
        ] {
            let substitution = Substitution::new(pattern, replacement).expect("valid");
            assert_eq!(substitution.apply(path), expected, "{pattern} -> {replacement}");
        }
        assert!(Substitution::new("(", "").is_err());
    }
}
