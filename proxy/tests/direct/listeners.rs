//! Listening sockets: followed, limited, spread over workers, closed without losing anybody.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use outrigger_config::model::{Discovery, GatewayListener, GatewayListenerKind, Snapshot};
use outrigger_proxy::drain::Phase;
use outrigger_proxy::listener::{CapturePorts, Dispatcher, Entrance, Listeners, bind, entrances};
use outrigger_proxy::snapshot::Config;
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
    let (_proxy, mut listeners) = start(gateway(ip, &[8001, 8002], &origin));
    assert!(listeners.apply(&wanted(&gateway(ip, &[8001], &origin))).await.is_empty());
    let _kept = served((ip, 8001).into(), &origin).await;
    assert!(TcpStream::connect((ip, 8002)).await.is_err(), "not asked for yet");
    assert!(listeners.apply(&wanted(&gateway(ip, &[8002], &origin))).await.is_empty());
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
    let (_proxy, mut listeners) = start(gateway(ip, &[8001, 8002], &origin));
    let holder = StdListener::bind((ip, 8001)).expect("bind");
    let entrances = wanted(&gateway(ip, &[8001, 8002], &origin));
    let errors = listeners.apply(&entrances).await;
    let text = errors.iter().map(ToString::to_string).collect::<String>();
    assert!(text.contains(&format!("{ip}:8001")) && text.contains("the port is taken"), "{text}");
    served((ip, 8002).into(), &origin).await;
    drop(holder);
    assert!(listeners.apply(&entrances).await.is_empty());
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
    assert!(listeners.apply(&wanted(&gateway(ip, &[8001], &origin))).await.is_empty());
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
    assert!(listeners.apply(&wanted(&gateway(ip, &[8001], &origin))).await.is_empty());
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

/// A port that nobody has on any address. Below those the kernel gives to outgoing connections.
fn port_free_everywhere() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    let mut candidates = std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed)).take(1000);
    candidates.find(|port| StdListener::bind(("0.0.0.0", *port)).is_ok()).expect("a free port")
}

/// A gateway whose TCP port leads to `all`, and on the one address to `one`, where there is any.
fn gateway_bound(port: u16, all: Option<&Origin>, one: Option<(IpAddr, &Origin)>) -> Snapshot {
    let origins = all.into_iter().chain(one.map(|(_, origin)| origin));
    let clusters = origins.enumerate().map(|(at, origin)| cluster(&format!("db{at}"), Discovery::Endpoints, &[origin.address()]));
    let binds = all.map(|_| None).into_iter().chain(one.map(|(ip, _)| Some(ip)));
    let listener = |(at, bind): (usize, Option<IpAddr>)| GatewayListener {
        name: format!("{bind:?}_{port}"),
        bind,
        port,
        kind: GatewayListenerKind::Tcp(Some(to(at as u32))),
    };
    router(clusters.collect(), binds.enumerate().map(listener).collect())
}

fn start(model: Snapshot) -> (Proxy, Listeners) {
    let proxy = Proxy::plain(model);
    let (dispatcher, incoming) = Dispatcher::new(&[Arc::clone(&proxy.worker)], 100);
    incoming.into_iter().for_each(|incoming| drop(tokio::spawn(incoming.run())));
    (proxy, Listeners::new(dispatcher))
}

#[tokio::test]
async fn a_port_of_all_addresses_and_the_same_of_one_address_are_open_together_and_lead_to_different_places() {
    let (all, one) = (Origin::start().await, Origin::start().await);
    let (port, ip, other) = (port_free_everywhere(), own_address(), own_address());
    let model = gateway_bound(port, Some(&all), Some((ip, &one)));
    let (_proxy, mut listeners) = start(model.clone());
    for wanted in [wanted(&gateway_bound(port, Some(&all), None)), wanted(&model)] {
        let errors = listeners.apply(&wanted).await;
        assert!(errors.is_empty(), "{errors:?}");
    }
    served((ip, port).into(), &one).await;
    served((other, port).into(), &all).await;
}

#[tokio::test]
async fn a_port_moves_from_all_addresses_to_one_and_back_in_one_step() {
    let origin = Origin::start().await;
    let (port, ip) = (port_free_everywhere(), own_address());
    let (all, one) = (gateway_bound(port, Some(&origin), None), gateway_bound(port, None, Some((ip, &origin))));
    let (_proxy, mut listeners) = start(all.clone());
    for model in [&all, &one, &all] {
        let errors = listeners.apply(&wanted(model)).await;
        assert!(errors.is_empty(), "{errors:?}");
        served((ip, port).into(), &origin).await;
        if model.gateways[0].bind.is_some() {
            assert!(TcpStream::connect((own_address(), port)).await.is_err(), "on one address alone");
        } else {
            served((own_address(), port).into(), &origin).await;
        }
    }
}

#[tokio::test]
async fn a_port_that_cannot_be_opened_on_all_addresses_stays_open_on_those_that_are_bound_by_themselves() {
    let (all, one) = (Origin::start().await, Origin::start().await);
    let (port, ip, taken) = (port_free_everywhere(), own_address(), own_address());
    let (before, both) = (gateway_bound(port, None, Some((ip, &one))), gateway_bound(port, Some(&all), Some((ip, &one))));
    let (proxy, mut listeners) = start(before.clone());
    let holder = StdListener::bind((taken, port)).expect("bind");
    assert!(listeners.apply(&wanted(&before)).await.is_empty());
    proxy.worker.config.publish(Config::build(both.clone(), None));
    for _ in 0..2 {
        let errors = listeners.apply(&wanted(&both)).await;
        let [error] = &errors[..] else { panic!("{errors:?}") };
        assert!(error.to_string().contains(&format!("0.0.0.0:{port}: the port is taken")), "{error}");
        let [entrance] = listeners.entrances().collect::<Vec<_>>()[..] else { panic!("one socket") };
        assert_eq!(entrance.bind, Some(ip));
        served((ip, port).into(), &one).await;
    }
    drop(holder);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
    assert!(listeners.apply(&wanted(&both)).await.is_empty(), "tried again after a while");
    served((ip, port).into(), &one).await;
    served((taken, port).into(), &all).await;
}

#[tokio::test]
async fn a_port_that_is_taken_on_all_ipv6_addresses_stays_open_on_those_that_are_bound_by_themselves() {
    let (all, one) = (Origin::start().await, Origin::start().await);
    let (port, ip) = (port_free_everywhere(), own_address());
    let both = gateway_bound(port, Some(&all), Some((ip, &one)));
    let (_proxy, mut listeners) = start(both.clone());
    let Ok(_holder) = bind::bind((Ipv6Addr::UNSPECIFIED, port).into()) else { return };
    assert_eq!(listeners.apply(&wanted(&both)).await.len(), 1);
    served((ip, port).into(), &one).await;
}

#[test]
fn an_address_of_nobody_is_named() {
    let error = bind::bind("192.0.2.1:8080".parse().expect("address")).expect_err("not ours");
    assert!(error.to_string().contains("192.0.2.1:8080: no interface has this address"), "{error}");
}
