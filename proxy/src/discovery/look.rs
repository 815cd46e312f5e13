//! One look at one file: whether it says anything else than when it was last read.
//!
//! Nothing here remembers anything, so that many files can be looked at together.

use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use outrigger_config::load;

use super::pending::WRITING;

/// A new file modified less than this ago may be about to grow further, although the kernel's report is still on its way.
/// A file that was there before gets [`WRITING`]: to lose what it held is worse than to be late, and its close is reported.
const FRESH: Duration = Duration::from_millis(50);
/// A file modified less than this before it was read may have been modified again within the clock's grain, so its
/// metadata proves nothing.
const RACY: Duration = Duration::from_secs(2);

/// What is remembered of a file; its text is kept by the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) hash: u64,
    pub(super) stamp: Option<Stamp>,
    /// The last scan that came across it.
    pub(super) scan: u64,
}

/// What there is to say about a file now.
#[derive(Debug)]
pub(super) enum Look {
    /// It has not been touched since it was read.
    Untouched,
    /// It was read; without its text when that is what it was.
    Read {
        text: Option<String>,
        hash: u64,
        stamp: Option<Stamp>,
        /// It was modified so short a time before it was read that somebody may have been in the middle of writing it.
        fresh: bool,
    },
    Missing,
    Unreadable(io::Error),
}

/// Metadata that changes with the content, when it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// `None` while the modification is too recent to tell this version from the next; `now` is no later than the metadata.
    fn of(metadata: &Metadata, now: SystemTime) -> Option<Stamp> {
        let age = now.duration_since(metadata.modified().ok()?).ok()?;
        let stamp = Stamp { inode: metadata.ino(), length: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()) };
        (age > RACY).then_some(stamp)
    }
}

/// Looks at a file; with `trust_stamp` no further than needed to find it untouched.
pub(super) fn look(path: &Path, known: Option<&Seen>, trust_stamp: bool) -> Look {
    let now = SystemTime::now();
    if let Some(known) = known.filter(|known| trust_stamp && known.stamp.is_some())
        && std::fs::metadata(path).is_ok_and(|metadata| Stamp::of(&metadata, now) == known.stamp)
    {
        return Look::Untouched;
    }
    match load::read_with_metadata(path) {
        Ok(Some((text, metadata))) => {
            let hash = hash(&text);
            let differs = known.is_none_or(|known| known.hash != hash);
            let limit = if known.is_some() { WRITING } else { FRESH };
            let fresh = modified_within(limit, &metadata, now) || text.len() as u64 != metadata.len();
            Look::Read { text: differs.then_some(text), hash, stamp: Stamp::of(&metadata, now), fresh }
        }
        Ok(None) => Look::Missing,
        Err(error) => Look::Unreadable(error),
    }
}

/// As [`look`], at something that was read once, with what that gave.
pub(super) fn look_at_stream(stream: &Result<String, String>, known: Option<&Seen>) -> Look {
    match stream {
        Ok(text) => {
            let hash = hash(text);
            let differs = known.is_none_or(|known| known.hash != hash);
            Look::Read { text: differs.then(|| text.clone()), hash, stamp: None, fresh: false }
        }
        Err(error) => Look::Unreadable(io::Error::other(error.clone())),
    }
}

/// Whether less than `limit` lies between a modification and `now`, the moment before the metadata was asked for. What was
/// modified later than that was, by any clock, modified just now.
fn modified_within(limit: Duration, metadata: &Metadata, now: SystemTime) -> bool {
    metadata.modified().is_ok_and(|modified| now.duration_since(modified).map_or(true, |age| age < limit))
}

/// Whether a file of `root` is where its path says, seen from the root, or from the folder around a root that is a file or a
/// pattern. What is reached through a link below that was complete before the link pointed there, as in a mounted
/// ConfigMap; links at the root or above it say nothing of the kind.
pub(super) fn is_in_place(root: &Path, path: &Path) -> bool {
    let folder = if root != path && path.starts_with(root) { root } else { load::folder_of(root) };
    let Ok(below) = path.strip_prefix(folder) else { return false };
    let expected = std::fs::canonicalize(folder).map(|folder| folder.join(below));
    expected.and_then(|expected| Ok(expected == std::fs::canonicalize(path)?)).unwrap_or(false)
}

pub(super) fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a file that was modified so long ago counts as fresh when it is read.
    fn is_fresh(age: Duration, known: bool) -> bool {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        file.as_file().set_modified(SystemTime::now() - age).expect("dated");
        let known = known.then_some(Seen { hash: 0, stamp: None, scan: 0 });
        let Look::Read { fresh, .. } = look(file.path(), known.as_ref(), true) else { panic!("not read") };
        fresh
    }

    #[test]
    fn what_was_read_while_it_may_have_been_written_stays_suspect_however_late_it_is_judged() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        let known = Seen { hash: hash("what it held"), stamp: None, scan: 0 };
        file.as_file().set_modified(SystemTime::now()).expect("dated");
        let emptied = look(file.path(), Some(&known), true);
        file.as_file().set_modified(SystemTime::now() - WRITING * 2).expect("dated");
        assert!(matches!(emptied, Look::Read { text: Some(_), fresh: true, .. }));
        assert!(matches!(look(file.path(), Some(&known), true), Look::Read { text: Some(_), fresh: false, .. }));
    }

    #[test]
    fn a_file_is_in_place_unless_a_link_below_its_root_leads_to_it() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let at = |path: &str| folder.path().join(path);
        std::fs::create_dir_all(at("real/..v1")).expect("folders");
        std::fs::write(at("real/written.yaml"), "").expect("written");
        std::fs::write(at("real/..v1/mounted.yaml"), "").expect("written");
        for (link, target) in [("real/..data", "..v1"), ("real/mounted.yaml", "..data/mounted.yaml"), ("linked", "real")] {
            std::os::unix::fs::symlink(target, at(link)).expect("linked");
        }
        for root in ["real", "linked", "real/../linked"] {
            for pattern in ["", "/*.yaml"] {
                let in_place = |name: &str| is_in_place(&at(&format!("{root}{pattern}")), &at(&format!("{root}/{name}")));
                assert!(in_place("written.yaml") && !in_place("mounted.yaml"), "{root}{pattern}");
            }
            let file = at(&format!("{root}/written.yaml"));
            assert!(is_in_place(&file, &file), "{root}");
        }
    }

    #[test]
    fn a_file_that_held_something_is_suspect_for_longer_than_a_new_one() {
        let between = (FRESH + WRITING) / 2;
        assert!(is_fresh(between, true) && !is_fresh(between, false));
        assert!(!is_fresh(WRITING * 2, true));
    }

    #[test]
    fn a_file_of_a_server_whose_clock_is_ahead_is_suspect() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        file.as_file().set_modified(SystemTime::now() + RACY * 100).expect("dated");
        assert!(matches!(look(file.path(), None, true), Look::Read { fresh: true, .. }));
    }
}
