//! HTTP from sidecar to sidecar: detection, mutual TLS, and what each side knows of the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use outrigger_config::model::*;
use outrigger_proxy::identity::Identity;
use outrigger_proxy::listener::EntranceKind::{Inbound, Outbound};
use outrigger_proxy::listener::Socket;
use outrigger_proxy::listener::connection::{Captured, serve_captured};
use outrigger_proxy::snapshot::Config;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::fixture::*;
use crate::http_fixture::*;
use crate::mesh::Mesh;

const FRONTEND: &str = "spiffe://cluster.local/ns/shop/sa/frontend";

/// The inbound side of a sidecar, reachable at an address as the pod's port would be.
async fn server_sidecar(identity: Arc<Identity>, mode: MtlsMode, application: SocketAddr) -> (Proxy, SocketAddr) {
    let mut model = model(route(&[(2, 1)]), Vec::new());
    let inbound = with_action(RouteAction::Forward(vec![WeightedCluster {
        name: "inbound|0||".to_owned(),
        cluster: Some(ClusterId(1)),
        weight: 1,
        request_headers: Default::default(),
        response_headers: Default::default(),
    }]));
    let chain = InboundChain {
        port: 0,
        protocol: ListenerProtocol::Auto,
        mtls: mode,
        http: table("inbound|0||", inbound),
        cluster: ClusterId(1),
        service: None,
    };
    model.clusters[1] = Arc::new(Cluster { protocol: UpstreamProtocol::Http1, ..(*model.clusters[1]).clone() });
    model.inbound = Some(outrigger_config::model::Inbound { by_port: Default::default(), default: Arc::new(chain) });
    let proxy = Proxy::new(model, identity);
    let entrance = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = entrance.local_addr().expect("address");
    let worker = Arc::clone(&proxy.worker);
    tokio::spawn(async move {
        while let Ok((stream, peer)) = entrance.accept().await {
            let captured =
                Captured { worker: Arc::clone(&worker), peer, destination: application, accepted_at: SystemTime::now(), source: None };
            let socket = Socket::fresh(stream.into_std().expect("a socket"));
            tokio::spawn(serve_captured(Inbound, application.port(), captured, socket));
        }
    });
    (proxy, address)
}

/// The outbound side of a sidecar that knows one mTLS endpoint by its identity.
fn client_sidecar(identity: Arc<Identity>, endpoint: SocketAddr, expected: &str, protocol: UpstreamProtocol) -> Proxy {
    let mut service = Cluster { protocol, ..web("outbound|80||web", &[endpoint]) };
    let sni = "outbound_.80_._.web.shop.svc.cluster.local".to_owned();
    service.tls = UpstreamTls::Auto(MeshTls { sni, sans: Vec::new(), explicit_sans: false });
    for endpoint in &mut service.endpoints {
        let endpoint = Arc::make_mut(endpoint);
        (endpoint.mtls, endpoint.identity) = (true, Some(expected.to_owned()));
    }
    Proxy::new(model(route(&[(2, 1)]), vec![service]), identity)
}

#[tokio::test]
async fn requests_cross_two_sidecars_under_mutual_tls() {
    let mesh = Mesh::new();
    let (server_identity, client_identity) = (mesh.identity("frontend"), mesh.identity("client"));
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        let application = Answering::start(|_, seen| ok(seen.header("x-forwarded-client-cert").unwrap_or("none"))).await;
        let (server, address) = server_sidecar(Arc::clone(&server_identity), MtlsMode::Strict, application.address).await;
        let client = client_sidecar(Arc::clone(&client_identity), address, FRONTEND, protocol);
        let mut caller = Client::of(&client).await;
        for _ in 0..3 {
            let got = soon(caller.get("/")).await;
            assert_eq!(got.status(), 200, "{protocol:?}: {}", got.head);
            assert!(got.text().contains("URI=spiffe://cluster.local/ns/shop/sa/client"), "{protocol:?}: {}", got.text());
        }
        let labels = ["connection_security_policy=\"mutual_tls\"", "source_principal=\"spiffe://cluster.local/ns/shop/sa/client\"", "} 3"];
        server.metric("istio_requests_total", &labels).await;
        client.metric("istio_requests_total", &["reporter=\"source\"", &format!("destination_principal=\"{FRONTEND}\""), "} 3"]).await;
    }
}

#[tokio::test]
async fn certificates_are_replaced_without_a_failed_request() {
    let mesh = Mesh::new();
    let (server_identity, client_identity) = (mesh.identity("frontend"), mesh.identity("client"));
    let application = Answering::start(|_, seen| ok(seen.header("x-forwarded-client-cert").unwrap_or("none"))).await;
    let (_server, address) = server_sidecar(Arc::clone(&server_identity), MtlsMode::Strict, application.address).await;
    let client = client_sidecar(Arc::clone(&client_identity), address, FRONTEND, UpstreamProtocol::Http1);
    let mut old = Client::of(&client).await;
    let first = soon(old.get("/")).await.text();
    for (account, identity) in [("frontend", &server_identity), ("client", &client_identity)] {
        mesh.issue(account);
        identity.reload().expect("loads");
        assert_eq!(soon(old.get("/")).await.status(), 200, "after a new certificate for {account}");
    }
    let (_other, address) = server_sidecar(server_identity, MtlsMode::Strict, application.address).await;
    let fresh = client_sidecar(client_identity, address, FRONTEND, UpstreamProtocol::Http1);
    let got = soon(Client::of(&fresh).await.get("/")).await;
    assert_eq!(got.status(), 200);
    assert_ne!(got.text(), first, "the new certificate has another hash");
}

#[tokio::test]
async fn a_server_of_another_service_account_is_refused_with_the_reason() {
    let mesh = Mesh::new();
    let application = Answering::start(|_, _| ok("reached")).await;
    let (_server, address) = server_sidecar(mesh.identity("frontend"), MtlsMode::Strict, application.address).await;
    let expected = "spiffe://cluster.local/ns/shop/sa/pay";
    let client = client_sidecar(mesh.identity("client"), address, expected, UpstreamProtocol::Http1);
    let got = soon(Client::of(&client).await.get("/")).await;
    assert_eq!(got.status(), 503);
    assert!(got.text().contains("TLS_error: the peer's certificate names") && got.text().contains(expected), "{}", got.text());
    assert_eq!(application.requests(), 0);
    client.metric("istio_requests_total", &["response_flags=\"UF", "response_code=\"503\""]).await;
}

#[tokio::test]
async fn plaintext_is_served_when_permissive_and_refused_when_strict() {
    let mesh = Mesh::new();
    let identity = mesh.identity("frontend");
    for (mode, served) in [(MtlsMode::Permissive, true), (MtlsMode::Strict, false)] {
        let application = Answering::start(|_, _| ok("reached")).await;
        let (server, _) = server_sidecar(Arc::clone(&identity), mode, application.address).await;
        let mut caller = Client(server.capture(Inbound, application.address).await);
        caller.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        if served {
            assert_eq!(soon(caller.receive()).await.text(), "reached");
        } else {
            assert_eq!(rest(&mut caller.0).await, b"");
            server.metric("istio_tcp_connections_closed_total", &["response_flags=\"NR\""]).await;
        }
        assert_eq!(application.requests(), usize::from(served));
    }
}

#[tokio::test]
async fn a_detected_port_serves_http_whenever_the_client_begins_it() {
    let application = Answering::start(|_, _| ok("served as HTTP")).await;
    let mut model = model(route(&[(2, 1)]), vec![web("outbound|80||web", &[application.address])]);
    let declared = model.outbound.by_address.remove(&vip()).expect("listener");
    let detected = Listener { protocol: ListenerProtocol::Auto, tcp: Some(to(2)), ..(*declared).clone() };
    model.outbound.by_address.insert(vip(), Arc::new(detected));
    let silence = model.mesh.protocol_detection_timeout;
    let proxy = Proxy::plain(model);
    for pause in [None, Some(silence * 2)] {
        for version in ["1.1", "1.0"] {
            let mut stream = proxy.capture(Outbound, vip()).await;
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            let request = format!("GET / HTTP/{version}\r\nhost: web.shop\r\n\r\n");
            for half in request.as_bytes().chunks(9) {
                stream.write_all(half).await.expect("write");
                tokio::task::yield_now().await;
            }
            assert_eq!(soon(Client(stream).receive()).await.text(), "served as HTTP", "HTTP/{version} after {pause:?}");
        }
    }
    proxy.metric("istio_requests_total", &["response_code=\"200\"", "} 4"]).await;
}

#[tokio::test]
async fn a_plaintext_connection_ends_with_its_next_request_once_the_port_is_strict() {
    let mesh = Mesh::new();
    let application = Answering::start(|_, _| ok("reached")).await;
    let (server, _) = server_sidecar(mesh.identity("frontend"), MtlsMode::Permissive, application.address).await;
    let mut caller = Client(server.capture(Inbound, application.address).await);
    let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    caller.send(request).await;
    assert_eq!(soon(caller.receive()).await.header("connection"), None);
    let before = server.worker.config.load_full();
    let mut model = before.model.clone();
    let inbound = model.inbound.as_mut().expect("a sidecar");
    inbound.default = Arc::new(InboundChain { mtls: MtlsMode::Strict, ..(*inbound.default).clone() });
    server.worker.config.publish(Config::build(model, Some(&before)));
    caller.send(request).await;
    let last = soon(caller.receive()).await;
    assert_eq!((last.status(), last.header("connection")), (200, Some("close")));
    assert!(rest(&mut caller.0).await.is_empty());
}
