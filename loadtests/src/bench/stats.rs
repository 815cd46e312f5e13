//! Medians, spreads, and whether two series of paired measurements differ.

/// Median with extremes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// Smallest.
    pub low: f64,
    /// Largest.
    pub high: f64,
    /// How many there are.
    pub count: usize,
}

/// Of all finite values; `None` without any.
pub fn spread(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (*values.first()?, *values.last()?);
    let middle = values.len() / 2;
    let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
    Some(Spread { median, low, high, count: values.len() })
}

/// Wilcoxon's signed-rank test: the probability of differences at least this one-sided if both members of each pair came
/// from the same distribution. Two-sided, exact, ties share their mean rank, pairs without difference are left out. The pairs are
/// measured in the same turn, so what drifts with the machine drifts in both. `None` without any difference.
pub fn signed_rank(differences: &[f64]) -> Option<f64> {
    let mut sizes: Vec<f64> = differences.iter().copied().filter(|d| d.is_finite() && *d != 0.0).collect();
    if sizes.is_empty() || sizes.len() > 60 {
        return None;
    }
    sizes.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let ranks = doubled_ranks(&sizes);
    let total: usize = ranks.iter().sum();
    let positive: usize = ranks.iter().zip(&sizes).filter(|(_, size)| **size > 0.0).map(|(rank, _)| rank).sum();
    let extreme = positive.min(total - positive);
    // ways[s]: of the 2^n assignments of signs, how many have doubled rank sum s.
    let mut ways = vec![0.0_f64; total + 1];
    ways[0] = 1.0;
    for rank in &ranks {
        for sum in (*rank..=total).rev() {
            ways[sum] += ways[sum - rank];
        }
    }
    let tail: f64 = ways[..=extreme].iter().sum();
    Some((2.0 * tail / 2.0_f64.powi(ranks.len() as i32)).min(1.0))
}

/// Twice the rank of each value by size, so that the mean of tied ranks stays whole.
fn doubled_ranks(sorted: &[f64]) -> Vec<usize> {
    let mut ranks = Vec::with_capacity(sorted.len());
    while ranks.len() < sorted.len() {
        let first = ranks.len();
        let tied = sorted[first..].iter().take_while(|value| value.abs() == sorted[first].abs()).count();
        ranks.extend(std::iter::repeat_n(2 * first + tied + 1, tied));
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_in_the_middle() {
        assert_eq!(spread([3.0, 1.0, f64::NAN, 2.0]), Some(Spread { median: 2.0, low: 1.0, high: 3.0, count: 3 }));
        assert_eq!(spread([4.0, 1.0]).map(|s| s.median), Some(2.5));
        assert_eq!(spread([]), None);
    }

    #[test]
    fn probabilities_are_those_of_the_tables() {
        let close = |differences: &[f64], want: f64| {
            let got = signed_rank(differences).expect("a probability");
            assert!((got - want).abs() < 1e-9, "{differences:?}: {got}, want {want}");
        };
        // All of one sign: 2 of 2^n assignments are as extreme.
        close(&[1.0, 2.0, 3.0, 4.0, 5.0], 2.0 / 32.0);
        close(&[-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0, -9.0], 2.0 / 512.0);
        // Rank sum 1 of 5: two assignments in each tail.
        close(&[-1.0, 2.0, 3.0, 4.0, 5.0], 4.0 / 32.0);
        // Ties: four equal sizes, one negative: 1 + 4 assignments in each tail.
        close(&[-1.0, 1.0, 1.0, 1.0], 10.0 / 16.0);
        assert_eq!(signed_rank(&[0.0, 0.0]), None);
    }
}
