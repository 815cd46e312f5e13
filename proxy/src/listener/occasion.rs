//! Log lines that strangers can cause: at most one a second each, with the number of those left out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// One kind of log line.
#[derive(Debug)]
pub(super) struct Occasion {
    last: AtomicU64,
    left_out: AtomicU64,
}

impl Occasion {
    /// Nothing logged yet.
    pub(super) const fn new() -> Self {
        Occasion { last: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// Whether to log now: the number of lines left out since the last one, or `None` to stay silent.
    pub(super) fn take(&self) -> Option<u64> {
        self.take_at(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }

    fn take_at(&self, second: u64) -> Option<u64> {
        if self.last.swap(second, Ordering::Relaxed) == second {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.left_out.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::Occasion;

    #[test]
    fn one_line_a_second_tells_how_many_were_left_out() {
        let occasion = Occasion::new();
        let taken: Vec<_> = [7, 7, 7, 8, 8, 9].into_iter().map(|second| occasion.take_at(second)).collect();
        assert_eq!(taken, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
