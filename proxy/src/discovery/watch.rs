//! Watching: from the kernel's events to published configurations, within milliseconds.
//!
//! The kernel's queue is emptied by a thread of the `notify` crate, which only takes notes; all reading and compiling
//! happens here, on the control thread. Update storms are bounded: after each publication the next one waits at least as
//! long as the last took, so compiling never takes more than half of the control thread.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::EventKind;
use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use outrigger_config::store::FileChange;
use tokio::sync::Notify;

use super::cover::Watches;
use super::file::Found;
use super::pending::{Event, Pending, Work};
use super::publisher::Outcome;
use super::{DiscoveryStatus, FileSource, Publisher};
use crate::snapshot::ConfigHandle;

/// How long watching waits at the start, for the first answers of the servers on this thread: to set up a watch over a thousand
/// files and to look at them all takes milliseconds, in which nobody would be told that the proxy is ready.
const FIRST_ANSWERS: Duration = Duration::from_millis(10);
/// How long the first event of a burst waits for the others.
const GATHER: Duration = Duration::from_millis(3);
/// Longest pause between two publications of a storm.
const MAX_PAUSE: Duration = Duration::from_millis(50);

/// Follows the files of `source` for ever. `published` is called with each new generation in force.
pub async fn watch_files(
    mut source: FileSource,
    mut publisher: Publisher,
    config: ConfigHandle,
    status: Arc<DiscoveryStatus>,
    published: impl Fn(u64),
) {
    tokio::time::sleep(FIRST_ANSWERS).await;
    publisher.settle();
    let notes = Arc::new(Notes::new());
    let handler = Arc::clone(&notes);
    let mut watches = Watches::new(move |event| events(event).into_iter().for_each(|event| handler.note(event)));
    watches.cover(&source.followed(), &status);
    // Between the first load and the first watch something may have changed.
    notes.note(Event::Structure);
    loop {
        notes.wait().await;
        tokio::time::sleep(GATHER).await;
        let (work, unsettled) = notes.take();
        if work.rescan {
            watches.cover(&source.followed(), &status);
        }
        let since = Instant::now();
        let Found { mut changes, fresh, missing } = find(&mut source, work, &unsettled);
        fresh.into_iter().for_each(|path| notes.note(Event::Doubtful(path)));
        missing.into_iter().for_each(|path| notes.note(Event::Missed(path)));
        status.update(|status| status.last_error = source.problem());
        let changed = !changes.is_empty();
        if changed {
            source.add_doubted(&mut changes);
            if take_over(changes, &mut source, &mut publisher, &config, since) {
                published(config.load().generation);
            }
        }
        // Logs grow beside configuration, and may do so for ever.
        if source.is_in_force() && notes.pending().is_empty_of(|path| source.covers(path)) {
            status.update(|status| status.resource_version = status.highest_version);
        }
        if changed {
            tokio::time::sleep(since.elapsed().min(MAX_PAUSE)).await;
        }
    }
}

/// Publishes changes, and has read again what that needs should it fail. Whether a new configuration is in force.
pub(super) fn take_over(
    changes: Vec<FileChange>,
    source: &mut FileSource,
    publisher: &mut Publisher,
    config: &ConfigHandle,
    since: Instant,
) -> bool {
    let paths: Vec<PathBuf> = changes.iter().map(|change| change.path.clone()).collect();
    let outcome = match publisher.update(changes, config, since) {
        Outcome::ObjectsLost => source.everything().map(|files| publisher.start_anew(files, config, since)),
        outcome => Some(outcome),
    };
    if outcome == Some(Outcome::NotTaken) {
        source.doubt(paths);
    }
    outcome == Some(Outcome::Published)
}

/// What differs, and files that must be looked at again.
fn find(source: &mut FileSource, work: Work, unsettled: &BTreeSet<PathBuf>) -> Found {
    let mut found = source.read_written(work.written);
    found.changes.extend(source.read(work.vanished));
    if work.rescan {
        let Found { changes, fresh, missing } = source.look_around(unsettled);
        found.changes.extend(changes);
        found.fresh.extend(fresh);
        found.missing.extend(missing);
    }
    found
}

/// Events on their way from notify's thread.
#[derive(Debug)]
struct Notes {
    pending: Mutex<Pending>,
    news: Notify,
}

impl Notes {
    fn new() -> Self {
        Notes { pending: Mutex::new(Pending::new(Instant::now())), news: Notify::new() }
    }

    fn note(&self, event: Event) {
        self.pending().note(event, Instant::now());
        self.news.notify_one();
    }

    /// Waits until something can be done.
    async fn wait(&self) {
        loop {
            let deadline = {
                let pending = self.pending();
                if pending.is_due() {
                    return;
                }
                pending.deadline()
            };
            tokio::select! {
                () = self.news.notified() => {}
                () = tokio::time::sleep_until(deadline.into()) => return,
            }
        }
    }

    fn take(&self) -> (Work, BTreeSet<PathBuf>) {
        let mut pending = self.pending();
        let work = pending.take(Instant::now());
        (work, pending.unsettled())
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an event of the kernel means for configuration files.
fn events(event: notify::Result<notify::Event>) -> Vec<Event> {
    let Ok(event) = event else { return vec![Event::Structure] };
    if event.need_rescan() {
        return vec![Event::Structure];
    }
    let meaning: fn(PathBuf) -> Event = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => settled,
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => settled,
        EventKind::Modify(ModifyKind::Metadata(_)) => touched,
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => removed,
        EventKind::Create(CreateKind::Folder) => |_| Event::Structure,
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) => written,
        // `Both` repeats what From and To have said; opening and reading change nothing.
        _ => return Vec::new(),
    };
    event.paths.into_iter().map(meaning).collect()
}

fn settled(path: PathBuf) -> Event {
    if changes_structure(&path) { Event::Structure } else { Event::Complete(path) }
}

fn touched(path: PathBuf) -> Event {
    if changes_structure(&path) { Event::Structure } else { Event::Touched(path) }
}

fn written(path: PathBuf) -> Event {
    if changes_structure(&path) { Event::Structure } else { Event::Writing(path) }
}

/// What is gone can no longer be asked what it was; only a name of a configuration file makes it likely to be one.
fn removed(path: PathBuf) -> Event {
    if outrigger_config::load::is_configuration(&path) { Event::Vanished(path) } else { Event::Structure }
}

/// Folders and links stand for files elsewhere; `..data` of a mounted ConfigMap is such a link.
fn changes_structure(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file())
}
