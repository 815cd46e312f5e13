//! Whether a count is what chance gives. The bounds are so wide that a demo with nothing wrong fails once in twenty thousand
//! runs, and what they are there to find, such as a client that always meets the same version, lies far beyond them.

use super::report::Section;

/// What is less likely than this is no chance.
const BOUND: f64 = 1e-6;

/// The probability that a count lies as far from its expectation as this one or further on the same side, each of `of` draws
/// counting with probability `p` by itself.
pub fn of_count(seen: u64, of: u64, p: f64) -> f64 {
    let up_to = tail(seen, of, p);
    let from = tail(of.saturating_sub(seen), of, 1.0 - p);
    up_to.min(from)
}

/// The probability of at most `seen` of `of`.
fn tail(seen: u64, of: u64, p: f64) -> f64 {
    let mut term = of as f64 * (1.0 - p).ln();
    let mut sum = term.exp();
    for k in 0..seen.min(of) {
        term += ((of - k) as f64 / (k + 1) as f64 * p / (1.0 - p)).ln();
        sum += term.exp();
    }
    sum.min(1.0)
}

/// Adds the statement that the least likely of several counts may be chance.
pub fn check(section: &mut Section, name: impl Into<String>, least_likely: f64, counted: bool) {
    let got = if counted { one_in(least_likely) } else { "nothing to count".to_owned() };
    section.check(name, format!("likelier than {}", one_in(BOUND)), got, counted && least_likely >= BOUND);
}

fn one_in(probability: f64) -> String {
    match 1.0 / probability {
        n if n < 1e7 => format!("1 in {n:.0}"),
        n => format!("1 in {n:.0e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probability_of_a_count_is_that_of_its_tail() {
        assert!((of_count(2, 4, 0.5) - 11.0 / 16.0).abs() < 1e-12);
        assert!((of_count(4, 4, 0.5) - 1.0 / 16.0).abs() < 1e-12);
        assert!((of_count(0, 10, 0.1) - 0.9_f64.powi(10)).abs() < 1e-12);
        assert!(of_count(500, 1000, 0.5) > 0.5);
    }

    #[test]
    fn a_version_met_every_time_or_never_is_no_chance_and_a_few_more_than_expected_are() {
        for (seen, of, p) in [(50, 50, 0.5), (0, 50, 0.5), (50, 50, 0.05), (500, 500, 0.3)] {
            assert!(of_count(seen, of, p) < BOUND, "{seen} of {of}");
        }
        for (seen, of, p) in [(4, 11, 0.05), (9, 50, 0.05), (80, 1000, 0.06)] {
            assert!(of_count(seen, of, p) >= BOUND, "{seen} of {of}");
        }
    }
}
