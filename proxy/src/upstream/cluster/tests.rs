//! What survives a configuration change, and how hosts are chosen.

use std::time::Duration;

use outrigger_config::model::{UpstreamProtocol, UpstreamTls};

use super::*;

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 80))
}

fn cluster(discovery: Discovery, hosts: &[u8]) -> Arc<Cluster> {
    Arc::new(Cluster {
        name: "outbound|80||web".to_owned(),
        discovery,
        lb_policy: LbPolicy::RoundRobin,
        endpoints: hosts.iter().map(|last| Host::bare(address(*last)).endpoint).collect(),
        protocol: UpstreamProtocol::Http1,
        connect_timeout: Duration::from_secs(1),
        connection_pool: Arc::default(),
        tls: UpstreamTls::Disabled,
        service: None,
        port: 80,
        subset: String::new(),
        external: false,
    })
}

fn state(cluster: &Arc<Cluster>, previous: Option<&Arc<ClusterState>>) -> Arc<ClusterState> {
    ClusterState::next(cluster, previous)
}

fn context(tried: &[SocketAddr]) -> PickContext<'_> {
    PickContext { destination: address(99), tried, localities: &[] }
}

#[test]
fn an_unchanged_cluster_stays_the_same_object() {
    let first = state(&cluster(Discovery::Endpoints, &[1, 2]), None);
    assert!(Arc::ptr_eq(&first, &state(&cluster(Discovery::Endpoints, &[1, 2]), Some(&first))));
}

#[test]
fn an_endpoint_that_goes_is_marked_and_the_others_keep_cursor_and_counters() {
    let before = state(&cluster(Discovery::Endpoints, &[1, 2]), None);
    let held: Vec<Picked> = (0..4).map(|_| before.pick(context(&[])).unwrap()).collect();
    let after = state(&cluster(Discovery::Endpoints, &[2, 3]), Some(&before));
    retire(&before.hosts(), &after.hosts());
    assert!(Arc::ptr_eq(&before.cursor, &after.cursor));
    let gone: Vec<bool> = before.hosts().iter().map(|host| host.is_removed()).collect();
    assert_eq!(gone, [true, false]);
    assert!(after.hosts().iter().all(|host| !host.is_removed()));
    assert_eq!(after.hosts()[0].state.active.load(Ordering::Relaxed), 2);
    drop(held);
    assert_eq!(after.hosts()[0].state.active.load(Ordering::Relaxed), 0);
}

#[test]
fn a_retry_avoids_hosts_that_were_tried_while_there_are_others() {
    let state = state(&cluster(Discovery::Endpoints, &[1, 2, 3]), None);
    for _ in 0..20 {
        let picked = state.pick(context(&[address(1), address(2)])).unwrap();
        assert_eq!(picked.address(), address(3));
    }
    let all = [address(1), address(2), address(3)];
    assert!(state.pick(context(&all)).is_ok(), "after five draws a tried host is accepted");
}

#[test]
fn after_every_two_attempts_the_localities_used_are_left_out_until_none_is_left() {
    let mut model = Cluster::clone(&cluster(Discovery::Endpoints, &[1, 2, 3, 4, 5, 6]));
    for (endpoint, locality) in model.endpoints.iter_mut().zip(["a", "a", "a", "b", "b", "c"]) {
        Arc::make_mut(endpoint).locality = locality.to_owned();
    }
    let state = state(&Arc::new(model), None);
    let reachable = |localities: &[&str]| {
        let localities: Vec<String> = localities.iter().map(|locality| (*locality).to_owned()).collect();
        let context = PickContext { localities: &localities, ..context(&[]) };
        let picked = (0..60).map(|_| state.pick(context).unwrap().endpoint.locality.clone());
        picked.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<String>()
    };
    assert_eq!(reachable(&["a"]), "abc", "one attempt leaves nothing out");
    assert_eq!(reachable(&["a", "a"]), "bc");
    assert_eq!(reachable(&["a", "b"]), "c");
    assert_eq!(reachable(&["a", "a", "b"]), "bc", "a third attempt changes nothing yet");
    assert_eq!(reachable(&["a", "a", "b", "b"]), "c");
    assert_eq!(reachable(&["a", "a", "b", "c"]), "abc", "nothing would be left");
    assert_eq!(reachable(&["a", "a", "b", "c", "a", "a"]), "bc", "and the count begins anew");
}

#[test]
fn original_destinations_are_followed_and_remembered() {
    let state = state(&cluster(Discovery::OriginalDst { port: None }, &[]), None);
    let first = state.pick(context(&[])).unwrap();
    assert_eq!(first.address(), address(99));
    assert!(Arc::ptr_eq(first.host(), state.pick(context(&[])).unwrap().host()), "one host, so that connections are shared");
    let other = ClusterState::next(&cluster(Discovery::OriginalDst { port: Some(8080) }, &[]), None);
    assert_eq!(other.pick(context(&[])).unwrap().address().port(), 8080);
}

#[test]
fn no_endpoint_and_a_black_hole_say_so() {
    let empty = state(&cluster(Discovery::Endpoints, &[]), None);
    assert_eq!(empty.pick(context(&[])).unwrap_err(), PickError::NoHealthyUpstream);
    let hole = state(&cluster(Discovery::BlackHole, &[]), None);
    assert_eq!(hole.pick(context(&[])).unwrap_err(), PickError::BlackHole);
    let unresolved = state(&cluster(Discovery::StrictDns(Vec::new()), &[]), None);
    assert_eq!(unresolved.pick(context(&[])).unwrap_err(), PickError::NoHealthyUpstream);
}

#[test]
fn only_the_own_application_is_reached_from_a_special_address() {
    let inbound = state(&cluster(Discovery::Inbound, &[]), None);
    assert_eq!(inbound.source_address(address(1).ip()), Some([127, 0, 0, 6].into()));
    assert_eq!(inbound.source_address("fd00::1".parse().unwrap()), Some("::6".parse().unwrap()));
    assert_eq!(state(&cluster(Discovery::Endpoints, &[]), None).source_address(address(1).ip()), None);
}

#[test]
fn new_transport_security_means_new_connections() {
    let plain = cluster(Discovery::Endpoints, &[1]);
    let first = state(&plain, None);
    let mut secured = Cluster::clone(&plain);
    secured.tls = UpstreamTls::Auto(outrigger_config::model::MeshTls { sni: "x".to_owned(), sans: Vec::new(), explicit_sans: false });
    let second = state(&Arc::new(secured), Some(&first));
    assert_ne!(first.transport, second.transport);
    assert_eq!(first.id, second.id);
}
