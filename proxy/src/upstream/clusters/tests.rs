//! What is made, when, and what goes on when the configuration changes.

use super::*;
use crate::testing::{compiled, service};

/// Two services, the second with this address behind it.
fn model(second: &str) -> Snapshot {
    let behind = |name: &str, address: &str| {
        service(name)
            + &format!(
                "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
                 metadata: {{name: {name}, labels: {{kubernetes.io/service-name: {name}}}}}\naddressType: IPv4\n\
                 ports: [{{name: http, port: 80}}]\nendpoints: [{{addresses: [{address}]}}]\n---\n"
            )
    };
    compiled(behind("one", "10.0.0.1") + &behind("two", second))
}

/// The clusters of `model`, in force.
fn carry_over(model: &mut Snapshot, previous: Option<(&Snapshot, &Clusters)>) -> Clusters {
    let mut clusters = Clusters::carry_over(model, previous);
    clusters.come_into_force();
    clusters
}

fn id(model: &Snapshot, service: &str) -> ClusterId {
    let name = format!("outbound|80||{service}.default.svc.cluster.local");
    let position = model.clusters.iter().position(|cluster| cluster.name == name).expect("a cluster of this name");
    ClusterId(position as u32)
}

#[test]
fn a_cluster_is_made_when_it_is_first_asked_for_and_looking_at_all_makes_none() {
    let mut model = model("10.0.0.2");
    let clusters = carry_over(&mut model, None);
    assert_eq!(clusters.made().count(), 0);
    assert_eq!(clusters.all(&model).count(), model.clusters.len());
    assert_eq!(clusters.made().count(), 0);
    let one = clusters.get(&model, id(&model, "one")).expect("known");
    assert!(Arc::ptr_eq(one, clusters.get(&model, id(&model, "one")).expect("known")));
    assert!(clusters.all(&model).any(|shown| Arc::ptr_eq(&shown, one)));
    assert_eq!(clusters.made().count(), 1);
}

#[test]
fn whoever_asks_first_under_either_configuration_makes_an_unchanged_cluster_for_both() {
    let (mut first, mut second) = (model("10.0.0.2"), model("10.0.0.3"));
    let before = carry_over(&mut first, None);
    let after = carry_over(&mut second, Some((&first, &before)));
    let late = before.get(&first, id(&first, "one")).expect("known");
    assert!(Arc::ptr_eq(late, after.get(&second, id(&second, "one")).expect("known")));
}

#[test]
fn a_cluster_that_changes_goes_on_with_what_was_made_and_marks_what_is_gone() {
    let (mut first, mut second) = (model("10.0.0.2"), model("10.0.0.3"));
    let before = carry_over(&mut first, None);
    let two = Arc::clone(before.get(&first, id(&first, "two")).expect("known"));
    let after = carry_over(&mut second, Some((&first, &before)));
    let changed = after.get(&second, id(&second, "two")).expect("known");
    assert!(Arc::ptr_eq(&two.limits, &changed.limits));
    assert_eq!(two.id, changed.id);
    assert!(two.hosts()[0].is_removed() && !changed.hosts()[0].is_removed());
}

#[test]
fn a_cluster_that_goes_takes_its_hosts_along() {
    let (mut first, mut second) = (model("10.0.0.2"), model("10.0.0.2"));
    second.clusters.remove(id(&second, "two").0 as usize);
    let before = carry_over(&mut first, None);
    let [one, two] = ["one", "two"].map(|name| Arc::clone(before.get(&first, id(&first, name)).expect("known")));
    carry_over(&mut second, Some((&first, &before)));
    assert!(two.hosts()[0].is_removed() && !one.hosts()[0].is_removed());
}

#[test]
fn of_two_clusters_of_one_name_the_one_that_is_asked_for_goes_on() {
    let with_namesake = |second: &str| {
        let mut model = model(second);
        let mut namesake = (*model.clusters[id(&model, "two").0 as usize]).clone();
        Arc::make_mut(&mut namesake.connection_pool).max_requests = 7;
        model.clusters.push(Arc::new(namesake));
        model
    };
    let (mut first, mut second, mut third) = (with_namesake("10.0.0.2"), with_namesake("10.0.0.2"), with_namesake("10.0.0.3"));
    let before = carry_over(&mut first, None);
    let made = Arc::clone(before.get(&first, id(&first, "two")).expect("known"));
    let after = carry_over(&mut second, Some((&first, &before)));
    assert!(Arc::ptr_eq(&made, after.get(&second, id(&second, "two")).expect("known")));
    let changed = carry_over(&mut third, Some((&second, &after)));
    assert!(Arc::ptr_eq(&made.limits, &changed.get(&third, id(&third, "two")).expect("known").limits));
}

#[test]
fn a_look_at_all_makes_one_at_a_time() {
    let mut model = model("10.0.0.2");
    let clusters = carry_over(&mut model, None);
    let held = || model.clusters.iter().filter(|cluster| Arc::strong_count(cluster) > 1).count();
    assert_eq!(held(), 0);
    clusters.all(&model).for_each(|_| assert_eq!(held(), 1));
}

/// A cluster that changes before anyone asks for it, with its state under both descriptions; which is made first?
fn changed_unmade(late_first: bool) -> [Arc<ClusterState>; 2] {
    let (mut first, mut second) = (model("10.0.0.2"), model("10.0.0.3"));
    let before = carry_over(&mut first, None);
    let after = carry_over(&mut second, Some((&first, &before)));
    let late = || Arc::clone(before.get(&first, id(&first, "two")).expect("known"));
    let current = || Arc::clone(after.get(&second, id(&second, "two")).expect("known"));
    if late_first {
        let late = late();
        return [late, current()];
    }
    let current = current();
    [late(), current]
}

#[test]
fn a_cluster_that_changed_before_anyone_asked_has_one_state_whichever_configuration_is_asked_first() {
    for late_first in [true, false] {
        let [late, current] = changed_unmade(late_first);
        assert!(Arc::ptr_eq(&late.limits, &current.limits));
        assert_eq!(late.id, current.id);
        assert_eq!((late.model.endpoints == current.model.endpoints, late.hosts().len()), (false, 1));
        assert!(late.hosts()[0].is_removed() && !current.hosts()[0].is_removed(), "late first: {late_first}");
    }
}

#[test]
fn what_is_made_late_under_a_configuration_before_is_continued_by_the_next() {
    let (mut first, mut second, mut third) = (model("10.0.0.2"), model("10.0.0.3"), model("10.0.0.4"));
    let before = carry_over(&mut first, None);
    let after = carry_over(&mut second, Some((&first, &before)));
    let late = Arc::clone(before.get(&first, id(&first, "two")).expect("known"));
    let last = carry_over(&mut third, Some((&second, &after)));
    let current = last.get(&third, id(&third, "two")).expect("known");
    assert!(Arc::ptr_eq(&late.limits, &current.limits));
    assert!(late.hosts()[0].is_removed() && !current.hosts()[0].is_removed());
}

/// A configuration whose second service has changed since `first`, with the state that a late request made under that.
fn changed_with_a_late_request() -> (Snapshot, Clusters, Arc<ClusterState>) {
    let (mut first, mut second) = (model("10.0.0.2"), model("10.0.0.3"));
    let before = carry_over(&mut first, None);
    let after = carry_over(&mut second, Some((&first, &before)));
    let late = Arc::clone(before.get(&first, id(&first, "two")).expect("known"));
    (second, after, late)
}

#[test]
fn a_cluster_that_goes_takes_along_what_late_requests_made_before_and_after() {
    let (second, after, late) = changed_with_a_late_request();
    let mut third = second.clone();
    third.clusters.remove(id(&third, "two").0 as usize);
    carry_over(&mut third, Some((&second, &after)));
    assert!(late.hosts()[0].is_removed());
    let later = after.get(&second, id(&second, "two")).expect("known");
    assert!(later.hosts()[0].is_removed());

    let (mut first, mut second) = (model("10.0.0.2"), model("10.0.0.2"));
    second.clusters.remove(id(&second, "two").0 as usize);
    let before = carry_over(&mut first, None);
    carry_over(&mut second, Some((&first, &before)));
    assert!(before.get(&first, id(&first, "two")).expect("known").hosts()[0].is_removed(), "nobody had asked for it");
}

#[test]
fn a_cluster_that_goes_takes_along_what_late_requests_make_under_any_description_it_had() {
    for late_before in [[false, false], [true, false], [false, true], [true, true]] {
        let mut models = ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.4"].map(model);
        let two = id(&models[3], "two").0 as usize;
        models[3].clusters.remove(two);
        let [first, second, third, without] = &mut models;
        let before = carry_over(first, None);
        let after = carry_over(second, Some((first, &before)));
        let current = carry_over(third, Some((second, &after)));
        let late = [(&before, &*first), (&after, &*second)];
        let made = |(clusters, model): (&Clusters, &Snapshot)| Arc::clone(clusters.get(model, id(model, "two")).expect("known"));
        late.into_iter().zip(late_before).filter(|(_, before)| *before).for_each(|(late, _)| drop(made(late)));
        carry_over(without, Some((third, &current)));
        let removed = late.map(|late| made(late).hosts()[0].is_removed());
        assert_eq!(removed, [true, true], "made before it went: {late_before:?}");
    }
}

#[test]
fn what_is_made_while_the_cluster_goes_goes_with_it() {
    for _ in 0..300 {
        let (mut first, mut second, mut third) = (model("10.0.0.2"), model("10.0.0.3"), model("10.0.0.3"));
        third.clusters.remove(id(&third, "two").0 as usize);
        let before = carry_over(&mut first, None);
        let after = carry_over(&mut second, Some((&first, &before)));
        let start = std::sync::Barrier::new(2);
        let late = std::thread::scope(|scope| {
            let late = scope.spawn(|| {
                start.wait();
                before.get(&first, id(&first, "two")).expect("known")
            });
            start.wait();
            carry_over(&mut third, Some((&second, &after)));
            late.join().expect("no panic")
        });
        assert!(late.hosts()[0].is_removed());
    }
}

#[test]
fn a_look_at_all_shows_what_goes_on_from_a_late_request() {
    let (second, after, late) = changed_with_a_late_request();
    let shown = after.all(&second).find(|shown| shown.name == late.name).expect("shown");
    assert!(Arc::ptr_eq(&shown.limits, &late.limits));
    assert_eq!(shown.id, late.id);
    assert_eq!(after.made().count(), 0);
}

#[test]
fn what_is_made_while_the_next_configuration_comes_marks_no_host_that_is_back() {
    for _ in 0..300 {
        let (second, after, late) = changed_with_a_late_request();
        let mut third = model("10.0.0.2");
        let start = std::sync::Barrier::new(2);
        let last = std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                after.get(&second, id(&second, "two"));
            });
            start.wait();
            carry_over(&mut third, Some((&second, &after)))
        });
        let current = last.get(&third, id(&third, "two")).expect("known");
        assert!(!current.hosts()[0].is_removed(), "it is {}'s", late.name);
    }
}

#[test]
fn a_configuration_that_never_comes_into_force_leaves_every_host_as_it_was() {
    let mut first = model("10.0.0.2");
    let before = carry_over(&mut first, None);
    let [one, two] = ["one", "two"].map(|name| Arc::clone(before.get(&first, id(&first, name)).expect("known")));
    let mut failed = model("10.0.0.3");
    failed.clusters.remove(id(&failed, "one").0 as usize);
    drop(Clusters::carry_over(&mut failed, Some((&first, &before))));
    assert!(!one.hosts()[0].is_removed() && !two.hosts()[0].is_removed());

    let (mut second, mut third) = (model("10.0.0.2"), model("10.0.0.3"));
    let same = carry_over(&mut second, Some((&first, &before)));
    let last = carry_over(&mut third, Some((&second, &same)));
    let changed = last.get(&third, id(&third, "two")).expect("known");
    assert!(two.hosts()[0].is_removed() && !changed.hosts()[0].is_removed() && !one.hosts()[0].is_removed());
}

#[test]
fn a_host_that_is_back_stays_although_a_request_asked_between_making_and_publishing() {
    let (second, after, late) = changed_with_a_late_request();
    let mut third = model("10.0.0.2");
    let mut last = Clusters::carry_over(&mut third, Some((&second, &after)));
    after.get(&second, id(&second, "two")).expect("known");
    assert!(late.hosts()[0].is_removed(), "the configuration in force does not have it");
    last.come_into_force();
    assert!(!last.get(&third, id(&third, "two")).expect("known").hosts()[0].is_removed());
    let between = after.get(&second, id(&second, "two")).expect("known");
    assert!(between.hosts()[0].is_removed(), "gone in the end");
}
