//! A whole text: its documents one after the other, each workload in them offered to a function.

use std::borrow::Cow;

use outrigger_config::yaml::{self, Document, Node};
use serde_json::Value;

use super::kind::{self, Workload};
use super::rewrite::rewrite;

/// What shall become of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// The pod as it should be; `None` leaves it alone.
    pub pod: Option<Value>,
    /// Why, or why not.
    pub reason: String,
    /// What the author should know.
    pub warnings: Vec<String>,
}

/// Why a pod cannot be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The field at fault as steps from the pod, as far as known; empty for the pod as a whole.
    pub field: Vec<String>,
    /// In words.
    pub message: String,
}

/// What became of a workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The workload.
    pub workload: Workload,
    /// Line of the text in which its object starts, from 1.
    pub line: u32,
    /// The answer it got.
    pub change: Change,
    /// Its pod as it stood.
    pub before: Value,
}

/// Something about a document as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Line in which the document starts, from 1.
    pub line: u32,
    /// In words.
    pub message: String,
}

/// Why a text cannot be transformed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1, where it is known.
    pub column: Option<u32>,
    /// `Deployment shop/web`; `None` if the text is not readable.
    pub object: Option<String>,
    /// In words.
    pub message: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.line)?;
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        if let Some(object) = &self.object {
            write!(f, ": {object}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// A text with its pods as they should be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transformed {
    /// The text.
    pub text: String,
    /// One per workload, in the order written.
    pub reports: Vec<Report>,
    /// What happened to comments and layout.
    pub warnings: Vec<Warning>,
}

/// Offers every pod of a text to `change` and writes down the answers.
///
/// # Errors
/// All that is wrong: unreadable documents, workloads without a pod, pods that `change` refuses. Nothing is done by halves.
pub fn transform(text: &str, mut change: impl FnMut(&Workload, &Value) -> Result<Change, Refusal>) -> Result<Transformed, Vec<Failure>> {
    let mut done = Transformed::default();
    let mut failures = Vec::new();
    let mut copied = 0;
    for document in yaml::stream(text) {
        let Some(start) = offset(text, document.text) else {
            failures.extend(unreadable(&document));
            continue;
        };
        match one(&document, &mut change) {
            Ok((new, reports, warning)) => {
                done.text.push_str(text.get(copied..start).unwrap_or_default());
                done.text.push_str(&new);
                copied = start + document.text.len();
                done.reports.extend(reports);
                done.warnings.extend(warning);
            }
            Err(more) => failures.extend(more),
        }
    }
    done.text.push_str(text.get(copied..).unwrap_or_default());
    if failures.is_empty() { Ok(done) } else { Err(failures) }
}

type One<'t> = (Cow<'t, str>, Vec<Report>, Option<Warning>);

fn one<'t>(
    document: &Document<'t>,
    change: &mut impl FnMut(&Workload, &Value) -> Result<Change, Refusal>,
) -> Result<One<'t>, Vec<Failure>> {
    let node = document.node.as_ref().map_err(|_| unreadable(document))?;
    let before = node.to_json();
    let workloads = kind::workloads(&before).map_err(|missing| {
        let line = line_of(node, &missing.pointer);
        vec![Failure { line, column: None, object: Some(missing.object), message: missing.message }]
    })?;
    if workloads.is_empty() {
        return Ok((Cow::Borrowed(document.text), Vec::new(), None));
    }
    let mut after = before.clone();
    let (mut reports, mut failures) = (Vec::new(), Vec::new());
    for workload in workloads {
        let Some(place) = after.pointer_mut(&workload.pod) else { continue };
        match change(&workload, place) {
            Ok(change) => {
                let before = place.clone();
                if let Some(pod) = change.pod.clone() {
                    *place = pod;
                }
                reports.push(Report { line: line_of(node, &workload.object), workload, change, before });
            }
            Err(refusal) => {
                let pod = workload.pod.split('/').skip(1);
                let line = locate(node, pod.chain(refusal.field.iter().map(String::as_str)));
                failures.push(Failure { line, column: None, object: Some(workload.to_string()), message: refusal.message });
            }
        }
    }
    if !failures.is_empty() {
        return Err(failures);
    }
    let rewritten = rewrite(document.text, node, &after)
        .map_err(|message| vec![Failure { line: node.position.line, column: None, object: None, message: message.to_owned() }])?;
    let warning = rewritten.warning.map(|message| Warning { line: node.position.line, message: message.to_owned() });
    Ok((Cow::Owned(rewritten.text), reports, warning))
}

/// An object of a text, for those who only look.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Line in which it starts, from 1.
    pub line: u32,
    /// The object; never a List.
    pub value: Value,
}

/// All objects of a text, those in Lists each for itself.
///
/// # Errors
/// The documents that cannot be read.
pub fn objects(text: &str) -> Result<Vec<Object>, Vec<Failure>> {
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for document in yaml::stream(text) {
        match &document.node {
            Ok(node) => flatten(node, &node.to_json(), String::new(), &mut found),
            Err(_) => failures.extend(unreadable(&document)),
        }
    }
    if failures.is_empty() { Ok(found) } else { Err(failures) }
}

fn flatten(root: &Node, object: &Value, pointer: String, found: &mut Vec<Object>) {
    if !kind::is_list(object) {
        found.push(Object { line: line_of(root, &pointer), value: object.clone() });
        return;
    }
    let items = object.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    items.iter().enumerate().for_each(|(index, item)| flatten(root, item, format!("{pointer}/items/{index}"), found));
}

/// Several texts as one stream, divided by `---` where they do not begin with it.
#[must_use]
pub fn join(texts: &[String]) -> String {
    let mut out = String::with_capacity(texts.iter().map(String::len).sum());
    for text in texts.iter().map(|text| text.strip_prefix('\u{feff}').unwrap_or(text)).filter(|text| !text.trim().is_empty()) {
        if !out.is_empty() {
            if !out.ends_with('\n') {
                out.push('\n');
            }
            let first = text.lines().map(str::trim_end).find(|line| !line.is_empty() && !line.starts_with('#'));
            if !first.is_some_and(|line| line == "---" || line.starts_with("--- ")) {
                out.push_str("---\n");
            }
        }
        out.push_str(text);
    }
    out
}

fn unreadable(document: &Document<'_>) -> Vec<Failure> {
    let error = document.node.as_ref().err();
    let failure = |error: &yaml::SyntaxError| Failure {
        line: error.position.line,
        column: Some(error.position.column),
        object: None,
        message: error.message.clone(),
    };
    error.map(failure).into_iter().collect()
}

/// The line in which the object at a JSON pointer starts. Pointers here are made of fields and indices that need no escapes.
fn line_of(root: &Node, pointer: &str) -> u32 {
    locate(root, pointer.split('/').skip(1))
}

/// The line of a value, or of the nearest part of its path that exists.
fn locate<'s>(root: &Node, path: impl Iterator<Item = &'s str>) -> u32 {
    let (mut node, mut line) = (root, root.position.line);
    for step in path {
        let item = || node.items().get(step.parse::<usize>().ok()?);
        match (node.entry(step), item()) {
            (Some(entry), _) => (node, line) = (&entry.value, entry.key_position.line),
            (None, Some(item)) => (node, line) = (item, item.position.line),
            (None, None) => break,
        }
    }
    line
}

/// Where a document's text lies in the whole. `None` for a document that is no part of it (a text that is too long to be read).
fn offset(whole: &str, part: &str) -> Option<usize> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    (whole.get(start..start + part.len())? == part).then_some(start)
}
