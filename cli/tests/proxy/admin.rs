//! The pages on the admin port, in the shapes that istioctl and people expect.

use crate::fixture::{Proxy, Setup, gateway};

fn proxy() -> Proxy {
    let setup = Setup::new();
    let text = gateway(setup.ports.gateway, 207);
    setup.file("gateway.yaml", &text).file("service.yaml", SERVICE).start()
}

const SERVICE: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: backend, namespace: shop}
spec:
  hosts: [backend.example]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}]
";

#[test]
fn the_dump_has_envoys_sections_and_masks() {
    let proxy = proxy();
    let types = |path: &str| -> Vec<String> {
        let dump = proxy.get(proxy.ports.admin, path).json();
        let sections = dump["configs"].as_array().expect("an array");
        sections.iter().map(|section| section["@type"].as_str().expect("typed").rsplit('.').next().expect("name").to_owned()).collect()
    };
    let without_endpoints = [
        "BootstrapConfigDump",
        "ClustersConfigDump",
        "ListenersConfigDump",
        "RoutesConfigDump",
        "SecretsConfigDump",
        "MeshSettingsDump",
        "DiagnosticsDump",
    ];
    assert_eq!(types("/config_dump"), without_endpoints);
    assert!(types("/config_dump?include_eds").contains(&"EndpointsConfigDump".to_owned()));
    assert_eq!(types("/config_dump?mask=dynamic_listeners,static_listeners"), ["ListenersConfigDump"]);
    assert_eq!(types("/config_dump?mask=bootstrap"), ["BootstrapConfigDump"]);
}

#[test]
fn the_dump_names_clusters_routes_and_the_node() {
    let proxy = proxy();
    let dump = proxy.get(proxy.ports.admin, "/config_dump?include_eds").body;
    for part in [
        "\"outbound|80||backend.example\"",
        "router~127.0.0.1~gateway-1.shop~shop.svc.cluster.local",
        "\"direct_response\":{",
        "\"status\":207",
        "\"cluster_name\":\"outbound|80||backend.example\"",
    ] {
        assert!(dump.contains(part), "{part} in {dump}");
    }
}

#[test]
fn clusters_show_every_endpoint() {
    let proxy = proxy();
    let text = proxy.get(proxy.ports.admin, "/clusters").body;
    for line in [
        "outbound|80||backend.example::127.0.0.1:80::rq_total::0",
        "outbound|80||backend.example::127.0.0.1:80::cx_active::0",
        "outbound|80||backend.example::127.0.0.1:80::health_flags::healthy",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    let json = proxy.get(proxy.ports.admin, "/clusters?format=json").json();
    let statuses = json["cluster_statuses"].as_array().expect("an array");
    let backend = statuses.iter().find(|status| status["name"] == "outbound|80||backend.example").expect("listed");
    assert_eq!(backend["host_statuses"][0]["address"]["socket_address"]["port_value"], 80);
}

#[test]
fn listeners_and_server_tell_who_they_are() {
    let proxy = proxy();
    let line = format!("0.0.0.0_{0}::0.0.0.0:{0}", proxy.ports.gateway);
    let listeners = proxy.get(proxy.ports.admin, "/listeners").body;
    assert!(listeners.lines().any(|found| found == line), "{line} in {listeners}");
    let info = proxy.get(proxy.ports.admin, "/server_info").json();
    assert_eq!((info["state"].as_str(), info["command_line_options"]["concurrency"].as_u64()), (Some("LIVE"), Some(2)));
    assert!(proxy.get(proxy.ports.admin, "/").body.contains("/config_dump"));
}

#[test]
fn statistics_are_filtered_and_formatted() {
    let proxy = proxy();
    let get = |path: &str| proxy.get(proxy.ports.admin, path);
    assert_eq!(get("/stats?filter=^server.live$").body, "server.live: 1\n");
    let json = get("/stats?format=json&filter=workers_started").json();
    assert_eq!(json["stats"][0]["name"], "listener_manager.workers_started");
    assert_eq!(get("/stats?filter=%28").status, 400);
    let prometheus = get("/stats/prometheus");
    assert!(prometheus.head.contains("text/plain; version=0.0.4"), "{}", prometheus.head);
    assert!(prometheus.body.contains("envoy_cluster_membership_healthy{cluster_name=\"outbound|80||backend.example\"} 1\n"));
    assert_eq!(get("/stats?format=prometheus").status, 200);
}

#[test]
fn log_levels_change_while_it_runs() {
    let proxy = proxy();
    let answer = proxy.post(proxy.ports.admin, "/logging?config=debug");
    assert!(answer.body.contains("  config: debug\n") && answer.body.contains("  upstream: info\n"), "{}", answer.body);
    assert_eq!(proxy.post(proxy.ports.admin, "/logging?level=loud").status, 400);
    proxy.post(proxy.ports.admin, "/logging?level=off");
    let before = proxy.log().len();
    proxy.write("other.yaml", SERVICE);
    proxy.until("reload", |proxy| proxy.get(proxy.ports.admin, "/stats?filter=cds.version").body == "cluster_manager.cds.version: 2\n");
    assert_eq!(proxy.log().len(), before);
}

#[test]
fn a_get_changes_nothing() {
    let proxy = proxy();
    for path in ["/quitquitquit", "/drain_listeners", "/healthcheck/fail"] {
        assert_eq!(proxy.get(proxy.ports.admin, path).status, 405, "{path}");
    }
    assert_eq!(proxy.get(proxy.ports.admin, "/ready").body, "LIVE\n");
    assert_eq!(proxy.get(proxy.ports.admin, "/nonsense").status, 404);
}
