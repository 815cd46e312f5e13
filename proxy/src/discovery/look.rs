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
            Look::Read { text: differs.then_some(text), hash, stamp: Stamp::of(&metadata, now) }
        }
        Ok(None) => Look::Missing,
        Err(error) => Look::Unreadable(error),
    }
}

/// Whether a file was modified a moment ago. What is reached through a link was complete before the link pointed there.
pub(super) fn was_modified_within(limit: Duration, path: &Path) -> bool {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
    let recent = modified.is_ok_and(|modified| SystemTime::now().duration_since(modified).is_ok_and(|age| age < limit));
    recent && std::fs::canonicalize(path).is_ok_and(|real| real == path)
}

pub(super) fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
