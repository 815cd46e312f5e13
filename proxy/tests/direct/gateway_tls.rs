//! TLS ports of a gateway: servers chosen by name, terminated or passed through.

use std::net::IpAddr;
use std::sync::Arc;

use outrigger_config::model::*;
use outrigger_proxy::drain::Phase;
use outrigger_proxy::identity::{Identity, TlsError, client};
use outrigger_proxy::listener::EntranceKind::Gateway;
use outrigger_proxy::listener::Handshakes;
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::doors::change;
use crate::fixture::*;
use crate::http_fixture::{Answering, ok, route, table};
use crate::mutual_tls::client_hello;

const PORT: u16 = 8443;

fn certificate(name: &str) -> (Arc<ServerTls>, Pem) {
    let key = KeyPair::generate().expect("key");
    let chain = CertificateParams::new(vec![name.to_owned()]).expect("names").self_signed(&key).expect("certificate").pem();
    let pem = |text: &str| Pem { origin: name.to_owned(), bytes: Some(text.as_bytes().into()) };
    let settings = ServerTls {
        mode: ServerTlsMode::Simple,
        certificates: vec![CertificatePair { chain: pem(&chain), key: pem(&key.serialize_pem()) }],
        client_ca: None,
        subject_alt_names: Vec::new(),
        min_version: TlsVersion::V1_2,
        max_version: TlsVersion::V1_3,
        alpn: vec!["h2".to_owned(), "http/1.1".to_owned()],
    };
    (Arc::new(settings), pem(&chain))
}

fn chain(host: &str, action: GatewayTlsAction) -> GatewayTlsChain {
    GatewayTlsChain { sni_hosts: vec![host.to_owned()], action }
}

fn gateway(ip: IpAddr, chains: Vec<GatewayTlsChain>, origin: &Origin) -> Proxy {
    let listener = GatewayListener { name: format!("{ip}_{PORT}"), bind: None, port: PORT, kind: GatewayListenerKind::Tls(chains) };
    Proxy::plain(router(vec![cluster("db", Discovery::Endpoints, &[origin.address()])], vec![listener]))
}

async fn dial(proxy: &Proxy, ip: IpAddr) -> TcpStream {
    proxy.capture(Gateway, (ip, PORT).into()).await
}

#[tokio::test]
async fn tls_is_terminated_for_the_names_of_a_server_and_forwarded_as_bytes() {
    let (origin, ip) = (Origin::start().await, own_address());
    let (tls, ca) = certificate("db.example");
    let proxy = gateway(ip, vec![chain("db.example", GatewayTlsAction::Tcp { tls, route: Some(to(0)) })], &origin);
    let nobody = Identity::new(None, &[]);
    let settings =
        Arc::new(TlsOrigination { sni: None, subject_alt_names: Vec::new(), insecure_skip_verify: false, ca: Some(ca), client: None });
    for alpn in [[].as_slice(), &[b"postgresql".as_slice()]] {
        let (mut session, info) =
            soon(client::originate(&nobody, dial(&proxy, ip).await, &settings, "db.example", alpn)).await.expect("handshake");
        assert_eq!(info.alpn, None);
        session.write_all(b"question").await.expect("write");
        expect(&mut origin.accept().await.0, "question").await;
    }
    let other = soon(client::originate(&nobody, dial(&proxy, ip).await, &settings, "other.example", &[])).await;
    assert!(matches!(other, Err(TlsError::Handshake(_))), "no server has this name: {other:?}");
    assert!(origin.stays_alone().await);
    proxy.metric("istio_tcp_connections_closed_total", &["response_flags=\"NR\""]).await;
}

#[tokio::test]
async fn passed_through_tls_keeps_its_bytes_and_unrouted_names_are_closed() {
    let (origin, ip) = (Origin::start().await, own_address());
    let route = SniRoute { sni_hosts: vec!["a.example".to_owned()], destination_subnets: Vec::new(), route: to(0) };
    let proxy = gateway(ip, vec![chain("*.example", GatewayTlsAction::Passthrough(vec![route]))], &origin);
    let hello = client_hello("a.example");
    let mut client = dial(&proxy, ip).await;
    client.write_all(&hello).await.expect("write");
    let mut received = vec![0; hello.len()];
    soon(origin.accept().await.0.read_exact(&mut received)).await.expect("bytes");
    assert_eq!(received, hello);
    for first in [client_hello("b.example"), client_hello("elsewhere"), b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        let mut client = dial(&proxy, ip).await;
        client.write_all(&first).await.expect("write");
        assert_eq!(rest(&mut client).await, b"");
    }
    assert!(origin.stays_alone().await);
}

#[tokio::test]
async fn a_missing_secret_fails_its_own_server_only() {
    let (origin, ip) = (Origin::start().await, own_address());
    let (tls, ca) = certificate("good.example");
    let missing = Arc::new(ServerTls { certificates: Vec::new(), ..(*tls).clone() });
    let chains = vec![
        chain("bad.example", GatewayTlsAction::Tcp { tls: missing, route: Some(to(0)) }),
        chain("good.example", GatewayTlsAction::Tcp { tls, route: Some(to(0)) }),
    ];
    let proxy = gateway(ip, chains, &origin);
    let nobody = Identity::new(None, &[]);
    let settings =
        Arc::new(TlsOrigination { sni: None, subject_alt_names: Vec::new(), insecure_skip_verify: false, ca: Some(ca), client: None });
    soon(client::originate(&nobody, dial(&proxy, ip).await, &settings, "bad.example", &[])).await.expect_err("no certificate");
    soon(client::originate(&nobody, dial(&proxy, ip).await, &settings, "good.example", &[])).await.expect("served");
}

#[tokio::test]
async fn beyond_the_limit_of_handshakes_a_connection_is_closed_and_counted() {
    let (origin, ip) = (Origin::start().await, own_address());
    let (tls, ca) = certificate("db.example");
    let mut proxy = gateway(ip, vec![chain("db.example", GatewayTlsAction::Tcp { tls, route: Some(to(0)) })], &origin);
    Arc::get_mut(&mut proxy.worker).expect("nobody uses it yet").handshakes = Handshakes::limited(1);
    let settings = TlsOrigination { sni: None, subject_alt_names: Vec::new(), insecure_skip_verify: false, ca: Some(ca), client: None };
    let (settings, nobody) = (Arc::new(settings), Identity::new(None, &[]));
    let mut unfinished = dial(&proxy, ip).await;
    unfinished.write_all(&client_hello("db.example")).await.expect("hello");
    unfinished.read_exact(&mut [0; 5]).await.expect("the server's answer");
    assert_eq!(proxy.worker.handshakes.active(), 1);
    soon(client::originate(&nobody, dial(&proxy, ip).await, &settings, "db.example", &[])).await.expect_err("one too many");
    assert_eq!(proxy.worker.handshakes.refused(), 1);
    proxy.metric("istio_tcp_connections_closed_total", &["response_flags=\"OM\""]).await;
    drop(unfinished);
    while proxy.worker.handshakes.active() > 0 {
        tokio::task::yield_now().await;
    }
    soon(client::originate(&nobody, dial(&proxy, ip).await, &settings, "db.example", &[])).await.expect("room again");
}

#[tokio::test]
async fn a_client_of_http2_that_does_not_greet_does_not_hold_up_a_drain() {
    let (origin, ip) = (Origin::start().await, own_address());
    let (tls, ca) = certificate("web.example");
    let action = GatewayTlsAction::Http { tls, routes: table("https.443", route(&[(0, 1)])) };
    let proxy = gateway(ip, vec![chain("web.example", action)], &origin);
    let settings = TlsOrigination { sni: None, subject_alt_names: Vec::new(), insecure_skip_verify: false, ca: Some(ca), client: None };
    let (settings, nobody) = (Arc::new(settings), Identity::new(None, &[]));
    let (mut session, info) =
        soon(client::originate(&nobody, dial(&proxy, ip).await, &settings, "web.example", &[b"h2"])).await.expect("handshake");
    assert_eq!(info.alpn.as_deref(), Some(&b"h2"[..]));
    proxy.phase.advance(Phase::Draining);
    // Whatever the server said of itself before, and the end.
    let _ = soon(session.read_to_end(&mut Vec::new())).await;
}

#[tokio::test]
async fn requests_to_a_server_that_is_no_more_are_the_last_though_others_of_the_port_are_still_there() {
    let (origin, ip) = (Answering::start(|_, _| ok("served")).await, own_address());
    let (tls, ca) = certificate("web.example");
    let server = |host: &str| {
        let routes = table(&format!("https.443.{host}"), route(&[(0, 1)]));
        chain(host, GatewayTlsAction::Http { tls: Arc::clone(&tls), routes })
    };
    let kind = GatewayListenerKind::Tls(vec![server("web.example"), server("*.example")]);
    let listener = GatewayListener { name: "web".to_owned(), bind: None, port: PORT, kind };
    let proxy = Proxy::plain(router(vec![cluster("web", Discovery::Endpoints, &[origin.address])], vec![listener]));
    let settings = TlsOrigination { sni: None, subject_alt_names: Vec::new(), insecure_skip_verify: false, ca: Some(ca), client: None };
    let (settings, nobody) = (Arc::new(settings), Identity::new(None, &[]));
    let (mut session, _) =
        soon(client::originate(&nobody, dial(&proxy, ip).await, &settings, "web.example", &[b"http/1.1"])).await.expect("handshake");
    let request = b"GET / HTTP/1.1\r\nhost: web.example\r\n\r\n";
    session.write_all(request).await.expect("write");
    let mut answer = Vec::new();
    while !answer.ends_with(b"served") {
        assert_ne!(soon(session.read_buf(&mut answer)).await.expect("an answer"), 0, "{}", String::from_utf8_lossy(&answer));
    }
    change(&proxy, |model| match &mut model.gateways[0].kind {
        GatewayListenerKind::Tls(chains) => drop(chains.remove(0)),
        _ => panic!("a TLS port"),
    });
    session.write_all(request).await.expect("write");
    let mut last = String::new();
    soon(session.read_to_string(&mut last)).await.expect("an answer and the end");
    assert!(last.contains("connection: close"), "{last}");
}
