//! Ports whose protocol nobody declared: the client may be silent, the server may speak first.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use outrigger_config::model::{Discovery, Listener, ListenerProtocol, MtlsMode, Snapshot};
use outrigger_proxy::listener::EntranceKind::{Inbound, Outbound};
use tokio::io::AsyncWriteExt;

use crate::fixture::*;

const VIP: &str = "10.96.0.7:9000";

fn vip() -> SocketAddr {
    VIP.parse().expect("address")
}

fn auto(origin: &Origin) -> Snapshot {
    let clusters = vec![
        cluster("BlackHoleCluster", Discovery::BlackHole, &[]),
        cluster("inbound|0||", Discovery::Inbound, &[]),
        cluster("outbound|9000||db", Discovery::Endpoints, &[origin.address()]),
    ];
    let listener = Listener {
        name: "10.96.0.7_9000".to_owned(),
        protocol: ListenerProtocol::Auto,
        http: Some(no_routes("9000")),
        tls: Vec::new(),
        tcp: Some(to(2)),
    };
    sidecar(clusters, vec![(vip(), listener)], (MtlsMode::Permissive, ListenerProtocol::Auto))
}

#[tokio::test]
async fn a_server_that_speaks_first_is_heard_by_a_silent_client() {
    let origin = Origin::start().await;
    let proxy = Proxy::plain(auto(&origin));
    for (kind, destination) in [(Outbound, vip()), (Inbound, origin.address())] {
        let before = Instant::now();
        let mut client = proxy.capture(kind, destination).await;
        let (mut server, _) = origin.accept().await;
        server.write_all(b"5.7.0 greetings").await.expect("write");
        expect(&mut client, "5.7.0 greetings").await;
        assert!(before.elapsed() >= Duration::from_millis(100), "the client gets its time to speak");
        client.write_all(b"login").await.expect("write");
        expect(&mut server, "login").await;
    }
}

#[tokio::test]
async fn a_client_that_speaks_after_the_silence_uses_the_connection_that_was_dialled() {
    let origin = Origin::start().await;
    let proxy = Proxy::plain(auto(&origin));
    let mut client = proxy.capture(Outbound, vip()).await;
    let (mut server, _) = origin.accept().await;
    client.write_all(b"\x00binary").await.expect("write");
    expect(&mut server, "\x00binary").await;
    assert!(origin.stays_alone().await, "one connection, not two");
}

#[tokio::test]
async fn a_client_that_speaks_http_after_the_silence_is_not_forwarded_as_bytes() {
    let origin = Origin::start().await;
    let proxy = Proxy::plain(auto(&origin));
    let mut client = proxy.capture(Outbound, vip()).await;
    let (mut server, _) = origin.accept().await;
    client.write_all(b"GET / HTTP/1.1\r\nhost: db\r\n\r\n").await.expect("write");
    assert_eq!(rest(&mut server).await, b"", "the connection dialled for bytes is closed unused");
}

#[tokio::test]
async fn half_a_word_is_forwarded_when_no_more_comes() {
    let origin = Origin::start().await;
    let proxy = Proxy::plain(auto(&origin));
    let mut client = proxy.capture(Outbound, vip()).await;
    client.write_all(b"HELLO").await.expect("write");
    let (mut server, _) = origin.accept().await;
    expect(&mut server, "HELLO").await;
}

#[tokio::test]
async fn under_strict_nothing_is_dialled_before_the_handshake() {
    let origin = Origin::start().await;
    for protocol in [ListenerProtocol::Auto, ListenerProtocol::Tcp, ListenerProtocol::Http] {
        let mut model = auto(&origin);
        model = Snapshot { inbound: sidecar(Vec::new(), Vec::new(), (MtlsMode::Strict, protocol)).inbound, ..model };
        let proxy = Proxy::plain(model);
        let mut silent = proxy.capture(Inbound, origin.address()).await;
        assert!(origin.stays_alone().await, "{protocol:?}: a silent client");
        silent.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("write");
        assert_eq!(rest(&mut silent).await, b"", "{protocol:?}: plaintext gets no answer");
        assert!(origin.stays_alone().await, "{protocol:?}: plaintext is not forwarded");
    }
}
