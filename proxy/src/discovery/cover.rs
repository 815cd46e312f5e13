//! Which folders the kernel watches for us, kept in step with what is at the roots' paths.
//!
//! A watch is bound to a folder and not to its path: when a root is swapped for another folder, or is a link that points
//! elsewhere now, the watch stays with what was there before. So what a path led to is remembered, and compared at every look
//! around.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::DiscoveryStatus;
use super::pending::LOOK_AROUND;

/// The folders being watched.
pub(super) struct Watches {
    watcher: Option<RecommendedWatcher>,
    covered: BTreeMap<PathBuf, Place>,
    /// Problems that were told and last.
    told: BTreeSet<String>,
}

/// What is watched at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    mode: RecursiveMode,
    folder: Folder,
}

/// Which folder it is. File systems give the number of a removed inode to the next one, so the time of its creation counts
/// too, where it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Folder {
    device: u64,
    inode: u64,
    created: Option<SystemTime>,
}

impl Watches {
    /// Watches nothing yet.
    pub(super) fn new(handler: impl notify::EventHandler) -> Self {
        let watcher = notify::recommended_watcher(handler).inspect_err(|error| {
            tracing::error!(target: "config", "cannot watch files: {error}; changes are noticed every {LOOK_AROUND:?} only");
        });
        Watches { watcher: watcher.ok(), covered: BTreeMap::new(), told: BTreeSet::new() }
    }

    /// Watches whatever of the roots exists: folders with all below them, the folder around a file, glob or link, and the
    /// nearest folder above a root that does not exist yet.
    pub(super) fn cover(&mut self, roots: &[PathBuf], status: &DiscoveryStatus) {
        let wanted = places(roots);
        let Some(watcher) = &mut self.watcher else { return };
        for path in stale(&self.covered, &wanted) {
            self.covered.remove(&path);
            // Fails when the folder is gone, and with it the watch.
            let _ = watcher.unwatch(&path);
        }
        let mut problems = BTreeSet::new();
        for (path, place) in &wanted {
            if self.covered.contains_key(path) {
                continue;
            }
            match watcher.watch(path, place.mode) {
                Ok(()) => drop(self.covered.insert(path.clone(), *place)),
                Err(error) => drop(problems.insert(format!("cannot watch {}: {error}", path.display()))),
            }
        }
        let watching = self.covered.len() == wanted.len();
        status.update(|status| status.watching = watching);
        for problem in self.news(problems) {
            tracing::warn!(target: "config", "{problem}; looking every {LOOK_AROUND:?}");
        }
    }

    /// Those of the problems there are now that have not been told yet.
    fn news(&mut self, problems: BTreeSet<String>) -> Vec<String> {
        let news = problems.difference(&self.told).cloned().collect();
        self.told = problems;
        news
    }
}

/// What should be watched now.
fn places(roots: &[PathBuf]) -> BTreeMap<PathBuf, Place> {
    let mut places = BTreeMap::new();
    let mut want = |path: &Path, mode: RecursiveMode| {
        let Some(folder) = folder(path) else { return };
        let place: &mut Place = places.entry(path.to_owned()).or_insert(Place { mode, folder });
        if mode == RecursiveMode::Recursive {
            place.mode = mode;
        }
    };
    for root in roots {
        let is_folder = root.is_dir();
        if is_folder {
            want(root, RecursiveMode::Recursive);
        }
        if !is_folder || root.is_symlink() {
            let above = root.ancestors().skip(1).find(|folder| folder.is_dir());
            want(above.unwrap_or(Path::new(".")), RecursiveMode::NonRecursive);
        }
    }
    places
}

/// The watches to be given up, the outermost first: what is watched otherwise now or no more, and all below, which such a watch
/// takes with it.
fn stale(covered: &BTreeMap<PathBuf, Place>, wanted: &BTreeMap<PathBuf, Place>) -> Vec<PathBuf> {
    let differing: Vec<&PathBuf> = covered.iter().filter(|(path, place)| wanted.get(*path) != Some(*place)).map(|(path, _)| path).collect();
    covered.keys().filter(|path| differing.iter().any(|above| path.starts_with(above))).cloned().collect()
}

fn folder(path: &Path) -> Option<Folder> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Folder { device: metadata.dev(), inode: metadata.ino(), created: metadata.created().ok() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_wanted_with_and_without_what_is_below_is_watched_with_it() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (root, file) = (folder.path().to_owned(), folder.path().join("later.yaml"));
        for roots in [[root.clone(), file.clone()], [file, root.clone()]] {
            assert_eq!(places(&roots)[&root].mode, RecursiveMode::Recursive);
        }
    }

    #[test]
    fn a_folder_that_takes_the_place_of_another_is_another_and_so_is_what_is_watched_below() {
        let parent = tempfile::tempdir().expect("temporary folder");
        let [root, below] = ["cfg", "cfg/below"].map(|name| parent.path().join(name));
        std::fs::create_dir_all(&below).expect("folders");
        let roots = [root.clone(), below.clone()];
        let covered = places(&roots);
        assert_eq!(stale(&covered, &places(&roots)), Vec::<PathBuf>::new());
        std::fs::remove_dir_all(&root).expect("removed");
        std::fs::create_dir_all(&below).expect("made again");
        assert_eq!(stale(&covered, &places(&roots)), [root, below]);
    }

    #[test]
    fn a_watch_that_fails_is_told_once_and_again_when_it_has_worked_meanwhile() {
        let mut watches = Watches::new(|_| ());
        let problem = || BTreeSet::from(["cannot watch /cfg".to_owned()]);
        let told = [problem(), problem(), BTreeSet::new(), problem()].map(|problems| watches.news(problems).len());
        assert_eq!(told, [1, 0, 0, 1]);
    }
}
