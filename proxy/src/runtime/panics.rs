//! Panics: logged, counted, survived.
//!
//! A panic in a connection's task ends that connection and nothing else (the runtime catches it); this hook makes sure
//! that somebody hears of it.

use std::sync::atomic::{AtomicU64, Ordering};

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Panics since the process started.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Replaces the process's panic hook.
pub fn install_hook() {
    std::panic::set_hook(Box::new(|panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        let thread = std::thread::current();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("no message");
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(target: "main", thread = thread.name(), place, "a task panicked and was ended: {text}\n{backtrace}");
    }));
}
