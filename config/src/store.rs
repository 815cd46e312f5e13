//! The objects in force, file by file, with the one rule for bad configuration:
//!
//! At first load an invalid object is left out and named. On reload the last good version of that object stays until it is
//! mended or deleted. A file with a syntax error freezes only what that file held.

mod reading;
mod resting;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::resting::Resting;
use crate::diagnostic::{self, Consequence, Diagnostic, Severity};
use crate::keep::Keeper;
use crate::object::{Object, ObjectId};
use crate::parallel;
use crate::parse::{Parsed, parse};

/// Reading so many files takes longer than starting a thread for half of them.
const MIN_FILES_PER_THREAD: usize = 32;

/// A file that was written, or removed (`text` is `None`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// The file.
    pub path: PathBuf,
    /// Its new text.
    pub text: Option<String>,
}

impl From<crate::load::SourceFile> for FileChange {
    fn from(file: crate::load::SourceFile) -> Self {
        FileChange { path: file.path, text: Some(file.text) }
    }
}

/// Objects in force, by what they are called.
type Objects = BTreeMap<ObjectId, Arc<Object>>;

/// The objects in force.
#[derive(Debug, Default)]
pub struct Store {
    files: BTreeMap<Arc<Path>, FileState>,
    objects: Objects,
    diagnostics: Vec<Diagnostic>,
    keeper: Option<Keeper>,
}

#[derive(Debug, Default)]
struct FileState {
    objects: Vec<Arc<Object>>,
    /// What is wrong in it, in few files of many.
    trouble: Option<Arc<Trouble>>,
}

#[derive(Debug, Default)]
struct Trouble {
    /// Objects that are there but may not be used.
    invalid: Vec<ObjectId>,
    diagnostics: Vec<Diagnostic>,
}

impl FileState {
    fn new(parsed: Parsed) -> Self {
        let Parsed { objects, invalid, diagnostics, syntax_error: _ } = parsed;
        FileState { objects, trouble: Trouble::new(invalid, diagnostics) }
    }

    /// Takes over what the file says now, unless that cannot be read and it held something.
    fn replace(&mut self, mut parsed: Parsed) {
        let held = !self.objects.is_empty() || !self.invalid().is_empty();
        if !parsed.syntax_error || !held {
            *self = FileState::new(parsed);
            return;
        }
        for diagnostic in &mut parsed.diagnostics {
            if diagnostic.consequence != Consequence::None {
                diagnostic.consequence = Consequence::FileFrozen;
            }
        }
        self.trouble = Trouble::new(self.invalid().to_vec(), parsed.diagnostics);
    }

    fn invalid(&self) -> &[ObjectId] {
        self.trouble.as_ref().map_or(&[], |trouble| &trouble.invalid)
    }

    fn diagnostics(&self) -> &[Diagnostic] {
        self.trouble.as_ref().map_or(&[], |trouble| &trouble.diagnostics)
    }
}

impl Trouble {
    fn new(invalid: Vec<ObjectId>, diagnostics: Vec<Diagnostic>) -> Option<Arc<Trouble>> {
        (!invalid.is_empty() || !diagnostics.is_empty()).then(|| Arc::new(Trouble { invalid, diagnostics }))
    }
}

impl Store {
    /// A store without objects.
    pub fn new() -> Self {
        Store::default()
    }

    /// A store that keeps of each object what the proxy of one workload asks for.
    pub fn keeping(keeper: Keeper) -> Self {
        Store { keeper: Some(keeper), ..Store::default() }
    }

    /// Takes over changed files, all at once: an object that moves from one file to another is never missing. Returns what
    /// there is to say about the changed files; [`Store::diagnostics`] has everything.
    pub fn apply(&mut self, changes: Vec<FileChange>) -> Vec<Diagnostic> {
        self.apply_read_by(changes, parse)
    }

    fn apply_read_by(&mut self, changes: Vec<FileChange>, parse: reading::Parse) -> Vec<Diagnostic> {
        let keeper = self.keeper.as_ref();
        let changed: Vec<Arc<Path>> = changes.iter().map(|change| Arc::from(change.path.as_path())).collect();
        let parsed = parallel::map(&changes, MIN_FILES_PER_THREAD, |change| {
            change.text.as_deref().map(|text| reading::read(&change.path, text, keeper, parse))
        });
        drop(changes);
        // The files of a first load come in order, each once, and a map of them is made without looking for the place of each.
        // Otherwise a batch may speak of a file more than once, and its last word counts.
        if self.files.is_empty() && changed.is_sorted_by(|earlier, later| earlier < later) {
            let states = changed.iter().zip(parsed).filter_map(|(path, parsed)| Some((path.clone(), FileState::new(parsed?))));
            self.files = states.collect();
        } else {
            for (path, parsed) in changed.iter().zip(parsed) {
                match parsed {
                    None => drop(self.files.remove(path)),
                    Some(parsed) => self.files.entry(path.clone()).or_default().replace(parsed),
                }
            }
        }
        self.rebuild();
        let changed: HashSet<&Path> = changed.iter().map(|path| &**path).collect();
        self.diagnostics.iter().filter(|diagnostic| changed.contains(&*diagnostic.file)).cloned().collect()
    }

    /// The objects in force, ordered by kind, namespace and name.
    pub fn objects(&self) -> impl ExactSizeIterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// Everything there is to say, ordered by file and line.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Computes the objects in force from all files. Of an object in several files the last file counts, as when the folder
    /// is given to `kubectl apply`.
    fn rebuild(&mut self) {
        let before = std::mem::take(&mut self.objects);
        let mut diagnostics = self.take_objects(&before);
        let kept = self.last_good(&before);
        for diagnostic in self.files.values().flat_map(FileState::diagnostics) {
            let mut diagnostic = diagnostic.clone();
            let last_good = diagnostic.object.as_ref().is_some_and(|id| kept.contains_key(id));
            if last_good && diagnostic.consequence == Consequence::LeftOut {
                diagnostic.consequence = Consequence::LastGoodKept;
            }
            diagnostics.push(diagnostic);
        }
        self.objects.extend(kept);
        diagnostic::sort(&mut diagnostics);
        self.diagnostics = diagnostics;
    }

    /// Puts the objects of all files in force, those of `before` that are equal in place of second copies, and tells which are
    /// written twice.
    fn take_objects(&mut self, before: &Objects) -> Vec<Diagnostic> {
        let mut diagnostics = Vec::new();
        for state in self.files.values_mut() {
            for object in &mut state.objects {
                reuse(before.get(&object.id), object);
                let mut earlier = match self.objects.entry(object.id.clone()) {
                    Entry::Vacant(place) => {
                        place.insert(object.clone());
                        continue;
                    }
                    Entry::Occupied(earlier) => earlier,
                };
                match (is_published(earlier.get()), is_published(object)) {
                    (true, _) => continue,
                    (false, true) => {}
                    (false, false) => diagnostics.push(duplicate(earlier.get(), object)),
                }
                earlier.insert(object.clone());
            }
        }
        diagnostics
    }

    /// The objects of `before` that no file has any more in a form that can be used.
    fn last_good(&self, before: &Objects) -> HashMap<ObjectId, Arc<Object>> {
        let mut kept = HashMap::new();
        for id in self.files.values().flat_map(FileState::invalid) {
            if !self.objects.contains_key(id)
                && let Some(object) = before.get(id)
            {
                kept.insert(id.clone(), object.clone());
            }
        }
        kept
    }
}

/// Annotation on objects that a runner of manifests publishes beside them: the same Service, now with its address. They
/// stand in place of what was written, and that is no mistake to report.
pub const PUBLISHED_BY: &str = "outrigger.dev/published-by";

fn is_published(object: &Object) -> bool {
    object.meta.annotations.contains_key(PUBLISHED_BY)
}

/// Puts the former object in place of an equal new one, so that whoever holds it can tell by its address that nothing changed.
fn reuse(former: Option<&Arc<Object>>, object: &mut Arc<Object>) {
    if let Some(former) = former
        && !Arc::ptr_eq(former, object)
        && former == object
    {
        object.clone_from(former);
    }
}

fn duplicate(earlier: &Object, later: &Object) -> Diagnostic {
    let line = later.position("").line;
    let message = format!("also written in {}:{line}, which counts", later.file.display());
    earlier.diagnostic(Severity::Warning, "IST0133", "metadata.name", message)
}

#[cfg(test)]
mod tests;
