//! Whether values took turns.

use std::collections::HashMap;

/// Sets with more values than this are judged by their totals alone: the search keeps something for every pair.
const MOST: usize = 64;

/// The greatest difference between the counts of any two of `keys` within any window of consecutive items, where items
/// with other keys do not count. Perfect turns give 1 (0 with a single key). `None` with too many keys to look at.
///
/// For every pair of keys there is a walk that steps up for one and down for the other: the two differ in a window by what the
/// walk moves between its ends. One pass takes the steps of all walks.
pub(crate) fn worst_window(items: impl Iterator<Item = u32>, keys: &[u32]) -> Option<u64> {
    if keys.len() > MOST {
        return None;
    }
    let places: HashMap<u32, usize> = keys.iter().enumerate().map(|(place, key)| (*key, place)).collect();
    let mut walks = vec![Walk::default(); keys.len() * keys.len()];
    for place in items.filter_map(|item| places.get(&item).copied()) {
        // The walk of a pair is kept at both of its places, once in each direction.
        for other in (0..keys.len()).filter(|other| *other != place) {
            walks[place * keys.len() + other].step(1);
            walks[other * keys.len() + place].step(-1);
        }
    }
    Some(walks.iter().map(|walk| walk.high.abs_diff(walk.low)).max().unwrap_or_default())
}

/// Where a walk is, and between which ends it has been.
#[derive(Clone, Default)]
struct Walk {
    at: i64,
    low: i64,
    high: i64,
}

impl Walk {
    fn step(&mut self, by: i64) {
        self.at += by;
        self.low = self.low.min(self.at);
        self.high = self.high.max(self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(items: &[u32], keys: &[u32]) -> Option<u64> {
        worst_window(items.iter().copied(), keys)
    }

    #[test]
    fn perfect_turns_differ_by_one_whatever_comes_between() {
        assert_eq!(worst(&[0, 1, 2, 0, 1, 2, 0], &[0, 1, 2]), Some(1));
        assert_eq!(worst(&[0, 9, 1, 9, 9, 0, 1], &[0, 1]), Some(1));
        assert_eq!(worst(&[5, 5, 5], &[5]), Some(0));
    }

    #[test]
    fn a_clump_is_found_even_when_totals_are_even() {
        assert_eq!(worst(&[0, 1, 0, 1, 1, 0, 0, 1], &[0, 1]), Some(2));
        assert_eq!(worst(&[0, 0, 0, 1, 1, 1], &[0, 1]), Some(3));
    }

    #[test]
    fn the_pairwise_search_agrees_with_looking_at_every_window() {
        let items = [0, 1, 2, 0, 2, 1, 1, 0, 2, 2, 0, 1, 0, 1, 2, 2, 2, 0];
        let mut worst_seen = 0;
        for start in 0..items.len() {
            for end in start..=items.len() {
                let count = |key| items[start..end].iter().filter(|item| **item == key).count() as u64;
                let counts = [0, 1, 2].map(count);
                worst_seen = worst_seen.max(counts.iter().max().unwrap_or(&0) - counts.iter().min().unwrap_or(&0));
            }
        }
        assert_eq!(worst(&items, &[0, 1, 2]), Some(worst_seen));
    }
}
