//! Bytes forwarded: half-close, resets, time-outs, endpoints that are gone, destinations nobody knows.

use std::sync::Arc;
use std::time::Duration;

use outrigger_config::model::{ClusterId, Discovery, Listener, ListenerProtocol, SniRoute, TcpDestination};
use outrigger_proxy::listener::EntranceKind::{Inbound, Outbound};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::*;
use crate::tcp_fixture::*;

#[tokio::test]
async fn each_direction_is_closed_after_its_last_byte() {
    let origin = Origin::start().await;
    let proxy = Proxy::plain(opaque(service(&[origin.address()])));
    let mut client = proxy.capture(Outbound, vip()).await;
    let (mut server, _) = origin.accept().await;
    let question = vec![b'q'; 300_000];
    let (sent, received) = tokio::join!(
        async {
            client.write_all(&question).await.expect("write");
            client.shutdown().await.expect("shutdown");
        },
        rest(&mut server)
    );
    let ((), received) = (sent, received);
    assert_eq!(received.len(), question.len(), "the server sees the end of the question, and all of it");
    server.write_all(b"answer after the end of the question").await.expect("write");
    server.shutdown().await.expect("shutdown");
    assert_eq!(rest(&mut client).await, b"answer after the end of the question");
}

#[tokio::test]
async fn a_server_may_close_first() {
    let origin = Origin::start().await;
    let proxy = Proxy::plain(opaque(service(&[origin.address()])));
    let mut client = proxy.capture(Outbound, vip()).await;
    let (mut server, _) = origin.accept().await;
    server.write_all(b"bye").await.expect("write");
    server.shutdown().await.expect("shutdown");
    assert_eq!(rest(&mut client).await, b"bye");
    client.write_all(b"last word").await.expect("write");
    client.shutdown().await.expect("shutdown");
    assert_eq!(rest(&mut server).await, b"last word");
}

#[tokio::test]
async fn a_reset_is_passed_on_as_a_reset() {
    let origin = Origin::start().await;
    let proxy = Proxy::plain(opaque(service(&[origin.address()])));
    let mut client = proxy.capture(Outbound, vip()).await;
    let (mut server, _) = origin.accept().await;
    client.write_all(b"x").await.expect("write");
    expect(&mut server, "x").await;
    socket2::SockRef::from(&server).set_linger(Some(Duration::ZERO)).expect("linger");
    drop(server);
    let error = soon(client.read(&mut [0; 8])).await.expect_err("not an orderly end");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_passed_over() {
    let origin = Origin::start().await;
    let gone = Origin::start().await.address();
    let proxy = Proxy::plain(opaque(service(&[gone, origin.address()])));
    for _ in 0..4 {
        let mut client = proxy.capture(Outbound, vip()).await;
        client.write_all(b"hello").await.expect("write");
        expect(&mut origin.accept().await.0, "hello").await;
    }
}

#[tokio::test]
async fn a_connection_without_a_reachable_endpoint_is_closed() {
    let gone = Origin::start().await.address();
    for endpoints in [vec![gone], Vec::new()] {
        let proxy = Proxy::plain(opaque(service(&endpoints)));
        let mut client = proxy.capture(Outbound, vip()).await;
        assert_eq!(rest(&mut client).await, b"", "{endpoints:?}");
    }
}

#[tokio::test]
async fn unknown_destinations_are_passed_through_or_swallowed() {
    let origin = Origin::start().await;
    let mut model = opaque(service(&[]));
    let proxy = Proxy::plain(model.clone());
    let mut client = proxy.capture(Outbound, origin.address()).await;
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("write");
    expect(&mut origin.accept().await.0, "GET / HTTP/1.1\r\n\r\n").await;
    model.outbound.unknown = ClusterId(3);
    let proxy = Proxy::plain(model);
    let mut client = proxy.capture(Outbound, origin.address()).await;
    assert_eq!(rest(&mut client).await, b"");
    assert!(origin.stays_alone().await);
}

#[tokio::test]
async fn inbound_connections_reach_the_application_from_127_0_0_6() {
    let origin = Origin::start().await;
    let proxy = Proxy::plain(opaque(service(&[])));
    let _client = proxy.capture(Inbound, origin.address()).await;
    let (_, peer) = origin.accept().await;
    assert_eq!(peer.ip().to_string(), "127.0.0.6");
}

#[tokio::test]
async fn idle_and_overlong_connections_end() {
    let origin = Origin::start().await;
    let mut idle = service(&[origin.address()]);
    Arc::make_mut(&mut idle.connection_pool).idle_timeout = Some(Duration::from_millis(300));
    let proxy = Proxy::plain(opaque(idle));
    let mut client = proxy.capture(Outbound, vip()).await;
    let (mut server, _) = origin.accept().await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        client.write_all(b"x").await.expect("write");
        expect(&mut server, "x").await;
    }
    assert_eq!(rest(&mut client).await, b"", "closed once idle");
    let mut short = service(&[origin.address()]);
    Arc::make_mut(&mut short.connection_pool).max_connection_duration = Some(Duration::from_millis(300));
    let proxy = Proxy::plain(opaque(short));
    let mut client = proxy.capture(Outbound, vip()).await;
    let (mut server, _) = origin.accept().await;
    let busy = async {
        while server.write_all(b"y").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (received, ()) = tokio::join!(rest(&mut client), soon(busy));
    assert!(!received.is_empty(), "it was busy all the time");
}

#[tokio::test]
async fn tls_is_routed_by_name_and_left_alone() {
    let (shop, other) = (Origin::start().await, Origin::start().await);
    let mut model = opaque(service(&[shop.address()]));
    model.clusters.push(cluster("outbound|443||other", Discovery::Endpoints, &[other.address()]).into());
    let route = |name: &str, cluster| SniRoute { sni_hosts: vec![name.to_owned()], destination_subnets: Vec::new(), route: to(cluster) };
    let listener = Listener {
        name: "0.0.0.0_443".to_owned(),
        protocol: ListenerProtocol::Tls,
        http: None,
        tls: vec![route("shop.example", 2), route("*.example", 4)],
        tcp: None,
    };
    model.outbound.by_port.insert(443, listener.into());
    let proxy = Proxy::plain(model);
    for (name, origin) in [("shop.example", &shop), ("pay.example", &other)] {
        let hello = crate::mutual_tls::client_hello(name);
        let mut client = proxy.capture(Outbound, "192.0.2.1:443".parse().expect("address")).await;
        let (first, second) = hello.split_at(40);
        client.write_all(first).await.expect("write");
        tokio::time::sleep(Duration::from_millis(20)).await;
        client.write_all(second).await.expect("write");
        let mut received = vec![0; hello.len()];
        let (mut server, _) = origin.accept().await;
        soon(server.read_exact(&mut received)).await.expect("bytes");
        assert_eq!(received, hello, "{name}");
    }
}

#[tokio::test]
async fn bulk_transfer_keeps_every_byte_in_both_directions() {
    let origin = Origin::start().await;
    let proxy = Proxy::plain(opaque(service(&[origin.address()])));
    let client = proxy.capture(Outbound, vip()).await;
    let (server, _) = origin.accept().await;
    let bytes: Vec<u8> = (0..4_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let pump = |stream: tokio::net::TcpStream| {
        let bytes = bytes.clone();
        async move {
            let (mut read, mut write) = stream.into_split();
            let writing = async {
                write.write_all(&bytes).await.expect("write");
                write.shutdown().await.expect("shutdown");
            };
            tokio::join!(writing, rest(&mut read)).1
        }
    };
    let (at_client, at_server) = tokio::join!(pump(client), pump(server));
    assert!(at_client == bytes && at_server == bytes);
}

#[tokio::test]
async fn connections_are_counted_with_their_bytes() {
    let origin = Origin::start().await;
    let proxy = Proxy::plain(opaque(service(&[origin.address()])));
    let mut client = proxy.capture(Outbound, vip()).await;
    let (mut server, _) = origin.accept().await;
    client.write_all(b"12345").await.expect("write");
    expect(&mut server, "12345").await;
    server.write_all(b"123").await.expect("write");
    expect(&mut client, "123").await;
    proxy.metric("istio_tcp_connections_opened_total", &["reporter=\"source\"", "} 1"]).await;
    client.shutdown().await.expect("shutdown");
    drop(server);
    assert_eq!(rest(&mut client).await, b"");
    proxy.metric("istio_tcp_connections_closed_total", &["response_flags=\"-\"", "} 1"]).await;
    proxy.metric("istio_tcp_received_bytes_total", &["} 5"]).await;
    proxy.metric("istio_tcp_sent_bytes_total", &["} 3"]).await;
}

#[tokio::test]
async fn a_connection_that_got_nowhere_is_counted_with_the_reason() {
    let gone = Origin::start().await.address();
    for (endpoints, flags) in [(vec![gone], "UF,URX"), (Vec::new(), "UH")] {
        let proxy = Proxy::plain(opaque(service(&endpoints)));
        let mut client = proxy.capture(Outbound, vip()).await;
        assert_eq!(rest(&mut client).await, b"");
        proxy.metric("istio_tcp_connections_closed_total", &[&format!("response_flags=\"{flags}\"")]).await;
    }
}

#[tokio::test]
async fn connections_are_split_exactly_by_weight() {
    let (one, two) = (Origin::start().await, Origin::start().await);
    let mut model = opaque(service(&[one.address()]));
    model.clusters.push(cluster("outbound|5432|v2|db", Discovery::Endpoints, &[two.address()]).into());
    let mut route = to(2);
    let v2 = TcpDestination { name: "outbound|5432|v2|db".to_owned(), cluster: Some(ClusterId(4)), weight: 3 };
    route.clusters.push(v2);
    let listener = Listener { name: "split".to_owned(), protocol: ListenerProtocol::Tcp, http: None, tls: Vec::new(), tcp: Some(route) };
    model.outbound.by_address.insert(vip(), listener.into());
    let proxy = Proxy::plain(model);
    let mut to_two = 0;
    for _ in 0..20 {
        let _client = proxy.capture(Outbound, vip()).await;
        tokio::select! {
            _ = one.accept() => {}
            _ = two.accept() => to_two += 1,
        }
    }
    assert_eq!(to_two, 15);
}
