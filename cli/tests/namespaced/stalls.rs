//! What a busy machine adds to every time that is measured on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Adds up the time for which a thread that wants to run has to wait: on a busy machine that is no fault of the proxy,
/// whose threads wait as long.
pub struct Stalls {
    micros: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
}

impl Stalls {
    pub fn start() -> Stalls {
        let stalls = Stalls { micros: Arc::default(), end: Arc::default() };
        let (micros, end) = (stalls.micros.clone(), stalls.end.clone());
        std::thread::spawn(move || {
            let nap = Duration::from_millis(1);
            while !end.load(Ordering::Relaxed) {
                let begin = Instant::now();
                std::thread::sleep(nap);
                let late = begin.elapsed().saturating_sub(nap);
                if late > nap {
                    micros.fetch_add(u64::try_from(late.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
                }
            }
        });
        stalls
    }

    pub fn reset(&self) {
        self.micros.store(0, Ordering::Relaxed);
    }

    pub fn total(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
}
