//! The files of a configuration and what they said when they were last read.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use foldhash::{HashMap, HashMapExt};
use outrigger_config::load::{self, Listing, Unlisted};
use outrigger_config::parallel;
use outrigger_config::store::FileChange;

use super::look::{Look, Seen, hash, is_in_place, look, look_at_stream};

/// Reading so many files takes longer than starting a thread for half of them.
const MIN_FILES_PER_THREAD: usize = 128;

/// Folders, files and globs, with what was last read of them.
#[derive(Debug)]
pub struct FileSource {
    roots: Vec<PathBuf>,
    /// Roots that were no files when everything was listed for the first time, pipes above all, with all they gave. They are never
    /// opened again: a pipe would seem empty, or keep the thread waiting.
    streams: BTreeMap<PathBuf, Result<String, String>>,
    known: HashMap<PathBuf, Seen>,
    /// How often all files were listed.
    scans: u64,
    problems: BTreeMap<PathBuf, String>,
    /// Patterns that no file fits. That is worth telling, but hides nothing.
    unused: BTreeSet<PathBuf>,
    /// Files whose content was read but not taken over.
    doubted: BTreeSet<PathBuf>,
}

/// What was found while others write.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What can be believed.
    pub changes: Vec<FileChange>,
    /// Files that differ but were modified this very moment: somebody may just have emptied them.
    pub fresh: Vec<PathBuf>,
    /// Files that are known and not to be found: somebody may be about to put the next version in their place.
    pub missing: Vec<PathBuf>,
}

/// Whether what is found is believed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belief {
    AtOnce,
    /// Not when a file may be in the middle of being replaced.
    Later,
}

impl FileSource {
    /// A source over `roots`, nothing read yet. Relative paths are made absolute, as the kernel's events will name them.
    pub fn new(roots: Vec<PathBuf>) -> Self {
        let roots = roots.into_iter().map(|root| std::path::absolute(&root).unwrap_or(root)).collect();
        let (streams, problems, unused, doubted) = Default::default();
        FileSource { roots, streams, known: HashMap::new(), scans: 0, problems, unused, doubted }
    }

    /// The paths given on the command line.
    pub fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// The roots that can change.
    pub(super) fn followed(&self) -> Vec<PathBuf> {
        self.roots.iter().filter(|root| !self.streams.contains_key(*root)).cloned().collect()
    }

    /// What could not be listed or read, as one text; `None` when all is well.
    pub fn problem(&self) -> Option<String> {
        let unused = self.unused.iter().map(|root| load::nothing_fits(root).to_string());
        let all: Vec<String> = self.problems.values().cloned().chain(unused).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Whether all that was found was read, and nothing of it is known not to have been taken over.
    pub(super) fn is_in_force(&self) -> bool {
        self.problems.is_empty() && self.doubted.is_empty()
    }

    /// Lists all files and returns those that are new, gone, or differ. Files of `unsettled` are passed over, and while a
    /// root cannot be listed (missing itself, or the folder of a pattern is), or a folder below it, none of its files counts as
    /// gone: losing the source never stops traffic. A file that is not in a list is gone.
    pub fn rescan(&mut self, unsettled: &BTreeSet<PathBuf>) -> Vec<FileChange> {
        self.scan(unsettled, Belief::AtOnce).changes
    }

    /// As [`FileSource::rescan`], while others write: what may be in the middle of being replaced is named and left as it was.
    pub fn look_around(&mut self, unsettled: &BTreeSet<PathBuf>) -> Found {
        self.scan(unsettled, Belief::Later)
    }

    fn scan(&mut self, unsettled: &BTreeSet<PathBuf>, belief: Belief) -> Found {
        self.problems.clear();
        self.unused.clear();
        if self.scans == 0 {
            self.read_streams();
        }
        self.scans += 1;
        let (present, unlisted) = self.list();
        for path in &present {
            if let Some(seen) = self.known.get_mut(path) {
                seen.scan = self.scans;
            }
        }
        let is_gone = |path: &PathBuf, seen: &Seen| {
            seen.scan != self.scans && !unsettled.contains(path) && !unlisted.iter().any(|holder| load::belongs_to(holder, path))
        };
        let mut gone: Vec<PathBuf> = self.known.iter().filter(|(path, seen)| is_gone(path, seen)).map(|(path, _)| path.clone()).collect();
        gone.sort();
        let mut found = Found::default();
        for path in gone {
            match belief {
                Belief::Later if self.may_return(&path) => found.missing.push(path),
                _ => found.changes.push(self.forget(path)),
            }
        }
        let looked_at: Vec<PathBuf> = present.into_iter().filter(|path| !unsettled.contains(path)).collect();
        // At a start every file is read. Later most are untouched, and to find that out is not worth a thread.
        let share = if self.known.is_empty() { MIN_FILES_PER_THREAD } else { usize::MAX };
        let looks = parallel::map(&looked_at, share, |path| self.look(path, true));
        for (path, look) in looked_at.into_iter().zip(looks) {
            match look {
                Look::Missing if belief == Belief::Later && self.is_missed(&path) => found.missing.push(path),
                Look::Read { text: Some(_), fresh: true, .. } if belief == Belief::Later && self.is_in_place(&path) => {
                    found.fresh.push(path);
                }
                look => found.changes.extend(self.take_note(path, look)),
            }
        }
        found
    }

    /// All files there are, and the roots and folders that cannot be listed.
    fn list(&mut self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let (mut present, mut unlisted) = (Vec::new(), Vec::new());
        for root in &self.roots {
            if self.streams.contains_key(root) {
                present.push(root.clone());
                continue;
            }
            match load::list_one(root) {
                Ok(Listing::Files(mut files, folders)) => {
                    present.append(&mut files);
                    for Unlisted { path, error } in folders {
                        self.problems.insert(path.clone(), error.to_string());
                        unlisted.push(path);
                    }
                }
                Ok(Listing::NothingFits) => {
                    self.unused.insert(root.clone());
                }
                Err(error) => {
                    self.problems.insert(root.clone(), error.to_string());
                    unlisted.push(root.clone());
                }
            }
        }
        // One root comes in order.
        if self.roots.len() > 1 {
            present.sort();
            present.dedup();
        }
        (present, unlisted)
    }

    /// Reads single files and returns those that differ from what was known. Files that are no configuration are passed
    /// over, and no other file is looked at: it may be about to be written or to come back.
    pub fn read(&mut self, paths: BTreeSet<PathBuf>) -> Vec<FileChange> {
        self.read_each(paths, Belief::AtOnce).changes
    }

    /// As [`FileSource::read`], of files of which nobody has said that they are gone: one that is not there is only named.
    pub fn read_written(&mut self, paths: BTreeSet<PathBuf>) -> Found {
        self.read_each(paths, Belief::Later)
    }

    fn read_each(&mut self, paths: BTreeSet<PathBuf>, belief: Belief) -> Found {
        let mut found = Found::default();
        for path in paths {
            if !self.covers(&path) {
                continue;
            }
            match self.look(&path, false) {
                Look::Missing if belief == Belief::Later && self.is_missed(&path) => found.missing.push(path),
                look => found.changes.extend(self.take_note(path, look)),
            }
        }
        found
    }

    /// What was read of these files was not taken over: they count as changed with the next change of any file. Not sooner,
    /// since what failed on them would fail on them again.
    pub fn doubt(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        self.doubted.extend(paths);
    }

    /// Adds to `changes` what the doubted files say now.
    pub fn add_doubted(&mut self, changes: &mut Vec<FileChange>) {
        let mut doubted = std::mem::take(&mut self.doubted);
        doubted.retain(|path| !changes.iter().any(|change| change.path == *path));
        for path in doubted {
            let stream = self.streams.get(&path).and_then(|stream| stream.clone().ok());
            match stream.map_or_else(|| load::read_file(&path), |text| Ok(Some(text))) {
                Ok(Some(text)) => {
                    self.known.insert(path.clone(), Seen { hash: hash(&text), stamp: None, scan: self.scans });
                    changes.push(FileChange { path, text: Some(text) });
                }
                Ok(None) if !self.is_lost(&path) => changes.push(self.forget(path)),
                Ok(None) | Err(_) => {
                    self.doubted.insert(path);
                }
            }
        }
    }

    /// Every file, for a store that has lost what it knew. `None` while something cannot be read: what it held would be gone.
    pub fn everything(&mut self) -> Option<Vec<FileChange>> {
        self.known.clear();
        self.doubted.clear();
        let files = self.rescan(&BTreeSet::new());
        if self.problems.is_empty() {
            return Some(files);
        }
        // The next look around finds them all new, and leads here again.
        self.known.clear();
        None
    }

    /// Whether a file is, or would be, configuration.
    pub(super) fn covers(&self, path: &Path) -> bool {
        self.known.contains_key(path) || self.roots.iter().any(|root| stands_for(root, path))
    }

    fn is_in_place(&self, path: &Path) -> bool {
        self.roots.iter().any(|root| load::belongs_to(root, path) && is_in_place(root, path))
    }

    /// Whether a file is missing because what held it is: its root, or the folder of the pattern that it fits.
    fn is_lost(&self, path: &Path) -> bool {
        let holder = |root| if path.starts_with(root) { root } else { load::folder_of(root) };
        self.roots.iter().any(|root| load::belongs_to(root, path) && !holder(root).exists())
    }

    /// Whether a file that could not be opened is one that is known, and missing by itself.
    fn is_missed(&self, path: &Path) -> bool {
        self.known.contains_key(path) && !self.is_lost(path)
    }

    /// Whether a file that was not listed is likely to be found again: nothing has taken its place, or it is back already.
    /// A folder or pipe there, a file where a folder led to it, or a root that is another pattern now will not go by themselves.
    fn may_return(&self, path: &Path) -> bool {
        match std::fs::metadata(path) {
            Ok(metadata) => metadata.is_file() && self.roots.iter().any(|root| stands_for(root, path)),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    fn look(&self, path: &Path, trust_stamp: bool) -> Look {
        match self.streams.get(path) {
            Some(stream) => look_at_stream(stream, self.known.get(path)),
            None => look(path, self.known.get(path), trust_stamp),
        }
    }

    fn read_streams(&mut self) {
        for root in &self.roots {
            // Given twice, it has nothing more to give the second time, or keeps the thread waiting.
            if !self.streams.contains_key(root) && load::is_stream(root) {
                let text = load::read_stream(root).map_err(|error| error.to_string());
                self.streams.insert(root.clone(), text);
            }
        }
    }

    /// Remembers what was seen of a file, and returns what that changes.
    fn take_note(&mut self, path: PathBuf, look: Look) -> Option<FileChange> {
        match look {
            Look::Untouched => None,
            Look::Read { text, hash, stamp, fresh: _ } => {
                self.problems.remove(&path);
                self.known.insert(path.clone(), Seen { hash, stamp, scan: self.scans });
                text.map(|text| FileChange { path, text: Some(text) })
            }
            Look::Missing if self.is_lost(&path) => {
                self.problems.insert(path.clone(), format!("{}: is gone; what it held stays in force", path.display()));
                None
            }
            Look::Missing => {
                self.problems.remove(&path);
                self.known.contains_key(&path).then(|| self.forget(path))
            }
            Look::Unreadable(error) => {
                // What the file said stays in force; its age and this problem are visible.
                self.problems.insert(path, error.to_string());
                None
            }
        }
    }

    fn forget(&mut self, path: PathBuf) -> FileChange {
        self.known.remove(&path);
        self.problems.remove(&path);
        FileChange { path, text: None }
    }
}

/// Whether a root stands for a file that nothing is known of yet, as a listing of the root would find.
fn stands_for(root: &Path, path: &Path) -> bool {
    let is_below = || load::is_configuration(path) && path.strip_prefix(root).is_ok_and(has_no_hidden_folder);
    // What has the very name of a pattern is that file, and no pattern.
    root == path || is_below() || (load::fits(root, path) && !root.exists())
}

/// Below a root, folders whose names begin with a dot are not configuration (`..2026_11_20` of a mounted ConfigMap).
fn has_no_hidden_folder(relative: &Path) -> bool {
    relative.components().all(|part| !part.as_os_str().as_encoded_bytes().starts_with(b"."))
}
