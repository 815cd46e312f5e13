//! Division of a text into documents.

use super::{MAX_TEXT, Node, Position, SyntaxError, json, read};

/// One document of a text.
#[derive(Debug)]
pub struct Document<'t> {
    /// Its text, from the start of a line. Positions in the tree count from the start of the whole text.
    pub text: &'t str,
    /// Line in the whole text of the first line, from 1.
    pub first_line: u32,
    /// The value, or why there is none. Never a document without content.
    pub node: Result<Node, SyntaxError>,
    /// Keys written twice in one mapping.
    pub repeated: Vec<Repeated>,
}

/// A key that an earlier entry of the same mapping had already; the later value counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeated {
    /// The key.
    pub key: String,
    /// Where it is repeated.
    pub position: Position,
}

/// All that [`stream`] gives.
pub fn documents(text: &str) -> Vec<Document<'_>> {
    stream(text).collect()
}

/// Reads every document of a text that has content, each when it is asked for: trees are many times larger than their text.
/// A text that starts with `{` is tried as JSON first (several objects may follow each other) and then as YAML.
pub fn stream(text: &str) -> Box<dyn Iterator<Item = Document<'_>> + '_> {
    if text.len() > MAX_TEXT {
        let message = format!("the text is larger than {} MiB", MAX_TEXT >> 20);
        let error = SyntaxError { position: Position { line: 1, column: 1 }, message };
        return Box::new(std::iter::once(Document { text: "", first_line: 1, node: Err(error), repeated: Vec::new() }));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with('{') {
        return Box::new(json_documents(text).into_iter());
    }
    Box::new(split(text).filter_map(|(chunk, first_line)| yaml_document(chunk, first_line)))
}

/// Reads again one document that [`documents`] found.
pub fn read_document(text: &str, first_line: u32) -> Option<Node> {
    if text.trim_start().starts_with('{')
        && let Ok(Some((node, _))) = json::read(text, first_line, &mut Vec::new())
    {
        return Some(node);
    }
    yaml_document(text, first_line)?.node.ok()
}

fn json_documents(text: &str) -> Vec<Document<'_>> {
    let mut found = Vec::new();
    let (mut rest, mut first_line) = (text, 1);
    loop {
        let mut repeated = Vec::new();
        match json::read(rest, first_line, &mut repeated) {
            Ok(None) => return found,
            Ok(Some((node, end))) => {
                let (text, after) = rest.split_at(end);
                // What follows on the same line would get wrong columns; objects on one line are machine-made anyway.
                found.push(Document { text, first_line, node: Ok(node), repeated });
                first_line += line_breaks(text);
                rest = after;
            }
            Err(error) => {
                let yaml: Vec<_> = split(text).filter_map(|(chunk, line)| yaml_document(chunk, line)).collect();
                if yaml.iter().all(|document| document.node.is_ok()) {
                    return yaml;
                }
                found.push(Document { text: rest, first_line, node: Err(error), repeated: Vec::new() });
                return found;
            }
        }
    }
}

fn line_breaks(text: &str) -> u32 {
    u32::try_from(text.bytes().filter(|b| *b == b'\n').count()).unwrap_or(u32::MAX)
}

fn yaml_document(text: &str, first_line: u32) -> Option<Document<'_>> {
    if text.lines().all(is_blank) {
        return None;
    }
    let mut repeated = Vec::new();
    let node = read::read(text, first_line, &mut repeated).transpose()?;
    Some(Document { text, first_line, node, repeated })
}

/// A line without content before a document: empty, a comment, a directive, or a document mark alone.
fn is_blank(line: &str) -> bool {
    let line = line.trim();
    matches!(line, "" | "---" | "...") || line.starts_with('#') || line.starts_with("%YAML") || line.starts_with("%TAG")
}

/// Cuts a text before each `---` and `...` line. In YAML these always stand between documents, also inside block scalars.
fn split(text: &str) -> impl Iterator<Item = (&str, u32)> {
    let mut rest = Some(text);
    let mut next_line = 1;
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let first_line = next_line;
        let mut end = 0;
        for (index, line) in text.split_inclusive('\n').enumerate() {
            if index > 0 && is_mark(line) {
                rest = Some(&text[end..]);
                break;
            }
            next_line += 1;
            end += line.len();
        }
        let chunk = &text[..end];
        // A chunk that begins with the end mark of the one before has only what follows the mark.
        Some(if chunk.starts_with("...") && is_mark(chunk) {
            let after = chunk.find('\n').map_or(chunk.len(), |at| at + 1);
            (&chunk[after..], first_line + 1)
        } else {
            (chunk, first_line)
        })
    })
}

/// `---` or `...` at the start of a line and followed by a blank or the end.
fn is_mark(line: &str) -> bool {
    let rest = line.strip_prefix("---").or_else(|| line.strip_prefix("..."));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}
