//! Watching the user's files: the kernel says that something changed, reading says what.
//!
//! A file that somebody is writing is not read before it is closed: editors that truncate and then write would otherwise
//! show us half a file. Until then what it said before stays known. The proxies follow the same rule.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use outrigger_config::load;
use outrigger_config::store::FileChange;
use tokio::sync::mpsc;

/// Editors write in several steps; this much silence ends a change.
pub const SETTLE: Duration = Duration::from_millis(20);
/// How long a file being written may stay silent before it is read as it is, should its closing never be reported.
const WRITING: Duration = Duration::from_millis(500);

/// What the kernel said about files.
enum News {
    /// They have been modified, and not closed yet.
    Writing(Vec<PathBuf>),
    /// They have their final content, or other names, or are gone.
    Settled(Vec<PathBuf>),
}

/// The files below some paths, as last read, with news about them.
#[derive(Debug)]
pub struct Watched {
    paths: Vec<PathBuf>,
    known: BTreeMap<PathBuf, String>,
    /// Files being written, by absolute path, with the last sign of life.
    writing: BTreeMap<PathBuf, Instant>,
    /// Something was heard that the caller has not been told, because it stopped waiting.
    pending: bool,
    news: mpsc::UnboundedReceiver<News>,
    _watcher: RecommendedWatcher,
}

impl Watched {
    /// Begins to watch folders, files and globs. What they hold is learnt by [`Watched::changes`].
    ///
    /// # Errors
    /// When a path does not exist.
    pub fn new(paths: &[PathBuf]) -> Result<Watched> {
        let (sender, news) = mpsc::unbounded_channel();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if let Some(news) = event.map_or(Some(News::Settled(Vec::new())), meaning) {
                let _ = sender.send(news);
            }
        })
        .context("watching files")?;
        for path in paths {
            let (folder, mode) = match path.is_dir() {
                true => (path.as_path(), RecursiveMode::Recursive),
                false => (parent(path), RecursiveMode::NonRecursive),
            };
            watcher.watch(folder, mode).with_context(|| format!("watching {}", path.display()))?;
        }
        let paths = paths.to_vec();
        Ok(Watched { paths, known: BTreeMap::new(), writing: BTreeMap::new(), pending: false, news, _watcher: watcher })
    }

    /// Waits until something may have changed. Cancelling loses nothing.
    pub async fn changed(&mut self) {
        while !self.pending {
            let Ok(news) = tokio::time::timeout_at(self.overdue().into(), self.news.recv()).await else { break };
            match news {
                Some(news) => self.note(news),
                None => std::future::pending().await,
            }
        }
        self.pending = true;
        // Bounded: a folder in which something is written all the time must not be ignored for ever.
        let end = Instant::now() + SETTLE * 4;
        while Instant::now() < end
            && let Ok(Some(news)) = tokio::time::timeout(SETTLE, self.news.recv()).await
        {
            self.note(news);
        }
        self.pending = false;
    }

    /// When the first of the files being written has been silent for too long.
    fn overdue(&self) -> Instant {
        let first = self.writing.values().min();
        first.map_or_else(|| Instant::now() + Duration::from_secs(3600), |since| *since + WRITING)
    }

    fn note(&mut self, news: News) {
        match news {
            News::Writing(paths) => self.writing.extend(paths.into_iter().map(|path| (path, Instant::now()))),
            News::Settled(paths) => {
                self.writing.retain(|path, _| !paths.contains(path));
                self.pending = true;
            }
        }
    }

    /// Whether the file is being written, as far as has been heard until now.
    fn is_being_written(&self, path: &Path) -> bool {
        std::path::absolute(path).is_ok_and(|path| self.writing.contains_key(&path))
    }

    /// Files that differ from the last call, read now.
    ///
    /// # Errors
    /// When a path has disappeared; what was known stays known.
    pub fn changes(&mut self) -> std::io::Result<Vec<FileChange>> {
        let now = Instant::now();
        self.writing.retain(|_, since| now < *since + WRITING);
        let read = load::read(&self.paths)?;
        // A file may have been truncated just before it was read.
        while let Ok(news) = self.news.try_recv() {
            self.note(news);
        }
        let settled = |(path, text): (PathBuf, String)| match self.is_being_written(&path) {
            true => self.known.get(&path).cloned().map(|known| (path, known)),
            false => Some((path, text)),
        };
        let files: BTreeMap<PathBuf, String> = read.into_iter().map(|file| (file.path, file.text)).filter_map(settled).collect();
        let gone = self.known.keys().filter(|path| !files.contains_key(*path));
        let mut changes: Vec<FileChange> = gone.map(|path| FileChange { path: path.clone(), text: None }).collect();
        let new = files.iter().filter(|(path, text)| self.known.get(*path) != Some(*text));
        changes.extend(new.map(|(path, text)| FileChange { path: path.clone(), text: Some(text.clone()) }));
        self.known = files;
        Ok(changes)
    }
}

/// The folder a file is in.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What an event of the kernel says; `None` when nothing has changed. Opening and reading are events too, and must not cause
/// the next reading.
fn meaning(event: notify::Event) -> Option<News> {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(News::Settled(event.paths)),
        EventKind::Access(_) => None,
        EventKind::Create(CreateKind::File) | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) => Some(News::Writing(event.paths)),
        _ => Some(News::Settled(event.paths)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn texts(changes: Vec<FileChange>) -> Vec<Option<String>> {
        changes.into_iter().map(|change| change.text).collect()
    }

    #[tokio::test]
    async fn a_truncated_file_is_not_read_before_its_writer_closes_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.yaml");
        std::fs::write(&path, "old").expect("written");
        let mut watched = Watched::new(&[folder.path().to_owned()]).expect("watched");
        assert_eq!(texts(watched.changes().expect("read")), [Some("old".to_owned())]);

        let mut writer = std::fs::File::create(&path).expect("truncated");
        let heard = tokio::time::timeout(WRITING / 4, watched.changed()).await;
        assert!(heard.is_err(), "a file that is being written is no news");
        assert!(watched.changes().expect("read").is_empty(), "what it said before stays known");

        writer.write_all(b"new").expect("written");
        drop(writer);
        tokio::time::timeout(Duration::from_secs(5), watched.changed()).await.expect("its closing is news");
        assert_eq!(texts(watched.changes().expect("read")), [Some("new".to_owned())]);
    }

    #[tokio::test]
    async fn a_file_whose_writer_falls_silent_is_read_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.yaml");
        let mut watched = Watched::new(&[folder.path().to_owned()]).expect("watched");
        let mut writer = std::fs::File::create(&path).expect("created");
        writer.write_all(b"half").expect("written");
        tokio::time::timeout(Duration::from_secs(5), watched.changed()).await.expect("silence is news in the end");
        assert_eq!(texts(watched.changes().expect("read")), [Some("half".to_owned())]);
    }
}
