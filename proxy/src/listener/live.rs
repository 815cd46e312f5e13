//! The connections of one worker, while they live, so that they can be waited for and cut.
//!
//! What a `tokio::task::JoinSet` does, but for results, which connections have none of: it would wake the task that spawned them at
//! the end of each.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::runtime::spawn;

/// Bytes of a connection's task. All that a connection needs is boxed by its stages.
const CONNECTION: usize = 96;

/// Tasks that are running.
#[derive(Debug, Default)]
pub(super) struct Live {
    places: Mutex<Places>,
    /// Signalled when the last one has ended.
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Places {
    handles: Vec<Option<AbortHandle>>,
    free: Vec<usize>,
}

/// A task's place among those that are running, held until its end.
#[derive(Debug)]
pub(super) struct Place {
    live: Arc<Live>,
    index: usize,
}

impl Live {
    /// Runs a task on the current runtime; it must hold on to the place it is given.
    pub(super) fn spawn<F>(self: &Arc<Self>, task: impl FnOnce(Place) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let index = self.lock().take();
        let task = task(Place { live: Arc::clone(self), index });
        // Tasks are spawned one after another and by one alone, so a place that is free again by now is still nobody else's.
        let handle = spawn::<CONNECTION, _>(task).abort_handle();
        self.lock().handles[index] = Some(handle);
    }

    /// Waits until all have ended.
    pub(super) async fn ended(&self) {
        while !self.lock().is_empty() {
            self.emptied.notified().await;
        }
    }

    /// Ends all, wherever they are, and waits for that.
    pub(super) async fn cut(&self) {
        let handles: Vec<_> = self.lock().handles.iter().flatten().cloned().collect();
        handles.iter().for_each(AbortHandle::abort);
        self.ended().await;
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn take(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.handles.push(None);
            self.handles.len() - 1
        })
    }

    fn is_empty(&self) -> bool {
        self.free.len() == self.handles.len()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.live.lock();
        places.handles[self.index] = None;
        places.free.push(self.index);
        if places.is_empty() {
            self.live.emptied.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(tasks: usize) -> (Arc<Live>, Arc<Notify>) {
        let (live, end) = (Arc::new(Live::default()), Arc::new(Notify::new()));
        for _ in 0..tasks {
            let end = Arc::clone(&end);
            live.spawn(|place| async move {
                end.notified().await;
                drop(place);
            });
        }
        (live, end)
    }

    #[tokio::test]
    async fn the_end_comes_with_the_end_of_the_last_task() {
        let (live, end) = live(3);
        let waiting = tokio::spawn({
            let live = Arc::clone(&live);
            async move { live.ended().await }
        });
        for _ in 0..3 {
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            end.notify_one();
        }
        waiting.await.expect("no panic");
    }

    #[tokio::test]
    async fn tasks_are_cut_and_their_places_taken_again() {
        let (live, end) = live(3);
        live.cut().await;
        assert_eq!(Arc::strong_count(&end), 1, "what they held is gone");
        live.spawn(|_place| async {});
        assert_eq!(live.lock().handles.len(), 3);
        live.ended().await;
    }
}
