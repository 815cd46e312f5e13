//! The files of a configuration and what they said when they were last read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use outrigger_config::load;
use outrigger_config::store::FileChange;

use super::pending::WRITING;

/// A file modified less than this before it was read may have been modified again within the clock's grain, so its
/// metadata proves nothing.
const RACY: Duration = Duration::from_secs(2);

/// A new file modified less than this ago may be about to grow further, although the kernel's report is still on its way.
/// A file that was there before gets [`WRITING`]: to lose what it held is worse than to be late, and its close is reported.
const FRESH: Duration = Duration::from_millis(50);

/// Folders, files and globs, with what was last read of them.
#[derive(Debug)]
pub struct FileSource {
    roots: Vec<PathBuf>,
    known: HashMap<PathBuf, Seen>,
    problems: BTreeMap<PathBuf, String>,
    /// Files whose content was read but not taken over.
    doubted: BTreeSet<PathBuf>,
}

/// What is remembered of a file; its text is kept by the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    hash: u64,
    stamp: Option<Stamp>,
}

/// Metadata that changes with the content, when it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl FileSource {
    /// A source over `roots`, nothing read yet. Relative paths are made absolute, as the kernel's events will name them.
    pub fn new(roots: Vec<PathBuf>) -> Self {
        let roots = roots.into_iter().map(|root| std::path::absolute(&root).unwrap_or(root)).collect();
        FileSource { roots, known: HashMap::new(), problems: BTreeMap::new(), doubted: BTreeSet::new() }
    }

    /// The paths given on the command line.
    pub fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// What could not be listed or read, as one text; `None` when all is well.
    pub fn problem(&self) -> Option<String> {
        let all: Vec<&str> = self.problems.values().map(String::as_str).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Lists all files and returns those that are new, gone, or differ. Files of `unsettled` are passed over, and while a
    /// root is missing or cannot be listed none of its files counts as gone: losing the source never stops traffic.
    pub fn rescan(&mut self, unsettled: &BTreeSet<PathBuf>) -> Vec<FileChange> {
        self.scan(unsettled, None)
    }

    /// As [`FileSource::rescan`], while others write: a file that differs but was modified this very moment is passed over
    /// too, and returned in the second list. Somebody may just have emptied it.
    pub fn look_around(&mut self, unsettled: &BTreeSet<PathBuf>) -> (Vec<FileChange>, Vec<PathBuf>) {
        let mut fresh = Vec::new();
        let changes = self.scan(unsettled, Some(&mut fresh));
        (changes, fresh)
    }

    fn scan(&mut self, unsettled: &BTreeSet<PathBuf>, mut fresh: Option<&mut Vec<PathBuf>>) -> Vec<FileChange> {
        self.problems.clear();
        let mut present = BTreeSet::new();
        let mut unlisted = Vec::new();
        for root in self.roots.clone() {
            match load::list(std::slice::from_ref(&root)) {
                Ok(mut files) => present.append(&mut files),
                Err(error) => {
                    self.problems.insert(root.clone(), error.to_string());
                    unlisted.push(root);
                }
            }
        }
        let is_kept = |path: &PathBuf| present.contains(path) || unlisted.iter().any(|root| path.starts_with(root));
        let mut gone: Vec<PathBuf> = self.known.keys().filter(|path| !is_kept(path) && !unsettled.contains(*path)).cloned().collect();
        gone.sort();
        let mut changes: Vec<FileChange> = gone.into_iter().map(|path| self.forget(path)).collect();
        for path in present.into_iter().filter(|path| !unsettled.contains(path)) {
            let before = self.known.get(&path).copied();
            let Some(change) = self.reread(path, true) else { continue };
            match &mut fresh {
                Some(fresh) if was_modified_within(before.map_or(FRESH, |_| WRITING), &change.path) => {
                    self.remember(&change.path, before);
                    fresh.push(change.path);
                }
                _ => changes.push(change),
            }
        }
        changes
    }

    /// Reads single files and returns those that differ from what was known. Files that are no configuration are passed
    /// over.
    pub fn read(&mut self, paths: BTreeSet<PathBuf>) -> Vec<FileChange> {
        let (ours, others): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| self.covers(path));
        let mut changes: Vec<FileChange> = ours.into_iter().filter_map(|path| self.reread(path, false)).collect();
        // A glob says only when expanded whether it means a new file.
        if others.iter().any(|path| self.may_match_a_glob(path)) {
            changes.extend(self.rescan(&BTreeSet::new()));
        }
        changes
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
            match load::read_file(&path) {
                Ok(Some(text)) => {
                    self.known.insert(path.clone(), Seen { hash: hash(&text), stamp: None });
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

    fn covers(&self, path: &Path) -> bool {
        self.known.contains_key(path)
            || self
                .roots
                .iter()
                .any(|root| root == path || (load::is_configuration(path) && path.strip_prefix(root).is_ok_and(has_no_hidden_folder)))
    }

    fn may_match_a_glob(&self, path: &Path) -> bool {
        self.roots.iter().any(|root| root.parent() == path.parent() && !root.exists())
    }

    /// Whether a file is missing because the root that held it is.
    fn is_lost(&self, path: &Path) -> bool {
        self.roots.iter().any(|root| path.starts_with(root) && !root.exists())
    }

    fn reread(&mut self, path: PathBuf, trust_stamp: bool) -> Option<FileChange> {
        let metadata = std::fs::metadata(&path).ok();
        let stamp = metadata.as_ref().and_then(Stamp::of);
        let known = self.known.get(&path).copied();
        if trust_stamp && stamp.is_some() && known.is_some_and(|seen| seen.stamp == stamp) {
            return None;
        }
        match load::read_file(&path) {
            Ok(Some(text)) => {
                self.problems.remove(&path);
                let seen = Seen { hash: hash(&text), stamp };
                let differs = known.is_none_or(|known| known.hash != seen.hash);
                self.known.insert(path.clone(), seen);
                differs.then_some(FileChange { path, text: Some(text) })
            }
            Ok(None) if self.is_lost(&path) => {
                self.problems.insert(path.clone(), format!("{}: is gone; what it held stays in force", path.display()));
                None
            }
            Ok(None) => known.map(|_| self.forget(path)),
            Err(error) => {
                // What the file said stays in force; its age and this problem are visible.
                self.problems.insert(path, error.to_string());
                None
            }
        }
    }

    fn remember(&mut self, path: &Path, seen: Option<Seen>) {
        match seen {
            Some(seen) => self.known.insert(path.to_owned(), seen),
            None => self.known.remove(path),
        };
    }

    fn forget(&mut self, path: PathBuf) -> FileChange {
        self.known.remove(&path);
        self.problems.remove(&path);
        FileChange { path, text: None }
    }
}

impl Stamp {
    /// `None` while the modification is too recent to tell this version from the next.
    fn of(metadata: &Metadata) -> Option<Stamp> {
        let age = SystemTime::now().duration_since(metadata.modified().ok()?).ok()?;
        let stamp = Stamp { inode: metadata.ino(), length: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()) };
        (age > RACY).then_some(stamp)
    }
}

/// Whether a file was modified a moment ago. What is reached through a link was complete before the link pointed there.
fn was_modified_within(limit: Duration, path: &Path) -> bool {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
    let recent = modified.is_ok_and(|modified| SystemTime::now().duration_since(modified).is_ok_and(|age| age < limit));
    recent && std::fs::canonicalize(path).is_ok_and(|real| real == path)
}

/// Below a root, folders whose names begin with a dot are not configuration (`..2026_11_20` of a mounted ConfigMap).
fn has_no_hidden_folder(relative: &Path) -> bool {
    relative.components().all(|part| !part.as_os_str().as_encoded_bytes().starts_with(b"."))
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
