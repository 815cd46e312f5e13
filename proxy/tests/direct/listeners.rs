//! Listening sockets: followed, limited, spread over workers, closed without losing anybody.

use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use outrigger_config::model::{Discovery, GatewayListener, GatewayListenerKind, Snapshot};
use outrigger_proxy::drain::Phase;
use outrigger_proxy::listener::{CapturePorts, Dispatcher, Entrance, Listeners, accept, entrances};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::fixture::*;

fn gateway(ip: IpAddr, ports: &[u16], origin: &Origin) -> Snapshot {
    let listener = |port: &u16| GatewayListener {
        name: format!("{ip}_{port}"),
        bind: Some(ip),
        port: *port,
        kind: GatewayListenerKind::Tcp(Some(to(0))),
    };
    router(vec![cluster("db", Discovery::Endpoints, &[origin.address()])], ports.iter().map(listener).collect())
}

fn wanted(model: &Snapshot) -> Vec<Entrance> {
    entrances(model, CapturePorts::default())
}

/// Connects and makes sure that somebody serves the connection.
async fn served(address: SocketAddr, origin: &Origin) -> TcpStream {
    let mut client = soon(TcpStream::connect(address)).await.expect("connect");
    client.write_all(b"hello").await.expect("write");
    expect(&mut origin.accept().await.0, "hello").await;
    client
}

#[tokio::test]
async fn ports_open_and_close_with_the_configuration() {
    let (origin, ip) = (Origin::start().await, own_address());
    let proxy = Proxy::plain(gateway(ip, &[8001, 8002], &origin));
    let (dispatcher, incoming) = Dispatcher::new(&[Arc::clone(&proxy.worker)], 100);
    incoming.into_iter().for_each(|incoming| drop(tokio::spawn(incoming.run())));
    let mut listeners = Listeners::new(dispatcher);
    assert!(listeners.apply(&wanted(&gateway(ip, &[8001], &origin))).is_empty());
    let _kept = served((ip, 8001).into(), &origin).await;
    assert!(TcpStream::connect((ip, 8002)).await.is_err(), "not asked for yet");
    assert!(listeners.apply(&wanted(&gateway(ip, &[8002], &origin))).is_empty());
    served((ip, 8002).into(), &origin).await;
    soon(async {
        while TcpStream::connect((ip, 8001)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    soon(listeners.close()).await;
    assert!(TcpStream::connect((ip, 8002)).await.is_err());
}

#[tokio::test]
async fn a_taken_port_is_named_and_tried_again() {
    let (origin, ip) = (Origin::start().await, own_address());
    let proxy = Proxy::plain(gateway(ip, &[8001, 8002], &origin));
    let (dispatcher, incoming) = Dispatcher::new(&[Arc::clone(&proxy.worker)], 100);
    incoming.into_iter().for_each(|incoming| drop(tokio::spawn(incoming.run())));
    let mut listeners = Listeners::new(dispatcher);
    let holder = StdListener::bind((ip, 8001)).expect("bind");
    let entrances = wanted(&gateway(ip, &[8001, 8002], &origin));
    let errors = listeners.apply(&entrances);
    let text = errors.iter().map(ToString::to_string).collect::<String>();
    assert!(text.contains(&format!("{ip}:8001")) && text.contains("the port is taken"), "{text}");
    served((ip, 8002).into(), &origin).await;
    drop(holder);
    assert!(listeners.apply(&entrances).is_empty());
    served((ip, 8001).into(), &origin).await;
}

#[tokio::test]
async fn connections_go_to_the_worker_with_fewest_and_end_at_the_limit() {
    let (origin, ip) = (Origin::start().await, own_address());
    let proxies = [(); 2].map(|()| Proxy::plain(gateway(ip, &[8001], &origin)));
    let workers = [0, 1].map(|at| Arc::clone(&proxies[at].worker));
    let (dispatcher, incoming) = Dispatcher::new(&workers, 4);
    incoming.into_iter().for_each(|incoming| drop(tokio::spawn(incoming.run())));
    let mut listeners = Listeners::new(dispatcher);
    assert!(listeners.apply(&wanted(&gateway(ip, &[8001], &origin))).is_empty());
    let counts = || workers.each_ref().map(|worker| worker.connections.load(Ordering::Relaxed));
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(served((ip, 8001).into(), &origin).await);
    }
    assert_eq!(counts(), [2, 2]);
    let mut over = TcpStream::connect((ip, 8001)).await.expect("the kernel accepts");
    assert_eq!(rest(&mut over).await, b"", "closed at once");
    clients.clear();
    soon(async {
        while counts() != [0, 0] {
            tokio::task::yield_now().await;
        }
    })
    .await;
    served((ip, 8001).into(), &origin).await;
}

#[tokio::test]
async fn connections_live_through_draining_and_are_cut_at_the_deadline() {
    let (origin, ip) = (Origin::start().await, own_address());
    let proxy = Proxy::plain(gateway(ip, &[8001], &origin));
    let (dispatcher, incoming) = Dispatcher::new(&[Arc::clone(&proxy.worker)], 100);
    let workers: Vec<_> = incoming.into_iter().map(|incoming| tokio::spawn(incoming.run())).collect();
    let mut listeners = Listeners::new(dispatcher);
    assert!(listeners.apply(&wanted(&gateway(ip, &[8001], &origin))).is_empty());
    let mut client = TcpStream::connect((ip, 8001)).await.expect("connect");
    let (mut server, _) = origin.accept().await;
    proxy.phase.advance(Phase::Draining);
    client.write_all(b"still here").await.expect("write");
    expect(&mut server, "still here").await;
    proxy.phase.advance(Phase::Forced);
    assert_eq!(rest(&mut client).await, b"");
    proxy.metric("istio_tcp_connections_closed_total", &["} 1"]).await;
    for worker in workers {
        soon(worker).await.expect("the worker ends");
    }
    assert_eq!(proxy.worker.connections.load(Ordering::Relaxed), 0);
}

#[test]
fn an_address_of_nobody_is_named() {
    let error = accept::bind("192.0.2.1:8080".parse().expect("address")).expect_err("not ours");
    assert!(error.to_string().contains("192.0.2.1:8080: no interface has this address"), "{error}");
}
