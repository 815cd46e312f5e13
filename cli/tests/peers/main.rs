//! The comparison's templates for Outrigger (`loadtests/peers`): nothing in them is reported, and every mode does what its
//! name says. The proxies run as in the comparison, each test in a network namespace of its own; that needs root.

mod bed;

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use outrigger_config::{
    compile::compile,
    model::{Node, ProxyType},
    registry::Registry,
    store::{FileChange, Store},
};
use outrigger_loadtests::bench::{
    http2,
    origin::Origin,
    peers::{self, Kind, MODES},
};

use bed::{Bed, FAR_PROXY, ORIGINS, PROXY, RELAY, counted, curl, requests, samples};

/// The gateway that `run-outrigger` starts.
fn gateway() -> Node {
    Node {
        proxy_type: ProxyType::Router,
        name: "bench".into(),
        namespace: "bench".into(),
        ip_addresses: vec![[127, 0, 0, 1].into()],
        labels: [("istio".to_owned(), "bench".to_owned())].into(),
        workload_name: "bench".into(),
        ..Node::default()
    }
}

#[test]
fn nothing_in_any_mode_is_reported_or_refused() {
    let bed = Bed::new();
    for mode in MODES {
        let place = bed.place(Path::new("work"), PROXY, &ORIGINS);
        let text = peers::render(Kind::Outrigger, mode, &place, &bed::templates()).expect("a valid template").text;
        assert!(!text.lines().any(|line| line.trim().starts_with("#@")), "{}: a directive is left over", mode.name);
        let mut store = Store::new();
        store.apply(vec![FileChange { path: "outrigger.yaml".into(), text: Some(text) }]);
        let registry = Registry::new(store.objects());
        let said =
            store.diagnostics().iter().chain(&compile(&registry, &gateway()).diagnostics).map(ToString::to_string).collect::<Vec<_>>();
        assert!(said.is_empty(), "{}: {said:#?}", mode.name);
    }
}

#[test]
fn the_peers_templates_render_in_every_mode_they_play() {
    let bed = Bed::new();
    let place = bed.place(Path::new("work"), PROXY, &ORIGINS);
    for kind in Kind::ALL {
        for mode in MODES.into_iter().filter(|mode| kind.plays(mode.name)) {
            let rendered = peers::render(kind, mode, &place, &bed::templates()).unwrap_or_else(|error| panic!("{}: {error:#}", mode.name));
            assert!(rendered.text.contains("7100"), "{} {}", kind.name(), mode.name);
        }
    }
}

#[test]
fn http_relays_to_one_origin_with_statistics_and_without_log() {
    let (bed, origin) = (Bed::new(), Origin::start(&ORIGINS, None).expect("origins"));
    let _proxy = bed.start("http", PROXY, &ORIGINS[..1]);
    requests(PROXY, 40);
    assert_eq!(origin.counts(), [40, 0, 0, 0]);
    assert_eq!(counted(PROXY), 40.0, "Istio's metrics are on");
    assert!(!bed.has_log(PROXY));
}

#[test]
fn http_log_writes_a_line_for_each_request() {
    let (bed, _origin) = (Bed::new(), Origin::start(&ORIGINS, None).expect("origins"));
    let _proxy = bed.start("http_log", PROXY, &ORIGINS[..1]);
    requests(PROXY, 40);
    let lines = bed.log(PROXY, 40);
    assert_eq!(lines.len(), 40);
    assert!(lines.iter().all(|line| line.contains("\"GET /b/1024 HTTP/1.1\" 200")), "{}", lines[0]);
}

#[test]
fn http_weighted_splits_over_four_clusters() {
    let (bed, origin) = (Bed::new(), Origin::start(&ORIGINS, None).expect("origins"));
    let _proxy = bed.start("http_weighted", PROXY, &ORIGINS);
    requests(PROXY, 200);
    assert_eq!(origin.counts(), [100, 60, 30, 10]);
}

#[test]
fn http_istio_logs_splits_and_retries() {
    let bed = Bed::new();
    let number = Arc::new(AtomicU64::new(0));
    for port in ORIGINS {
        let number = Arc::clone(&number);
        bed::listen(port, move |stream| bed::every_other(stream, &number));
    }
    let _proxy = bed.start("http_istio", PROXY, &ORIGINS);
    requests(PROXY, 100);
    assert_eq!(number.load(Ordering::Relaxed), 200, "every first attempt got a 503 and was retried");
    let lines = bed.log(PROXY, 100);
    assert_eq!(lines.len(), 100);
    for (port, share) in ORIGINS.into_iter().zip([50, 30, 15, 5]) {
        assert_eq!(lines.iter().filter(|line| line.contains(&format!("\"127.0.0.1:{port}\""))).count(), share, "{port}");
    }
}

#[test]
fn http_big_finds_the_right_one_of_a_thousand_hosts_with_two_endpoints() {
    let (bed, origin) = (Bed::new(), Origin::start(&ORIGINS, None).expect("origins"));
    let _proxy = bed.start("http_big", PROXY, &ORIGINS);
    let host = |host: &str| curl(&["-o", "/dev/null", "-w", "%{http_code}", "-H", &format!("host: {host}"), "http://127.0.0.1:7100/b/1"]).1;
    for _ in 0..10 {
        assert_eq!(host("svc-777.ns.svc.cluster.local"), "200");
    }
    let counts = origin.counts();
    assert!(counts[0] > 0 && counts[1] > 0 && counts[2..] == [0, 0], "{counts:?}");
    let samples = samples(PROXY);
    assert!(samples.len() == 1 && samples[0].contains("destination_service=\"svc-777.ns.svc.cluster.local\""), "{samples:?}");
}

#[test]
fn h2h1_takes_http_2_and_gives_http_1() {
    let (bed, origin) = (Bed::new(), Origin::start(&ORIGINS, None).expect("origins"));
    let _proxy = bed.start("h2h1", PROXY, &ORIGINS[..1]);
    http2::greet(bed::address(PROXY)).expect("HTTP/2 without TLS");
    let (_, said) =
        curl(&["--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "http://127.0.0.1:7100/b/1"]);
    assert_eq!(said, "2 200");
    assert_eq!(origin.counts(), [1, 0, 0, 0]);
}

#[test]
fn h2h2_speaks_http_2_to_the_origin() {
    let bed = Bed::new();
    let (sent, received) = std::sync::mpsc::channel();
    bed::listen(ORIGINS[0], move |mut stream| {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface)?;
        sent.send(preface.to_vec()).map_err(std::io::Error::other)
    });
    let _proxy = bed.start("h2h2", PROXY, &ORIGINS[..1]);
    curl(&["--http2-prior-knowledge", "-o", "/dev/null", "http://127.0.0.1:7100/b/1"]);
    let preface = received.recv_timeout(std::time::Duration::from_secs(10)).expect("a connection");
    assert_eq!(preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

#[test]
fn mtls_keeps_connections_or_makes_a_new_one_for_each_request() {
    for (client, server, expected) in [("mtls_a", "mtls_b", 1..=5), ("mtls_a_close", "mtls_b_close", 20..=20)] {
        let (bed, origin) = (Bed::new(), Origin::start(&ORIGINS, None).expect("origins"));
        let _far = bed.start(server, FAR_PROXY, &ORIGINS[..1]);
        let connections = bed::listen(RELAY, |stream| bed::relay(stream, FAR_PROXY));
        let _near = bed.start(client, PROXY, &[RELAY]);
        requests(PROXY, 20);
        let connections = connections.load(Ordering::Relaxed);
        assert!(expected.contains(&connections), "{client}: {connections} connections for 20 requests");
        assert_eq!(origin.counts(), [20, 0, 0, 0], "{client}");
        assert_eq!((counted(PROXY), counted(FAR_PROXY)), (20.0, 20.0), "{client}");
    }
}

#[test]
fn mtls_demands_tls_1_3_and_a_certificate() {
    let (bed, _origin) = (Bed::new(), Origin::start(&ORIGINS, None).expect("origins"));
    let _far = bed.start("mtls_b", FAR_PROXY, &ORIGINS[..1]);
    let path = |path: &Path| path.display().to_string();
    let (authority, own, key) = (path(&bed.certificates.authority), path(&bed.certificates.certificate), path(&bed.certificates.key));
    let url = ["--resolve", "peer.test:7101:127.0.0.1", "https://peer.test:7101/b/1"];
    let common = ["--cacert", &authority, "-o", "/dev/null", "-w", "%{http_code}"];
    let with = ["--cert", &own, "--key", &key];
    assert_eq!(curl(&[&common[..], &with, &url].concat()), (true, "200".to_owned()));
    assert!(!curl(&[&common[..], &url].concat()).0, "without a certificate");
    assert!(!curl(&[&common[..], &with, &["--tls-max", "1.2"], &url].concat()).0, "TLS 1.2");
}

#[test]
fn tcp_relays_bytes_as_they_are() {
    let (bed, origin) = (Bed::new(), Origin::start(&ORIGINS, None).expect("origins"));
    let _proxy = bed.start("tcp", PROXY, &ORIGINS[..1]);
    let (_, answer) = curl(&["--include", "http://127.0.0.1:7100/b/26"]);
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\nserver: origin\r\n") && answer.ends_with("\r\n\r\nabcdefghijklmnopqrstuvwxyz"),
        "{answer}"
    );
    assert!(!answer.contains("x-envoy"), "nobody read the head: {answer}");
    assert_eq!((origin.counts()[0], counted(PROXY)), (1, 0.0));
}

#[test]
fn a_redirected_client_is_served_as_well() {
    let (bed, origin) = (Bed::new(), Origin::start(&ORIGINS, None).expect("origins"));
    let _proxy = bed.start("http", PROXY, &ORIGINS[..1]);
    let rules = "table ip orb { chain o { type nat hook output priority -100; ip daddr 127.10.0.1 tcp dport 80 redirect to :7100; }; }\n";
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft");
    std::io::Write::write_all(&mut nft.stdin.take().expect("a pipe"), rules.as_bytes()).expect("written");
    assert!(nft.wait().expect("ended").success());
    let (_, said) = curl(&["-o", "/dev/null", "-w", "%{http_code}", "http://127.10.0.1/b/1"]);
    assert_eq!(said, "200");
    assert_eq!(origin.counts(), [1, 0, 0, 0]);
}
