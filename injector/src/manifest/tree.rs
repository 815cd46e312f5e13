//! A YAML document as a tree of places in its text. Values are known from elsewhere; here is where each one is written.

use outrigger_config::yaml::{MAX_DEPTH, Scalar, resolve};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

/// Where a value is written, in bytes.
#[derive(Debug)]
pub(super) struct Node {
    /// Its first byte, anchor and tag included. A value left empty is behind its colon or dash.
    pub start: usize,
    /// Behind its last byte. Comments and blank lines that follow are not part of it.
    pub end: usize,
    pub shape: Shape,
}

/// What may be edited inside.
#[derive(Debug)]
pub(super) enum Shape {
    /// A scalar, an alias, or a flow collection: replaced as a whole.
    Opaque,
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// An entry of a block mapping.
#[derive(Debug)]
pub(super) struct Entry {
    /// As JSON would have it.
    pub key: String,
    pub key_start: usize,
    pub key_end: usize,
    pub value: Node,
}

/// Reads the places of the one document in `text`. `None` where the parser disagrees with the reader that gave the values; the
/// caller then does without.
pub(super) fn read(text: &str) -> Option<Node> {
    let mut builder = Builder { text, lines: Lines::of(text), open: Vec::new(), root: None };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.ok()?;
        builder.event(event, span)?;
    }
    builder.root
}

/// From the parser's positions to bytes. Its running index counts the characters of comments twice where they are wide, so lines and
/// columns are what counts.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

/// Columns in a line with wide characters are counted from its start each time; a longer one is not worth it.
const MAX_WIDE_LINE: usize = 64 << 10;

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Lines<'t> {
        let bytes = text.as_bytes();
        let breaks = |at: &usize| match bytes.get(*at) {
            Some(b'\n') => true,
            Some(b'\r') => bytes.get(at + 1) != Some(&b'\n'),
            _ => false,
        };
        Lines { text, starts: std::iter::once(0).chain((0..bytes.len()).filter(breaks).map(|at| at + 1)).collect() }
    }

    fn byte(&self, at: Marker) -> Option<usize> {
        // At the end of a text without a last line break the parser is one line further.
        let Some(start) = self.starts.get(at.line().checked_sub(1)?).copied() else { return Some(self.text.len()) };
        let end = self.starts.get(at.line()).copied().unwrap_or(self.text.len());
        let line = self.text.get(start..end)?;
        if line.is_ascii() {
            return (at.col() <= line.len()).then_some(start + at.col());
        }
        let offset = || line.char_indices().map(|(offset, _)| offset).chain([line.len()]).nth(at.col());
        if line.len() > MAX_WIDE_LINE { None } else { Some(start + offset()?) }
    }
}

struct Open {
    start: usize,
    flow: bool,
    shape: Shape,
    /// A key whose value comes next.
    key: Option<(String, usize, usize)>,
}

struct Builder<'t> {
    text: &'t str,
    lines: Lines<'t>,
    open: Vec<Open>,
    root: Option<Node>,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        let (start, end) = (self.lines.byte(span.start)?, self.lines.byte(span.end)?);
        match event {
            Event::Scalar(value, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let node = if is_block { self.block(start, end)? } else { Node { start, end, shape: Shape::Opaque } };
                self.complete(node, Some((&value, plain)))
            }
            Event::Alias(_) => self.complete(Node { start, end, shape: Shape::Opaque }, None),
            Event::SequenceStart(..) => self.begin(start, end, Shape::Sequence(Vec::new())),
            Event::MappingStart(..) => self.begin(start, end, Shape::Mapping(Vec::new())),
            // The span of a closing bracket may take the comment behind it along.
            Event::SequenceEnd | Event::MappingEnd => self.end((start + 1).min(self.text.len())),
            Event::DocumentStart(_) | Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => Some(()),
        }
    }

    /// The parser's span of a block scalar starts behind its header and reaches to the next token. Its last line counts; blank lines
    /// behind it only where the header has a `+` that makes them part of the value.
    fn block(&self, start: usize, end: usize) -> Option<Node> {
        let before = self.text.get(..start)?.trim_end();
        let line = before.rfind('\n').map_or(0, |newline| newline + 1);
        let (at, header) =
            before.get(line..)?.match_indices(['|', '>']).find_map(|(at, _)| Some((at, header(&before[line + at + 1..])?)))?;
        let text = self.text.get(start..end)?;
        let kept = match text.rfind('\n') {
            Some(newline) if header.contains('+') && text.get(newline..)?.trim().is_empty() => newline,
            _ => text.trim_end().len(),
        };
        let end = if kept == 0 { before.len() } else { start + kept };
        Some(Node { start: line + at, end, shape: Shape::Opaque })
    }

    fn begin(&mut self, start: usize, end: usize, shape: Shape) -> Option<()> {
        if self.open.len() >= MAX_DEPTH {
            return None;
        }
        let flow = self.text.get(start..end)?.ends_with(['{', '[']);
        self.open.push(Open { start, flow, shape, key: None });
        Some(())
    }

    fn end(&mut self, end: usize) -> Option<()> {
        let Open { start, flow, shape, .. } = self.open.pop()?;
        let last = match &shape {
            Shape::Opaque => None,
            Shape::Sequence(items) => items.last().map(|item| item.end),
            Shape::Mapping(entries) => entries.last().map(|entry| entry.value.end),
        };
        let node = match last {
            Some(last) if !flow => Node { start, end: last, shape },
            _ => Node { start, end, shape: Shape::Opaque },
        };
        self.complete(node, None)
    }

    /// Puts a finished node where it belongs. `scalar` is its text and whether it is written plain; only such can be a key.
    fn complete(&mut self, node: Node, scalar: Option<(&str, bool)>) -> Option<()> {
        let Some(open) = self.open.last_mut() else {
            self.root.is_none().then(|| self.root = Some(node))?;
            return Some(());
        };
        match (&mut open.shape, open.key.take()) {
            (Shape::Sequence(items), _) => items.push(node),
            (Shape::Mapping(entries), Some((key, key_start, key_end))) => {
                let value = if node.start == node.end { behind_colon(self.text, key_end)? } else { node };
                entries.push(Entry { key, key_start, key_end, value });
            }
            (Shape::Mapping(_), None) => {
                // A collection or alias as key is refused by the reader of the values, unless it is merged.
                let (text, plain) = scalar?;
                open.key = Some((key(text, plain), node.start, node.end));
            }
            (Shape::Opaque, _) => return None,
        }
        Some(())
    }
}

/// The indicators of a block scalar, if this is the rest of its first line: signs and digits, then nothing but a comment.
fn header(rest: &str) -> Option<&str> {
    let end = rest.find(|c: char| !(c.is_ascii_digit() || matches!(c, '+' | '-'))).unwrap_or(rest.len());
    let (indicators, behind) = rest.split_at(end);
    let comment = behind.trim_start();
    (comment.is_empty() || (comment.starts_with('#') && comment.len() < behind.len())).then_some(indicators)
}

/// The place of a value left empty.
fn behind_colon(text: &str, key_end: usize) -> Option<Node> {
    let at = key_end + text.get(key_end..)?.find(':')? + 1;
    Some(Node { start: at, end: at, shape: Shape::Opaque })
}

/// A key as the reader of the values has it.
fn key(text: &str, plain: bool) -> String {
    match resolve(text) {
        Scalar::Bool(value) if plain => value.to_string(),
        Scalar::Int(value) if plain => value.to_string(),
        Scalar::UInt(value) if plain => value.to_string(),
        Scalar::Null if plain => "null".to_owned(),
        _ => text.to_owned(),
    }
}
