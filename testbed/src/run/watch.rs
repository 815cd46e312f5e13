//! Watching the user's files: the kernel says that something changed, reading says what.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use outrigger_config::load;
use outrigger_config::store::FileChange;
use tokio::sync::mpsc;

/// Editors write in several steps; this much silence ends a change.
pub const SETTLE: Duration = Duration::from_millis(20);

/// The files below some paths, as last read, with news about them.
#[derive(Debug)]
pub struct Watched {
    paths: Vec<PathBuf>,
    known: BTreeMap<PathBuf, String>,
    /// Something was heard that the caller has not been told, because it stopped waiting.
    pending: bool,
    news: mpsc::UnboundedReceiver<()>,
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
            // Reading the files is an event too; it must not cause the next one.
            if event.map_or(true, |event| !event.kind.is_access()) {
                let _ = sender.send(());
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
        Ok(Watched { paths: paths.to_vec(), known: BTreeMap::new(), pending: false, news, _watcher: watcher })
    }

    /// Waits until something may have changed. Cancelling loses nothing.
    pub async fn changed(&mut self) {
        if !self.pending && self.news.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        self.pending = true;
        // Bounded: a folder in which something is written all the time must not be ignored for ever.
        let _ =
            tokio::time::timeout(SETTLE * 4, async { while let Ok(Some(())) = tokio::time::timeout(SETTLE, self.news.recv()).await {} })
                .await;
        self.pending = false;
    }

    /// Files that differ from the last call, read now.
    ///
    /// # Errors
    /// When a path has disappeared; what was known stays known.
    pub fn changes(&mut self) -> std::io::Result<Vec<FileChange>> {
        let files: BTreeMap<PathBuf, String> = load::read(&self.paths)?.into_iter().map(|file| (file.path, file.text)).collect();
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
