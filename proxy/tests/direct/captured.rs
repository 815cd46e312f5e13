//! Real redirection: the kernel's REDIRECT, SO_ORIGINAL_DST in both families, and the loops it could make.
//!
//! Needs root and iptables. Each test lives on a thread that has a network namespace of its own, gone with the thread.

use std::future::Future;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use nix::sched::{CloneFlags, unshare};
use outrigger_config::model::{Discovery, Listener, ListenerProtocol, MtlsMode, Snapshot};
use outrigger_proxy::listener::{CapturePorts, Dispatcher, Listeners, entrances};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::*;

const POD: [&str; 2] = ["10.1.0.5", "fd00::5"];
const VIPS: [&str; 2] = ["10.96.0.7:80", "[fd96::7]:80"];

fn run(line: &str) {
    let mut words = line.split(' ');
    let program = words.next().expect("program");
    let output = Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A pod's network: its addresses on lo, everything routed there, calls to the VIPs captured as outbound and calls to the
/// pod as inbound, except those from the proxy's delivery address.
fn pod_network() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of its own (this test needs root)");
    run("ip link set lo up");
    for (family, tool, pod, vip, delivery) in
        [("-4", "iptables", POD[0], "10.96.0.7", "127.0.0.6"), ("-6", "ip6tables", POD[1], "fd96::7", "::6")]
    {
        // On a busy machine an IPv6 address is tentative for a moment, even on lo, and cannot be bound.
        let usable_at_once = if family == "-6" { " nodad" } else { "" };
        run(&format!("ip {family} addr add {pod} dev lo{usable_at_once}"));
        if family == "-6" {
            run("ip -6 addr add ::6/128 dev lo nodad");
        }
        run(&format!("ip {family} route add default dev lo"));
        run(&format!("{tool} -t nat -A OUTPUT -s {delivery} -j RETURN"));
        run(&format!("{tool} -t nat -A OUTPUT -p tcp -d {vip} -j REDIRECT --to-ports 15001"));
        run(&format!("{tool} -t nat -A OUTPUT -p tcp -d {pod} --dport 8080 -j REDIRECT --to-ports 15006"));
        run(&format!("{tool} -t nat -A OUTPUT -p tcp -d {pod} --dport 15006 -j REDIRECT --to-ports 15001"));
    }
}

/// Runs a test in a pod's network.
fn in_pod<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let body = move || {
        pod_network();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(test());
    };
    std::thread::spawn(body).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn model(origin: &Origin) -> Snapshot {
    let clusters = vec![
        cluster("PassthroughCluster", Discovery::OriginalDst { port: None }, &[]),
        cluster("inbound|8080||", Discovery::Inbound, &[]),
        cluster("outbound|80||shop", Discovery::Endpoints, &[origin.address()]),
    ];
    let listener = |address: SocketAddr| {
        let name = address.to_string();
        (address, Listener { name, protocol: ListenerProtocol::Tcp, http: None, tls: Vec::new(), tcp: Some(to(2)) })
    };
    let listeners = VIPS.map(|vip| listener(vip.parse().expect("address"))).into();
    let mut model = sidecar(clusters, listeners, (MtlsMode::Disable, ListenerProtocol::Tcp));
    let mut node = (*model.node).clone();
    node.ip_addresses = POD.map(|ip| ip.parse().expect("ip")).into();
    model.node = Arc::new(node);
    model
}

/// A sidecar listening on its capture ports; lives as long as what is returned.
async fn start(model: Snapshot) -> (Proxy, Listeners) {
    let wanted = entrances(&model, CapturePorts::default());
    let proxy = Proxy::plain(model);
    let (dispatcher, incoming) = Dispatcher::new(&[Arc::clone(&proxy.worker)], 100);
    incoming.into_iter().for_each(|incoming| drop(tokio::spawn(incoming.run())));
    let mut listeners = Listeners::new(dispatcher);
    let errors = listeners.apply(&wanted).await;
    assert!(errors.is_empty(), "{errors:?}");
    (proxy, listeners)
}

#[test]
fn outbound_connections_are_routed_by_their_original_destination() {
    in_pod(|| async {
        let origin = Origin::start().await;
        let _proxy = start(model(&origin)).await;
        for vip in VIPS {
            let mut client = soon(TcpStream::connect(vip)).await.expect("captured");
            client.write_all(b"hello").await.expect("write");
            expect(&mut origin.accept().await.0, "hello").await;
        }
    });
}

#[test]
fn inbound_connections_reach_the_application_and_are_not_captured_again() {
    in_pod(|| async {
        let origin = Origin::start().await;
        let _proxy = start(model(&origin)).await;
        for (pod, delivery) in POD.into_iter().zip(["127.0.0.6", "::6"]) {
            let application = TcpListener::bind((pod, 8080)).await.expect("bind");
            let mut client = soon(TcpStream::connect((pod, 8080))).await.expect("captured");
            client.write_all(b"hello").await.expect("write");
            let (mut served, peer) = soon(application.accept()).await.expect("accept");
            expect(&mut served, "hello").await;
            assert_eq!(peer.ip().to_string(), delivery);
        }
    });
}

#[test]
fn connections_that_would_come_back_to_the_proxy_are_closed() {
    in_pod(|| async {
        let origin = Origin::start().await;
        let (proxy, _listeners) = start(model(&origin)).await;
        let ours = ["127.0.0.1:15001", "127.0.0.1:15006", "[::1]:15001", "10.1.0.5:15001", "10.1.0.5:15006", "[fd00::5]:15006"];
        for address in ours {
            let mut client = soon(TcpStream::connect(address)).await.expect("accepted");
            assert_eq!(rest(&mut client).await, b"", "{address}");
        }
        assert_eq!(proxy.worker.connections.load(std::sync::atomic::Ordering::Relaxed), 0, "nothing went round");
    });
}
