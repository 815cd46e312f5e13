//! The table that a split reads: blocks, each one period long (50/30/15/5 has a period of 20), in which every destination
//! stays within one request of its quota at every point.
//!
//! The order inside a block is random, and the blocks come in another random order, some of them backwards, each time the
//! table wraps. So a client that acts on every 2nd, 20th or 89th request sees the weights within chance. That needs care:
//! a client whose rhythm is the period itself always meets the same position of a block. The blocks are therefore made
//! together, so that over all of them every position holds every destination exactly as often as its weight says
//! (`decomposition`), and then mixed, so that they have nothing else in common (`mixing`).
//!
//! That holds for periods up to 128, so for all whole percentages. Longer ones, such as that of 997/3, keep sixteen
//! thousand slots of such a decomposition. They are just as even, but a client whose rhythm shares a factor with the period
//! always meets the same positions, and there the shares are those of a sample: the larger the factor, the fewer slots it
//! sees. Every 20th call of 997/3 is off by a tenth of a percent for good, every 100th by almost one, every 1000th (the
//! period itself) by up to ten. All calls together, and rhythms without such a factor, see the weights as above.

use super::decomposition::Matrix;
use super::mixing::exchange_neighbours;

/// Longest period kept exactly. Weights with a longer one are rounded down to it, and what is lost by that is drawn at
/// random in one slot per destination at most: shares stay exact on average and within two in any hundred.
const MAX_PERIOD: u64 = 4096;
/// Slots that a table should have at least, so that its blocks differ enough.
const ENOUGH_SLOTS: u64 = 1024;
/// Slots beyond which a decomposition stops being complete: periods up to 128 are.
const MANY_SLOTS: u64 = 16384;
/// Block orders to choose from at each wrap, besides the starting block.
const STRIDES: usize = 16;

/// How many blocks to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Two: a hundredth of the work, as even, but a client with a rhythm can tell.
    Small,
    /// As many as make every rhythm see the weights.
    Complete,
}

/// A precomputed random order of weighted destinations, endless by wrapping.
#[derive(Clone, Debug)]
pub struct Schedule {
    slots: Box<[u16]>,
    period: u64,
    blocks: u64,
    /// Numbers coprime to `blocks`.
    strides: Box<[u64]>,
    seed: u64,
    start: u64,
    /// What is left of the weights after rounding, as running sums; the destination number `weights.len()` stands for a
    /// draw from these. Empty when the period is exact.
    residual: Box<[u64]>,
}

impl Schedule {
    /// A schedule for `weights`, not all zero, of at most 65,535 destinations.
    pub fn new(weights: &[u64], size: Size, mut random: impl FnMut() -> u64) -> Self {
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
        let slots = table(&quotas, period, size, &mut random);
        let blocks = (slots.len() as u64 / period).max(1);
        let strides = (0..STRIDES).map(|_| coprime(1 + random() % blocks, blocks)).collect();
        let (seed, start) = (random(), (random() >> 40) * period);
        Schedule { slots, period, blocks, strides, seed, start, residual: running_sums(residual) }
    }

    /// Draws after which the order of the blocks changes.
    pub fn wrap(&self) -> u64 {
        self.period * self.blocks
    }

    /// Draws within which every destination gets exactly its weight, unless rounded.
    pub fn period(&self) -> u64 {
        self.period
    }

    /// Where to begin: at a random block of a random wrap.
    pub fn start(&self) -> u64 {
        self.start
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
fn table(quotas: &[u64], period: u64, size: Size, random: &mut impl FnMut() -> u64) -> Box<[u16]> {
    let (blocks, repeats) = match size {
        Size::Small => (period.min(2), 1),
        Size::Complete if period * period <= MANY_SLOTS => (period, ENOUGH_SLOTS.div_ceil(period * period)),
        Size::Complete => ((MANY_SLOTS / period).max(1), 1),
    };
    let mut slots = Vec::with_capacity((repeats * blocks * period) as usize);
    for _ in 0..repeats {
        let mut matrix = Matrix::new(quotas, period);
        for _ in 0..blocks {
            slots.extend(matrix.take_permutation(random));
        }
    }
    exchange_neighbours(&mut slots, quotas, random);
    slots.into_boxed_slice()
}

/// The next number from `candidate` on that is coprime to `modulus`.
fn coprime(candidate: u64, modulus: u64) -> u64 {
    (candidate..).find(|number| gcd(*number, modulus) == 1).unwrap_or(1)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// splitmix64's finaliser: every input bit reaches every output bit.
pub(super) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
