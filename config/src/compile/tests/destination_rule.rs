//! Istio semantics 2.2 to 2.5 and 2.8: which DestinationRule applies, how several merge, what is inherited.

use super::*;
use crate::model::LbPolicy;

/// A rule that can be told by its connection limit.
fn limited(name: &str, namespace: &str, created: &str, host: &str, limit: u32, more: &str) -> String {
    let spec = format!("{{host: '{host}', {more} trafficPolicy: {{connectionPool: {{tcp: {{maxConnections: {limit}}}}}}}}}");
    aged("DestinationRule", name, namespace, created, &spec)
}

/// The limit that a client in `namespace` keeps towards `a.shop`; 0 = no rule applies.
fn limit(rules: &[String], namespace: &str, labels: &str) -> u32 {
    let manifests = service("a", "shop", "10.96.0.1", "http:80") + &rules.concat();
    match cluster(&sidecar(&manifests, namespace, labels), "80||a.shop").connection_pool.max_connections {
        u32::MAX => 0,
        limit => limit,
    }
}

#[test]
fn the_namespace_decides_before_the_host_does() {
    let fqdn = "a.shop.svc.cluster.local";
    let client = limited("client", "other", "", "*.local", 1, "");
    let server = limited("server", "shop", "", fqdn, 2, "");
    let root = limited("root", "istio-system", "", fqdn, 3, "");
    let all = [client, server, root];
    assert_eq!(limit(&all, "other", ""), 1, "the client's wildcard beats the server's exact host");
    assert_eq!(limit(&all, "third", ""), 2);
    assert_eq!(limit(&all[2..], "third", ""), 3);
    assert_eq!(limit(&[], "third", ""), 0);
    assert_eq!(limit(&[limited("x", "third", "", fqdn, 4, "")], "other", ""), 0, "a third namespace's rule does not count");
}

#[test]
fn rules_that_do_not_reach_the_client_are_passed_over() {
    let fqdn = "a.shop.svc.cluster.local";
    let root = limited("root", "istio-system", "", fqdn, 3, "");
    for (export_to, from_other, from_shop) in
        [("", 2, 2), ("exportTo: ['.'],", 3, 2), ("exportTo: [third],", 3, 3), ("exportTo: ['*'],", 2, 2)]
    {
        let rules = [limited("server", "shop", "", fqdn, 2, export_to), root.clone()];
        assert_eq!((limit(&rules, "other", ""), limit(&rules, "shop", "")), (from_other, from_shop), "{export_to}");
    }
    let private_root = [limited("root", "istio-system", "", fqdn, 3, "exportTo: ['.'],")];
    assert_eq!(limit(&private_root, "istio-system", ""), 3);
    assert_eq!(limit(&private_root, "shop", ""), 0);
}

#[test]
fn within_a_namespace_the_most_specific_host_wins() {
    let wide = limited("wide", "shop", "2024-01-01", "*.svc.cluster.local", 1, "");
    let narrow = limited("narrow", "shop", "2024-02-01", "*.shop.svc.cluster.local", 2, "");
    let exact = limited("exact", "shop", "2024-03-01", "a", 3, "");
    assert_eq!(limit(&[wide.clone(), narrow.clone(), exact], "shop", ""), 3);
    assert_eq!(limit(&[wide.clone(), narrow], "shop", ""), 2);
    assert_eq!(limit(&[wide], "shop", ""), 1);
}

#[test]
fn rules_of_one_host_merge_oldest_first_when_exported_alike() {
    let old = limited("old", "shop", "2024-01-01", "a", 1, "subsets: [{name: v1, labels: {version: v1}}],");
    let new =
        limited("new", "shop", "2024-02-01", "a", 2, "subsets: [{name: v1, labels: {version: x}}, {name: v2, labels: {version: v2}}],");
    let manifests = service("a", "shop", "10.96.0.1", "http:80") + &new + &old;
    let snapshot = sidecar(&manifests, "shop", "");
    assert_eq!(cluster(&snapshot, "80||a.shop").connection_pool.max_connections, 1, "the first policy stays whole");
    let names: Vec<&str> = snapshot.clusters.iter().filter(|cluster| cluster.port == 80).map(|cluster| cluster.subset.as_str()).collect();
    assert_eq!(names, ["", "v1", "v2"]);
    let apart = limited("apart", "shop", "2024-03-01", "a", 3, "exportTo: ['*'],");
    assert_eq!(limit(&[old, apart], "shop", ""), 3, "absent and [*] are different sets: not merged, and the newest is used");
}

#[test]
fn a_rule_for_workloads_comes_before_the_others_in_its_namespace() {
    let selecting = limited("selecting", "shop", "2024-02-01", "a", 1, "workloadSelector: {matchLabels: {app: x}},");
    let plain = limited("plain", "shop", "2024-01-01", "a", 2, "");
    assert_eq!(limit(&[selecting.clone(), plain.clone()], "shop", "app=x"), 1);
    assert_eq!(limit(&[selecting.clone(), plain.clone()], "shop", "app=y"), 2);
    assert_eq!(limit(&[selecting, plain], "other", "app=x"), 2, "it never leaves its namespace");
}

#[test]
fn subsets_override_block_by_block_and_ports_replace_all_blocks() {
    let spec = "{host: a,
        trafficPolicy: {loadBalancer: {simple: RANDOM}, connectionPool: {tcp: {maxConnections: 1}}, tls: {mode: DISABLE},
            portLevelSettings: [{port: {number: 81}, loadBalancer: {simple: ROUND_ROBIN}}]},
        subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {connectionPool: {http: {maxRetries: 7}}}},
            {name: v2, labels: {version: v2}, trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST},
                portLevelSettings: [{port: {number: 80}, connectionPool: {tcp: {maxConnections: 9}}}]}}]}";
    let manifests = service("a", "shop", "10.96.0.1", "http:80,http-b:81") + &istio("DestinationRule", "a", "shop", spec);
    let snapshot = sidecar(&manifests, "shop", "");
    use crate::model::UpstreamTls::Disabled;
    for (name, lb, connections, retries, plaintext) in [
        ("80||a.shop", LbPolicy::Random, 1, u32::MAX, true),
        ("81||a.shop", LbPolicy::RoundRobin, u32::MAX, u32::MAX, false),
        ("80|v1|a.shop", LbPolicy::Random, u32::MAX, 7, true),
        ("81|v1|a.shop", LbPolicy::RoundRobin, u32::MAX, 7, false),
        ("80|v2|a.shop", LbPolicy::LeastRequest, 9, u32::MAX, false),
        ("81|v2|a.shop", LbPolicy::LeastRequest, u32::MAX, u32::MAX, false),
    ] {
        let cluster = cluster(&snapshot, name);
        let pool = &cluster.connection_pool;
        assert_eq!((cluster.lb_policy, pool.max_connections, pool.max_retries), (lb, connections, retries), "{name}");
        assert_eq!(cluster.tls == Disabled, plaintext, "{name}");
    }
}

#[test]
fn the_pool_has_istios_defaults_and_zero_means_default() {
    let spec = "{host: a, trafficPolicy: {connectionPool: {
        tcp: {maxConnections: 0, connectTimeout: 3s, idleTimeout: 5s, tcpKeepalive: {time: 7s}},
        http: {http1MaxPendingRequests: 1, http2MaxRequests: 0, maxRequestsPerConnection: 4}}}}";
    let manifests = service("a", "shop", "10.96.0.1", "http:80")
        + &service("b", "shop", "10.96.0.2", "http:80")
        + &istio("DestinationRule", "a", "shop", spec);
    let snapshot = sidecar(&manifests, "shop", "");
    let a = cluster(&snapshot, "80||a.shop");
    let seconds = |seconds| Some(std::time::Duration::from_secs(seconds));
    assert_eq!(
        (a.connection_pool.max_connections, a.connection_pool.max_pending_requests, a.connection_pool.max_requests),
        (u32::MAX, 1, u32::MAX)
    );
    assert_eq!(
        (Some(a.connect_timeout), a.connection_pool.idle_timeout, a.connection_pool.max_requests_per_connection),
        (seconds(3), seconds(5), 4)
    );
    assert_eq!(a.connection_pool.tcp_keepalive.as_ref().and_then(|keepalive| keepalive.time), seconds(7));
    let b = cluster(&snapshot, "80||b.shop");
    assert_eq!((Some(b.connect_timeout), b.connection_pool.idle_timeout), (seconds(10), seconds(3600)));
}

#[test]
fn the_http_version_follows_declaration_upgrade_and_client() {
    use crate::model::UpstreamProtocol::{Http1, Http2, Tcp, UseDownstream};
    let services = service("a", "shop", "10.96.0.1", "http:80,grpc-x:81,any:82,tcp-x:83");
    let rule = |http: &str| {
        istio("DestinationRule", "a", "shop", &format!("{{host: a, trafficPolicy: {{connectionPool: {{http: {{{http}}}}}}}}}"))
    };
    let upgrade_mesh = mesh_config("h2UpgradePolicy: UPGRADE");
    for (more, expected) in [
        (String::new(), [Http1, Http2, UseDownstream, Tcp]),
        (rule("h2UpgradePolicy: UPGRADE"), [Http2, Http2, Http2, Tcp]),
        (rule("useClientProtocol: true"), [UseDownstream, UseDownstream, UseDownstream, Tcp]),
        (upgrade_mesh.clone(), [Http2, Http2, UseDownstream, Tcp]),
        (upgrade_mesh + &rule("h2UpgradePolicy: DO_NOT_UPGRADE"), [Http1, Http2, UseDownstream, Tcp]),
    ] {
        let snapshot = sidecar(&(services.clone() + &more), "shop", "");
        let protocols = [80, 81, 82, 83].map(|port| cluster(&snapshot, &format!("{port}||a.shop")).protocol);
        assert_eq!(protocols, expected, "{more}");
    }
}
