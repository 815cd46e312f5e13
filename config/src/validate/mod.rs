//! The rules an object must keep beyond the types of its fields, one file per kind.

use crate::decode::{Path, Problem};
use crate::diagnostic::Severity;
use crate::object::{Body, ObjectId, ObjectMeta};
use crate::yaml::{self, Node};

/// Checks one object by itself. `node` is its tree.
pub fn object(_id: &ObjectId, _meta: &ObjectMeta, _body: &Body, node: &Node) -> Vec<Problem> {
    let checker = Checker { node, problems: Vec::new() };
    checker.problems
}

/// Collects what the rules find.
pub(crate) struct Checker<'n> {
    node: &'n Node,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    /// A violation: the object cannot be used (IST0106).
    pub(crate) fn error(&mut self, path: &Path<'_>, message: impl Into<String>) {
        self.push(Severity::Error, "IST0106", path, message.into());
    }

    /// Something doubtful (IST0133).
    pub(crate) fn warning(&mut self, path: &Path<'_>, message: impl Into<String>) {
        self.push(Severity::Warning, "IST0133", path, message.into());
    }

    /// A message with a code of its own.
    pub(crate) fn push(&mut self, severity: Severity, code: &'static str, path: &Path<'_>, message: String) {
        let field = path.to_string();
        let position = yaml::locate(self.node, &field);
        self.problems.push(Problem { severity, code, position, field, message });
    }
}
