//! A split stays one split, whatever the moment of a change.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use outrigger_config::model::RouteAction;

use super::*;
use crate::testing::{compiled, service};

/// A service whose route has this name and these weights.
fn model(name: &str, weights: [u32; 2]) -> Snapshot {
    let [one, two] = weights;
    let route = format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: web}}\nspec: {{hosts: [one], http: [{{name: {name}, \
         route: [{{destination: {{host: one}}, weight: {one}}}, {{destination: {{host: two}}, weight: {two}}}]}}]}}\n"
    );
    compiled(service("one") + &service("two") + &route)
}

/// The split of the only route that has two destinations.
fn split(model: &Snapshot, states: &RouteStates) -> Arc<super::super::split::Split> {
    let weighted = |route: &&Route| matches!(&route.action, RouteAction::Forward(clusters) if clusters.len() == 2);
    let hosts = model.route_configurations().flat_map(|table| &table.virtual_hosts);
    let route = hosts.flat_map(|host| &host.routes).find(weighted).expect("a weighted route");
    Arc::clone(&states.get(route).expect("known").split)
}

#[test]
fn a_route_that_changed_before_anyone_asked_has_one_split_whichever_configuration_is_asked_first() {
    let (first, second) = (model("a", [70, 30]), model("b", [70, 30]));
    for late_first in [true, false] {
        let before = RouteStates::carry_over(&first, None);
        let after = RouteStates::carry_over(&second, Some((&first, &before)));
        let (late, current) = if late_first {
            let late = split(&first, &before);
            (late, split(&second, &after))
        } else {
            let current = split(&second, &after);
            (split(&first, &before), current)
        };
        assert!(Arc::ptr_eq(&late, &current), "late first: {late_first}");
    }
}

#[test]
fn what_is_drawn_late_under_a_configuration_before_is_continued_by_the_next() {
    let (first, second, third) = (model("a", [70, 30]), model("b", [70, 30]), model("c", [70, 30]));
    let before = RouteStates::carry_over(&first, None);
    let after = RouteStates::carry_over(&second, Some((&first, &before)));
    let late = split(&first, &before);
    let last = RouteStates::carry_over(&third, Some((&second, &after)));
    assert!(Arc::ptr_eq(&late, &split(&third, &last)));
}

#[test]
fn other_weights_are_another_split() {
    let (first, second) = (model("a", [70, 30]), model("a", [50, 50]));
    let before = RouteStates::carry_over(&first, None);
    let after = RouteStates::carry_over(&second, Some((&first, &before)));
    assert!(!Arc::ptr_eq(&split(&first, &before), &split(&second, &after)));
}

#[test]
fn draws_of_several_workers_are_exact_while_configurations_come_and_go() {
    let models = [model("a", [70, 30]), model("b", [70, 30])];
    let states = Mutex::new((0, Arc::new(RouteStates::carry_over(&models[0], None))));
    let counts = [AtomicUsize::new(0), AtomicUsize::new(0)];
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    let (at, of) = states.lock().unwrap().clone();
                    let decision = split(&models[at], &of).draw();
                    counts[decision.destination].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 1..200_usize {
            let (at, of) = states.lock().unwrap().clone();
            let next = RouteStates::carry_over(&models[round % 2], Some((&models[at], &of)));
            *states.lock().unwrap() = (round % 2, Arc::new(next));
            std::thread::yield_now();
        }
    });
    let [one, two] = counts.map(AtomicUsize::into_inner);
    assert!(one.abs_diff(21_000) <= 2 && two.abs_diff(9_000) <= 2, "{one} and {two}");
}
