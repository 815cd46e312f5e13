//! What is told to the user about configuration: one problem, where it is, and what happens now.
//!
//! Codes and levels are those of `istioctl analyze`; the position is the one in the user's file, counted from 1.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::object::ObjectId;

/// Level of a diagnostic, as `istioctl analyze` has them. Ordered: `Info < Warning < Error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Info,
    /// The object is used, but not all of it does what it says.
    Warning,
    /// The object, or a reference in it, cannot work.
    Error,
}

impl Severity {
    /// The word printed in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "Info",
            Severity::Warning => "Warning",
            Severity::Error => "Error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the program does about the problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consequence {
    /// The message says it, or nothing changes.
    #[default]
    None,
    /// The object was never valid, so it is not there.
    LeftOut,
    /// The object was valid before; that version stays in force.
    LastGoodKept,
    /// The file cannot be read to its end; everything it held stays in force.
    FileFrozen,
    /// A document of a file read for the first time is unreadable; the file's other documents are used.
    DocumentLeftOut,
}

impl Consequence {
    /// The half sentence that ends the message; empty for [`Consequence::None`].
    pub fn as_str(self) -> &'static str {
        match self {
            Consequence::None => "",
            Consequence::LeftOut => "the object is left out",
            Consequence::LastGoodKept => "its last good version stays in force",
            Consequence::FileFrozen => "what this file held stays in force",
            Consequence::DocumentLeftOut => "this document is left out",
        }
    }
}

/// One problem in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Level.
    pub severity: Severity,
    /// Message code of `istioctl analyze`, for example `IST0106`.
    pub code: &'static str,
    /// The file as it was named on the command line or found in a folder.
    pub file: Arc<Path>,
    /// Line in that file, from 1; 0 when the problem has no line.
    pub line: u32,
    /// Column in characters, from 1; 0 when the problem has no column.
    pub column: u32,
    /// The object, unless the file could not be read far enough to know.
    pub object: Option<ObjectId>,
    /// Field path such as `spec.http[0].route[1].destination.subset`; empty when the whole object is meant.
    pub field: String,
    /// What was found and what was expected.
    pub message: String,
    /// What happens now.
    pub consequence: Consequence,
    /// True when `--strict` refuses to start because of this: an object that is left out, or a security policy that is
    /// not enforced. A dangling reference is an error but does not block, for its target may still arrive.
    pub blocks_strict: bool,
}

impl Diagnostic {
    /// A diagnostic about a file as a whole (no object, no field).
    pub fn file(file: Arc<Path>, severity: Severity, code: &'static str, message: String) -> Self {
        Diagnostic {
            severity,
            code,
            file,
            line: 0,
            column: 0,
            object: None,
            field: String::new(),
            message,
            consequence: Consequence::None,
            blocks_strict: false,
        }
    }

    /// The order in which diagnostics are shown: by file, line, column, then code and text.
    pub fn sort_key(&self) -> (&Path, u32, u32, &str, &str) {
        (&self.file, self.line, self.column, self.code, &self.message)
    }

    /// `file:line:column`, without the parts that are unknown.
    pub fn location(&self) -> String {
        let file = self.file.display();
        match (self.line, self.column) {
            (0, _) => format!("{file}"),
            (line, 0) => format!("{file}:{line}"),
            (line, column) => format!("{file}:{line}:{column}"),
        }
    }
}

/// Sorts diagnostics for display and removes exact repetitions.
pub fn sort(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
    diagnostics.dedup();
}

/// One line: `file:12:7  Error   IST0106  VirtualService shop/frontend  spec.http[0]: message; consequence`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {:<7}  {}", self.location(), self.severity, self.code)?;
        if let Some(object) = &self.object {
            write!(f, "  {object}")?;
        }
        match self.field.as_str() {
            "" => write!(f, "  {}", self.message)?,
            field => write!(f, "  {field}: {}", self.message)?,
        }
        match self.consequence.as_str() {
            "" => Ok(()),
            consequence => write!(f, "; {consequence}"),
        }
    }
}

/// As JSON: one flat object whose `message` includes the consequence.
impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Flat<'a> {
            severity: Severity,
            code: &'a str,
            file: PathBuf,
            line: u32,
            column: u32,
            object: Option<String>,
            field: &'a str,
            message: String,
            blocks_strict: bool,
        }
        let message = match self.consequence.as_str() {
            "" => self.message.clone(),
            consequence => format!("{}; {consequence}", self.message),
        };
        Flat {
            severity: self.severity,
            code: self.code,
            file: self.file.to_path_buf(),
            line: self.line,
            column: self.column,
            object: self.object.as_ref().map(ToString::to_string),
            field: &self.field,
            message,
            blocks_strict: self.blocks_strict,
        }
        .serialize(serializer)
    }
}
