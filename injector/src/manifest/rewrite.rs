//! A document with another value: edited if that can be done, else written anew. Never wrong: what comes out is read again.

use std::ops::Range;

use outrigger_config::yaml::{self, Node};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::render::{self, Ordered, Style};
use super::{splice, tree};

/// A document's new text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The text; as it was if the value was as it should be.
    pub text: String,
    /// What the author should know about comments and layout.
    pub warning: Option<&'static str>,
}

/// Documents larger than this are written anew rather than edited. The API server takes at most 3 MiB.
const MAX_SPLICED: usize = 16 << 20;

const ANEW: &str = "the document could not be edited in place and is written anew: its comments and layout are lost";
const UNWRITABLE: &str = "the changed document would be larger or deeper than what is read of one; divide it";
const COMMENTS: &str = "a part that had to be written anew had comments in it; they are lost";

/// The text of a document, read as `before`, with the value `new`.
///
/// # Errors
/// A value that no text of ours can say, which is one with more parts or levels than are read of a document.
pub fn rewrite(text: &str, before: &Node, new: &Value) -> Result<Rewritten, &'static str> {
    let old = before.to_json();
    if old == *new {
        return Ok(Rewritten { text: text.to_owned(), warning: None });
    }
    if let Some(body) = json_body(text) {
        let json = as_json(&text[body.clone()], before, new);
        let rewritten = Rewritten { text: format!("{}{json}{}", &text[..body.start], &text[body.end..]), warning: None };
        return checked(rewritten, new, text);
    }
    let root = (text.len() <= MAX_SPLICED).then(|| tree::read(text)).flatten();
    if let Some(spliced) =
        root.as_ref().and_then(|root| splice::splice(text, root, &old, new)).filter(|spliced| means(&spliced.text, new, text))
    {
        return Ok(Rewritten { text: spliced.text, warning: spliced.comments_lost.then_some(COMMENTS) });
    }
    let style = root.map_or_else(Style::default, |root| splice::style_of(text, &root));
    let body = render::yaml(&Ordered::like(new, Some(before)), 0, style);
    checked(Rewritten { text: format!("{}{body}\n", heading(text)), warning: Some(ANEW) }, new, text)
}

fn checked(rewritten: Rewritten, value: &Value, original: &str) -> Result<Rewritten, &'static str> {
    if means(&rewritten.text, value, original) { Ok(rewritten) } else { Err(UNWRITABLE) }
}

/// Whether a text is one document with this value, without more repeated keys than the one it was made from.
fn means(text: &str, value: &Value, original: &str) -> bool {
    let [document] = &yaml::documents(text)[..] else { return false };
    let repeated_before = || yaml::documents(original).first().map_or(0, |document| document.repeated.len());
    document.node.as_ref().is_ok_and(|node| node.to_json() == *value)
        && (document.repeated.is_empty() || document.repeated.len() <= repeated_before())
}

/// Where a document's value is, if it is JSON and not YAML that looks like it.
fn json_body(text: &str) -> Option<Range<usize>> {
    let is_blank = |line: &&str| matches!(line.trim(), "" | "---");
    let lead: usize = text.split_inclusive('\n').take_while(is_blank).map(str::len).sum();
    let rest = text.get(lead..)?;
    let start = lead + rest.len() - rest.trim_start().len();
    let end = text.trim_end().len();
    let body = text.get(start..end)?;
    (body.starts_with('{') && serde_json::from_str::<IgnoredAny>(body).is_ok()).then_some(start..end)
}

/// JSON has neither comments nor layout worth keeping but its indentation.
fn as_json(body: &str, before: &Node, new: &Value) -> String {
    let indent = body.lines().nth(1).map(|line| &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]);
    let indent = indent.map(|indent| if indent.is_empty() { "  " } else { indent });
    render::json(&Ordered::like(new, Some(before)), indent)
}

/// The lines before a document's first value: marks, directives, comments. A mark with something behind it stands alone afterwards.
fn heading(text: &str) -> String {
    let mut heading = String::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed == "---" || trimmed.starts_with(['#', '%']) {
            heading.push_str(trimmed);
            heading.push('\n');
        } else {
            if trimmed.starts_with("--- ") {
                heading.push_str("---\n");
            }
            break;
        }
    }
    heading
}

#[cfg(test)]
mod tests;
