//! Interception mode TPROXY: the application sees its clients' own addresses (sidecar contract 2.4).

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use crate::net::{CLIENTS, Net, PATIENCE, POD, PROGRAM, Process, application, ask, inside, listen};

/// Capabilities of an injected proxy in this mode: uid 0, gid 1337, NET_ADMIN alone.
const AS_INJECTED: [&str; 8] = [
    "--reuid=0",
    "--regid=1337",
    "--clear-groups",
    "--bounding-set=-all,+net_admin",
    "--inh-caps=-all,+net_admin",
    "--ambient-caps=-all",
    "--no-new-privs",
    "--",
];

/// A pod whose inbound traffic comes by TPROXY, with a proxy and an application on 8080.
struct Pod {
    net: Net,
    proxy: Process,
    _folder: tempfile::TempDir,
}

fn proxy(net: &Net, folder: &tempfile::TempDir, privileges: &[&str]) -> Command {
    let mut command = net.in_pod("setpriv");
    command.args(privileges).args([PROGRAM, "proxy", "sidecar", "--pod-info", "/nonexistent", "--concurrency", "1", "--config"]);
    command.arg(folder.path());
    command.env("ISTIO_META_INTERCEPTION_MODE", "TPROXY").env("INSTANCE_IP", POD[0]).env("POD_NAMESPACE", "shop");
    command
}

impl Pod {
    fn start(manifests: &str) -> Pod {
        Pod::start_with(manifests, &[])
    }

    /// With variables that both containers get.
    fn start_with(manifests: &str, metadata: &[(&str, &str)]) -> Pod {
        let net = Net::new();
        capture(&net, metadata);
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("mesh.yaml"), manifests).expect("written");
        application(&net, 8080);
        let mut proxy = Process::start(proxy(&net, &folder, &AS_INJECTED).envs(metadata.iter().copied()));
        let health = SocketAddr::new(POD[0].parse().expect("an address"), 15021);
        let ready = || inside(&net.client, || ask(CLIENTS[0][0], health, "GET /healthz/ready HTTP/1.0\r\n\r\n"));
        proxy.until("ready", || ready().is_ok_and(|answer| answer.contains(" 200 ")));
        Pod { net, proxy, _folder: folder }
    }

    /// What the application says to a client.
    fn ask(&self, source: &str, request: &str) -> String {
        let pod = if source.contains(':') { POD[1] } else { POD[0] };
        let destination = SocketAddr::new(pod.parse().expect("an address"), 8080);
        let answer = inside(&self.net.client, || ask(source, destination, request));
        let answer = answer.unwrap_or_else(|error| panic!("{source}: {error}; the proxy said:\n{}", self.proxy.said()));
        answer.lines().last().unwrap_or_default().to_owned()
    }
}

/// The init container's work, with the arguments of Istio's template.
fn capture(net: &Net, metadata: &[(&str, &str)]) {
    let fixed = [
        "istio-iptables",
        "-p",
        "15001",
        "-z",
        "15006",
        "-u",
        "1337",
        "-m",
        "TPROXY",
        "-i",
        "*",
        "-x",
        "",
        "-b",
        "*",
        "-d",
        "15090,15021,15020",
    ];
    let output = net.in_pod(PROGRAM).args(fixed).envs(metadata.iter().copied()).output().expect("started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_http_application_sees_each_clients_address_also_over_kept_connections() {
    let pod = Pod::start("");
    for clients in CLIENTS {
        let mut connections = Vec::new();
        for _ in 0..3 {
            for client in clients {
                let answer = pod.ask(client, "GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n");
                let (peer, connection) = answer.split_once(' ').expect("peer and connection");
                assert_eq!(peer, client);
                connections.push(connection.to_owned());
            }
        }
        connections.sort();
        connections.dedup();
        assert_eq!(connections.len(), 2, "one kept connection per client: {connections:?}");
    }
}

#[test]
fn a_tcp_application_sees_each_clients_address() {
    let pod = Pod::start("");
    for client in CLIENTS.concat() {
        for _ in 0..3 {
            let answer = pod.ask(client, "hello\n");
            assert_eq!(answer.split(' ').next(), Some(client));
        }
    }
}

#[test]
fn an_application_can_listen_on_the_port_that_a_connection_comes_from() {
    let pod = Pod::start("");
    let listener = inside(&pod.net.pod, || listen(POD[0].parse().expect("an address"), 8090));
    let destination = SocketAddr::new(POD[0].parse().expect("an address"), 8090);
    let mut client = inside(&pod.net.client, || TcpStream::connect_timeout(&destination, PATIENCE)).expect("connected");
    client.write_all(b"hello\n").expect("sent");
    let (_stream, peer) = listener.accept().expect("accepted");
    assert_eq!(peer.ip().to_string(), CLIENTS[0][0]);
    inside(&pod.net.pod, || TcpListener::bind(("0.0.0.0", peer.port()))).expect("as if nobody had the port");
}

#[test]
fn the_mark_that_the_init_step_was_given_is_the_proxys_too() {
    let pod = Pod::start_with("", &[("ISTIO_INBOUND_TPROXY_MARK", "77")]);
    for client in [CLIENTS[0][0], CLIENTS[1][0]] {
        assert_eq!(pod.ask(client, "hello\n").split(' ').next(), Some(client));
    }
}

#[test]
fn a_pod_that_calls_its_own_service_passes_the_inbound_side_and_sees_itself() {
    let pod = Pod::start(SERVICE);
    let vip: SocketAddr = "10.96.0.7:80".parse().expect("an address");
    let answer = inside(&pod.net.pod, || ask(POD[0], vip, "GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n"));
    let answer = answer.unwrap_or_else(|error| panic!("{error}; the proxy said:\n{}", pod.proxy.said()));
    assert!(answer.lines().last().is_some_and(|line| line.starts_with(&format!("{} ", POD[0]))), "{answer}");
    let metrics = SocketAddr::new(POD[0].parse().expect("an address"), 15090);
    let metrics = inside(&pod.net.client, || ask(CLIENTS[0][0], metrics, "GET /stats/prometheus HTTP/1.0\r\n\r\n")).expect("metrics");
    for reporter in ["source", "destination"] {
        assert!(metrics.contains(&format!("istio_requests_total{{reporter=\"{reporter}\"")), "{reporter}: {metrics}");
    }
}

#[test]
fn a_capture_port_that_is_dialled_directly_is_refused() {
    let pod = Pod::start("");
    for client in [CLIENTS[0][0], CLIENTS[1][0]] {
        let address = if client.contains(':') { POD[1] } else { POD[0] };
        let capture = SocketAddr::new(address.parse().expect("an address"), 15006);
        let answer = inside(&pod.net.client, || ask(client, capture, "GET / HTTP/1.1\r\nhost: shop\r\n\r\n"));
        assert!(answer.as_ref().map_or(true, String::is_empty), "{answer:?}");
    }
}

#[test]
fn without_the_capability_the_proxy_does_not_start_and_says_what_is_missing() {
    let net = Net::new();
    let folder = tempfile::tempdir().expect("a folder");
    let unprivileged = ["--reuid=1337", "--regid=1337", "--clear-groups", "--inh-caps=-all", "--"];
    let mut process = Process::start(&mut proxy(&net, &folder, &unprivileged));
    assert_eq!(process.ended().code(), Some(1));
    let begin = std::time::Instant::now();
    while !process.said().contains("CAP_NET_ADMIN") {
        assert!(begin.elapsed() < PATIENCE, "{}", process.said());
        std::thread::yield_now();
    }
}

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: shop}
spec:
  clusterIP: 10.96.0.7
  selector: {app: shop}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: shop-1, namespace: shop, labels: {kubernetes.io/service-name: shop}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.77.0.9], conditions: {ready: true}}]
";
