//! Several targets with weights, in an order that keeps to the weights at every point.
//!
//! Not by chance: smooth weighted round robin, computed once for a whole cycle. After any number of requests each target
//! is within one request of its share.

use anyhow::ensure;

/// The longest cycle that is laid out.
const LONGEST: u64 = 100_000;

/// The order of targets; repeats after the sum of the weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interleaving {
    cycle: Vec<u32>,
}

impl Interleaving {
    /// From one weight per target.
    ///
    /// # Errors
    /// Weights that are all 0, or whose sum, divided by their greatest common divisor, is above 100,000.
    pub(crate) fn new(weights: &[u32]) -> anyhow::Result<Self> {
        let divisor = weights.iter().copied().fold(0, gcd);
        ensure!(divisor > 0, "weights: expected at least one above 0");
        let weights: Vec<i64> = weights.iter().map(|weight| i64::from(weight / divisor)).collect();
        let total: i64 = weights.iter().sum();
        ensure!(
            total.unsigned_abs() <= LONGEST,
            "weights: expected a sum of at most {LONGEST} after cancelling common factors, got {total}"
        );
        Ok(Self { cycle: cycle(&weights, total) })
    }

    /// The target of a request.
    pub(crate) fn target(&self, number: u64) -> usize {
        match self.cycle.as_slice() {
            [only] => *only as usize,
            cycle => cycle.get((number % cycle.len() as u64) as usize).map_or(0, |target| *target as usize),
        }
    }
}

/// Every round each target gains its weight, and the one that has most is chosen and pays for all.
fn cycle(weights: &[i64], total: i64) -> Vec<u32> {
    let mut credit = vec![0_i64; weights.len()];
    let round = |_| {
        credit.iter_mut().zip(weights).for_each(|(credit, weight)| *credit += weight);
        let chosen = (0..credit.len()).rev().max_by_key(|index| credit.get(*index)).unwrap_or_default();
        if let Some(credit) = credit.get_mut(chosen) {
            *credit -= total;
        }
        chosen as u32
    };
    (0..total).map(round).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_beginning_is_within_one_of_the_shares() -> anyhow::Result<()> {
        let weights = [50, 30, 15, 5, 0];
        let order = Interleaving::new(&weights)?;
        let mut counts = [0_u64; 5];
        for number in 0..1000 {
            counts[order.target(number)] += 1;
            for (count, weight) in counts.iter().zip(weights) {
                let share = (number + 1) as f64 * f64::from(weight) / 100.0;
                assert!((*count as f64 - share).abs() < 1.0 + 1e-9, "after {number}: {counts:?}");
            }
        }
        assert_eq!(counts, [500, 300, 150, 50, 0]);
        Ok(())
    }

    #[test]
    fn equal_weights_take_turns() -> anyhow::Result<()> {
        let order = Interleaving::new(&[7, 7, 7])?;
        assert_eq!((0..6).map(|number| order.target(number)).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2]);
        Ok(())
    }

    #[test]
    fn weights_that_make_no_order_are_refused() {
        assert!(Interleaving::new(&[0, 0]).is_err());
        assert!(Interleaving::new(&[]).is_err());
        assert!(Interleaving::new(&[99_991, 99_989]).is_err());
        assert!(Interleaving::new(&[2_000_000, 2_000_000]).is_ok(), "common factors cancel");
    }
}
