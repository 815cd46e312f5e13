//! What connections without traffic keep of the heap, and that bulk gives its buffers back.
//!
//! One test in a process of its own: the counts are the process's, the ends in the test included (two registered
//! sockets, half a KiB, and the TLS session of a client). They are bytes asked for; what is resident is the allocator's matter.

#[path = "../direct/fixture.rs"]
#[allow(dead_code, reason = "shared with other tests; this one uses a part")]
mod fixture;
#[path = "../direct/http_fixture.rs"]
#[allow(dead_code, reason = "shared with other tests; this one uses a part")]
mod http_fixture;
#[path = "../direct/mesh.rs"]
#[allow(dead_code, reason = "shared with other tests; this one uses a part")]
mod mesh;
#[path = "../budget/sys.rs"]
#[allow(dead_code, reason = "shared with other tests; this one uses a part")]
mod sys;
#[path = "../direct/tcp_fixture.rs"]
mod tcp_fixture;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fixture::*;
use http_fixture::{Answering, Client, in_front_of, ok};
use outrigger_config::model::{Discovery, ListenerProtocol, MtlsMode};
use outrigger_proxy::identity::{MeshAlpn, MeshTarget, client};
use outrigger_proxy::listener::EntranceKind::{Inbound, Outbound};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

#[test]
fn idle_connections_keep_to_their_budgets_and_bulk_is_given_back_within_five_seconds() {
    stage(idle_http());
    stage(idle_tunnels());
    stage(bulk_through_tunnels());
    stage(bulk_under_tls());
    stage(bulk_over_http());
}

/// Runs on a runtime of its own, so that nothing of the stage before is freed meanwhile.
fn stage(stage: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(stage);
}

/// Connections in a count of bytes per connection.
const CONNECTIONS: usize = 300;
/// Bytes per idle HTTP/1 connection from a client that has had an answer, that to the server included.
const HTTP: usize = 9_500;
/// Bytes per idle tunnel, the client's and the server's connection together.
const TUNNEL: usize = 8_000;

/// Growth of the heap per connection, from the second on.
async fn each<T, F: Future<Output = T>>(mut open: impl FnMut() -> F) -> usize {
    let mut kept = Vec::with_capacity(CONNECTIONS + 1);
    kept.push(open().await);
    let before = sys::live();
    for _ in 0..CONNECTIONS {
        kept.push(open().await);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    sys::live().saturating_sub(before) / CONNECTIONS
}

async fn idle_http() {
    let origin = Answering::start(|_, _| ok("answer")).await;
    let proxy = in_front_of(origin.address, |_| ());
    let bytes = each(|| async {
        let mut client = Client::of(&proxy).await;
        assert_eq!(client.get("/").await.text(), "answer");
        client
    });
    let bytes = bytes.await;
    println!("{bytes} bytes per idle HTTP/1 connection");
    assert!(bytes <= HTTP, "{bytes} bytes per connection");
}

async fn idle_tunnels() {
    let origin = Origin::start().await;
    let proxy = Proxy::plain(tcp_fixture::opaque(tcp_fixture::service(&[origin.address()])));
    let bytes = each(|| async {
        let mut client = proxy.capture(Outbound, tcp_fixture::vip()).await;
        let (mut server, _) = origin.accept().await;
        client.write_all(b"ping").await.expect("write");
        expect(&mut server, "ping").await;
        (client, server)
    });
    let bytes = bytes.await;
    println!("{bytes} bytes per idle tunnel");
    assert!(bytes <= TUNNEL, "{bytes} bytes per tunnel");
}

/// Connections through which bulk goes.
const BULK_CONNECTIONS: usize = 10;
/// Bytes through each.
const BULK: usize = 4 << 20;
/// After bulk a connection may keep this much more than before it, once the time to give back is over.
const REST: usize = 3_000;
/// A session of rustls keeps room for a record or two until it reads little; both ends of each are in this process.
const REST_TLS: usize = 64_000;
const TIME: Duration = Duration::from_secs(5);

/// Waits until the heap is back at its level `before` bulk; measures from the last byte.
async fn given_back(before: usize, rest: usize, what: &str) {
    let (since, level) = (Instant::now(), before + BULK_CONNECTIONS * rest);
    while sys::live() > level {
        let over = sys::live() - before;
        assert!(since.elapsed() < TIME + Duration::from_millis(500), "{what}: {over} bytes above the level before");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("{what}: given back after {:?}, {} bytes more than before", since.elapsed(), sys::live().saturating_sub(before));
}

/// Sends from one end and reads at the other.
async fn pump(from: &mut (impl AsyncWrite + Unpin), to: &mut (impl AsyncRead + Unpin)) {
    let (mut piece, mut left) = (vec![0; 65_536], BULK);
    let writing = async {
        let bytes = vec![7; 65_536];
        for _ in 0..BULK / bytes.len() {
            from.write_all(&bytes).await.expect("write");
        }
        from.flush().await.expect("flush");
    };
    let reading = async {
        while left > 0 {
            left -= to.read(&mut piece).await.expect("read");
        }
    };
    soon(async { tokio::join!(writing, reading) }).await;
}

async fn bulk_through_tunnels() {
    let origin = Origin::start().await;
    let proxy = Proxy::plain(tcp_fixture::opaque(tcp_fixture::service(&[origin.address()])));
    let mut pairs = Vec::new();
    for _ in 0..BULK_CONNECTIONS {
        let mut client = proxy.capture(Outbound, tcp_fixture::vip()).await;
        let (mut server, _) = origin.accept().await;
        client.write_all(b"ping").await.expect("write");
        expect(&mut server, "ping").await;
        pairs.push((client, server));
    }
    let before = sys::live();
    for (client, server) in &mut pairs {
        pump(client, server).await;
        pump(server, client).await;
    }
    given_back(before, REST, "TCP").await;
    let back = async {
        while proxy.worker.pipes.counts().0 > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(TIME + Duration::from_millis(500), back).await.expect("pipes in use by idle connections");
}

async fn bulk_under_tls() {
    let mesh = mesh::Mesh::new();
    let (server_identity, client_identity) = (mesh.identity("frontend"), mesh.identity("client"));
    let clusters = vec![cluster("BlackHoleCluster", Discovery::BlackHole, &[]), cluster("inbound|0||", Discovery::Inbound, &[])];
    let proxy = Proxy::new(sidecar(clusters, Vec::new(), (MtlsMode::Strict, ListenerProtocol::Tcp)), Arc::clone(&server_identity));
    let (origin, mut pairs) = (Origin::start().await, Vec::new());
    for _ in 0..BULK_CONNECTIONS {
        let tcp = proxy.capture(Inbound, origin.address()).await;
        let expected = ["spiffe://cluster.local/ns/shop/sa/frontend"];
        let target = MeshTarget { sni: "outbound_.5432_._.db", expected: &expected, alpn: MeshAlpn::Tcp };
        let (mut session, _) = soon(client::connect(&client_identity, tcp, target)).await.expect("handshake");
        session.write_all(b"ping").await.expect("write");
        let (mut server, _) = origin.accept().await;
        expect(&mut server, "ping").await;
        pairs.push((session, server));
    }
    let before = sys::live();
    for (client, server) in &mut pairs {
        pump(client, server).await;
        pump(server, client).await;
    }
    given_back(before, REST_TLS, "TLS").await;
}

async fn bulk_over_http() {
    let body = "x".repeat(BULK);
    let origin = Answering::start(move |_, seen| if seen.head.starts_with("GET /bulk") { ok(&body) } else { ok("small") }).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut clients = Vec::new();
    for _ in 0..BULK_CONNECTIONS {
        let mut client = Client::of(&proxy).await;
        assert_eq!(client.get("/").await.text(), "small");
        clients.push(client);
    }
    let before = sys::live();
    for client in &mut clients {
        assert_eq!(soon(client.get("/bulk")).await.body.len(), BULK);
    }
    given_back(before, REST, "HTTP").await;
}
