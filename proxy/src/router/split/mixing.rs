//! Takes out of a split's blocks what they have in common by accident of how they were made.
//!
//! A decomposition fixes how often each position holds each destination over all blocks, and says nothing about how the
//! positions of one block hang together. With weights such as 33/33/34 they do: one block runs `abcabc..`, the next one
//! `bcabca..`, and whoever acts on every third request sees one destination for a long time. So neighbouring slots are
//! exchanged at random: `ab` becomes `ba` in one block while `ba` becomes `ab` at the same position of another. What a
//! position holds over all blocks stays as it was, and an exchange that would take a destination a whole request off its
//! quota is not made. A few passes are enough (`whoever_calls_in_a_rhythm...` in the tests is the measure).

use std::collections::BTreeMap;

/// Passes over all positions. Five bring 33/33/34 to chance for every rhythm tried, one hundred do no better.
const PASSES: usize = 8;

/// Blocks in which two neighbours may change places, by what they hold.
type Candidates = BTreeMap<(u16, u16), Vec<usize>>;

/// Exchanges neighbours at random. `slots` holds whole blocks of `quotas.iter().sum()` slots each.
pub(super) fn exchange_neighbours(slots: &mut [u16], quotas: &[u64], random: &mut impl FnMut() -> u64) {
    let period = quotas.iter().sum::<u64>() as usize;
    let blocks = slots.len().checked_div(period).unwrap_or(0);
    for _ in 0..PASSES {
        let mut given = Given { counts: vec![0; blocks * quotas.len()], quotas };
        for position in 1..period {
            let first = |block: usize| block * period + position - 1;
            let mut candidates = Candidates::new();
            for block in 0..blocks {
                let pair = (slots[first(block)], slots[first(block) + 1]);
                if pair.0 != pair.1 && given.allows(block, position, pair) {
                    candidates.entry(pair).or_default().push(block);
                }
            }
            for block in opposites(candidates, random) {
                slots.swap(first(block), first(block) + 1);
            }
            (0..blocks).for_each(|block| given.add(block, slots[first(block)]));
        }
    }
}

/// What each block has given to each destination before the present position.
struct Given<'a> {
    counts: Vec<u64>,
    quotas: &'a [u64],
}

impl Given<'_> {
    fn add(&mut self, block: usize, destination: u16) {
        self.counts[block * self.quotas.len() + usize::from(destination)] += 1;
    }

    /// Whether both stay within one request of their quota after `drawn` draws when the second comes in the first one's place.
    fn allows(&self, block: usize, drawn: usize, (first, second): (u16, u16)) -> bool {
        let period = self.quotas.iter().sum::<u64>();
        let off = |destination: u16, more: u64| {
            let count = self.counts[block * self.quotas.len() + usize::from(destination)] + more;
            (count * period).abs_diff(drawn as u64 * self.quotas[usize::from(destination)])
        };
        off(first, 0) < period && off(second, 1) < period
    }
}

/// Pairs blocks that hold `ab` with blocks that hold `ba` at random, and picks every other pair by a coin.
fn opposites(mut candidates: Candidates, random: &mut impl FnMut() -> u64) -> Vec<usize> {
    let mut chosen = Vec::new();
    while let Some(((a, b), mut ones)) = candidates.pop_first() {
        let Some(mut others) = candidates.remove(&(b, a)) else { continue };
        shuffle(&mut ones, random);
        shuffle(&mut others, random);
        let pairs = ones.into_iter().zip(others).filter(|_| random() & 1 == 1);
        chosen.extend(pairs.flat_map(|(one, other)| [one, other]));
    }
    chosen
}

fn shuffle(list: &mut [usize], random: &mut impl FnMut() -> u64) {
    for last in (1..list.len()).rev() {
        list.swap(last, (random() % (last as u64 + 1)) as usize);
    }
}
