//! Noticing that files have changed, whether written in place, renamed over, or exchanged by kubelet behind a symbolic link.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::watch;

/// How often files are looked at although nothing was reported, for file systems that report nothing.
const LOOK_AROUND: Duration = Duration::from_secs(10);
/// Largest file read; a ConfigMap holds a sixth of it.
const LARGEST: u64 = 6 << 20;

/// Tells that some of the files may have changed.
pub struct Changes {
    reported: watch::Receiver<()>,
    _watcher: Option<RecommendedWatcher>,
}

impl Changes {
    /// Watches the folders of these files.
    pub fn of<'p>(files: impl IntoIterator<Item = &'p Path>) -> Self {
        let (sender, reported) = watch::channel(());
        let note = move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                sender.send_replace(());
            }
        };
        let folders: BTreeSet<PathBuf> = files.into_iter().map(folder).collect();
        let watcher = notify::recommended_watcher(note).and_then(|mut watcher| {
            folders.iter().try_for_each(|folder| watcher.watch(folder, RecursiveMode::NonRecursive)).map(|()| watcher)
        });
        if let Err(error) = &watcher {
            tracing::warn!(target: "injector", "cannot watch files: {error}; they are looked at every {} s", LOOK_AROUND.as_secs());
        }
        Self { reported, _watcher: watcher.ok() }
    }

    /// Returns when it is worth looking, at the latest after ten seconds.
    pub async fn next(&mut self) {
        match tokio::time::timeout(LOOK_AROUND, self.reported.changed()).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(_)) => tokio::time::sleep(LOOK_AROUND).await,
        }
    }
}

fn folder(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A file's contents.
///
/// # Errors
/// In words, with the file's name: missing, unreadable, too large.
pub fn read(file: &Path) -> Result<Vec<u8>, String> {
    let problem = |error: std::io::Error| format!("{}: {error}", file.display());
    let length = std::fs::metadata(file).map_err(problem)?.len();
    if length > LARGEST {
        return Err(format!("{}: expected at most {LARGEST} bytes, got {length}", file.display()));
    }
    std::fs::read(file).map_err(problem)
}
