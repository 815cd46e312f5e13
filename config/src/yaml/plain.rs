//! The YAML that manifests are mostly written in, read without a general parser.
//!
//! Block mappings and sequences, plain and quoted scalars on one line, flow collections on one line, comments; printable
//! ASCII. All else (anchors, tags, block scalars, texts over several lines, escapes, empty values, repeated keys, anything
//! doubtful or wrong) is declined, and the general reader is asked: what is read here is exactly what that would have read,
//! positions included, at a fraction of the cost. A mesh of a thousand services is read anew by each of its proxies.

use std::borrow::Cow;

use super::read::key_text;
use super::{Entry, MAX_NODES, Node, Position, Value, resolve};

/// Nesting beyond this is left to the general reader, which has the limit.
const DEPTH: usize = 50;

/// From this many entries on a mapping is left to the general reader, which looks for repeated keys in an index.
const ENTRIES: usize = 64;

/// The tree of a document whose first line has the number `first_line`; `None` leaves it to the general reader.
pub(super) fn read(text: &str, first_line: u32) -> Option<Node> {
    let simple = text.len() < MAX_NODES && text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n'));
    let mut lines = Lines { rest: text.split('\n'), number: first_line.checked_sub(1)?, current: None };
    if !simple || !lines.skip_mark() {
        return None;
    }
    let indent = lines.current?.indent();
    let root = lines.block(indent, DEPTH)?;
    lines.current.is_none().then_some(root)
}

/// A line with content, or what is left of it from `column` (bytes, from 0) on.
#[derive(Clone, Copy)]
struct Line<'t> {
    text: &'t str,
    number: u32,
    column: usize,
}

impl<'t> Line<'t> {
    fn indent(&self) -> usize {
        self.column
    }

    fn content(&self) -> &'t str {
        self.text.get(self.column..).unwrap_or_default()
    }

    fn position(&self) -> Position {
        Position { line: self.number, column: u32::try_from(self.column).unwrap_or(u32::MAX).saturating_add(1) }
    }

    /// The line from its next character that is no space, `by` bytes further on.
    fn after(self, by: usize) -> Line<'t> {
        let rest = self.text.get(self.column + by..).unwrap_or_default();
        let blanks = rest.len() - rest.trim_start_matches(' ').len();
        Line { column: self.column + by + blanks, ..self }
    }

    /// Whether nothing, or only a comment, is left. Whoever asks has seen a blank or a closing sign before.
    fn is_over(&self) -> bool {
        matches!(self.content().as_bytes().first(), None | Some(b'#'))
    }

    fn is_dash(&self) -> bool {
        let content = self.content();
        content == "-" || content.starts_with("- ")
    }

    /// The length of a key of harmless characters that a colon and a blank (or the end) follow.
    fn key_length(&self) -> Option<usize> {
        let content = self.content().as_bytes();
        let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-');
        let length = content.iter().take_while(|byte| harmless(byte)).count();
        let starts_well = content.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let ends = content.get(length) == Some(&b':') && matches!(content.get(length + 1), None | Some(b' '));
        (starts_well && ends && length < 200).then_some(length)
    }

    fn key(&self, length: usize) -> Option<Cow<'t, str>> {
        let text = self.content().get(..length)?;
        Some(key_text(text, resolve(text)))
    }
}

fn scalar(at: &Line<'_>, text: &str, quoted: bool) -> Node {
    Node { position: at.position(), value: Value::Scalar { text: text.into(), quoted } }
}

struct Lines<'t> {
    rest: std::str::Split<'t, char>,
    number: u32,
    /// The line in hand; `None` after the last.
    current: Option<Line<'t>>,
}

impl<'t> Lines<'t> {
    /// Moves on to the next line with content.
    fn advance(&mut self) -> Option<()> {
        self.current = None;
        for text in self.rest.by_ref() {
            self.number = self.number.checked_add(1)?;
            let line = Line { text, number: self.number, column: 0 }.after(0);
            if !line.is_over() {
                self.current = Some(line);
                break;
            }
        }
        Some(())
    }

    /// Moves to the first line with content behind the mark of the document; false when there is something odd.
    fn skip_mark(&mut self) -> bool {
        let Some(()) = self.advance() else { return false };
        if let Some(line) = self.current.filter(|line| line.text.starts_with("---"))
            && (!(line.text == "---" || line.text.starts_with("--- ")) || !line.after(3).is_over() || self.advance().is_none())
        {
            return false;
        }
        self.current.is_some_and(|line| !line.text.starts_with(['-', '.', '%']) || line.is_dash())
    }

    /// The line in hand, when it stands at this indentation.
    fn at(&self, indent: usize) -> Option<Line<'t>> {
        self.current.filter(|line| line.indent() == indent)
    }

    /// A mapping or sequence whose first entry is in hand, at its indentation.
    fn block(&mut self, indent: usize, depth: usize) -> Option<Node> {
        let depth = depth.checked_sub(1)?;
        let line = self.current?;
        if line.is_dash() { self.sequence(line, indent, depth) } else { self.mapping(line, indent, depth) }
    }

    fn mapping(&mut self, first: Line<'t>, indent: usize, depth: usize) -> Option<Node> {
        let mut entries: Vec<Entry> = Vec::new();
        while let Some(line) = self.at(indent).filter(|line| !line.is_dash()) {
            let length = line.key_length()?;
            let key = line.key(length)?;
            if entries.len() >= ENTRIES || entries.iter().any(|known| *known.key == *key) {
                return None;
            }
            let value = line.after(length + 1);
            let value = if value.is_over() { self.below(indent, depth, true)? } else { self.inline(value, indent, depth)? };
            entries.push(Entry { key: key.into(), key_position: line.position(), value });
        }
        self.ended(indent)?;
        (!entries.is_empty()).then(|| Node { position: first.position(), value: Value::Mapping(entries) })
    }

    fn sequence(&mut self, first: Line<'t>, indent: usize, depth: usize) -> Option<Node> {
        let mut items = Vec::new();
        while let Some(line) = self.at(indent).filter(Line::is_dash) {
            let item = line.after(1);
            items.push(match item.is_over() {
                true => self.below(indent, depth, false)?,
                // What stands behind the dash has the indentation of its column, as if the dash were a blank.
                false if item.is_dash() || item.key_length().is_some() => {
                    self.current = Some(item);
                    self.block(item.indent(), depth)?
                }
                false => self.inline(item, indent, depth)?,
            });
        }
        self.ended(indent)?;
        Some(Node { position: first.position(), value: Value::Sequence(items) })
    }

    /// Whether the line in hand may follow a collection at this indentation: it belongs to one further out, or is the next
    /// key after a sequence that stands as deep as the mapping it is in.
    fn ended(&self, indent: usize) -> Option<()> {
        self.current.is_none_or(|line| line.indent() <= indent).then_some(())
    }

    /// The value on the lines below a key or dash.
    fn below(&mut self, indent: usize, depth: usize, of_key: bool) -> Option<Node> {
        self.advance()?;
        let line = self.current?;
        let deeper = line.indent() > indent || (of_key && line.indent() == indent && line.is_dash());
        // A scalar of its own line is rare.
        let collection = line.is_dash() || line.key_length().is_some();
        if !deeper || !collection {
            return None;
        }
        let mut node = self.block(line.indent(), depth)?;
        if line.indent() == indent {
            // The general reader takes a sequence that is not indented to begin behind its first dash.
            node.position = node.items().first()?.position;
        }
        Some(node)
    }

    /// The value on the rest of a line. What is indented deeper on the next line would continue it.
    fn inline(&mut self, at: Line<'t>, indent: usize, depth: usize) -> Option<Node> {
        let (node, rest) = match at.content().as_bytes().first()? {
            b'{' | b'[' => flow(at, depth)?,
            b'\'' | b'"' => quoted(at)?,
            _ => block_plain(at)?,
        };
        self.advance()?;
        let over = rest.is_over() && self.current.is_none_or(|line| line.indent() <= indent);
        over.then_some(node)
    }
}

/// Characters with which a plain scalar cannot begin, or which are left to the general reader there.
fn begins_plain(content: &[u8]) -> bool {
    match content.first() {
        Some(b'-') => content.get(1).is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')),
        Some(byte) => byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'+' | b'~' | b'$' | b'(' | b'<' | b'^'),
        None => false,
    }
}

/// A plain scalar up to the end of the line or a comment.
fn block_plain(at: Line<'_>) -> Option<(Node, Line<'_>)> {
    let content = at.content();
    let text = content.split_once(" #").map_or(content, |(before, _)| before);
    let length = text.len();
    let text = text.trim_end_matches(' ');
    let fits = begins_plain(text.as_bytes()) && !text.contains(": ") && !text.ends_with(':') && text != "<<";
    fits.then(|| (scalar(&at, text, false), at.after(length)))
}

/// A quoted scalar that ends on its line and has no escapes but `''`.
fn quoted(at: Line<'_>) -> Option<(Node, Line<'_>)> {
    let content = at.content();
    let quote = content.chars().next()?;
    let inner = content.get(1..)?;
    let (text, length) = match quote {
        '"' => {
            let end = inner.find('"')?;
            let text = inner.get(..end).filter(|text| !text.contains('\\'))?;
            (Cow::Borrowed(text), end)
        }
        _ => single_quoted(inner)?,
    };
    let rest = at.after(length + 2);
    // A comment needs a blank before it, and a colon would make this a key.
    let blank = matches!(content.as_bytes().get(length + 2), None | Some(b' ' | b',' | b']' | b'}'));
    blank.then(|| (scalar(&at, &text, true), rest))
}

fn single_quoted(inner: &str) -> Option<(Cow<'_, str>, usize)> {
    let mut end = inner.find('\'')?;
    if inner.as_bytes().get(end + 1) != Some(&b'\'') {
        return inner.get(..end).map(|text| (text.into(), end));
    }
    while inner.as_bytes().get(end + 1) == Some(&b'\'') {
        end = end + 2 + inner.get(end + 2..)?.find('\'')?;
    }
    inner.get(..end).map(|text| (text.replace("''", "'").into(), end))
}

/// A value within a flow collection, or such a collection itself, and what follows on the line.
fn flow(at: Line<'_>, depth: usize) -> Option<(Node, Line<'_>)> {
    match at.content().as_bytes().first()? {
        b'{' => flow_mapping(at, depth.checked_sub(1)?),
        b'[' => flow_sequence(at, depth.checked_sub(1)?),
        b'\'' | b'"' => quoted(at),
        _ => flow_plain(at),
    }
}

fn flow_mapping(start: Line<'_>, depth: usize) -> Option<(Node, Line<'_>)> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut at = start.after(1);
    let mut first = true;
    while !(first && at.content().starts_with('}')) {
        first = false;
        let length = at.key_length()?;
        let key = at.key(length)?;
        if entries.len() >= ENTRIES || entries.iter().any(|known| *known.key == *key) {
            return None;
        }
        let (value, rest) = flow(at.after(length + 1), depth)?;
        entries.push(Entry { key: key.into(), key_position: at.position(), value });
        at = rest;
        match at.content().as_bytes().first()? {
            b',' => at = at.after(1),
            b'}' => break,
            _ => return None,
        }
    }
    Some((Node { position: start.position(), value: Value::Mapping(entries) }, closed(at)?))
}

fn flow_sequence(start: Line<'_>, depth: usize) -> Option<(Node, Line<'_>)> {
    let mut items = Vec::new();
    let mut at = start.after(1);
    let mut first = true;
    while !(first && at.content().starts_with(']')) {
        first = false;
        let (item, rest) = flow(at, depth)?;
        items.push(item);
        at = rest;
        match at.content().as_bytes().first()? {
            b',' => at = at.after(1),
            b']' => break,
            _ => return None,
        }
    }
    Some((Node { position: start.position(), value: Value::Sequence(items) }, closed(at)?))
}

/// Past a closing bracket, behind which only a blank, the next sign of the collection around, or nothing may stand.
fn closed(at: Line<'_>) -> Option<Line<'_>> {
    matches!(at.content().as_bytes().get(1), None | Some(b' ' | b',' | b']' | b'}')).then(|| at.after(1))
}

/// A plain scalar up to the sign that ends it in a flow collection.
fn flow_plain(at: Line<'_>) -> Option<(Node, Line<'_>)> {
    let content = at.content();
    let length = content.find([',', ']', '}'])?;
    let text = content.get(..length)?.trim_end_matches(' ');
    let odd = |byte: u8| matches!(byte, b'[' | b'{' | b'#' | b'"' | b'\'' | b'&' | b'*' | b'!' | b'|' | b'>' | b'%' | b'@' | b'`' | b'?');
    let fits = begins_plain(text.as_bytes()) && !text.bytes().any(odd) && !text.contains(": ") && !text.ends_with(':') && text != "<<";
    fits.then(|| (scalar(&at, text, false), at.after(length)))
}
