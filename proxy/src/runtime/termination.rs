//! When a draining process may end: one pure rule (sidecar contract 6.6, and difference 3 of its section 8).

use std::time::Duration;

/// The times that bound draining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termination {
    /// Draining lasts at least this long, so that news of the pod's end reaches its clients first.
    pub minimum: Duration,
    /// Then what is left is cut.
    pub maximum: Duration,
    /// End between the two as soon as no connection is left; otherwise end at `minimum`, as Istio does by default.
    pub exit_on_zero_connections: bool,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Keep draining.
    Wait,
    /// Nothing is left: end.
    End,
    /// Cut what is left and end.
    Force,
}

impl Termination {
    /// The verdict after draining for `elapsed` with `active` connections left.
    pub fn verdict(self, elapsed: Duration, active: usize) -> Verdict {
        if elapsed < self.minimum {
            return Verdict::Wait;
        }
        match (active, self.exit_on_zero_connections) {
            (0, _) => Verdict::End,
            (_, true) if elapsed < self.maximum => Verdict::Wait,
            _ => Verdict::Force,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_comes_when_it_should() {
        let by_connections =
            Termination { minimum: Duration::from_secs(5), maximum: Duration::from_secs(45), exit_on_zero_connections: true };
        let by_time = Termination { exit_on_zero_connections: false, ..by_connections };
        let cases = [
            (by_connections, 0, 0, Verdict::Wait),
            (by_connections, 4, 3, Verdict::Wait),
            (by_connections, 5, 0, Verdict::End),
            (by_connections, 5, 3, Verdict::Wait),
            (by_connections, 44, 1, Verdict::Wait),
            (by_connections, 45, 1, Verdict::Force),
            (by_time, 4, 0, Verdict::Wait),
            (by_time, 5, 0, Verdict::End),
            (by_time, 5, 9, Verdict::Force),
        ];
        for (termination, seconds, active, verdict) in cases {
            assert_eq!(termination.verdict(Duration::from_secs(seconds), active), verdict, "{termination:?} {seconds} s {active}");
        }
    }

    #[test]
    fn a_maximum_below_the_minimum_does_not_shorten_it() {
        let odd = Termination { minimum: Duration::from_secs(9), maximum: Duration::from_secs(1), exit_on_zero_connections: true };
        assert_eq!(odd.verdict(Duration::from_secs(8), 1), Verdict::Wait);
        assert_eq!(odd.verdict(Duration::from_secs(9), 1), Verdict::Force);
    }
}
