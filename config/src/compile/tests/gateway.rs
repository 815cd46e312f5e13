//! Istio semantics 3.3 to 3.5 and 1.3: which servers open which ports, and which VirtualServices act there.

use super::*;
use crate::model::{GatewayTlsAction, GatewayTlsChain, ServerTlsMode};

const HTTP: &str = "{number: 80, name: http, protocol: HTTP}";

fn gateway(name: &str, namespace: &str, created: &str, servers: &str) -> String {
    aged("Gateway", name, namespace, created, &format!("{{selector: {{istio: ingressgateway}}, servers: [{servers}]}}"))
}

fn http_gateway(hosts: &str) -> String {
    gateway("gw", "shop", "", &format!("{{port: {HTTP}, hosts: [{hosts}]}}"))
}

fn route(name: &str, created: &str, gateways: &str, hosts: &str, rules: &str) -> String {
    aged("VirtualService", name, "shop", created, &format!("{{hosts: [{hosts}], gateways: [{gateways}], http: [{rules}]}}"))
}

fn to(path: &str, service: &str) -> String {
    format!("{{match: [{{uri: {{prefix: {path}}}}}], route: [{{destination: {{host: {service}}}}}]}}")
}

fn services() -> String {
    service("a", "shop", "10.96.0.1", "http:80") + &service("b", "shop", "10.96.0.2", "http:80,tcp-x:90")
}

fn chains(snapshot: &Snapshot, port: u16) -> &[GatewayTlsChain] {
    match snapshot.gateways.iter().find(|listener| listener.port == port).map(|listener| &listener.kind) {
        Some(GatewayListenerKind::Tls(chains)) => chains,
        _ => &[],
    }
}

#[test]
fn a_gateway_acts_at_pods_with_its_labels_only() {
    let selecting =
        |labels: &str| aged("Gateway", "gw", "shop", "", &format!("{{selector: {{{labels}}}, servers: [{{port: {HTTP}, hosts: ['*']}}]}}"));
    assert_eq!(router(&selecting("istio: ingressgateway")).gateways.len(), 1);
    assert_eq!(router(&selecting("istio: egressgateway")).gateways.len(), 0);
    assert!(sidecar(&selecting("istio: ingressgateway"), "shop", "istio=ingressgateway").gateways.is_empty());
}

#[test]
fn the_port_is_the_target_port_of_the_gateways_service() {
    let of_gateway = "---\napiVersion: v1\nkind: Service\nmetadata: {name: ingress, namespace: istio-system}\n\
        spec: {clusterIP: 10.96.9.9, selector: {istio: ingressgateway}, ports: [{name: http2, port: 80, targetPort: 8080}]}\n";
    let ports =
        |manifests: String| -> Vec<(String, u16)> { router(&manifests).gateways.iter().map(|l| (l.name.clone(), l.port)).collect() };
    assert_eq!(ports(http_gateway("'*'")), [("0.0.0.0_80".to_owned(), 80)]);
    assert_eq!(ports(http_gateway("'*'") + of_gateway), [("0.0.0.0_8080".to_owned(), 8080)]);
}

#[test]
fn hosts_of_both_sides_are_intersected() {
    for (server, virtual_service, host, expected) in [
        ("'*'", "a.com", "a.com", "80||a.shop"),
        ("'*'", "a.com", "b.com", "404"),
        ("'*.com'", "a.com", "a.com:8080", "80||a.shop"),
        ("a.com", "'*.com'", "a.com", "80||a.shop"),
        ("a.com", "'*.com'", "b.com", "404"),
        ("a.com", "b.com", "b.com", "404"),
        ("'shop/a.com'", "a.com", "a.com", "80||a.shop"),
        ("'./a.com'", "a.com", "a.com", "80||a.shop"),
        ("'*/a.com'", "a.com", "a.com", "80||a.shop"),
        ("'other/a.com'", "a.com", "a.com", "404"),
    ] {
        let snapshot = router(&(services() + &http_gateway(server) + &route("v", "", "gw", virtual_service, &to("/", "a"))));
        assert_eq!(enter(&snapshot, 80, host, "/"), expected, "{server} {virtual_service} {host}");
    }
}

#[test]
fn a_virtual_service_must_name_the_gateway_and_reach_its_namespace() {
    for (gateways, export_to, expected) in [
        ("gw", "", "80||a.shop"),
        ("shop/gw", "", "80||a.shop"),
        ("gw, mesh", "", "80||a.shop"),
        ("other/gw", "", "404"),
        ("mesh", "", "404"),
        ("gw", "exportTo: ['.'],", "404"),
        ("gw", "exportTo: [istio-system],", "80||a.shop"),
    ] {
        let spec = format!("{{hosts: [a.com], {export_to} gateways: [{gateways}], http: [{}]}}", to("/", "a"));
        let snapshot = router(&(services() + &http_gateway("'*'") + &istio("VirtualService", "v", "shop", &spec)));
        assert_eq!(enter(&snapshot, 80, "a.com", "/"), expected, "{gateways} {export_to}");
    }
}

#[test]
fn virtual_services_of_one_host_are_joined_by_age_with_catch_alls_last() {
    let old = route("old", "2024-01-01", "gw", "a.com", &format!("{}, {}", to("/x", "a"), to("/", "a")));
    let new = route("new", "2024-02-01", "gw", "a.com", &format!("{}, {}", to("/x", "b"), to("/y", "b")));
    let snapshot = router(&(services() + &http_gateway("'*'") + &new + &old));
    for (path, expected) in [("/x", "80||a.shop"), ("/y", "80||b.shop"), ("/z", "80||a.shop")] {
        assert_eq!(enter(&snapshot, 80, "a.com", path), expected, "{path}");
    }
}

#[test]
fn different_hosts_are_never_joined() {
    let wide = route("wide", "", "gw", "'*.com'", &to("/wide", "a"));
    let narrow = route("narrow", "", "gw", "a.com", &to("/narrow", "b"));
    let snapshot = router(&(services() + &http_gateway("'*'") + &wide + &narrow));
    assert_eq!(enter(&snapshot, 80, "a.com", "/wide"), "404");
    assert_eq!(enter(&snapshot, 80, "b.com", "/wide"), "80||a.shop");
}

#[test]
fn redirect_to_https_covers_every_host_of_its_server() {
    let servers = format!(
        "{{port: {HTTP}, hosts: ['*.a.com'], tls: {{httpsRedirect: true}}}}, {{port: {{number: 80, name: other, protocol: HTTP}}, hosts: [b.com]}}"
    );
    let rules = route("v", "", "gw", "x.a.com, b.com", &to("/", "a"));
    let snapshot = router(&(services() + &gateway("gw", "shop", "", &servers) + &rules));
    assert_eq!(enter(&snapshot, 80, "x.a.com", "/"), "https", "with a route");
    assert_eq!(enter(&snapshot, 80, "y.a.com", "/"), "https", "without one");
    assert_eq!(enter(&snapshot, 80, "b.com", "/"), "80||a.shop");
}

#[test]
fn the_first_family_on_a_port_keeps_it() {
    let https = "{port: {number: 80, name: https, protocol: HTTPS}, hosts: [x.com], tls: {mode: SIMPLE, credentialName: c}}";
    let tcp = "{port: {number: 80, name: tcp, protocol: TCP}, hosts: ['*']}";
    let http = format!("{{port: {HTTP}, hosts: ['*']}}");
    let kind = |first: &str, second: &str| {
        let manifests = gateway("one", "shop", "2024-01-01", first) + &gateway("two", "shop", "2024-02-01", second);
        match router(&manifests).gateways.as_slice() {
            [only] => match &only.kind {
                GatewayListenerKind::Http(_) => "http",
                GatewayListenerKind::Tls(_) => "tls",
                GatewayListenerKind::Tcp(_) => "tcp",
            },
            other => panic!("{} listeners", other.len()),
        }
    };
    assert_eq!([kind(&http, https), kind(https, &http), kind(tcp, &http), kind(&http, tcp)], ["http", "tls", "tcp", "http"]);
}

#[test]
fn a_tls_server_whose_host_is_taken_is_dropped_whole() {
    let server = |hosts: &str| {
        format!("{{port: {{number: 443, name: https, protocol: HTTPS}}, hosts: [{hosts}], tls: {{mode: SIMPLE, credentialName: c}}}}")
    };
    let one = gateway("one", "shop", "2024-01-01", &server("a.com, b.com"));
    let two = gateway("two", "shop", "2024-02-01", &server("b.com, c.com"));
    let three = gateway("three", "shop", "2024-03-01", &server("'*.com'"));
    let snapshot = router(&(three + &two + &one));
    let hosts: Vec<&[String]> = chains(&snapshot, 443).iter().map(|chain| chain.sni_hosts.as_slice()).collect();
    assert_eq!(hosts, [&["a.com".to_owned(), "b.com".to_owned()][..], &["*.com".to_owned()]]);
}

#[test]
fn each_https_server_has_a_table_of_its_own() {
    let server = |host: &str| {
        format!(
            "{{port: {{number: 443, name: https-{host}, protocol: HTTPS}}, hosts: [{host}.com], tls: {{mode: SIMPLE, credentialName: c}}}}"
        )
    };
    let both = route("v", "", "gw", "a.com, b.com", &to("/", "a"));
    let snapshot = router(&(services() + &gateway("gw", "shop", "", &format!("{}, {}", server("a"), server("b"))) + &both));
    let [first, _] = chains(&snapshot, 443) else { panic!("two chains") };
    let GatewayTlsAction::Http { routes, .. } = &first.action else { panic!("https") };
    assert_eq!(routes.name, "https.443.https-a.gw.shop");
    assert_eq!((ask(routes, "a.com", "/", &[]), ask(routes, "b.com", "/", &[])), ("80||a.shop".to_owned(), "404".to_owned()));
}

#[test]
fn certificates_come_from_secrets_beside_the_gateway_pod() {
    let secret = |namespace: &str, name: &str, keys: &str| {
        format!("---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: {namespace}}}\nstringData: {{{keys}}}\n")
    };
    let server = "{port: {number: 443, name: https, protocol: HTTPS}, hosts: [a.com], tls: {mode: MUTUAL, credentialName: c}}";
    let tls = |secrets: String| match &chains(&router(&(gateway("gw", "shop", "", server) + &secrets)), 443) {
        [GatewayTlsChain { action: GatewayTlsAction::Http { tls, .. }, .. }] => {
            assert_eq!(tls.mode, ServerTlsMode::Mutual);
            (tls.certificates.len(), tls.client_ca.as_ref().map(|ca| ca.origin.clone()))
        }
        _ => panic!("one https chain"),
    };
    let pair = "tls.crt: C, tls.key: K";
    assert_eq!(tls(String::new()), (0, None));
    assert_eq!(tls(secret("shop", "c", pair)), (0, None), "not the Gateway's namespace");
    assert_eq!(tls(secret("istio-system", "c", pair)), (1, None));
    assert_eq!(tls(secret("istio-system", "c", "cert: C, key: K, cacert: A")), (1, Some("Secret istio-system/c key cacert".to_owned())));
    let apart = secret("istio-system", "c", pair) + &secret("istio-system", "c-cacert", "ca.crt: A");
    assert_eq!(tls(apart), (1, Some("Secret istio-system/c-cacert key ca.crt".to_owned())));
}

#[test]
fn passthrough_routes_by_server_name_and_tls_termination_by_tcp_rules() {
    let servers = "{port: {number: 443, name: tls, protocol: TLS}, hosts: ['*.a.com'], tls: {mode: PASSTHROUGH}},
        {port: {number: 443, name: tls-own, protocol: TLS}, hosts: [b.com], tls: {mode: SIMPLE, credentialName: c}}";
    let rules = "{hosts: ['*.a.com', b.com], gateways: [gw],
        tls: [{match: [{sniHosts: ['*.a.com']}], route: [{destination: {host: b, port: {number: 90}}}]},
              {match: [{sniHosts: [x.a.com], port: 443}], route: [{destination: {host: a}}]},
              {match: [{sniHosts: [y.a.com], port: 444}], route: [{destination: {host: a}}]}],
        tcp: [{match: [{port: 443}], route: [{destination: {host: b, port: {number: 90}}}]}]}";
    let snapshot = router(&(services() + &gateway("gw", "shop", "", servers) + &istio("VirtualService", "v", "shop", rules)));
    let [passing, ending] = chains(&snapshot, 443) else { panic!("two chains") };
    let GatewayTlsAction::Passthrough(routes) = &passing.action else { panic!("passthrough") };
    let destination = "10.1.0.1:443".parse().expect("an address");
    let by_name = |name| ask_tcp(routes.iter().find(|route| route.matches(Some(name), destination)).map(|route| &route.route));
    assert_eq!([by_name("x.a.com"), by_name("y.a.com"), by_name("c.com")], ["80||a.shop", "90||b.shop", "unknown"]);
    let GatewayTlsAction::Tcp { route, .. } = &ending.action else { panic!("terminated TLS") };
    assert_eq!(ask_tcp(route.as_ref()), "90||b.shop");
}

#[test]
fn a_tcp_server_takes_the_first_rule_for_its_port() {
    let server = "{port: {number: 31400, name: tcp, protocol: TCP}, hosts: ['*']}";
    let rules = "{hosts: ['*'], gateways: [gw], tcp: [
        {match: [{port: 31401}], route: [{destination: {host: a}}]},
        {match: [{port: 31400}], route: [{destination: {host: a, port: {number: 80}}, weight: 20}, {destination: {host: b, port: {number: 90}}, weight: 80}]}]}";
    let snapshot = router(&(services() + &gateway("gw", "shop", "", server) + &istio("VirtualService", "v", "shop", rules)));
    let Some(GatewayListenerKind::Tcp(route)) = snapshot.gateways.first().map(|listener| &listener.kind) else { panic!("tcp") };
    assert_eq!(ask_tcp(route.as_ref()), "80||a.shop=20 90||b.shop=80");
}
