//! Closing what is idle for too long, too old, or leads to an endpoint that is gone.
//!
//! One coarse tick per shard instead of a timer per connection: registering and dropping a timer costs more than anything
//! else a pooled request does here. The task ends when the shard is empty and starts with the next connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;
use super::{Inner, Shard, lock};

/// Error of idle time-outs, and the longest an idle connection to a removed endpoint stays open.
const TICK: Duration = Duration::from_millis(250);

impl Shard {
    /// Starts the sweep of this shard unless it runs.
    pub(super) fn start_sweeping(&self) {
        self.sweeper().start();
    }

    /// For those who may have to start it.
    pub(super) fn sweeper(&self) -> Sweeper {
        Sweeper { running: Arc::clone(&self.0.sweeping), shard: Arc::downgrade(&self.0) }
    }
}

/// Starts the sweep of a shard.
#[derive(Debug)]
pub(super) struct Sweeper {
    running: Arc<AtomicBool>,
    shard: Weak<Inner>,
}

impl Sweeper {
    /// Starts the sweep unless it runs, which is nearly always.
    pub(super) fn start(&self) {
        if !self.running.load(Ordering::Acquire) && !self.running.swap(true, Ordering::AcqRel) {
            tokio::spawn(sweep(self.shard.clone()));
        }
    }
}

async fn sweep(shard: Weak<Inner>) {
    loop {
        tokio::time::sleep(TICK).await;
        let Some(shard) = shard.upgrade() else { return };
        if shard.sweep() {
            shard.sweeping.store(false, Ordering::Release);
            return;
        }
    }
}

impl Inner {
    /// One pass; true when no connection is left.
    fn sweep(&self) -> bool {
        let now = Instant::now();
        let keep = |connection: &Connection, since: Instant| connection.may_stay(since, now);
        // A stack or bundle that someone holds (a request, a dial) stays even when it is empty.
        let stacks_empty = {
            let mut stacks = lock(&self.http1);
            stacks.retain(|_, stack| !stack.sweep(keep) || Arc::strong_count(stack) > 1);
            stacks.is_empty()
        };
        let mut bundles = lock(&self.http2);
        bundles.retain(|_, bundle| !bundle.sweep(keep) || Arc::strong_count(bundle) > 1);
        stacks_empty && bundles.is_empty()
    }

    /// Closes one idle connection, to make room under a limit that another host's requests wait for.
    pub(super) fn evict_one(&self) {
        let stacks: Vec<_> = lock(&self.http1).values().cloned().collect();
        if stacks.iter().any(|stack| stack.evict_oldest()) {
            return;
        }
        let bundles: Vec<_> = lock(&self.http2).values().cloned().collect();
        let _ = bundles.iter().any(|bundle| bundle.evict_idle());
    }
}
