//! Tables of connections and the chains they take.

use std::sync::Arc;

use outrigger_config::matcher::HostMap;
use outrigger_config::model::{GatewayTlsAction, RouteConfiguration, RouteId, SniRoute};

use super::*;

fn tls(alpn: &[&str]) -> FirstBytes {
    FirstBytes::Tls(ClientHello { sni: None, alpn: alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect() })
}

/// Every row of sidecar contract 5.3, with difference 11 for ordinary TLS on ports declared HTTP.
#[test]
fn inbound_chains_follow_mode_protocol_and_first_bytes() {
    use InboundAction::{MutualTls, Plain, Refuse};
    use Inner::{Http, Tcp};
    use ListenerProtocol as P;
    use MtlsMode::{Disable, Permissive, Strict};
    let refuse = Refuse("plaintext on a port that requires mTLS (PeerAuthentication STRICT)");
    let mesh_http = [tls(&["istio-http/1.1", "istio", "http/1.1"]), tls(&["istio-h2", "istio", "h2"]), tls(&["istio-http/1.0"])];
    let mesh_tcp = [tls(&["istio"]), tls(&["istio-peer-exchange", "istio"]), tls(&["istio-peer-exchange", "istio", "h2"])];
    let other_tls = [tls(&[]), tls(&["h2", "http/1.1"]), tls(&["imap"])];
    let http = [FirstBytes::Http(HttpVersion::Http1), FirstBytes::Http(HttpVersion::Http2)];
    let other = [FirstBytes::Other];
    // mode, protocol: mesh TLS with HTTP ALPN, with TCP ALPN, other TLS, plaintext HTTP, other plaintext
    let rows = [
        (Permissive, P::Auto, [MutualTls(Http), MutualTls(Tcp), Plain(Tcp), Plain(Http), Plain(Tcp)]),
        (Permissive, P::Http, [MutualTls(Http), MutualTls(Http), Plain(Tcp), Plain(Http), Plain(Http)]),
        (Permissive, P::Tcp, [MutualTls(Tcp), MutualTls(Tcp), Plain(Tcp), Plain(Tcp), Plain(Tcp)]),
        (Permissive, P::Tls, [MutualTls(Tcp), MutualTls(Tcp), Plain(Tcp), Plain(Tcp), Plain(Tcp)]),
        (Strict, P::Auto, [MutualTls(Http), MutualTls(Tcp), MutualTls(Tcp), refuse, refuse]),
        (Strict, P::Http, [MutualTls(Http), MutualTls(Http), MutualTls(Http), refuse, refuse]),
        (Strict, P::Tcp, [MutualTls(Tcp), MutualTls(Tcp), MutualTls(Tcp), refuse, refuse]),
        (Disable, P::Auto, [Plain(Tcp), Plain(Tcp), Plain(Tcp), Plain(Http), Plain(Tcp)]),
        (Disable, P::Http, [Plain(Tcp), Plain(Tcp), Plain(Tcp), Plain(Http), Plain(Http)]),
    ];
    for (mode, protocol, expected) in rows {
        let columns: [&[FirstBytes]; 5] = [&mesh_http, &mesh_tcp, &other_tls, &http, &other];
        for (column, expected) in columns.into_iter().zip(expected) {
            for first in column {
                assert_eq!(inbound(mode, protocol, first), expected, "{mode:?} {protocol:?} {first:?}");
            }
        }
    }
}

#[test]
fn only_ports_without_mtls_and_without_http_are_not_inspected() {
    assert!(!inbound_inspects(MtlsMode::Disable, ListenerProtocol::Tcp));
    assert!(inbound_inspects(MtlsMode::Disable, ListenerProtocol::Auto));
    assert!(inbound_inspects(MtlsMode::Permissive, ListenerProtocol::Tcp));
    assert!(inbound_inspects(MtlsMode::Strict, ListenerProtocol::Tls));
}

fn route(key: &str) -> TcpRoute {
    TcpRoute { id: RouteId(0), key: key.to_owned(), clusters: Vec::new() }
}

fn listener(protocol: ListenerProtocol, tcp: Option<TcpRoute>) -> Listener {
    let http = RouteConfiguration { name: "80".to_owned(), hosts: HostMap::default(), virtual_hosts: Vec::new() };
    let sni = |name: &str| SniRoute { sni_hosts: vec![name.to_owned()], destination_subnets: Vec::new(), route: route(name) };
    let tls = vec![sni("a.example"), sni("*.example")];
    let expects_http = matches!(protocol, ListenerProtocol::Http | ListenerProtocol::Auto);
    Listener { name: "l".to_owned(), protocol, http: expects_http.then(|| Arc::new(http)), tls, tcp }
}

fn named(name: &str) -> FirstBytes {
    FirstBytes::Tls(ClientHello { sni: Some(name.to_owned()), alpn: Vec::new() })
}

fn decide(listener: &Listener, first: &FirstBytes) -> String {
    match outbound(listener, first, "10.0.0.1:443".parse().expect("address")) {
        OutboundChain::Http(_, version) => format!("{version:?}"),
        OutboundChain::Tcp(route) => route.key.clone(),
        OutboundChain::Unknown => "unknown".to_owned(),
    }
}

#[test]
fn outbound_chains_follow_protocol_and_first_bytes() {
    let http = FirstBytes::Http(HttpVersion::Http2);
    let auto = listener(ListenerProtocol::Auto, Some(route("tcp")));
    assert_eq!(decide(&auto, &http), "Http2");
    assert_eq!(decide(&auto, &FirstBytes::Other), "tcp");
    assert_eq!(decide(&auto, &named("a.example")), "a.example");
    assert_eq!(decide(&auto, &named("b.example")), "*.example");
    assert_eq!(decide(&auto, &named("elsewhere")), "tcp", "an unmatched name goes where other bytes go");
    let declared = listener(ListenerProtocol::Http, None);
    assert_eq!(decide(&declared, &http), "Http2");
    assert_eq!(decide(&declared, &FirstBytes::Other), "unknown");
    assert_eq!(decide(&declared, &tls(&[])), "unknown");
    let opaque = listener(ListenerProtocol::Tls, None);
    assert_eq!(decide(&opaque, &http), "unknown", "HTTP on a TLS port is bytes");
    assert_eq!(decide(&opaque, &named("b.example")), "*.example");
}

#[test]
fn a_gateway_server_is_chosen_by_the_most_specific_name() {
    let chain = |hosts: &[&str]| GatewayTlsChain {
        sni_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        action: GatewayTlsAction::Passthrough(Vec::new()),
    };
    let chains = [chain(&["*"]), chain(&["*.example.com"]), chain(&["shop.example.com", "pay.com"]), chain(&["*.eu.example.com"])];
    let chosen = |sni: Option<&str>| gateway(&chains, sni).map(|chain| chain.sni_hosts[0].as_str());
    assert_eq!(chosen(Some("shop.example.com")), Some("shop.example.com"));
    assert_eq!(chosen(Some("pay.com")), Some("shop.example.com"));
    assert_eq!(chosen(Some("a.eu.example.com")), Some("*.eu.example.com"));
    assert_eq!(chosen(Some("a.example.com")), Some("*.example.com"));
    assert_eq!(chosen(Some("example.com")), Some("*"));
    assert_eq!(chosen(None), Some("*"), "without a name only * matches");
    assert!(gateway(&chains[1..], None).is_none());
    assert!(gateway(&chains[1..], Some("other.org")).is_none());
}
