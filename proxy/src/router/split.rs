//! The split: which destination the next request of a weighted route goes to.
//!
//! Not a coin per request. A [`Schedule`] is a table of blocks, each one period long (50/30/15/5 has a period of 20), in
//! which every destination stays within one request of its quota at every point. Any hundred consecutive draws are
//! therefore within two of the weights. Draws read the table by one shared `fetch_add`.
//!
//! The order inside a block is random, and the blocks come in another random order, some of them backwards, each time the
//! table wraps. So a client that acts on every 2nd, 20th or 89th request sees the weights within chance. That needs care:
//! a client whose rhythm is the period itself always meets the same position of a block. The blocks are therefore made
//! together, as a decomposition of one matrix: the `j`-th request of a destination of weight `w` out of `W` belongs
//! somewhere in the real interval `[jW/w, (j+1)W/w)`, so that spreading each request over the slots of its interval gives
//! a matrix whose rows and columns all have the same sum. By Koenig's theorem such a matrix is a sum of permutations; each
//! of these is a block, and over all of them every position holds every destination exactly as often as its weight says.
//! That holds for periods up to 128, so for all whole percentages. Longer ones, such as that of 997/3, keep sixteen
//! thousand slots of such a decomposition. They are just as even, but a client with a rhythm of its own can tell:
//! - One that shares a factor with the period always meets the same positions, and there the shares are those of a sample:
//!   the larger the factor, the fewer slots it sees. Every 20th call of 997/3 is off by a tenth of a percent for good,
//!   every 100th by almost one, every 1000th (the period itself) by up to ten.
//! - One that is close to the rhythm of the weights themselves (every 3rd call of 333/333/334) meets long runs, because
//!   being within one of the quota leaves little room for another order. Its shares are right only over many periods.
//!
//! All calls together, and rhythms without either, see the weights as above.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Longest period kept exactly. Weights with a longer one are rounded down to it, and what is lost by that is drawn at
/// random in one slot per destination at most: shares stay exact on average and within two in any hundred.
const MAX_PERIOD: u64 = 4096;
/// Slots that a table should have at least, so that its blocks differ enough.
const ENOUGH_SLOTS: u64 = 1024;
/// Slots beyond which a decomposition stops being complete: periods up to 128 are.
const MANY_SLOTS: u64 = 16384;
/// Block orders to choose from at each wrap, besides the starting block.
const STRIDES: usize = 16;

/// A precomputed random order of weighted destinations, endless by wrapping.
#[derive(Clone, Debug)]
pub struct Schedule {
    slots: Box<[u16]>,
    period: u64,
    blocks: u64,
    /// Numbers coprime to `blocks`.
    strides: Box<[u64]>,
    seed: u64,
    /// What is left of the weights after rounding, as running sums; the destination number `weights.len()` stands for a
    /// draw from these. Empty when the period is exact.
    residual: Box<[u64]>,
}

impl Schedule {
    /// A schedule for `weights`, not all zero, of at most 65,535 destinations.
    pub fn new(weights: &[u64], mut random: impl FnMut() -> u64) -> Self {
        let divisor = weights.iter().fold(0, |a, b| gcd(a, *b)).max(1);
        let total: u64 = weights.iter().map(|weight| weight / divisor).sum();
        let mut quotas: Vec<u64> = weights.iter().map(|weight| weight / divisor).collect();
        let mut residual: Vec<u64> = Vec::new();
        if total > MAX_PERIOD {
            residual = quotas.iter().map(|quota| scaled(*quota, total).1).collect();
            quotas = quotas.iter().map(|quota| scaled(*quota, total).0).collect();
            quotas.push(MAX_PERIOD - quotas.iter().sum::<u64>());
        }
        let period = quotas.iter().sum::<u64>().max(1);
        let slots = table(&quotas, period, &mut random);
        let blocks = (slots.len() as u64 / period).max(1);
        let strides = (0..STRIDES).map(|_| coprime(1 + random() % blocks, blocks)).collect();
        Schedule { slots, period, blocks, strides, seed: random(), residual: running_sums(residual) }
    }

    /// Draws after which the order of the blocks changes.
    pub fn wrap(&self) -> u64 {
        self.period * self.blocks
    }

    /// Draws within which every destination gets exactly its weight, unless rounded.
    pub fn period(&self) -> u64 {
        self.period
    }

    /// The destination at a position. `random` is used only for weights that had to be rounded.
    pub fn at(&self, position: u64, random: impl FnOnce() -> u64) -> usize {
        let (wrap, rest) = (position / self.wrap(), position % self.wrap());
        let (block, offset) = (rest / self.period, rest % self.period);
        let order = mix(self.seed ^ wrap);
        let stride = self.strides[(order % STRIDES as u64) as usize];
        let played = (block * stride + (order >> 8) % self.blocks) % self.blocks;
        let backwards = mix(order ^ block) & 1 == 1;
        let offset = if backwards { self.period - 1 - offset } else { offset };
        let slot = self.slots.get((played * self.period + offset) as usize);
        let destination = usize::from(slot.copied().unwrap_or_default());
        if destination < self.residual.len() || self.residual.is_empty() { destination } else { self.leftover(random()) }
    }

    fn leftover(&self, random: u64) -> usize {
        let total = self.residual.last().copied().unwrap_or(1).max(1);
        let point = random % total;
        self.residual.partition_point(|sum| *sum <= point).min(self.residual.len() - 1)
    }
}

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

/// Quota and remainder of a weight on a period of [`MAX_PERIOD`].
fn scaled(weight: u64, total: u64) -> (u64, u64) {
    let exact = u128::from(weight) * u128::from(MAX_PERIOD);
    ((exact / u128::from(total)) as u64, (exact % u128::from(total)) as u64)
}

fn running_sums(values: Vec<u64>) -> Box<[u64]> {
    let mut sum = 0u64;
    values
        .into_iter()
        .map(|value| {
            sum += value;
            sum
        })
        .collect()
}

/// All blocks, one behind the other: complete decompositions while they are small, else the first blocks of one.
fn table(quotas: &[u64], period: u64, random: &mut impl FnMut() -> u64) -> Box<[u16]> {
    let complete = period * period <= MANY_SLOTS;
    let blocks = if complete { period } else { (MANY_SLOTS / period).max(1) };
    let repeats = if complete { ENOUGH_SLOTS.div_ceil(period * period) } else { 1 };
    let mut slots = Vec::with_capacity((repeats * blocks * period) as usize);
    for _ in 0..repeats {
        let mut matrix = Matrix::new(quotas, period);
        for _ in 0..blocks {
            slots.extend(matrix.take_permutation(random));
        }
    }
    slots.into_boxed_slice()
}

/// Requests (rows) spread over slots (columns); every row and column has the same sum until a permutation is taken.
struct Matrix {
    /// For each slot: the requests whose interval it meets, and by how much.
    slots: Vec<Vec<(usize, u64)>>,
    /// Destination of each request.
    destinations: Vec<u16>,
}

impl Matrix {
    fn new(quotas: &[u64], period: u64) -> Self {
        let mut matrix = Matrix { slots: vec![Vec::new(); period as usize], destinations: Vec::new() };
        for (destination, quota) in quotas.iter().enumerate() {
            for request in 0..*quota {
                let (begin, end) = (request * period, (request + 1) * period);
                let row = matrix.destinations.len();
                matrix.destinations.push(destination as u16);
                for slot in begin / quota..end.div_ceil(*quota) {
                    let overlap = end.min((slot + 1) * quota) - begin.max(slot * quota);
                    matrix.slots[slot as usize].push((row, overlap));
                }
            }
        }
        matrix
    }

    /// Takes a random permutation out and returns the destination of each slot.
    fn take_permutation(&mut self, random: &mut impl FnMut() -> u64) -> Vec<u16> {
        for entries in &mut self.slots {
            shuffle_by_weight(entries, random);
        }
        let mut matching = Matching::new(self.slots.len(), self.destinations.len());
        for slot in 0..self.slots.len() {
            matching.extend(slot, &self.slots);
        }
        let mut order = vec![0; self.slots.len()];
        for (slot, entries) in self.slots.iter_mut().enumerate() {
            let row = matching.row_of[slot];
            order[slot] = self.destinations.get(row).copied().unwrap_or_default();
            if let Some(entry) = entries.iter_mut().find(|(candidate, _)| *candidate == row) {
                entry.1 -= 1;
            }
            entries.retain(|(_, left)| *left > 0);
        }
        order
    }
}

/// Orders entries at random, heavier ones earlier with the probability of their weight.
fn shuffle_by_weight(entries: &mut [(usize, u64)], random: &mut impl FnMut() -> u64) {
    let mut key = |weight: u64| -((random() >> 11) as f64 / (1u64 << 53) as f64).max(f64::MIN_POSITIVE).ln() / weight.max(1) as f64;
    let mut keyed: Vec<(f64, (usize, u64))> = entries.iter().map(|entry| (key(entry.1), *entry)).collect();
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (entry, (_, sorted)) in entries.iter_mut().zip(keyed) {
        *entry = sorted;
    }
}

const FREE: usize = usize::MAX;

/// A bipartite matching grown one slot at a time along shortest augmenting paths.
struct Matching {
    row_of: Vec<usize>,
    slot_of: Vec<usize>,
    /// Rows reached in the present search, by its number.
    reached: Vec<usize>,
    search: usize,
}

impl Matching {
    fn new(slots: usize, rows: usize) -> Self {
        Matching { row_of: vec![FREE; slots], slot_of: vec![FREE; rows], reached: vec![0; rows], search: 0 }
    }

    /// Finds a row for `slot`, moving earlier slots to other rows where needed. A regular matrix always has one.
    fn extend(&mut self, slot: usize, slots: &[Vec<(usize, u64)>]) {
        self.search += 1;
        let mut queue = vec![slot];
        let mut came_from: Vec<(usize, usize)> = Vec::new(); // (row, slot whose entry led to it)
        let mut next = 0;
        while let Some(&from) = queue.get(next) {
            next += 1;
            for &(row, _) in &slots[from] {
                if self.reached[row] == self.search {
                    continue;
                }
                self.reached[row] = self.search;
                came_from.push((row, from));
                if self.slot_of[row] == FREE {
                    return self.augment(row, &came_from);
                }
                queue.push(self.slot_of[row]);
            }
        }
    }

    fn augment(&mut self, mut row: usize, came_from: &[(usize, usize)]) {
        while row != FREE {
            let Some(&(_, slot)) = came_from.iter().rev().find(|(candidate, _)| *candidate == row) else { return };
            let previous = std::mem::replace(&mut self.row_of[slot], row);
            self.slot_of[row] = slot;
            row = previous;
        }
    }
}

/// The next number from `candidate` on that is coprime to `modulus`.
fn coprime(candidate: u64, modulus: u64) -> u64 {
    (candidate..).find(|number| gcd(*number, modulus) == 1).unwrap_or(1)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// splitmix64's finaliser: every input bit reaches every output bit.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
