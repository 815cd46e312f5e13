//! Edits of a document's text that turn one value into another, leaving everything else as it is written.
//!
//! An edit that cannot be made (an item that shares its line with what encloses it, keys merged from elsewhere) is left to the enclosing
//! value, which is then replaced as a whole; the root cannot be, and the caller writes the document anew. Nothing here is trusted: the
//! caller reads the result again and compares.

use serde_json::{Map, Value};

use super::render::{self, Ordered, Style};
use super::tree::{Entry, Node, Shape};

/// The edited text, and whether comments inside of what was replaced are gone.
#[derive(Debug)]
pub(super) struct Spliced {
    pub text: String,
    pub comments_lost: bool,
}

/// Longest lists of which it is found out what was inserted and removed; beyond, they are written anew.
const MAX_ITEMS: usize = 1000;

/// No edit is possible here.
struct Impossible;

/// Edits `text`, whose places are `root` and whose value is `old`, so that it means `new`.
pub(super) fn splice(text: &str, root: &Node, old: &Value, new: &Value) -> Option<Spliced> {
    let mut splicer = Splicer { text, style: style_of(text, root), edits: Vec::new(), comments_lost: false };
    splicer.inside(root, old, new, None).ok()?;
    let comments_lost = splicer.comments_lost;
    Some(Spliced { text: apply(text, splicer.edits)?, comments_lost })
}

/// The layout of the first nested mapping and of the first sequence.
pub(super) fn style_of(text: &str, root: &Node) -> Style {
    let mut style = Style { step: 0, sequence: usize::MAX };
    observe(text, root, &mut style);
    let step = if style.step == 0 { 2 } else { style.step };
    // An offset between the two possible layouts is somebody's own; ours is legible beside it.
    let sequence = if style.sequence == 0 || style.sequence == usize::MAX { 0 } else { style.sequence.min(8) };
    Style { step, sequence }
}

fn observe(text: &str, node: &Node, style: &mut Style) {
    let Shape::Mapping(entries) = &node.shape else {
        if let Shape::Sequence(items) = &node.shape {
            items.iter().for_each(|item| observe(text, item, style));
        }
        return;
    };
    for entry in entries {
        let own = column(text, entry.key_start);
        match &entry.value.shape {
            Shape::Mapping(children) if style.step == 0 => {
                let inner = children.first().map_or(own, |child| column(text, child.key_start));
                style.step = inner.saturating_sub(own).min(8);
            }
            Shape::Sequence(items) if style.sequence == usize::MAX => {
                if let Some(dash) = items.first().and_then(|item| dash_of(text, item)) {
                    style.sequence = column(text, dash).saturating_sub(own);
                }
            }
            _ => {}
        }
        observe(text, &entry.value, style);
    }
}

/// One replacement; an insertion if the range is empty.
struct Edit {
    start: usize,
    end: usize,
    with: String,
}

struct Splicer<'t> {
    text: &'t str,
    style: Style,
    edits: Vec<Edit>,
    comments_lost: bool,
}

/// What a value hangs on: the colon behind a key, or a dash.
#[derive(Clone, Copy)]
struct Hook {
    /// Behind the colon or dash.
    after: usize,
    /// Column of the key or dash.
    column: usize,
    dash: bool,
}

impl Splicer<'_> {
    /// Edits a value in place, or else replaces it as a whole.
    fn value(&mut self, node: &Node, old: &Value, new: &Value, hook: Hook) -> Result<(), Impossible> {
        if old == new {
            return Ok(());
        }
        let (edits, comments_lost) = (self.edits.len(), self.comments_lost);
        if self.inside(node, old, new, Some(hook)).is_ok() {
            return Ok(());
        }
        self.edits.truncate(edits);
        self.comments_lost = comments_lost;
        self.replace(node, new, hook)
    }

    fn inside(&mut self, node: &Node, old: &Value, new: &Value, hook: Option<Hook>) -> Result<(), Impossible> {
        match (&node.shape, old, new) {
            (Shape::Mapping(entries), Value::Object(old), Value::Object(new)) if !new.is_empty() => self.mapping(entries, old, new),
            (Shape::Sequence(items), Value::Array(old), Value::Array(new)) if !new.is_empty() => self.sequence(items, old, new, hook),
            _ => Err(Impossible),
        }
    }

    fn mapping(&mut self, entries: &[Entry], old: &Map<String, Value>, new: &Map<String, Value>) -> Result<(), Impossible> {
        let first = entries.first().ok_or(Impossible)?;
        let own = column(self.text, first.key_start);
        // A key that is not written here comes from a merge (`<<`) and cannot be taken away here.
        if old.keys().any(|key| !new.contains_key(key) && !entries.iter().any(|entry| entry.key == *key)) {
            return Err(Impossible);
        }
        let mut last_kept = None;
        for entry in entries {
            let changes = old.get(&entry.key) != new.get(&entry.key);
            // Which of the two is meant is legible only once one of them is gone.
            if changes && entries.iter().filter(|other| other.key == entry.key).count() > 1 {
                return Err(Impossible);
            }
            let hook = Hook { after: self.colon(entry)?, column: own, dash: false };
            match (old.get(&entry.key), new.get(&entry.key)) {
                (Some(before), Some(after)) => {
                    self.value(&entry.value, before, after, hook)?;
                    last_kept = Some(entry);
                }
                (Some(_), None) => self.remove(entry.key_start, entry.value.end)?,
                (None, _) if entry.key == "<<" => last_kept = Some(entry),
                (None, _) => return Err(Impossible),
            }
        }
        let known = |key: &String| entries.iter().any(|entry| entry.key == *key);
        // A value merged from elsewhere that changes is written here, where it has precedence.
        let added: Map<String, Value> = new
            .iter()
            .filter(|(key, value)| !known(key) && old.get(*key) != Some(value))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if added.is_empty() {
            return Ok(());
        }
        let last = last_kept.ok_or(Impossible)?;
        self.insert_lines(line_end(self.text, last.value.end), &Value::Object(added), own);
        Ok(())
    }

    fn sequence(&mut self, items: &[Node], old: &[Value], new: &[Value], hook: Option<Hook>) -> Result<(), Impossible> {
        if items.len() != old.len() {
            return Err(Impossible);
        }
        let first_dash = items.first().and_then(|item| dash_of(self.text, item)).ok_or(Impossible)?;
        let own = column(self.text, first_dash);
        let pairs = align(old, new);
        if pairs.is_empty() {
            return Err(Impossible);
        }
        // New items follow the kept one before them, or the line of the key or outer dash.
        let mut behind = hook.map(|hook| line_end(self.text, hook.after));
        if behind.is_some_and(|behind| behind > first_dash) {
            behind = None;
        }
        let (mut next_old, mut next_new) = (0, 0);
        for (kept_old, kept_new) in pairs.into_iter().chain([(old.len(), new.len())]) {
            for item in items.get(next_old..kept_old).unwrap_or_default() {
                self.remove(dash_of(self.text, item).ok_or(Impossible)?, item.end)?;
            }
            let added = new.get(next_new..kept_new).unwrap_or_default();
            if !added.is_empty() {
                self.insert_lines(behind.ok_or(Impossible)?, &Value::Array(added.to_vec()), own);
            }
            if let (Some(item), Some(before), Some(after)) = (items.get(kept_old), old.get(kept_old), new.get(kept_new)) {
                let dash = dash_of(self.text, item).ok_or(Impossible)?;
                self.value(item, before, after, Hook { after: dash + 1, column: own, dash: true })?;
                behind = Some(line_end(self.text, item.end));
            }
            (next_old, next_new) = (kept_old + 1, kept_new + 1);
        }
        Ok(())
    }

    /// Behind the colon of an entry.
    fn colon(&self, entry: &Entry) -> Result<usize, Impossible> {
        let rest = self.text.get(entry.key_end..).ok_or(Impossible)?;
        let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        if rest.get(blanks..).is_some_and(|rest| rest.starts_with(':')) { Ok(entry.key_end + blanks + 1) } else { Err(Impossible) }
    }

    /// Removes whole lines, from the one that `start` begins to the one `end` lies in.
    fn remove(&mut self, start: usize, end: usize) -> Result<(), Impossible> {
        let from = line_start(self.text, start);
        if !self.text.get(from..start).is_some_and(|lead| lead.bytes().all(|byte| byte == b' ')) {
            return Err(Impossible);
        }
        let to = line_end(self.text, end);
        let newline = self.text.get(to..).unwrap_or_default();
        let length = if newline.starts_with("\r\n") { 2 } else { usize::from(newline.starts_with('\n')) };
        let edit = if length > 0 || from == 0 {
            Edit { start: from, end: to + length, with: String::new() }
        } else {
            // The last line of a text without line break at its end takes the one before it along.
            let before = self.text.get(..from).unwrap_or_default();
            let kept = before.strip_suffix("\r\n").or_else(|| before.strip_suffix('\n')).unwrap_or(before).len();
            Edit { start: kept, end: to, with: String::new() }
        };
        self.edits.push(edit);
        Ok(())
    }

    /// Puts a collection's entries or items on lines of their own behind a line's end.
    fn insert_lines(&mut self, at: usize, value: &Value, column: usize) {
        let lines = render::yaml(&Ordered::like(value, None), column, self.style);
        self.edits.push(Edit { start: at, end: at, with: format!("\n{lines}") });
    }

    /// Writes a value anew behind its colon or dash.
    fn replace(&mut self, node: &Node, new: &Value, hook: Hook) -> Result<(), Impossible> {
        let old = self.text.get(hook.after..node.end).ok_or(Impossible)?;
        self.comments_lost |= [" #", "\t#", "\n#"].iter().any(|sign| old.contains(sign));
        let ordered = Ordered::like(new, None);
        let has_lines = match &ordered {
            Ordered::Scalar(_) => false,
            Ordered::List(items) => !items.is_empty(),
            Ordered::Map(entries) => !entries.is_empty(),
        };
        if !has_lines {
            self.edits.push(Edit { start: hook.after, end: node.end, with: format!(" {}", render::inline(&ordered)) });
            return Ok(());
        }
        let end = line_end(self.text, node.end);
        let rest_is_blank = self.text.get(node.end..end).is_some_and(|rest| rest.trim().is_empty());
        if hook.dash && rest_is_blank {
            let lines = render::yaml(&ordered, hook.column + 2, self.style);
            self.edits.push(Edit { start: hook.after, end: node.end, with: format!(" {}", lines.trim_start_matches(' ')) });
            return Ok(());
        }
        let indent = match &ordered {
            Ordered::List(_) if !hook.dash => self.style.sequence,
            _ => self.style.step,
        };
        self.edits.push(Edit { start: hook.after, end: node.end, with: String::new() });
        self.insert_lines(end, new, hook.column + indent);
        Ok(())
    }
}

/// Makes the edits. `None` if two of them overlap. Inserted lines end as the text's own do.
fn apply(text: &str, mut edits: Vec<Edit>) -> Option<String> {
    let windows = text.lines().next().is_some_and(|first| text.get(first.len()..).is_some_and(|rest| rest.starts_with("\r\n")));
    // Stable: of insertions in one place, those of the inner value were made first and stand first.
    edits.sort_by_key(|edit| edit.start);
    let mut out = String::with_capacity(text.len() + edits.iter().map(|edit| edit.with.len()).sum::<usize>());
    let mut at = 0;
    for edit in edits {
        out.push_str(text.get(at..edit.start)?);
        if windows {
            out.push_str(&edit.with.replace('\n', "\r\n"));
        } else {
            out.push_str(&edit.with);
        }
        at = edit.end;
    }
    out.push_str(text.get(at..)?);
    Some(out)
}

/// Pairs of items that are the same thing before and after, in order. Between those that certainly are, as many old as new ones without
/// names are taken for changed ones.
fn align(old: &[Value], new: &[Value]) -> Vec<(usize, usize)> {
    let name = |item: &Value| item.get("name").cloned();
    if old.len() == new.len() && old.iter().map(name).eq(new.iter().map(name)) {
        return (0..old.len()).zip(0..).collect();
    }
    if old.len().max(new.len()) > MAX_ITEMS {
        return Vec::new();
    }
    let mut pairs = Vec::new();
    let (mut next_old, mut next_new) = (0, 0);
    for (i, j) in certain(old, new).into_iter().chain([(old.len(), new.len())]) {
        let is_nameless = |items: &[Value]| items.iter().all(|item| item.get("name").is_none());
        let (gap_old, gap_new) = (&old[next_old..i], &new[next_new..j]);
        if gap_old.len() == gap_new.len() && is_nameless(gap_old) && is_nameless(gap_new) {
            pairs.extend((next_old..i).zip(next_new..j));
        }
        pairs.extend((i < old.len()).then_some((i, j)));
        (next_old, next_new) = (i + 1, j + 1);
    }
    pairs
}

/// A longest common subsequence by name, or by value where there is none.
fn certain(old: &[Value], new: &[Value]) -> Vec<(usize, usize)> {
    let same = |a: &Value, b: &Value| match (a.get("name"), b.get("name")) {
        (Some(a), Some(b)) => a == b,
        (None, None) => a == b,
        _ => false,
    };
    let width = new.len() + 1;
    let mut lengths = vec![0_u32; (old.len() + 1) * width];
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            lengths[i * width + j] = if same(a, b) {
                lengths[(i + 1) * width + j + 1] + 1
            } else {
                lengths[(i + 1) * width + j].max(lengths[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < old.len() && j < new.len() {
        if same(&old[i], &new[j]) {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if lengths[(i + 1) * width + j] >= lengths[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

/// The dash before an item: on its line, or on one above with nothing but comments between.
fn dash_of(text: &str, item: &Node) -> Option<usize> {
    let mut start = line_start(text, item.start);
    let mut lead = text.get(start..item.start)?;
    while lead.trim().is_empty() || lead.trim_start().starts_with('#') {
        let above = line_start(text, start.checked_sub(1)?);
        (lead, start) = (text.get(above..start)?, above);
    }
    let run = lead.trim_start_matches([' ', '-']);
    let dashes = lead.get(..lead.len() - run.len())?.trim_end_matches(' ');
    let is_alone = run.trim().is_empty() || run.starts_with('#');
    (dashes.ends_with('-') && is_alone).then(|| start + dashes.len() - 1)
}

fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1)
}

/// Before the line break (or at the end) of the line that `at` lies in.
fn line_end(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let line = rest.split('\n').next().unwrap_or_default();
    at + line.strip_suffix('\r').unwrap_or(line).len()
}

/// Column in characters: block structure is indented by spaces and dashes alone, but a quoted key may be anything.
fn column(text: &str, at: usize) -> usize {
    text.get(line_start(text, at)..at).map_or(0, |lead| lead.chars().count())
}
