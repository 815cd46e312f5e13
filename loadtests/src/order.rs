//! What the order of answers says about a split: windows and strides.

/// The greatest deviation, in requests, of any label's count from its share in any `window` consecutive items.
///
/// `want` lists each label with its weight; weights need not sum to anything in particular. Labels that occur but are
/// not listed count as deviating by their number. Zero when the sequence is shorter than the window.
pub fn worst_window(sequence: &[&str], want: &[(&str, f64)], window: usize) -> f64 {
    let total: f64 = want.iter().map(|(_, weight)| weight).sum();
    let share = |label: &str| {
        let weight = want.iter().find(|(name, _)| *name == label).map_or(0.0, |(_, weight)| *weight);
        if total > 0.0 { weight / total } else { 0.0 }
    };
    let mut labels: Vec<&str> = sequence.iter().copied().chain(want.iter().map(|(name, _)| *name)).collect();
    labels.sort_unstable();
    labels.dedup();
    let worst = labels.into_iter().map(|label| worst_for(sequence, label, share(label) * window as f64, window));
    worst.fold(0.0, f64::max)
}

fn worst_for(sequence: &[&str], label: &str, want: f64, window: usize) -> f64 {
    let windows = sequence.windows(window.max(1));
    let counts = windows.map(|items| items.iter().filter(|item| **item == label).count());
    counts.map(|count| (count as f64 - want).abs()).fold(0.0, f64::max)
}

/// How often a label occurs among every `stride`th item, and how many such items there are.
pub fn on_stride(sequence: &[&str], label: &str, stride: usize) -> (usize, usize) {
    let seen = || sequence.iter().step_by(stride.max(1));
    (seen().filter(|item| **item == label).count(), seen().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_window_is_found_wherever_it_lies() {
        let even = ["a", "b", "a", "b", "a", "b"];
        assert_eq!(worst_window(&even, &[("a", 50.0), ("b", 50.0)], 2), 0.0);
        let clumped = ["a", "b", "a", "a", "b", "b"];
        assert_eq!(worst_window(&clumped, &[("a", 1.0), ("b", 1.0)], 2), 1.0);
    }

    #[test]
    fn a_label_that_never_comes_and_one_that_should_not_both_deviate() {
        assert_eq!(worst_window(&["a"; 10], &[("a", 90.0), ("b", 10.0)], 10), 1.0);
        assert_eq!(worst_window(&["a", "x"], &[("a", 1.0)], 2), 1.0);
    }

    #[test]
    fn a_rhythmic_client_sees_what_it_sees() {
        assert_eq!(on_stride(&["a", "b", "a", "b"], "a", 2), (2, 2));
    }
}
