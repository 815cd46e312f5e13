//! Whether values took turns.

/// Sets with more values than this are judged by their totals alone: the search looks at every pair.
const MOST: usize = 64;

/// The greatest difference between the counts of any two of `keys` within any window of consecutive items, where items
/// with other keys do not count. Perfect turns give 1 (0 with a single key). `None` with too many keys to look at.
pub(crate) fn worst_window(items: impl Iterator<Item = u32> + Clone, keys: &[u32]) -> Option<u64> {
    if keys.len() > MOST {
        return None;
    }
    let pairs = keys.iter().enumerate().flat_map(|(i, a)| keys.iter().skip(i + 1).map(move |b| (*a, *b)));
    Some(pairs.map(|(a, b)| range(items.clone(), a, b)).max().unwrap_or_default())
}

/// The walk that steps up for `a` and down for `b`: two keys differ in a window by what the walk moves between its ends.
fn range(items: impl Iterator<Item = u32>, a: u32, b: u32) -> u64 {
    let (mut at, mut low, mut high) = (0i64, 0i64, 0i64);
    for item in items {
        at += i64::from(item == a) - i64::from(item == b);
        low = low.min(at);
        high = high.max(at);
    }
    high.abs_diff(low)
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
