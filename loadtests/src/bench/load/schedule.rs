//! The schedule of an open loop.

/// When requests are due: evenly spaced from the start on, computed from their number so that nothing adds up.
pub struct Schedule {
    /// Per second; `None` has no schedule.
    pub rate: Option<f64>,
    /// Of the next request.
    pub number: u64,
    /// Nothing is due from then on, in nanoseconds since the start.
    pub end: u64,
}

impl Schedule {
    /// When the next request is due.
    pub fn next(&self) -> Option<u64> {
        let due = (self.number as f64 / self.rate? * 1e9) as u64;
        (due < self.end).then_some(due)
    }
}
