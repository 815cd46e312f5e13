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

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

pub use schedule::Schedule;

/// A schedule and the position with which its draws begin.
type Started = (Schedule, u64);
type MakeSchedule = Box<dyn FnOnce() -> Started + Send>;

/// The run-time side of a weighted route: its schedule and the cursor that all workers share.
#[derive(Debug)]
pub struct Split {
    /// `None` for a single destination: nothing to draw. Made at the first draw: a schedule for whole percentages holds ten
    /// thousand slots, and most of the services a mesh knows are never called by this workload.
    schedule: Option<Box<LazyLock<Started, MakeSchedule>>>,
    cursor: AtomicU64,
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
    pub fn new(weights: &[u64], mut random: impl FnMut() -> u64 + Send + 'static) -> Self {
        let choice = weights.iter().filter(|weight| **weight > 0).count() > 1;
        let weights: Box<[u64]> = weights.into();
        let make = move || {
            let schedule = Schedule::new(&weights, &mut random);
            let start = (random() >> 40) * schedule.period();
            (schedule, start)
        };
        Split { schedule: choice.then(|| Box::new(LazyLock::new(Box::new(make) as _))), cursor: AtomicU64::new(0) }
    }

    /// The next destination.
    pub fn draw(&self) -> Decision {
        let Some(schedule) = &self.schedule else { return Decision { destination: 0, number: 0 } };
        let (schedule, start) = &***schedule;
        let number = self.cursor.fetch_add(1, Ordering::Relaxed);
        Decision { destination: schedule.at(start + number, rand::random), number: number + 1 }
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
                let schedule = Box::new(Schedule::new(&[yes, 1_000_000 - yes], &mut random));
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
