//! The time, read once in a turn of the event loop.
//!
//! To read the clock takes 20 to 50 ns, as much as parsing a header, and a request asks for the time five times. What happens in
//! one turn happens at one time: the first who asks after the thread slept reads the clock, the others are told the same.
//! A thread that finds work in every turn does not sleep, so the answer is also forgotten when the kernel's coarse clock has
//! ticked, which costs a load from memory to see. Durations taken from here are right to a tick (1 to 10 ms) when the worker
//! has that much to do at once, and to the length of a turn otherwise.

use std::cell::Cell;

use nix::sys::time::TimeSpec;
use nix::time::ClockId;
use tokio::time::Instant;

thread_local! {
    static KNOWN: Cell<Known> = const { Cell::new(Known::Never) };
}

/// What this thread knows of the time.
#[derive(Clone, Copy)]
enum Known {
    /// Nobody tells where turns end: the clock is read each time.
    Never,
    /// Nothing in this turn so far.
    NotYet,
    /// The time, and the coarse clock when it was read.
    At(Instant, TimeSpec),
}

/// The time of this turn.
pub fn now() -> Instant {
    let (known, tick) = match KNOWN.get() {
        Known::Never => return Instant::now(),
        Known::NotYet => (None, coarse()),
        Known::At(at, read) => {
            let tick = coarse();
            (tick.filter(|tick| *tick == read).map(|_| at), tick)
        }
    };
    known.unwrap_or_else(|| {
        let at = Instant::now();
        KNOWN.set(tick.map_or(Known::NotYet, |tick| Known::At(at, tick)));
        at
    })
}

/// A turn of this thread's event loop begins.
pub(super) fn turn() {
    KNOWN.set(Known::NotYet);
}

fn coarse() -> Option<TimeSpec> {
    ClockId::CLOCK_MONOTONIC_COARSE.now().ok()
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// In a thread of its own, whose knowledge no other test has touched.
    fn apart(test: impl FnOnce() + Send + 'static) {
        thread::spawn(test).join().expect("the test passes");
    }

    #[test]
    fn within_a_turn_time_stands_still_and_goes_on_with_the_next() {
        apart(|| {
            turn();
            // A tick may fall between the two readings, not between all.
            assert!((0..100).any(|_| now() == now()));
            let before = now();
            turn();
            assert!(now() > before);
        });
    }

    #[test]
    fn time_goes_on_in_a_turn_without_end() {
        apart(|| {
            turn();
            let before = now();
            thread::sleep(Duration::from_millis(50));
            assert!(now() - before >= Duration::from_millis(50));
        });
    }

    #[test]
    fn a_thread_without_turns_reads_the_clock() {
        apart(|| {
            let before = now();
            assert!((0..1000).any(|_| now() > before));
        });
    }
}
