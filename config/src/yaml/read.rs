//! One YAML document to a tree, from the events of `saphyr-parser`.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::document::Repeated;
use super::mapping::MappingBuilder;
use super::{Entry, MAX_DEPTH, MAX_NODES, Node, Position, Scalar, SyntaxError, Value, plain, resolve};

/// Reads the one document of `text`, whose first line has the number `first_line`. `None` when it has no content.
pub(super) fn read(text: &str, first_line: u32, repeated: &mut Vec<Repeated>) -> Result<Option<Node>, SyntaxError> {
    match plain::read(text, first_line) {
        Some(root) => Ok(Some(root)),
        None => read_all(text, first_line, repeated),
    }
}

/// The same for all of YAML.
pub(super) fn read_all(text: &str, first_line: u32, repeated: &mut Vec<Repeated>) -> Result<Option<Node>, SyntaxError> {
    let mut builder = Builder { first_line, open: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None, repeated };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| builder.scan_error(&error))?;
        builder.event(event, span)?;
    }
    Ok(builder.root.filter(|root| !root.is_null()))
}

/// A collection that is not closed yet.
struct Open {
    position: Position,
    anchor: usize,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping {
        entries: MappingBuilder,
        /// The values of `<<` keys.
        merges: Vec<Node>,
        /// The key whose value comes next.
        key: Option<(Box<str>, Position)>,
    },
}

struct Builder<'r> {
    first_line: u32,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    root: Option<Node>,
    repeated: &'r mut Vec<Repeated>,
}

impl Builder<'_> {
    fn position(&self, line: usize, column: usize) -> Position {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Position { line: number(line).saturating_add(self.first_line - 1), column: number(column).saturating_add(1) }
    }

    fn at(&self, span: Span) -> Position {
        self.position(span.start.line(), span.start.col())
    }

    fn scan_error(&self, error: &ScanError) -> SyntaxError {
        let marker = error.marker();
        SyntaxError { position: self.position(marker.line(), marker.col()), message: explain(error.info()) }
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        let position = self.at(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let node = Node { position, value: scalar(&text, style, tag.as_deref()) };
                self.complete(node, anchor)
            }
            Event::Alias(id) => self.alias(id, position),
            Event::SequenceStart(anchor, _) => self.begin(position, anchor, Content::Sequence(Vec::new())),
            Event::MappingStart(anchor, _) => {
                let content = Content::Mapping { entries: MappingBuilder::default(), merges: Vec::new(), key: None };
                self.begin(position, anchor, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(error(position, "expected the end of the document, or a line with \"---\" before the next one"))
            }
            Event::DocumentStart(_) | Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => Ok(()),
        }
    }

    fn alias(&mut self, id: usize, position: Position) -> Result<(), SyntaxError> {
        let Some(size) = self.anchors.get(&id).map(|(_, size)| *size) else {
            return Err(error(position, "this alias stands inside the value it refers to"));
        };
        // Before copying: a few nested aliases can stand for more than the memory holds.
        self.count(size, position)?;
        let copy = self.anchors.get(&id).map(|(node, _)| Node { position, ..node.clone() });
        copy.map_or(Ok(()), |node| self.complete(node, 0))
    }

    fn begin(&mut self, position: Position, anchor: usize, content: Content) -> Result<(), SyntaxError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(error(position, format!("nested more than {MAX_DEPTH} levels deep")));
        }
        self.open.push(Open { position, anchor, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), SyntaxError> {
        let Some(Open { position, anchor, content }) = self.open.pop() else {
            return Ok(());
        };
        let value = match content {
            Content::Sequence(items) => Value::Sequence(items),
            Content::Mapping { entries, merges, .. } => merged(entries, merges)?,
        };
        self.complete(Node { position, value }, anchor)
    }

    /// Accounts for nodes that come into being.
    fn count(&mut self, nodes: usize, position: Position) -> Result<(), SyntaxError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(error(position, format!("the document has more than {MAX_NODES} values once its aliases are expanded")));
        }
        Ok(())
    }

    /// Puts a finished node where it belongs, and a copy aside if aliases may name it.
    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxError> {
        self.count(1, node.position)?;
        if anchor != 0 {
            let size = size(&node);
            self.count(size, node.position)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.content {
            Content::Sequence(items) => items.push(node),
            Content::Mapping { entries, merges, key: next } => match next.take() {
                None => *next = Some((key(&node)?, node.position)),
                Some((key, _)) if &*key == "<<" => merges.push(node),
                Some((key, key_position)) => entries.insert(Entry { key, key_position, value: node }, self.repeated),
            },
        }
        Ok(())
    }
}

/// The scanner's message, in plainer words where it is about a frequent mistake.
fn explain(info: &str) -> String {
    match info {
        _ if info.contains("did not find expected key") => "expected a key indented like the other keys of this mapping".into(),
        _ if info.contains("mapping values are not allowed") => {
            "expected a value on one line; a text with \": \" in it needs quotes, and a nested mapping a line of its own".into()
        }
        _ => info.to_owned(),
    }
}

fn error(position: Position, message: impl Into<String>) -> SyntaxError {
    SyntaxError { position, message: message.into() }
}

/// A key as JSON has it: sigs.k8s.io/yaml turns booleans and numbers into text.
fn key(node: &Node) -> Result<Box<str>, SyntaxError> {
    match (node.scalar(), &node.value) {
        (Some(scalar), Value::Scalar { text, .. }) => Ok(key_text(text, scalar).into()),
        _ => Err(error(node.position, format!("expected a name as key, found {}", node.describe()))),
    }
}

/// The key that a scalar written so is.
pub(super) fn key_text<'t>(text: &'t str, scalar: Scalar<'_>) -> Cow<'t, str> {
    match scalar {
        Scalar::Bool(value) => value.to_string().into(),
        Scalar::Int(value) => value.to_string().into(),
        Scalar::UInt(value) => value.to_string().into(),
        Scalar::Null => "null".into(),
        Scalar::Float(_) | Scalar::String(_) => text.into(),
    }
}

/// A mapping whose `<<` entries are replaced by the entries of the mappings they name, unless these are written here too; of
/// several mappings the first wins.
fn merged(mapping: MappingBuilder, merges: Vec<Node>) -> Result<Value, SyntaxError> {
    let mut mapping = mapping;
    for merge in merges {
        let sources = match merge.value {
            Value::Sequence(items) => items,
            Value::Mapping(_) | Value::Scalar { .. } => vec![merge],
        };
        for source in sources {
            let Value::Mapping(others) = source.value else {
                return Err(error(source.position, "expected a mapping, or a list of mappings, to merge"));
            };
            others.into_iter().for_each(|other| mapping.insert_missing(other));
        }
    }
    Ok(Value::Mapping(mapping.finish()))
}

/// The number of nodes in a tree.
fn size(node: &Node) -> usize {
    let below: usize = match &node.value {
        Value::Scalar { .. } => 0,
        Value::Sequence(items) => items.iter().map(size).sum(),
        Value::Mapping(entries) => entries.iter().map(|entry| 1 + size(&entry.value)).sum(),
    };
    1 + below
}

/// A scalar with its style and tag folded into the question whether it can be anything but a string.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let tag = tag.map(|tag| Cow::from(format!("{}{}", tag.handle, tag.suffix)));
    let quoted = match tag.as_deref() {
        Some("!" | "tag:yaml.org,2002:str" | "tag:yaml.org,2002:binary") => true,
        Some("tag:yaml.org,2002:int" | "tag:yaml.org,2002:float" | "tag:yaml.org,2002:bool" | "tag:yaml.org,2002:null") => {
            matches!(resolve(text), Scalar::String(_))
        }
        _ => style != ScalarStyle::Plain,
    };
    Value::Scalar { text: text.into(), quoted }
}
