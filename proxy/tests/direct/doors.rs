//! Connections whose way in is taken away while they live: a port that becomes STRICT, a gateway port that is no more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outrigger_config::model::*;
use outrigger_proxy::listener::EntranceKind::{Gateway, Inbound};
use outrigger_proxy::snapshot::Config;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::fixture::*;
use crate::http_fixture::{Answering, Client, in_front_of, ok, read_request, route, table, web};
use crate::tcp_fixture::{opaque, service};

/// How long connections drain in these tests.
const DRAIN: Duration = Duration::from_millis(700);

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

pub fn change(proxy: &Proxy, edit: impl FnOnce(&mut Snapshot)) {
    let before = proxy.worker.config.load_full();
    let mut model = before.model.clone();
    model.mesh.drain_duration = DRAIN;
    edit(&mut model);
    proxy.worker.config.publish(Config::build(model, Some(&before)));
}

fn permissive() -> Snapshot {
    let mut model = opaque(service(&[]));
    let inbound = model.inbound.as_mut().expect("a sidecar");
    inbound.default = Arc::new(InboundChain { mtls: MtlsMode::Permissive, ..(*inbound.default).clone() });
    model
}

/// Sends a word each way.
async fn alive(client: &mut TcpStream, server: &mut TcpStream) {
    client.write_all(b"ping").await.expect("write");
    expect(server, "ping").await;
    server.write_all(b"pong").await.expect("write");
    expect(client, "pong").await;
}

/// Waits for the end, which must come with the drain duration and not before.
async fn ends_in_time(client: &mut TcpStream, since: Instant) {
    assert_eq!(rest(client).await, b"");
    assert!(since.elapsed() >= DRAIN, "ended after {:?}", since.elapsed());
}

#[tokio::test]
async fn plaintext_bytes_to_a_port_that_became_strict_end_with_the_drain_duration() {
    let (one, other) = (Origin::start().await, Origin::start().await);
    let proxy = Proxy::plain(permissive());
    let mut pairs = Vec::new();
    for origin in [&one, &other] {
        let mut client = proxy.capture(Inbound, origin.address()).await;
        client.write_all(b"hello").await.expect("write");
        let (mut server, _) = origin.accept().await;
        expect(&mut server, "hello").await;
        pairs.push((client, server));
    }
    let (since, port) = (Instant::now(), one.address().port());
    change(&proxy, |model| {
        let inbound = model.inbound.as_mut().expect("a sidecar");
        let chain = InboundChain { port, mtls: MtlsMode::Strict, ..(*inbound.default).clone() };
        inbound.by_port.insert(port, chain.into());
    });
    let [(client, server), (other_client, other_server)] = &mut pairs[..] else { panic!("two") };
    alive(client, server).await;
    ends_in_time(client, since).await;
    assert_eq!(rest(server).await, b"", "the application is told as well");
    alive(other_client, other_server).await;
    proxy.metric("istio_tcp_connections_closed_total", &["} 1"]).await;
}

fn tcp_listener(address: SocketAddr) -> GatewayListener {
    let kind = GatewayListenerKind::Tcp(Some(to(0)));
    GatewayListener { name: address.to_string(), bind: Some(address.ip()), port: address.port(), kind }
}

#[tokio::test]
async fn bytes_through_a_gateway_port_that_is_no_more_end_with_the_drain_duration() {
    let (origin, ip) = (Origin::start().await, own_address());
    let (gone, stays) = (SocketAddr::new(ip, 8001), SocketAddr::new(ip, 8002));
    let cluster = cluster("db", Discovery::Endpoints, &[origin.address()]);
    let proxy = Proxy::plain(router(vec![cluster], vec![tcp_listener(gone), tcp_listener(stays)]));
    let mut pairs = Vec::new();
    for address in [gone, stays] {
        let client = proxy.capture(Gateway, address).await;
        pairs.push((client, origin.accept().await.0));
    }
    let since = Instant::now();
    change(&proxy, |model| model.gateways.retain(|listener| listener.port != gone.port()));
    let [(client, server), (other_client, other_server)] = &mut pairs[..] else { panic!("two") };
    alive(client, server).await;
    ends_in_time(client, since).await;
    alive(other_client, other_server).await;
}

#[tokio::test]
async fn requests_through_a_gateway_port_that_is_no_more_are_finished_and_no_further_ones_taken() {
    let (address, quick) = (SocketAddr::new(own_address(), 8003), Answering::start(|_, _| ok("first")).await);
    let listener = |kind| vec![GatewayListener { name: "web".to_owned(), bind: Some(address.ip()), port: 8003, kind }];
    let clusters = vec![web("web", &[quick.address])];
    let routes = table("http.8003", route(&[(0, 1)]));
    let proxy = Proxy::plain(router(clusters, listener(GatewayListenerKind::Http(routes))));
    let (mut busy, mut idle) = (Client(proxy.capture(Gateway, address).await), Client(proxy.capture(Gateway, address).await));
    for client in [&mut busy, &mut idle] {
        client.send(REQUEST).await;
        assert_eq!(soon(client.receive()).await.header("connection"), None);
    }
    change(&proxy, |model| model.gateways.clear());
    asked_to_leave(&mut busy).await;
    assert!(rest(&mut idle.0).await.is_empty(), "closed without an answer nobody asked for");
}

/// Sends one more request, whose answer must say that it is the last.
async fn asked_to_leave(client: &mut Client) {
    client.send(REQUEST).await;
    assert_eq!(soon(client.receive()).await.header("connection"), Some("close"));
    assert!(rest(&mut client.0).await.is_empty());
}

/// A gateway whose port serves HTTP on all addresses, and by a table of its own on these.
fn on_all_addresses_and(addresses: &[SocketAddr], origin: SocketAddr) -> Snapshot {
    let one = |address: &SocketAddr| (format!("http.8005.{}", address.ip()), Some(address.ip()));
    let binds = addresses.iter().map(one).chain([("http.8005".to_owned(), None)]);
    let listener = |(name, bind): (String, _)| {
        let kind = GatewayListenerKind::Http(table(&name, route(&[(0, 1)])));
        GatewayListener { name, bind, port: 8005, kind }
    };
    router(vec![web("web", &[origin])], binds.map(listener).collect())
}

#[tokio::test]
async fn requests_through_a_listener_that_is_no_more_are_the_last_though_another_serves_their_address_now() {
    let origin = Answering::start(|_, _| ok("served")).await;
    let [one, other] = [(); 2].map(|()| SocketAddr::new(own_address(), 8005));
    let proxy = Proxy::plain(on_all_addresses_and(&[one], origin.address));
    let [mut first, mut second] = [Client(proxy.capture(Gateway, one).await), Client(proxy.capture(Gateway, other).await)];
    for client in [&mut first, &mut second] {
        client.send(REQUEST).await;
        assert_eq!(soon(client.receive()).await.text(), "served");
    }
    change(&proxy, |model| *model = on_all_addresses_and(&[other], origin.address));
    asked_to_leave(&mut first).await;
    second.send(REQUEST).await;
    let got = soon(second.receive()).await;
    assert_eq!((got.text().as_str(), got.header("connection")), ("served", None), "the listener it came through is still there");
    change(&proxy, |model| model.gateways.retain(|listener| listener.bind.is_some()));
    asked_to_leave(&mut second).await;
}

#[tokio::test]
async fn bytes_through_a_listener_that_is_no_more_end_though_another_serves_their_address_now() {
    let (origin, address) = (Origin::start().await, SocketAddr::new(own_address(), 8006));
    let everywhere = GatewayListener { bind: None, ..tcp_listener(address) };
    let cluster = cluster("db", Discovery::Endpoints, &[origin.address()]);
    let proxy = Proxy::plain(router(vec![cluster], vec![tcp_listener(address), everywhere]));
    let mut client = proxy.capture(Gateway, address).await;
    let (mut server, _) = origin.accept().await;
    let since = Instant::now();
    change(&proxy, |model| model.gateways.retain(|listener| listener.bind.is_none()));
    alive(&mut client, &mut server).await;
    ends_in_time(&mut client, since).await;
}

#[tokio::test]
async fn requests_to_a_port_that_no_service_has_any_more_go_by_the_chain_of_all_other_ports() {
    let origin = Answering::start(|_, _| ok("served")).await;
    let mut model = opaque(service(&[]));
    let inbound = model.inbound.as_mut().expect("a sidecar");
    let chain = |name| InboundChain { protocol: ListenerProtocol::Http, http: table(name, route(&[(1, 1)])), ..(*inbound.default).clone() };
    let of_service = InboundChain { port: origin.address.port(), ..chain("inbound|8080||") };
    inbound.default = Arc::new(chain("InboundPassthroughCluster"));
    inbound.by_port.insert(of_service.port, of_service.into());
    let proxy = Proxy::plain(model);
    let mut client = Client(proxy.capture(Inbound, origin.address).await);
    for _ in 0..2 {
        client.send(REQUEST).await;
        let got = soon(client.receive()).await;
        assert_eq!((got.text().as_str(), got.header("connection")), ("served", None), "{}", got.head);
        change(&proxy, |model| model.inbound.as_mut().expect("a sidecar").by_port.clear());
    }
}

#[tokio::test]
async fn requests_to_a_service_that_is_no_more_are_the_last_of_their_connection() {
    let origin = Answering::start(|_, _| ok("served")).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut client = Client::of(&proxy).await;
    assert_eq!(client.get("/").await.text(), "served");
    change(&proxy, |model| model.outbound.by_address.clear());
    asked_to_leave(&mut client).await;
}

#[tokio::test]
async fn a_websocket_through_a_gateway_port_that_is_no_more_ends_with_the_drain_duration() {
    let (origin, address) = (Origin::start().await, SocketAddr::new(own_address(), 8004));
    let kind = GatewayListenerKind::Http(table("http.8004", route(&[(0, 1)])));
    let listener = GatewayListener { name: "web".to_owned(), bind: Some(address.ip()), port: 8004, kind };
    let proxy = Proxy::plain(router(vec![web("web", &[origin.address()])], vec![listener]));
    let mut client = Client(proxy.capture(Gateway, address).await);
    client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await;
    let (mut server, _) = origin.accept().await;
    read_request(&mut server).await.expect("request");
    server.write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await.expect("write");
    assert_eq!(soon(client.receive()).await.status(), 101);
    let since = Instant::now();
    change(&proxy, |model| model.gateways.clear());
    alive(&mut client.0, &mut server).await;
    ends_in_time(&mut client.0, since).await;
}
