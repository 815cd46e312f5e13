//! Exact in every window, and blind to every rhythm.

use std::sync::Mutex;

use proptest::prelude::*;

use super::*;

/// Draws from the complete schedule.
fn draws(weights: &[u64], seed: u64, count: usize) -> Vec<usize> {
    let split = complete(weights, seed);
    (0..count).map(|_| split.draw().destination).collect()
}

fn complete(weights: &[u64], seed: u64) -> Split {
    let split = Split::new(weights, generator(seed));
    if let Some(choice) = &split.choice {
        choice.asked.store(true, Ordering::Relaxed);
        choice.finish();
        choice.since.store(0, Ordering::Relaxed);
    }
    split
}

fn counts(draws: impl IntoIterator<Item = usize>, destinations: usize) -> Vec<u64> {
    draws.into_iter().fold(vec![0; destinations], |mut counts, destination| {
        counts[destination] += 1;
        counts
    })
}

/// Largest distance from the quota in any window of `window` draws.
fn worst_window(draws: &[usize], weights: &[u64], window: usize) -> f64 {
    let total: u64 = weights.iter().sum();
    let distance = |(got, weight): (&u64, &u64)| (*got as f64 - window as f64 * *weight as f64 / total as f64).abs();
    let worst = |slice: &[usize]| counts(slice.iter().copied(), weights.len()).iter().zip(weights).map(distance).fold(0.0, f64::max);
    draws.windows(window).map(worst).fold(0.0, f64::max)
}

/// Pearson's statistic, divided by its degrees of freedom: about 1 when the shares are within chance.
fn chi_square(got: &[u64], weights: &[u64]) -> f64 {
    let (n, total) = (got.iter().sum::<u64>() as f64, weights.iter().sum::<u64>() as f64);
    let used = got.iter().zip(weights).filter(|(_, weight)| **weight > 0);
    let terms = used.map(|(got, weight)| {
        let want = n * *weight as f64 / total;
        (*got as f64 - want).powi(2) / want
    });
    terms.sum::<f64>() / (weights.iter().filter(|weight| **weight > 0).count() - 1).max(1) as f64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_destination_stays_within_one_of_its_quota_at_every_point(
        weights in prop::collection::vec(0u64..40, 2..6).prop_filter("a choice", |w| w.iter().filter(|w| **w > 0).count() > 1),
        seed in any::<u64>(),
    ) {
        let total: u64 = weights.iter().sum();
        let mut got = vec![0u64; weights.len()];
        for (n, destination) in draws(&weights, seed, 3000).into_iter().enumerate() {
            got[destination] += 1;
            for (got, weight) in got.iter().zip(&weights) {
                let quota = (n + 1) as f64 * *weight as f64 / total as f64;
                prop_assert!((*got as f64 - quota).abs() < 1.0, "after {} draws: {got} of {quota}", n + 1);
            }
        }
    }

    #[test]
    fn any_hundred_consecutive_draws_are_within_two_of_the_weights(
        weights in prop::collection::vec(1u64..100, 2..5),
        seed in any::<u64>(),
    ) {
        prop_assert!(worst_window(&draws(&weights, seed, 1500), &weights, 100) <= 2.0);
    }

    #[test]
    fn a_destination_of_weight_zero_gets_nothing(seed in any::<u64>()) {
        prop_assert_eq!(counts(draws(&[70, 0, 30], seed, 1000), 3), [700, 0, 300]);
    }
}

#[test]
fn whoever_calls_in_a_rhythm_sees_the_weights_within_chance() {
    const SPLITS: usize = 24;
    let all = [2usize, 3, 4, 5, 7, 10, 20, 40, 89, 100, 400];
    let coprime = [3usize, 7, 89];
    for (weights, strides) in [
        (&[50u64, 30, 15, 5][..], &all[..]),
        (&[33, 33, 34], &all),
        (&[34, 33, 33], &[3, 6, 33]),
        (&[20, 20, 20, 40], &[3, 5, 6]),
        (&[1, 1], &all),
        (&[90, 10], &all),
        (&[99, 1], &all),
        (&[1, 2, 997], &coprime),
    ] {
        let all: Vec<Vec<usize>> = (0..SPLITS).map(|seed| draws(weights, seed as u64, 200 * strides[strides.len() - 1])).collect();
        for &stride in strides {
            let heard = |(seed, all): (usize, &Vec<usize>)| {
                let heard = all.iter().copied().skip(seed % stride).step_by(stride).take(200);
                chi_square(&counts(heard, weights.len()), weights)
            };
            let heard: Vec<f64> = all.iter().enumerate().map(heard).collect();
            let (mean, worst) = (heard.iter().sum::<f64>() / SPLITS as f64, heard.into_iter().fold(0.0, f64::max));
            // Chance has a mean of 1, with a deviation of at most 1.5 for one split and 0.3 for the mean of them all. 99.99 %
            // of splits lie below 15 for one degree of freedom and below 9 for two and more; one may be rarer than that.
            let limit = if weights.len() == 2 { 20.0 } else { 12.0 };
            assert!(mean < 2.5 && worst < limit, "weights {weights:?}, every {stride}th call: chi-square {mean:.2}, at worst {worst:.1}");
        }
    }
}

#[test]
fn two_starts_do_not_draw_alike() {
    let weights = [50, 30, 15, 5];
    let equal = draws(&weights, 1, 1000).iter().zip(draws(&weights, 2, 1000)).filter(|(a, b)| **a == *b).count();
    assert!((250..500).contains(&equal), "{equal} of 1000 draws equal, expected about 365");
}

#[test]
fn threads_together_see_exact_shares_and_every_number_once() {
    for threads in [1, 2, 4] {
        let split = Split::new(&[50, 30, 15, 5], generator(9));
        let all = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let mine: Vec<Decision> = (0..2000 / threads).map(|_| split.draw()).collect();
                    all.lock().unwrap().extend(mine);
                });
            }
        });
        let mut all = all.into_inner().unwrap();
        all.sort_by_key(|decision| decision.number);
        assert!(all.iter().enumerate().all(|(n, decision)| decision.number == n as u64 + 1));
        let order: Vec<usize> = all.iter().map(|decision| decision.destination).collect();
        assert_eq!(counts(order.iter().copied(), 4), [1000, 600, 300, 100], "{threads} threads");
        assert!(worst_window(&order, &[50, 30, 15, 5], 100) <= 2.0);
    }
}

#[test]
fn the_complete_schedule_takes_over_without_a_seam() {
    for weights in [&[50u64, 30, 15, 5][..], &[33, 33, 34], &[1, 2, 997]] {
        let split = Split::new(weights, generator(3));
        let mut seen: Vec<usize> = (0..250).map(|_| split.draw().destination).collect();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let choice = split.choice.as_ref().expect("a choice");
        while choice.cursor.load(Ordering::Relaxed) & COMPLETE == 0 {
            assert!(std::time::Instant::now() < deadline, "the complete schedule was never made");
            seen.push(split.draw().destination);
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
        seen.extend((0..3000).map(|_| split.draw().destination));
        let numbers = choice.cursor.load(Ordering::Relaxed) & !COMPLETE;
        assert!(numbers == seen.len() as u64 && choice.since.load(Ordering::Relaxed) < numbers);
        assert!(worst_window(&seen, weights, 100) <= 2.0, "{weights:?}");
        let mut got = vec![0u64; weights.len()];
        let total: u64 = weights.iter().sum();
        for (n, destination) in seen.into_iter().enumerate() {
            got[destination] += 1;
            let within = |(got, weight): (&u64, &u64)| (got * total).abs_diff((n as u64 + 1) * weight) < total;
            assert!(got.iter().zip(weights).all(within), "{weights:?} after {} draws: {got:?}", n + 1);
        }
    }
}

#[test]
fn weights_with_a_long_period_are_exact_on_average_and_still_even() {
    let weights = [333_333, 333_333, 333_334, 1];
    let seen = draws(&weights, 5, 200_000);
    assert!(worst_window(&seen[..5000], &weights, 100) <= 2.5);
    assert!(chi_square(&counts(seen, 4)[..3], &weights[..3]) < 9.0);
    let rare = Share::new(10, 1, generator(4));
    let hits = (0..1_000_000).filter(|_| rare.draw(0)).count();
    assert!((1..30).contains(&hits), "{hits} of a million, expected 10");
}

#[test]
fn a_single_destination_decides_nothing() {
    assert_eq!(Split::new(&[0], generator(1)).draw(), Decision { destination: 0, number: 0 });
}

#[test]
fn faults_are_exact_in_total_and_in_every_version_and_meet_each_other_by_chance() {
    let weights = [50, 30, 15, 5];
    let split = Split::new(&weights, generator(21));
    let (delay, abort) = (Share::new(300_000, 4, generator(22)), Share::new(200_000, 4, generator(23)));
    let mut requests = [0f64; 4];
    let (mut delayed, mut aborted, mut both) = ([0f64; 4], [0f64; 4], 0f64);
    for _ in 0..10_000 {
        let version = split.draw().destination;
        let (is_delayed, is_aborted) = (delay.draw(version), abort.draw(version));
        requests[version] += 1.0;
        delayed[version] += f64::from(u8::from(is_delayed));
        aborted[version] += f64::from(u8::from(is_aborted));
        both += f64::from(u8::from(is_delayed && is_aborted));
    }
    for version in 0..4 {
        assert!((delayed[version] - 0.3 * requests[version]).abs() <= 1.0, "delays of version {version}");
        assert!((aborted[version] - 0.2 * requests[version]).abs() <= 1.0, "aborts of version {version}");
    }
    assert!((both - 600.0).abs() < 100.0, "{both} of 10000 both, expected about 600");
}

#[test]
fn a_share_of_nothing_and_of_everything() {
    assert!((0..1000).all(|_| !Share::new(0, 1, generator(1)).draw(0)));
    assert!((0..1000).all(|_| Share::new(1_000_000, 1, generator(1)).draw(0)));
}
