//! Clients that open streams only to reset them.
//!
//! Each such stream costs us and an upstream a request, and the client next to nothing (CVE-2023-44487). The codec limits those
//! that are reset before we look at them; here those are counted that reached an exchange. Numbers and rule are Envoy's: a
//! connection is ended when half of its streams were reset early, once there were 500 of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Streams before which nobody is judged.
const FEWEST: u64 = 500;
/// A client that waited longer than this before it gave up had reason to.
const EARLY: Duration = Duration::from_secs(1);

/// What became of the streams of one connection.
#[derive(Debug, Default)]
pub struct Calm {
    over: AtomicU64,
    reset_early: AtomicU64,
}

impl Calm {
    /// A stream was answered.
    pub fn answered(&self) {
        self.over.fetch_add(1, Ordering::Relaxed);
    }

    /// The client reset a stream so long after it had opened it, and before there was an answer.
    pub fn reset(&self, after: Duration) {
        self.answered();
        if after < EARLY {
            self.reset_early.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the connection should end.
    pub fn is_lost(&self) -> bool {
        let reset_early = self.reset_early.load(Ordering::Relaxed);
        reset_early > 0 && reset_early * 2 >= self.over.load(Ordering::Relaxed).max(FEWEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(answered: u64, resets: u64, each: Duration) -> bool {
        let calm = Calm::default();
        (0..answered).for_each(|_| calm.answered());
        (0..resets).for_each(|_| calm.reset(each));
        calm.is_lost()
    }

    #[test]
    fn calm_is_lost_when_half_of_many_streams_were_reset_early() {
        assert!(after(250, 250, Duration::ZERO));
        assert!(after(1000, 1000, Duration::ZERO));
        assert!(!after(1000, 999, Duration::ZERO), "less than half");
        assert!(!after(0, 249, Duration::ZERO), "few");
        assert!(!after(0, 10_000, EARLY), "patient");
    }
}
