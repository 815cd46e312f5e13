//! The split: which destination the next request of a weighted route goes to.
//!
//! Not a coin per request: a [`Schedule`] in which every destination stays within one request of its quota at every point,
//! read by one shared `fetch_add`. Any hundred consecutive draws are therefore within two of the weights, whatever the number
//! of workers, and yet a client that acts on every 2nd, 20th or 89th request sees the weights within chance.
//!
//! Open in this order: [`schedule`] (what a draw reads), `decomposition` (how the blocks of the table are made), `mixing`
//! (how what they still have in common is taken out).

mod decomposition;
mod mixing;
mod schedule;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

pub use schedule::Schedule;
use schedule::{Size, mix};

/// Set in the cursor once the complete schedule is in force.
const COMPLETE: u64 = 1 << 63;

/// The run-time side of a weighted route: its schedule and the cursor that all workers share.
#[derive(Debug)]
pub struct Split {
    /// `None` for a single destination: nothing to draw.
    choice: Option<Arc<Choice>>,
}

/// A schedule in two sizes. A complete one for whole percentages holds ten thousand slots and takes milliseconds to make:
/// too much for the many services of a mesh that this workload never calls, and too long for the worker that draws first.
/// So the first draw makes a small one, equally even, and has the complete one made beside it; that takes over at the
/// beginning of a period, so that no window shows the seam.
#[derive(Debug)]
struct Choice {
    weights: Box<[u64]>,
    seed: u64,
    cursor: AtomicU64,
    small: OnceLock<Schedule>,
    complete: OnceLock<Schedule>,
    /// The first number drawn from the complete schedule. Meaningful once the cursor says [`COMPLETE`].
    since: AtomicU64,
    asked: AtomicBool,
}

/// One draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Position of the destination in the route.
    pub destination: usize,
    /// Number of the decision at this route, counting up from 1; 0 when there was nothing to decide.
    pub number: u64,
}

impl Split {
    /// A split by `weights`, starting at a random block of a random wrap.
    pub fn new(weights: &[u64], mut random: impl FnMut() -> u64) -> Self {
        let choice = weights.iter().filter(|weight| **weight > 0).count() > 1;
        Split { choice: choice.then(|| Arc::new(Choice::new(weights.into(), random()))) }
    }

    /// The next destination.
    pub fn draw(&self) -> Decision {
        let Some(choice) = &self.choice else { return Decision { destination: 0, number: 0 } };
        let drawn = choice.cursor.fetch_add(1, Ordering::Acquire);
        let number = drawn & !COMPLETE;
        let since = if drawn == number { u64::MAX } else { choice.since.load(Ordering::Relaxed) };
        let schedule = match choice.complete.get() {
            Some(complete) if number >= since => complete,
            _ => choice.small(),
        };
        if number == 0 {
            choice.ask_for_completion();
        }
        Decision { destination: schedule.at(schedule.start() + number, rand::random), number: number + 1 }
    }
}

impl Choice {
    fn new(weights: Box<[u64]>, seed: u64) -> Self {
        Choice {
            weights,
            seed,
            cursor: AtomicU64::new(0),
            small: OnceLock::new(),
            complete: OnceLock::new(),
            since: AtomicU64::new(u64::MAX),
            asked: AtomicBool::new(false),
        }
    }

    fn small(&self) -> &Schedule {
        self.small.get_or_init(|| Schedule::new(&self.weights, Size::Small, generator(self.seed)))
    }

    /// Makes the complete schedule on a thread of its own. Where none can be had, the small one stays in force: just as
    /// even, though a client with a rhythm could tell its few blocks.
    fn ask_for_completion(self: &Arc<Self>) {
        if !self.asked.swap(true, Ordering::Relaxed) {
            let choice = Arc::clone(self);
            let thread = std::thread::Builder::new().name("split".to_owned());
            if let Err(error) = thread.spawn(move || choice.finish()) {
                tracing::warn!(%error, "no thread to make the schedule of a traffic split; a small one stays in force");
            }
        }
    }

    /// Makes the complete schedule and puts it in force from the beginning of a period.
    fn finish(&self) {
        let complete = self.complete.get_or_init(|| Schedule::new(&self.weights, Size::Complete, generator(!self.seed)));
        let mut drawn = self.cursor.load(Ordering::Relaxed);
        while drawn & COMPLETE == 0 {
            let since = (drawn / complete.period() + 1) * complete.period();
            self.since.store(since, Ordering::Relaxed);
            // Whoever sees the flag sees `since`. Nobody has drawn that number without the flag: the exchange fails if
            // anybody drew meanwhile.
            match self.cursor.compare_exchange_weak(drawn, drawn | COMPLETE, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => drawn = now,
            }
        }
    }
}

/// splitmix64.
fn generator(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(state)
    }
}

/// A percentage of requests: the same schedule with two destinations, yes and no, and a cursor for each of several groups.
///
/// Faults draw here and not from the split's generator, so that neither falls into step with the other; each destination
/// of the route has a cursor of its own, so that none gets more than its share of the faults, however small it is.
#[derive(Debug)]
pub struct Share {
    draw: Draw,
}

#[derive(Debug)]
enum Draw {
    Never,
    Always,
    Scheduled { schedule: Box<Schedule>, cursors: Box<[AtomicU64]> },
}

impl Share {
    /// `per_million` of all draws say yes, in each of `groups` groups.
    pub fn new(per_million: u32, groups: usize, mut random: impl FnMut() -> u64) -> Self {
        let yes = u64::from(per_million);
        let draw = match yes {
            0 => Draw::Never,
            1_000_000.. => Draw::Always,
            _ => {
                let schedule = Box::new(Schedule::new(&[yes, 1_000_000 - yes], Size::Complete, &mut random));
                let start = |_| AtomicU64::new((random() >> 40) * schedule.period());
                let cursors = (0..groups.max(1)).map(start).collect();
                Draw::Scheduled { schedule, cursors }
            }
        };
        Share { draw }
    }

    /// Whether the next request of a group is among the chosen.
    pub fn draw(&self, group: usize) -> bool {
        match &self.draw {
            Draw::Never => false,
            Draw::Always => true,
            Draw::Scheduled { schedule, cursors } => {
                let cursor = cursors.get(group).or(cursors.first());
                let position = cursor.map_or(0, |cursor| cursor.fetch_add(1, Ordering::Relaxed));
                schedule.at(position, rand::random) == 0
            }
        }
    }
}

#[cfg(test)]
mod tests;
