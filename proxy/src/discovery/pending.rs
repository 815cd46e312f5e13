//! What the file system has told and nobody has acted upon yet. Pure: events and the time in, work out.
//!
//! The rules that keep a half-written file, or a gap between two renames, from being taken for the truth:
//! - a file that was closed after writing or moved into place is read at once;
//! - a file that was created or modified is left alone until it is closed; should that never be reported, it is read
//!   [`WRITING`] after the last sign of life. A new mode or owner is no close: a file that became readable is read at once
//!   only when nobody writes to it;
//! - a file that disappeared, or that a look around does not find, counts as removed only after [`VANISHED`]: editors move the
//!   old version away before they write the new one;
//! - anything that may change which files there are (folders, links, an overflow of the event queue) asks for a look at
//!   everything, and so does [`LOOK_AROUND`] since the last one, however much else happens.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a file being written may stay silent before it is read as it is.
pub const WRITING: Duration = Duration::from_millis(500);
/// How long a file may be missing before it counts as removed.
pub const VANISHED: Duration = Duration::from_millis(40);

/// How often everything is compared although nothing was reported: for file systems that report nothing (network
/// mounts), and for roots that appear where nothing can be watched yet.
pub const LOOK_AROUND: Duration = Duration::from_secs(5);

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The file has its final content.
    Complete(PathBuf),
    /// The file is being written.
    Writing(PathBuf),
    /// The file looks as if it were being written, though nobody has said so.
    Doubtful(PathBuf),
    /// The file was not found where it was before, though nobody has said that it is gone.
    Missed(PathBuf),
    /// Owner, mode, times or links of the file changed, which says nothing about its content.
    Touched(PathBuf),
    /// The file is gone from this name.
    Vanished(PathBuf),
    /// The set of files may have changed.
    Structure,
}

/// Events not acted upon.
#[derive(Debug)]
pub struct Pending {
    complete: BTreeSet<PathBuf>,
    writing: BTreeMap<PathBuf, Instant>,
    vanished: BTreeMap<PathBuf, Instant>,
    structure: bool,
    /// When everything was looked at for the last time.
    looked: Instant,
}

/// What is to be done now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Files to read.
    pub written: BTreeSet<PathBuf>,
    /// Files to find gone, or to read should they be back.
    pub vanished: BTreeSet<PathBuf>,
    /// List all files and compare.
    pub rescan: bool,
}

impl Pending {
    /// Nothing has happened yet, and everything was looked at `now`.
    pub fn new(now: Instant) -> Self {
        let (complete, writing, vanished) = Default::default();
        Pending { complete, writing, vanished, structure: false, looked: now }
    }

    /// Takes note of an event.
    pub fn note(&mut self, event: Event, now: Instant) {
        match event {
            // Who creates a file often sets its mode before the content.
            Event::Touched(path) if self.writing.contains_key(&path) => {}
            Event::Complete(path) | Event::Touched(path) => {
                self.writing.remove(&path);
                self.vanished.remove(&path);
                self.complete.insert(path);
            }
            Event::Writing(path) => {
                self.vanished.remove(&path);
                self.complete.remove(&path);
                self.writing.insert(path, now);
            }
            // Whatever the kernel has reported meanwhile is better known.
            Event::Doubtful(path) if self.complete.contains(&path) || self.vanished.contains_key(&path) => {}
            Event::Doubtful(path) => {
                self.writing.entry(path).or_insert(now);
            }
            Event::Missed(path) if self.complete.contains(&path) || self.writing.contains_key(&path) => {}
            Event::Missed(path) => {
                self.vanished.entry(path).or_insert(now);
            }
            Event::Vanished(path) => {
                self.complete.remove(&path);
                self.writing.remove(&path);
                self.vanished.insert(path, now);
            }
            Event::Structure => self.structure = true,
        }
    }

    /// Takes what is due.
    pub fn take(&mut self, now: Instant) -> Work {
        let mut written = std::mem::take(&mut self.complete);
        written.extend(take_due(&mut self.writing, WRITING, now));
        let vanished = take_due(&mut self.vanished, VANISHED, now);
        let rescan = std::mem::take(&mut self.structure) || now >= self.looked + LOOK_AROUND;
        if rescan {
            self.looked = now;
        }
        Work { written, vanished, rescan }
    }

    /// Whether something was reported that need not wait.
    pub fn is_due(&self) -> bool {
        self.structure || !self.complete.is_empty()
    }

    /// Whether nothing is known of these files that has not been acted upon.
    pub fn is_empty_of(&self, files: impl Fn(&Path) -> bool) -> bool {
        let mut waiting = self.complete.iter().chain(self.writing.keys()).chain(self.vanished.keys());
        !self.structure && !waiting.any(|path| files(path))
    }

    /// When [`Pending::take`] gives something at the latest.
    pub fn deadline(&self) -> Instant {
        let writing = self.writing.values().min().map(|since| *since + WRITING);
        let vanished = self.vanished.values().min().map(|since| *since + VANISHED);
        writing.into_iter().chain(vanished).fold(self.looked + LOOK_AROUND, Instant::min)
    }

    /// Files whose content or existence cannot be judged yet; a rescan leaves them as they were.
    pub fn unsettled(&self) -> BTreeSet<PathBuf> {
        self.writing.keys().chain(self.vanished.keys()).cloned().collect()
    }
}

fn take_due(waiting: &mut BTreeMap<PathBuf, Instant>, after: Duration, now: Instant) -> BTreeSet<PathBuf> {
    waiting.extract_if(.., |_, since| now >= *since + after).map(|(path, _)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> PathBuf {
        "a.yaml".into()
    }

    fn written() -> Work {
        Work { written: [path()].into(), ..Work::default() }
    }

    fn vanished() -> Work {
        Work { vanished: [path()].into(), ..Work::default() }
    }

    #[test]
    fn a_closed_file_is_read_at_once() {
        let now = Instant::now();
        let mut pending = Pending::new(now);
        pending.note(Event::Writing(path()), now);
        assert!(!pending.is_due() && pending.take(now) == Work::default());
        pending.note(Event::Complete(path()), now);
        assert!(pending.is_due());
        assert_eq!(pending.take(now), written());
        assert_eq!((pending.take(now) == Work::default(), pending.deadline()), (true, now + LOOK_AROUND));
    }

    #[test]
    fn a_file_that_is_never_closed_is_read_after_its_last_sign_of_life() {
        let start = Instant::now();
        let mut pending = Pending::new(start);
        pending.note(Event::Writing(path()), start);
        let later = start + WRITING / 2;
        pending.note(Event::Writing(path()), later);
        assert_eq!(pending.deadline(), later + WRITING);
        assert!(pending.take(start + WRITING) == Work::default());
        assert_eq!(pending.take(later + WRITING), written());
    }

    #[test]
    fn a_file_moved_away_and_written_anew_is_never_removed() {
        let now = Instant::now();
        let mut pending = Pending::new(now);
        pending.note(Event::Vanished(path()), now);
        pending.note(Event::Writing(path()), now + VANISHED / 2);
        assert!(pending.take(now + VANISHED) == Work::default());
        pending.note(Event::Complete(path()), now + VANISHED);
        assert_eq!(pending.take(now + VANISHED), written());
    }

    #[test]
    fn a_file_opened_again_before_it_was_read_waits_for_its_second_close() {
        let now = Instant::now();
        let mut pending = Pending::new(now);
        pending.note(Event::Complete(path()), now);
        pending.note(Event::Writing(path()), now);
        assert!(!pending.is_due() && pending.take(now) == Work::default());
        assert_eq!(pending.unsettled(), BTreeSet::from([path()]));
    }

    #[test]
    fn a_doubtful_file_is_read_when_it_is_closed_or_silent_for_long() {
        let now = Instant::now();
        let mut pending = Pending::new(now);
        pending.note(Event::Doubtful(path()), now);
        assert!(!pending.is_due());
        assert_eq!(pending.deadline(), now + WRITING);
        pending.note(Event::Complete(path()), now);
        pending.note(Event::Doubtful(path()), now);
        assert_eq!(pending.take(now), written());
    }

    #[test]
    fn a_new_mode_does_not_complete_a_file_that_is_being_written() {
        let now = Instant::now();
        let mut pending = Pending::new(now);
        pending.note(Event::Touched(path()), now);
        assert_eq!(pending.take(now), written(), "it may have become readable");
        pending.note(Event::Writing(path()), now);
        pending.note(Event::Touched(path()), now);
        assert!(!pending.is_due() && pending.take(now) == Work::default());
        assert_eq!(pending.deadline(), now + WRITING, "nor is it a sign of writing");
    }

    #[test]
    fn a_removed_file_is_due_after_the_grace() {
        let now = Instant::now();
        let mut pending = Pending::new(now);
        pending.note(Event::Vanished(path()), now);
        assert_eq!(pending.deadline(), now + VANISHED);
        assert_eq!(pending.take(now + VANISHED), vanished());
    }

    #[test]
    fn a_file_that_was_not_found_is_due_after_the_grace_unless_more_is_known_of_it() {
        let now = Instant::now();
        let mut pending = Pending::new(now);
        pending.note(Event::Missed(path()), now);
        assert_eq!(pending.unsettled(), BTreeSet::from([path()]));
        pending.note(Event::Missed(path()), now + VANISHED / 2);
        assert_eq!(pending.take(now + VANISHED), vanished());
        for (known, due) in [(Event::Complete(path()), written()), (Event::Writing(path()), Work::default())] {
            pending.note(known, now);
            pending.note(Event::Missed(path()), now);
            assert_eq!(pending.take(now + VANISHED), due);
        }
    }

    #[test]
    fn what_is_due_is_taken_in_time_however_much_it_is() {
        let start = Instant::now();
        let mut pending = Pending::new(start);
        let path = |number: usize| PathBuf::from(format!("/etc/outrigger/shop/{number}.yaml"));
        (0..50_000).for_each(|number| pending.note(Event::Vanished(path(number)), start));
        pending.note(Event::Vanished(path(50_000)), start + VANISHED);
        let since = Instant::now();
        assert_eq!(pending.take(start + VANISHED).vanished.len(), 50_000);
        assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
        assert_eq!(pending.unsettled(), BTreeSet::from([path(50_000)]));
    }

    #[test]
    fn everything_is_looked_at_in_time_however_much_is_reported_meanwhile() {
        let start = Instant::now();
        let mut pending = Pending::new(start);
        let second = Duration::from_secs(1);
        let looks: Vec<u32> = (1..=12)
            .filter(|seconds| {
                let now = start + second * *seconds;
                pending.note(Event::Writing(path()), now);
                assert!(pending.deadline() <= now + WRITING);
                pending.note(Event::Complete(path()), now);
                pending.take(now).rescan
            })
            .collect();
        assert_eq!(looks, [5, 10]);
        assert_eq!(pending.deadline(), start + second * 15, "and when nothing is reported any more");
    }

    #[test]
    fn what_waits_is_not_acted_upon_yet() {
        let now = Instant::now();
        let mut pending = Pending::new(now);
        assert!(pending.is_empty_of(|_| true));
        for event in [Event::Writing(path()), Event::Vanished(path()), Event::Complete(path()), Event::Structure] {
            pending.note(event.clone(), now);
            assert!(!pending.is_empty_of(|_| true), "{event:?}");
            assert_eq!(pending.is_empty_of(|path| path != Path::new("a.yaml")), event != Event::Structure, "{event:?} of another");
            pending.take(now + WRITING);
        }
        assert!(pending.is_empty_of(|_| true));
    }

    #[test]
    fn a_change_of_structure_asks_for_a_rescan_once() {
        let now = Instant::now();
        let mut pending = Pending::new(now);
        pending.note(Event::Structure, now);
        pending.note(Event::Structure, now);
        assert_eq!(pending.take(now), Work { rescan: true, ..Work::default() });
        assert!(pending.take(now) == Work::default());
    }
}
