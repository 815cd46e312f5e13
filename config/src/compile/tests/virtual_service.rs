//! Istio semantics 1.2 to 1.5, 1.13, 1.14: which VirtualService applies, and what its rules become.

use super::*;

/// A VirtualService in `shop` for all of `a`, sending everything to `to`.
fn all_to(name: &str, namespace: &str, created: &str, host: &str, to: &str, more: &str) -> String {
    aged(
        "VirtualService",
        name,
        namespace,
        created,
        &format!("{{hosts: ['{host}'], {more} http: [{{route: [{{destination: {{host: {to}}}}}]}}]}}"),
    )
}

fn services() -> String {
    ["a", "b", "c"]
        .iter()
        .enumerate()
        .map(|(index, name)| service(name, "shop", &format!("10.96.0.{}", index + 1), "http:80,http-alt:81"))
        .collect()
}

#[test]
fn a_service_answers_to_its_names_and_addresses_and_unknown_hosts_pass() {
    let manifests = services();
    let home = sidecar(&manifests, "shop", "");
    let away = sidecar(&manifests, "other", "");
    for (host, at_home, elsewhere) in [
        ("a", "80||a.shop", "PassthroughCluster"),
        ("a.shop", "80||a.shop", "80||a.shop"),
        ("A.Shop.svc", "80||a.shop", "80||a.shop"),
        ("a.shop.svc.cluster.local", "80||a.shop", "80||a.shop"),
        ("a.shop.svc.cluster.local.:80", "80||a.shop", "80||a.shop"),
        ("10.96.0.1", "80||a.shop", "80||a.shop"),
        ("10.96.0.1:80", "80||a.shop", "80||a.shop"),
        ("pod-0.a.shop", "PassthroughCluster", "PassthroughCluster"),
        ("example.com", "PassthroughCluster", "PassthroughCluster"),
    ] {
        assert_eq!(get(&home, 80, host, "/"), at_home, "{host}");
        assert_eq!(get(&away, 80, host, "/"), elsewhere, "{host}");
    }
    assert_eq!(get(&home, 81, "a", "/"), "81||a.shop");
    assert_eq!(get(&home, 82, "a", "/"), "no table");
}

#[test]
fn unknown_hosts_are_refused_when_only_the_registry_is_allowed() {
    let manifests = services() + &mesh_config("outboundTrafficPolicy: {mode: REGISTRY_ONLY}");
    let snapshot = sidecar(&manifests, "shop", "");
    assert_eq!(get(&snapshot, 80, "example.com", "/"), "direct 502");
    assert_eq!(snapshot.cluster(snapshot.outbound.unknown).map(|cluster| cluster.name.as_str()), Some("BlackHoleCluster"));
}

#[test]
fn the_first_in_order_of_privacy_and_age_takes_the_host_whole() {
    let public_old = all_to("public-old", "shop", "2024-01-01", "a.shop.svc.cluster.local", "b", "");
    let public_new = all_to("public-new", "shop", "2024-02-01", "a.shop.svc.cluster.local", "c", "");
    let exported = all_to("exported", "shop", "2024-03-01", "a.shop.svc.cluster.local", "c", "exportTo: [., other],");
    let private = all_to("private", "other", "2024-04-01", "a.shop.svc.cluster.local", "b.shop.svc.cluster.local", "exportTo: [.],");
    let at = |parts: &[&String], namespace| {
        get(&sidecar(&(services() + &parts.iter().map(|part| part.as_str()).collect::<String>()), namespace, ""), 80, "a.shop", "/")
    };
    assert_eq!(at(&[&public_new, &public_old], "other"), "80||b.shop", "older first");
    assert_eq!(at(&[&public_old, &exported], "other"), "80||c.shop", "exported by name before public");
    assert_eq!(at(&[&public_old, &exported, &private], "other"), "80||b.shop", "private before exported");
    assert_eq!(at(&[&public_old, &exported, &private], "third"), "80||b.shop", "outside exportTo only the public one");
    assert_eq!(at(&[&private], "shop"), "80||a.shop", "another namespace's private one is unknown");
}

#[test]
fn one_whose_rules_are_all_filtered_out_leaves_the_host_to_the_next() {
    let filtered = aged(
        "VirtualService",
        "filtered",
        "shop",
        "2024-01-01",
        "{hosts: [a], http: [{match: [{port: 81}, {sourceLabels: {app: x}}, {sourceNamespace: other}, {gateways: [gw]}], route: [{destination: {host: b}}]}]}",
    );
    let next = all_to("next", "shop", "2024-02-01", "a", "c", "");
    let manifests = services() + &filtered + &next;
    let plain = sidecar(&manifests, "shop", "");
    assert_eq!(get(&plain, 80, "a", "/"), "80||c.shop");
    assert_eq!(get(&plain, 81, "a", "/"), "81||b.shop", "port 81 is claimed by the first");
    assert_eq!(get(&sidecar(&manifests, "shop", "app=x"), 80, "a", "/"), "80||b.shop");
    assert_eq!(get(&sidecar(&manifests, "other", ""), 80, "a.shop", "/"), "80||b.shop");
    let only = services() + &filtered;
    assert_eq!(get(&sidecar(&only, "shop", ""), 80, "a", "/"), "80||a.shop", "none left: the service's default");
}

#[test]
fn gateways_in_a_match_replace_the_conditions_on_the_source() {
    let rule = |gateways: &str| {
        format!(
            "{{hosts: [a], gateways: [mesh, gw], http: [{{match: [{{gateways: [{gateways}], sourceNamespace: nowhere}}], route: [{{destination: {{host: b}}}}]}}]}}"
        )
    };
    let at = |gateways| get(&sidecar(&(services() + &istio("VirtualService", "v", "shop", &rule(gateways))), "shop", ""), 80, "a", "/");
    assert_eq!(at("mesh"), "80||b.shop");
    assert_eq!(at("gw"), "80||a.shop");
}

#[test]
fn a_virtual_service_on_a_gateway_does_not_act_in_the_mesh() {
    let bound = all_to("v", "shop", "", "a", "b", "gateways: [gw],");
    assert_eq!(get(&sidecar(&(services() + &bound), "shop", ""), 80, "a", "/"), "80||a.shop");
}

#[test]
fn a_wildcard_host_covers_services_without_a_more_specific_one() {
    let wide = all_to("wide", "shop", "2024-01-01", "*.shop.svc.cluster.local", "c", "");
    let exact = all_to("exact", "shop", "2024-02-01", "a", "b", "");
    let snapshot = sidecar(&(services() + &wide + &exact), "shop", "");
    assert_eq!(get(&snapshot, 80, "a", "/"), "80||b.shop", "the exact host, though younger");
    assert_eq!(get(&snapshot, 80, "b", "/"), "80||c.shop");
    assert_eq!(get(&snapshot, 80, "x.shop.svc.cluster.local", "/"), "PassthroughCluster", "covers services only");
}

#[test]
fn a_host_that_is_no_service_acts_on_port_80_only() {
    let snapshot = sidecar(&(services() + &all_to("v", "shop", "", "my.example.com", "b", "")), "shop", "");
    assert_eq!(get(&snapshot, 80, "my.example.com:80", "/"), "80||b.shop");
    assert_eq!(get(&snapshot, 81, "my.example.com", "/"), "PassthroughCluster");
    let alone = sidecar(&all_to("v", "shop", "", "my.example.com", "b", ""), "shop", "");
    assert_eq!(get(&alone, 80, "my.example.com", "/"), "80||b.shop?", "the table exists without any service");
}

#[test]
fn rules_are_tried_in_order_and_there_is_no_fall_back() {
    let rules = "{hosts: [a], http: [
        {match: [{uri: {exact: /one}}, {uri: {prefix: /two}, headers: {x-k: {exact: v}}}], route: [{destination: {host: b}}]},
        {match: [{uri: {prefix: /t}}], redirect: {uri: /x}},
        {match: [{uri: {regex: '/r.'}}], directResponse: {status: 418}}]}";
    let snapshot = sidecar(&(services() + &istio("VirtualService", "v", "shop", rules)), "shop", "");
    let table = snapshot.outbound.by_port[&80].http.clone().expect("a table");
    for (path, headers, expected) in [
        ("/one", &[][..], "80||b.shop"),
        ("/one/", &[], "404"),
        ("/two", &[("x-k", "v")], "80||b.shop"),
        ("/two", &[("x-k", "w")], "redirect 301"),
        ("/r1", &[], "direct 418"),
        ("/r12", &[], "404"),
    ] {
        assert_eq!(ask(&table, "a", path, headers), expected, "{path}");
    }
}

#[test]
fn nothing_is_compiled_behind_a_route_that_matches_everything() {
    let rules = "{hosts: [a], http: [
        {match: [{uri: {prefix: /x}}], route: [{destination: {host: b}}]},
        {name: all, route: [{destination: {host: c}}]},
        {match: [{uri: {prefix: /y}}], route: [{destination: {host: b}}]}]}";
    let snapshot = sidecar(&(services() + &istio("VirtualService", "v", "shop", rules)), "shop", "");
    let table = snapshot.outbound.by_port[&80].http.clone().expect("a table");
    let names: Vec<&str> =
        table.virtual_host("a").map(|host| host.routes.iter().map(|route| route.name.as_str()).collect()).unwrap_or_default();
    assert_eq!(names, ["", "all"]);
}

#[test]
fn destinations_take_the_only_port_or_the_port_of_arrival() {
    let manifests = services() + &service("single", "shop", "10.96.0.9", "http:8080");
    let to = |destination: &str, port| {
        let spec = format!("{{hosts: [a], http: [{{route: [{{destination: {destination}}}]}}]}}");
        get(&sidecar(&(manifests.clone() + &istio("VirtualService", "v", "shop", &spec)), "shop", ""), port, "a", "/")
    };
    assert_eq!(to("{host: single}", 80), "8080||single.shop");
    assert_eq!(to("{host: b}", 81), "81||b.shop");
    assert_eq!(to("{host: b, port: {number: 80}}", 81), "80||b.shop");
    assert_eq!(to("{host: b, port: {number: 8080}}", 80), "8080||b.shop?");
    assert_eq!(to("{host: b, subset: v1}", 80), "80|v1|b.shop?");
    assert_eq!(to("{host: nowhere}", 80), "80||nowhere.shop?");
    assert_eq!(to("{host: b.shop}", 80), "80||b.shop?", "a dotted name is taken as it is");
}

#[test]
fn short_names_belong_to_the_rules_namespace_not_the_clients() {
    let manifests = services() + &service("b", "other", "10.96.1.1", "http:80") + &all_to("v", "shop", "", "a", "b", "");
    assert_eq!(get(&sidecar(&manifests, "other", ""), 80, "a.shop", "/"), "80||b.shop");
}

#[test]
fn shares_leave_out_weight_zero() {
    let spec = "{hosts: [a], http: [{route: [
        {destination: {host: a}, weight: 50}, {destination: {host: b}, weight: 0}, {destination: {host: c}, weight: 25}]}]}";
    let snapshot = sidecar(&(services() + &istio("VirtualService", "v", "shop", spec)), "shop", "");
    assert_eq!(get(&snapshot, 80, "a", "/"), "80||a.shop=50 80||c.shop=25");
}

#[test]
fn a_delegate_takes_the_place_of_its_rule() {
    let root = "{hosts: [a], http: [
        {match: [{uri: {prefix: /d}}], delegate: {name: team, namespace: teams}, timeout: 3s},
        {match: [{uri: {prefix: /gone}}], delegate: {name: missing}},
        {route: [{destination: {host: c}}]}]}";
    let delegate = "{http: [
        {match: [{uri: {prefix: /d/x}}], route: [{destination: {host: b.shop.svc.cluster.local}}]},
        {match: [{uri: {prefix: /elsewhere}}], route: [{destination: {host: b.shop.svc.cluster.local}}]},
        {route: [{destination: {host: own}}]}]}";
    let manifests = services()
        + &service("own", "teams", "10.96.2.1", "http:80")
        + &istio("VirtualService", "root", "shop", root)
        + &istio("VirtualService", "team", "teams", delegate);
    let snapshot = sidecar(&manifests, "shop", "");
    assert_eq!(get(&snapshot, 80, "a", "/d/x/1"), "80||b.shop");
    assert_eq!(get(&snapshot, 80, "a", "/d/y"), "80||own.teams", "short names belong to the delegate's namespace");
    assert_eq!(get(&snapshot, 80, "a", "/elsewhere"), "80||c.shop", "a block that no root block admits vanishes");
    assert_eq!(get(&snapshot, 80, "a", "/gone"), "80||c.shop", "so does a rule without its delegate");
    let table = snapshot.outbound.by_port[&80].http.clone().expect("a table");
    let timeouts: Vec<_> = table.virtual_host("a").map(|host| host.routes.iter().map(|route| route.timeout).collect()).unwrap_or_default();
    let inherited = Some(std::time::Duration::from_secs(3));
    assert_eq!(timeouts, [inherited, inherited, None]);
}

#[test]
fn route_keys_do_not_depend_on_other_objects() {
    let own = all_to("v", "shop", "", "b", "c", "");
    let keys = |manifests: &str| -> Vec<String> {
        let snapshot = sidecar(manifests, "shop", "");
        let table = snapshot.outbound.by_port[&80].http.clone().expect("a table");
        table.virtual_host("b").map(|host| host.routes.iter().map(|route| route.key.clone()).collect()).unwrap_or_default()
    };
    let alone = keys(&(services() + &own));
    let among = keys(&(service("aaa", "shop", "10.96.3.1", "http:80") + &services() + &all_to("u", "shop", "", "a", "c", "") + &own));
    assert_eq!(alone, among);
    assert_eq!(alone, ["VirtualService shop/v http[0] host b.shop.svc.cluster.local table 80"]);
}
