//! TLS configurations that are made from settings, kept, and never made on a worker.
//!
//! Making one reads files and checks keys, which takes as long as the disk takes. A handshake only looks up. What is missing
//! is made on a thread for blocking work, and the handshakes that need it wait for it; what was read from files more than
//! [`FILES_TRUSTED_FOR`] ago is read again there while handshakes go on with what there is. Files that have become unusable
//! do not replace ones that were in use.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

/// How long files named in the configuration are believed unread.
const FILES_TRUSTED_FOR: Duration = Duration::from_secs(10);
/// How long a failure stands before another try.
const FAILURE_TRUSTED_FOR: Duration = Duration::from_secs(1);
/// Configurations kept; the oldest goes first.
const KEPT: usize = 1024;

/// What a configuration is made from.
#[derive(Debug)]
pub struct Source<S> {
    /// The settings.
    pub settings: Arc<S>,
    /// Generation of the workload certificate when that is part of it, else 0.
    pub generation: u64,
    /// Whether files are read.
    pub reads_files: bool,
}

/// The configurations, shared by all workers.
#[derive(Debug)]
pub struct Kept<S, C>(Arc<Inner<S, C>>);

#[derive(Debug)]
struct Inner<S, C> {
    entries: ArcSwap<Vec<Arc<Entry<S, C>>>>,
    /// One is made at a time. Waited for on threads for blocking work alone.
    making: Mutex<()>,
}

#[derive(Debug)]
struct Entry<S, C> {
    source: Source<S>,
    outcome: Result<C, String>,
    /// Why the files of today are not in use, when an earlier state of them is.
    problem: Option<String>,
    made_at: Instant,
    /// Somebody has gone to make the one that replaces it.
    replaced: AtomicBool,
}

impl<S, C> Default for Kept<S, C> {
    fn default() -> Self {
        Kept(Arc::new(Inner { entries: ArcSwap::default(), making: Mutex::new(()) }))
    }
}

impl<S, C> Kept<S, C>
where
    S: PartialEq + Send + Sync + 'static,
    C: Clone + Send + Sync + 'static,
{
    /// The configuration of a source; `make` makes it.
    ///
    /// # Errors
    /// Why it cannot be made.
    pub async fn get(&self, source: Source<S>, make: impl FnOnce(&S) -> Result<C, String> + Send + 'static) -> Result<C, String> {
        let known = self.0.find(&source);
        if let Some(entry) = &known
            && !entry.must_be_renewed()
        {
            return entry.outcome.clone();
        }
        let (inner, asked_at) = (Arc::clone(&self.0), Instant::now());
        let making = tokio::task::spawn_blocking(move || inner.renew(source, asked_at, make));
        match known.and_then(|entry| entry.outcome.clone().ok()) {
            Some(config) => Ok(config),
            None => making.await.unwrap_or_else(|error| Err(format!("the TLS configuration could not be made: {error}"))),
        }
    }
}

impl<S: PartialEq, C: Clone> Inner<S, C> {
    fn find(&self, source: &Source<S>) -> Option<Arc<Entry<S, C>>> {
        let entries = self.entries.load();
        entries.iter().find(|entry| entry.source.generation == source.generation && entry.has_settings(&source.settings)).map(Arc::clone)
    }

    fn renew(&self, source: Source<S>, asked_at: Instant, make: impl FnOnce(&S) -> Result<C, String>) -> Result<C, String> {
        let _one = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.find(&source);
        if let Some(entry) = &before
            && entry.made_at >= asked_at
        {
            return entry.outcome.clone();
        }
        let outcome = make(&source.settings);
        let entry = Entry::new(source, outcome, before.as_deref());
        let outcome = entry.outcome.clone();
        self.put(entry);
        outcome
    }

    fn put(&self, entry: Entry<S, C>) {
        let entries = self.entries.load();
        let mut next: Vec<_> = entries.iter().filter(|other| !other.has_settings(&entry.source.settings)).map(Arc::clone).collect();
        if next.len() >= KEPT {
            next.remove(0);
        }
        next.push(Arc::new(entry));
        self.entries.store(Arc::new(next));
    }
}

impl<S: PartialEq, C: Clone> Entry<S, C> {
    fn new(source: Source<S>, outcome: Result<C, String>, before: Option<&Self>) -> Self {
        let mut entry = Entry { source, outcome, problem: None, made_at: Instant::now(), replaced: AtomicBool::new(false) };
        if let (Err(reason), Some(before)) = (&entry.outcome, before)
            && let Ok(config) = &before.outcome
        {
            if before.problem.as_ref() != Some(reason) {
                tracing::warn!(target: "secret", "{reason}; what was read before stays in use, and is tried again every 10 s");
            }
            entry.problem = Some(reason.clone());
            entry.outcome = Ok(config.clone());
        }
        entry
    }

    fn has_settings(&self, settings: &Arc<S>) -> bool {
        Arc::ptr_eq(&self.source.settings, settings) || self.source.settings == *settings
    }

    /// True for one caller, once it is due.
    fn must_be_renewed(&self) -> bool {
        let trusted_for = match &self.outcome {
            Ok(_) if !self.source.reads_files => return false,
            Ok(_) => FILES_TRUSTED_FOR,
            Err(_) => FAILURE_TRUSTED_FOR,
        };
        self.made_at.elapsed() >= trusted_for && !self.replaced.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn source(settings: &str) -> Source<String> {
        Source { settings: Arc::new(settings.to_owned()), generation: 0, reads_files: true }
    }

    /// Makes the next look see an entry that is due.
    fn age(kept: &Kept<String, u32>) {
        let old = kept.0.entries.load();
        let aged = old.iter().map(|entry| {
            let Source { settings, generation, reads_files } = &entry.source;
            let source = Source { settings: Arc::clone(settings), generation: *generation, reads_files: *reads_files };
            let mut aged = Entry::new(source, entry.outcome.clone(), None);
            aged.made_at = Instant::now().checked_sub(FILES_TRUSTED_FOR).expect("the machine runs for longer");
            Arc::new(aged)
        });
        kept.0.entries.store(Arc::new(aged.collect()));
    }

    /// Waits until the only entry is as it should be.
    async fn eventually(kept: &Kept<String, u32>, expected: impl Fn(&Entry<String, u32>) -> bool) {
        let looking = async {
            while !kept.0.entries.load().iter().all(|entry| expected(entry)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), looking).await.expect("renewed");
    }

    #[tokio::test]
    async fn a_configuration_is_made_once_however_many_wait_for_it_and_not_on_their_thread() {
        let (kept, made) = (Kept::<String, u32>::default(), Arc::new(AtomicUsize::new(0)));
        let worker = std::thread::current().id();
        let ask = |settings| {
            let made = Arc::clone(&made);
            kept.get(source(settings), move |_| {
                assert_ne!(std::thread::current().id(), worker);
                made.fetch_add(1, Ordering::SeqCst);
                Ok(7)
            })
        };
        let (first, second, other) = tokio::join!(ask("a"), ask("a"), ask("b"));
        assert_eq!((first, second, other), (Ok(7), Ok(7), Ok(7)));
        assert_eq!(ask("a").await, Ok(7));
        assert_eq!(made.load(Ordering::SeqCst), 2, "one for each settings");
    }

    #[tokio::test]
    async fn files_are_read_again_while_handshakes_go_on_and_unusable_ones_replace_nothing() {
        let kept = Kept::<String, u32>::default();
        assert_eq!(kept.get(source("a"), |_| Ok(1)).await, Ok(1));
        age(&kept);
        assert_eq!(kept.get(source("a"), |_| Err("gone".to_owned())).await, Ok(1), "nobody waits");
        eventually(&kept, |entry| entry.problem.as_deref() == Some("gone") && entry.outcome == Ok(1)).await;
        age(&kept);
        assert_eq!(kept.get(source("a"), |_| Ok(2)).await, Ok(1), "nobody waits");
        eventually(&kept, |entry| entry.problem.is_none() && entry.outcome == Ok(2)).await;
    }

    #[tokio::test]
    async fn a_failure_is_told_to_all_and_tried_again_later() {
        let kept = Kept::<String, u32>::default();
        let failed = Err("no such file".to_owned());
        assert_eq!(kept.get(source("a"), |_| Err("no such file".to_owned())).await, failed);
        assert_eq!(kept.get(source("a"), |_| Ok(1)).await, failed, "not at once");
        age(&kept);
        assert_eq!(kept.get(source("a"), |_| Ok(1)).await, Ok(1));
    }

    #[tokio::test]
    async fn another_workload_certificate_is_another_source() {
        let kept = Kept::<String, u32>::default();
        let at = |generation| Source { generation, reads_files: false, ..source("a") };
        assert_eq!(kept.get(at(1), |_| Ok(1)).await, Ok(1));
        assert_eq!(kept.get(at(2), |_| Ok(2)).await, Ok(2));
        assert_eq!(kept.0.entries.load().len(), 1, "the old one is not kept");
    }
}
