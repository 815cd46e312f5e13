//! Istio semantics 5.3, 5.4 and 1.15: listeners of services that are not plain HTTP.

use super::*;
use crate::model::{Listener, ListenerProtocol};

fn find<'s>(snapshot: &'s Snapshot, address: &str) -> Option<&'s Listener> {
    snapshot.outbound.find(address.parse().expect("address:port")).map(AsRef::as_ref)
}

/// Name, protocol and where bytes without a server name go.
fn told(snapshot: &Snapshot, address: &str) -> String {
    match find(snapshot, address) {
        None => "none".to_owned(),
        Some(listener) => format!("{} {:?} {}", listener.name, listener.protocol, ask_tcp(listener.tcp.as_ref())),
    }
}

fn by_name(snapshot: &Snapshot, address: &str, sni: &str) -> String {
    let listener = find(snapshot, address).expect("a listener");
    let destination = address.parse().expect("address:port");
    ask_tcp(listener.tls.iter().find(|route| route.matches(Some(sni), destination)).map(|route| &route.route))
}

fn headless(ports: &str, endpoints: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: h, namespace: shop}}\nspec: {{clusterIP: None, ports: [{ports}]}}\n\
        ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: h-1, namespace: shop, labels: {{kubernetes.io/service-name: h}}}}\n\
        addressType: IPv4\nports: [{ports}]\nendpoints: [{endpoints}]\n"
    )
}

#[test]
fn services_with_an_address_have_listeners_there_and_http_shares_the_port() {
    let snapshot = sidecar(&service("a", "shop", "10.96.0.1", "http:80,tcp-x:81,tls-x:82,any:83,mysql:3306"), "shop", "");
    for (address, expected) in [
        ("10.96.0.1:80", "0.0.0.0_80 Http unknown"),
        ("10.9.9.9:80", "0.0.0.0_80 Http unknown"),
        ("10.96.0.1:81", "10.96.0.1_81 Tcp 81||a.shop"),
        ("10.9.9.9:81", "none"),
        ("10.96.0.1:82", "10.96.0.1_82 Tls 82||a.shop"),
        ("10.96.0.1:83", "10.96.0.1_83 Auto 83||a.shop"),
        ("10.96.0.1:3306", "10.96.0.1_3306 Tcp 3306||a.shop"),
    ] {
        assert_eq!(told(&snapshot, address), expected, "{address}");
    }
    let auto = find(&snapshot, "10.96.0.1:83").and_then(|listener| listener.http.clone()).expect("a table");
    assert_eq!(ask(&auto, "anything.example", "/", &[]), "83||a.shop", "at its own address every Host means the service");
}

#[test]
fn a_detected_port_joins_the_table_of_an_http_port() {
    let manifests = service("a", "shop", "10.96.0.1", "http:80") + &service("b", "shop", "10.96.0.2", "web:80");
    let snapshot = sidecar(&manifests, "shop", "");
    assert_eq!(get(&snapshot, 80, "b", "/"), "80||b.shop");
    let alone = sidecar(&service("b", "shop", "10.96.0.2", "web:80"), "shop", "");
    assert_eq!(get(&alone, 80, "b", "/"), "no table", "by itself it needs no listener for the port");
}

#[test]
fn headless_services_listen_at_their_pods_and_keep_the_address() {
    let ports = "{name: tcp, port: 5432}, {name: http, port: 80}";
    let snapshot = sidecar(
        &headless(ports, "{addresses: [10.1.0.5]}, {addresses: [10.1.0.6]}, {addresses: [10.1.0.7], conditions: {ready: false}}"),
        "shop",
        "",
    );
    assert_eq!(told(&snapshot, "10.1.0.5:5432"), "10.1.0.5_5432 Tcp 5432||h.shop");
    assert_eq!(told(&snapshot, "10.1.0.7:5432"), "none");
    assert_eq!(cluster(&snapshot, "5432||h.shop").discovery, crate::model::Discovery::OriginalDst { port: None });
    for host in ["h", "pod-0.h", "pod-0.h.shop.svc.cluster.local"] {
        assert_eq!(get(&snapshot, 80, host, "/"), "80||h.shop", "{host}");
    }
}

#[test]
fn tcp_rules_choose_by_port_source_and_destination() {
    let services = service("a", "shop", "10.96.0.1", "tcp:81") + &service("b", "shop", "10.96.0.2", "tcp:81");
    let at = |rules: &str, labels: &str| {
        let manifests = services.clone() + &istio("VirtualService", "v", "shop", &format!("{{hosts: [a], tcp: [{rules}]}}"));
        told(&sidecar(&manifests, "shop", labels), "10.96.0.1:81").replace("10.96.0.1_81 Tcp ", "")
    };
    let to_b = "route: [{destination: {host: b}}]";
    assert_eq!(at(&format!("{{{to_b}}}"), ""), "81||b.shop");
    assert_eq!(at(&format!("{{match: [{{port: 82}}], {to_b}}}"), ""), "81||a.shop", "no rule applies: the service itself");
    assert_eq!(at(&format!("{{match: [{{sourceLabels: {{app: x}}}}], {to_b}}}"), "app=x"), "81||b.shop");
    assert_eq!(at(&format!("{{match: [{{sourceLabels: {{app: x}}}}], {to_b}}}"), ""), "81||a.shop");
    assert_eq!(at(&format!("{{match: [{{destinationSubnets: [10.96.0.0/24]}}], {to_b}}}"), ""), "81||b.shop");
    assert_eq!(at(&format!("{{match: [{{destinationSubnets: [10.97.0.0/24]}}], {to_b}}}"), ""), "81||a.shop");
    assert_eq!(
        at("{route: [{destination: {host: a}, weight: 9}, {destination: {host: b, subset: x}, weight: 1}]}", ""),
        "81||a.shop=9 81|x|b.shop?=1"
    );
}

#[test]
fn tls_rules_go_by_server_name_and_leave_the_rest_unknown() {
    let services = service("a", "shop", "10.96.0.1", "https:443") + &service("b", "shop", "10.96.0.2", "https:443");
    let rules = "{hosts: [a], tls: [
        {match: [{sniHosts: ['*.shop.svc.cluster.local']}], route: [{destination: {host: b}}]},
        {match: [{sniHosts: [a.shop.svc.cluster.local]}], route: [{destination: {host: a}}]}]}";
    let rules = rules.replace("hosts: [a]", "hosts: ['*.shop.svc.cluster.local']");
    let snapshot = sidecar(&(services.clone() + &istio("VirtualService", "v", "shop", &rules)), "shop", "");
    let at = "10.96.0.1:443";
    assert_eq!(by_name(&snapshot, at, "a.shop.svc.cluster.local"), "443||a.shop", "an exact name before a wildcard, though later");
    assert_eq!(by_name(&snapshot, at, "c.shop.svc.cluster.local"), "443||b.shop");
    assert_eq!(by_name(&snapshot, at, "example.com"), "unknown");
    assert_eq!(told(&snapshot, at), "10.96.0.1_443 Tls unknown");
    assert_eq!(told(&sidecar(&services, "shop", ""), at), "10.96.0.1_443 Tls 443||a.shop", "without rules any name will do");
}

fn entry(name: &str, spec: &str) -> String {
    istio("ServiceEntry", name, "shop", spec)
}

#[test]
fn services_without_an_address_share_the_port() {
    let tls =
        |name: &str| entry(name, &format!("{{hosts: [{name}.com], ports: [{{number: 443, name: tls, protocol: TLS}}], resolution: DNS}}"));
    let snapshot = sidecar(&(tls("a") + &tls("b")), "shop", "");
    assert_eq!(by_name(&snapshot, "1.2.3.4:443", "a.com"), "443||a.com");
    assert_eq!(by_name(&snapshot, "1.2.3.4:443", "b.com"), "443||b.com");
    assert_eq!(by_name(&snapshot, "1.2.3.4:443", "c.com"), "unknown");
    assert_eq!(told(&snapshot, "1.2.3.4:443"), "0.0.0.0_443 Tls unknown");
}

#[test]
fn http_and_tcp_on_one_shared_port_are_told_apart_unless_servers_speak_first_there() {
    let tcp =
        |port: u16| entry("tcp", &format!("{{hosts: [x.com], ports: [{{number: {port}, name: tcp, protocol: TCP}}], resolution: DNS}}"));
    let http = |port: u16| service("a", "shop", "10.96.0.1", &format!("http:{port}"));
    let at = |port: u16| told(&sidecar(&(http(port) + &tcp(port)), "shop", ""), &format!("1.2.3.4:{port}"));
    assert_eq!(at(80), "0.0.0.0_80 Auto 80||x.com");
    assert_eq!(at(3306), "0.0.0.0_3306 Http unknown", "the second one is dropped");
}

#[test]
fn address_blocks_are_found_by_their_longest_prefix() {
    let block = |name: &str, net: &str| {
        entry(
            name,
            &format!(
                "{{hosts: [{name}.com], addresses: ['{net}'], ports: [{{number: 9000, name: tcp, protocol: TCP}}], resolution: NONE}}"
            ),
        )
    };
    let snapshot = sidecar(&(block("wide", "10.0.0.0/8") + &block("narrow", "10.1.0.0/16") + &block("one", "10.1.2.3")), "shop", "");
    for (address, expected) in [
        ("10.1.2.3:9000", "10.1.2.3_9000 Tcp 9000||one.com"),
        ("10.1.2.4:9000", "0.0.0.0_9000 Tcp 9000||narrow.com"),
        ("10.2.0.1:9000", "0.0.0.0_9000 Tcp 9000||wide.com"),
        ("11.0.0.1:9000", "none"),
        ("10.1.2.3:9001", "none"),
    ] {
        assert_eq!(told(&snapshot, address), expected, "{address}");
    }
}

#[test]
fn both_address_families_have_listeners_and_domains() {
    let manifests = "---\napiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: shop}\n\
        spec: {clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, 'fd00::1'], ports: [{name: http, port: 80}, {name: tcp, port: 81}]}\n";
    let snapshot = sidecar(manifests, "shop", "");
    assert_eq!(told(&snapshot, "[fd00::1]:81"), "[fd00::1]_81 Tcp 81||a.shop");
    assert_eq!(get(&snapshot, 80, "[fd00::1]:80", "/"), "80||a.shop");
    assert_eq!(find(&snapshot, "[fd00::9]:80").map(|listener| listener.protocol), Some(ListenerProtocol::Http));
}

#[test]
fn rules_for_one_name_serve_a_wildcard_entry() {
    let wide = entry("w", "{hosts: ['*.x.com'], ports: [{number: 443, name: tls, protocol: TLS}], resolution: NONE}");
    let rules = "{hosts: [a.x.com], tls: [{match: [{sniHosts: [a.x.com]}], route: [{destination: {host: b.shop.svc.cluster.local}}]}]}";
    let manifests = wide.clone() + &service("b", "shop", "10.96.0.2", "https:443") + &istio("VirtualService", "v", "shop", rules);
    let snapshot = sidecar(&manifests, "shop", "");
    assert_eq!(by_name(&snapshot, "1.2.3.4:443", "a.x.com"), "443||b.shop");
    assert_eq!(by_name(&sidecar(&wide, "shop", ""), "1.2.3.4:443", "c.x.com"), "443||*.x.com");
}
