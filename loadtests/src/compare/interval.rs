//! Intervals of 95 %: of the difference of two means, and of two shares.

/// The 97.5th percentile of the normal distribution.
const Z: f64 = 1.96;

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Welch's 95 % interval for the mean of `b` less the mean of `a`, each of at least two values. `None` also when one of them is
/// infinite or no number: how far such values lie apart cannot be told.
pub(super) fn welch(a: &[f64], b: &[f64]) -> Option<(f64, f64)> {
    if a.len() < 2 || b.len() < 2 {
        return None;
    }
    // The squared error of a mean, and its degrees of freedom.
    let error = |values: &[f64]| {
        let (n, mean) = (values.len() as f64, mean(values));
        values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0) / n
    };
    let (error_a, error_b) = (error(a), error(b));
    let sum = error_a + error_b;
    if !sum.is_finite() {
        return None;
    }
    let freedom = sum.powi(2) / (error_a.powi(2) / (a.len() - 1) as f64 + error_b.powi(2) / (b.len() - 1) as f64);
    let reach = if sum > 0.0 { students_t(freedom) * sum.sqrt() } else { 0.0 };
    let difference = mean(b) - mean(a);
    Some((difference - reach, difference + reach))
}

/// Newcombe's 95 % interval for the share of `b` less the share of `a`, each given as a count and the number it is of. It is made of
/// Wilson's intervals of both shares, so that it holds for none and for all of them too. `None` when a side has no requests.
pub(super) fn shares(a: (u64, u64), b: (u64, u64)) -> Option<(f64, f64)> {
    let ((p_a, low_a, high_a), (p_b, low_b, high_b)) = wilson(a).zip(wilson(b))?;
    let difference = p_b - p_a;
    Some((difference - (p_b - low_b).hypot(high_a - p_a), difference + (high_b - p_b).hypot(p_a - low_a)))
}

/// A share with the ends of its interval.
fn wilson((count, of): (u64, u64)) -> Option<(f64, f64, f64)> {
    let (n, z2) = (of as f64, Z * Z);
    let p = count as f64 / n;
    let centre = p + z2 / (2.0 * n);
    let reach = Z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    let end = |end: f64| (end / (1.0 + z2 / n)).clamp(0.0, 1.0);
    (of > 0).then(|| (p, end(centre - reach), end(centre + reach)))
}

/// The 97.5th percentile of Student's t distribution, rounded up to the next lower tabulated degree of freedom.
fn students_t(freedom: f64) -> f64 {
    const TABLE: [(f64, f64); 18] = [
        (120.0, 1.980),
        (60.0, 2.000),
        (40.0, 2.021),
        (30.0, 2.042),
        (20.0, 2.086),
        (15.0, 2.131),
        (12.0, 2.179),
        (10.0, 2.228),
        (9.0, 2.262),
        (8.0, 2.306),
        (7.0, 2.365),
        (6.0, 2.447),
        (5.0, 2.571),
        (4.0, 2.776),
        (3.0, 3.182),
        (2.5, 3.558),
        (2.0, 4.303),
        (1.5, 6.002),
    ];
    TABLE.into_iter().find(|(least, _)| freedom >= *least).map_or(12.706, |(_, t)| t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_welchs() {
        // Values and interval of a textbook example computed by hand: means 10 and 12, variances 1, three values each.
        let (low, high) = welch(&[9.0, 10.0, 11.0], &[11.0, 12.0, 13.0]).expect("enough values");
        let reach = 2.776 * (2.0f64 / 3.0).sqrt();
        assert!((low - (2.0 - reach)).abs() < 1e-9 && (high - (2.0 + reach)).abs() < 1e-9, "{low} {high}");
        assert_eq!(welch(&[1.0], &[1.0, 2.0]), None);
        assert_eq!(welch(&[1.0, 1.0], &[2.0, 2.0]), Some((1.0, 1.0)));
        assert_eq!(welch(&[1.0, 1.0], &[2.0, f64::INFINITY]), None);
    }

    #[test]
    fn the_t_table_never_makes_an_interval_too_narrow() {
        assert_eq!((students_t(4.0), students_t(4.9), students_t(1000.0), students_t(1.0)), (2.776, 2.776, 1.980, 12.706));
    }

    #[test]
    fn the_interval_of_two_shares_is_newcombes() {
        // Newcombe 1998, method 10: 56 of 70 less 48 of 80.
        let (low, high) = shares((48, 80), (56, 70)).expect("requests on both sides");
        assert!((low - 0.0524).abs() < 1e-4 && (high - 0.3339).abs() < 1e-4, "{low} {high}");
        assert_eq!(shares((0, 0), (1, 2)), None);
    }

    #[test]
    fn none_against_none_is_no_difference_and_none_against_all_is_one() {
        let (low, high) = shares((0, 1000), (0, 1000)).expect("requests on both sides");
        assert!(low < 0.0 && 0.0 < high, "{low} {high}");
        let (low, high) = shares((0, 1000), (1000, 1000)).expect("requests on both sides");
        assert!(low > 0.99 && high >= low, "{low} {high}");
    }
}
