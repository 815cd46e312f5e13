//! Shares and spread of the policies.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::super::host::bare_endpoint;
use super::*;

fn endpoint(number: usize, weight: u32) -> Arc<Endpoint> {
    let address = SocketAddr::from(([10, 0, (number / 250) as u8, (number % 250) as u8], 80));
    Arc::new(bare_endpoint(address, weight))
}

fn set(weights: &[u32]) -> HostSet {
    let endpoints: Vec<Arc<Endpoint>> = weights.iter().enumerate().map(|(number, weight)| endpoint(number, *weight)).collect();
    HostSet::default().updated(&endpoints)
}

fn counts<'a>(set: &HostSet, picks: impl Iterator<Item = Option<&'a Arc<Host>>>) -> Vec<usize> {
    let mut counts = vec![0; set.hosts().len()];
    for pick in picks {
        let position = set.hosts().iter().position(|host| Some(host.address()) == pick.map(|pick| pick.address()));
        counts[position.unwrap()] += 1;
    }
    counts
}

/// Well spread 64-bit numbers.
fn number(n: u64) -> u64 {
    n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

#[test]
fn round_robin_differs_by_at_most_one_whatever_the_number_of_workers() {
    for workers in [1usize, 2, 4] {
        let (set, cursor) = (set(&[1; 7]), AtomicU64::new(12_345));
        let all = Mutex::new(vec![0usize; 7]);
        std::thread::scope(|scope| {
            for worker in 0..workers {
                let (set, cursor, all) = (&set, &cursor, &all);
                let share = 1000 / workers + usize::from(worker < 1000 % workers);
                scope.spawn(move || {
                    let mine = counts(set, (0..share).map(|_| set.round_robin(cursor.fetch_add(1, Ordering::Relaxed))));
                    all.lock().unwrap().iter_mut().zip(mine).for_each(|(sum, mine)| *sum += mine);
                });
            }
        });
        let all = all.into_inner().unwrap();
        assert!(all.iter().max().unwrap() - all.iter().min().unwrap() <= 1, "{workers} workers: {all:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn weighted_round_robin_gives_every_host_its_weight_in_each_period(weights in prop::collection::vec(1u32..20, 1..8), start in any::<u32>()) {
        let set = set(&weights);
        let period: u32 = weights.iter().sum();
        let got = counts(&set, (0..u64::from(period)).map(|n| set.round_robin(u64::from(start) + n)));
        prop_assert_eq!(got, weights.iter().map(|weight| *weight as usize).collect::<Vec<_>>());
    }
}

#[test]
fn weighted_round_robin_is_smooth() {
    let set = set(&[5, 1, 1]);
    let order: Vec<u8> = (0..7)
        .map(|n| match set.round_robin(n).unwrap().address().ip() {
            std::net::IpAddr::V4(ip) => ip.octets()[3],
            std::net::IpAddr::V6(_) => 255,
        })
        .collect();
    assert_eq!(order, [0, 0, 1, 0, 2, 0, 0], "nginx's order");
}

#[test]
fn huge_weights_are_scaled_and_none_disappears() {
    let set = set(&[1_000_000, 1]);
    let got = counts(&set, (0..5000).map(|n| set.round_robin(n)));
    assert!(got[1] >= 1 && got[0] > 4900, "{got:?}");
}

#[test]
fn random_follows_the_weights() {
    let set = set(&[1, 3, 6]);
    let got = counts(&set, (0..100_000).map(|n| set.random(number(n))));
    for (got, weight) in got.iter().zip([1, 3, 6]) {
        assert!((*got as f64 / 10_000.0 - f64::from(weight)).abs() < 0.2, "{got} of weight {weight}");
    }
}

#[test]
fn least_request_avoids_the_busy_host_and_is_even_without_load() {
    let equal = set(&[1; 4]);
    let got = counts(&equal, (0..40_000).map(|n| equal.least_request(number(n), number(n + 1_000_000))));
    assert!(got.iter().all(|got| (9_000..11_000).contains(got)), "{got:?}");
    equal.hosts()[2].state.active.store(5, Ordering::Relaxed);
    let got = counts(&equal, (0..10_000).map(|n| equal.least_request(number(n), number(n + 1_000_000))));
    assert_eq!(got[2], 0, "with two candidates the busy one never wins");
    let two = set(&[1; 2]);
    two.hosts()[0].state.active.store(1, Ordering::Relaxed);
    let got = counts(&two, (0..1000).map(|n| two.least_request(number(n), number(n + 7))));
    assert_eq!(got, [0, 1000], "of two hosts both are candidates");
}

#[test]
fn weighted_least_request_follows_the_weights_without_load_and_load_per_weight_with_it() {
    let set = set(&[1, 3]);
    let share = |set: &HostSet| counts(set, (0..40_000).map(|n| set.least_request(number(n), number(n + 1_000_000))))[1] as f64 / 40_000.0;
    assert!((share(&set) - 0.75).abs() < 0.02);
    set.hosts()[0].state.active.store(2, Ordering::Relaxed);
    set.hosts()[1].state.active.store(3, Ordering::Relaxed);
    assert!(share(&set) > 0.9, "three on a host of three are less than two on a host of one");
}

#[test]
fn an_empty_set_has_nothing_to_offer() {
    let empty = set(&[]);
    assert!(empty.round_robin(3).is_none() && empty.random(9).is_none() && empty.least_request(1, 2).is_none());
}

#[test]
fn unchanged_hosts_stay_the_same_objects_and_changed_ones_keep_their_counters() {
    let before = set(&[1, 1]);
    before.hosts()[1].state.active.store(3, Ordering::Relaxed);
    let mut changed = before.hosts()[1].endpoint.clone();
    Arc::make_mut(&mut changed).identity = Some("spiffe://td/ns/a/sa/b".to_owned());
    let after = before.updated(&[before.hosts()[0].endpoint.clone(), changed, endpoint(9, 1)]);
    assert!(Arc::ptr_eq(&before.hosts()[0], &after.hosts()[0]));
    assert_ne!(before.hosts()[1].id, after.hosts()[1].id, "connections to the old identity are not used for the new one");
    assert_eq!(after.hosts()[1].state.active.load(Ordering::Relaxed), 3);
}
