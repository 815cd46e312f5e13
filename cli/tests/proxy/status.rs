//! Health, merged metrics and forwarded probes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::fixture::Setup;

/// An application that answers every request with one text, and tells who asked.
fn application(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let peer = stream.peer_addr().expect("peer").ip();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nx-peer: {peer}\r\ncontent-length: {}\r\n\r\n{answer}{peer}",
                answer.len() + peer.to_string().len()
            );
        }
    });
    port
}

#[test]
fn a_failed_health_check_shows_on_every_readiness_page_until_it_is_taken_back() {
    let proxy = Setup::new().start();
    proxy.post(proxy.ports.admin, "/healthcheck/fail");
    for port in [proxy.ports.health, proxy.ports.status] {
        let answer = proxy.get(port, "/healthz/ready");
        assert_eq!(answer.status, 503);
        assert!(answer.body.contains("healthcheck/fail"), "{}", answer.body);
    }
    proxy.post(proxy.ports.admin, "/healthcheck/ok");
    assert_eq!(proxy.get(proxy.ports.health, "/healthz/ready").status, 200);
}

#[test]
fn metrics_are_served_on_both_ports() {
    let proxy = Setup::new().start();
    let own = proxy.get(proxy.ports.prometheus, "/stats/prometheus").body;
    assert!(own.contains("istio_build{component=\"proxy\"") && !own.contains("istio_agent_"), "{own}");
    for path in ["/stats/prometheus", "/metrics"] {
        let merged = proxy.get(proxy.ports.status, path).body;
        assert!(merged.contains("istio_agent_scrapes_total ") && merged.contains("istio_build{"), "{merged}");
    }
    assert_eq!(proxy.get(proxy.ports.prometheus, "/").status, 404);
    assert_eq!(proxy.get(proxy.ports.health, "/metrics").status, 404);
}

#[test]
fn probes_are_forwarded_from_the_address_that_capture_leaves_alone() {
    let port = application("peer ");
    let closed = TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("bound").port();
    let probers = format!(
        r#"{{"/app-health/web/readyz":{{"httpGet":{{"path":"/ready","port":{port}}},"timeoutSeconds":2}},
            "/app-health/web/livez":{{"tcpSocket":{{"port":{port}}}}},
            "/app-health/web/startupz":{{"tcpSocket":{{"port":{closed}}}}}}}"#
    );
    let proxy = Setup::new().env("ISTIO_KUBE_APP_PROBERS", &probers).start();
    let ready = proxy.get(proxy.ports.status, "/app-health/web/readyz");
    assert_eq!((ready.status, ready.body.as_str()), (200, "peer 127.0.0.6"));
    assert_eq!(proxy.get(proxy.ports.status, "/app-health/web/livez").status, 200);
    assert_eq!(proxy.get(proxy.ports.status, "/app-health/web/startupz").status, 500);
    assert_eq!(proxy.get(proxy.ports.status, "/app-health/other/readyz").status, 400);
}

#[test]
fn probes_of_another_shape_are_refused_at_start() {
    let (status, log) = Setup::new().env("ISTIO_KUBE_APP_PROBERS", r#"{"/elsewhere":{"tcpSocket":{"port":1}}}"#).refuse();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("ISTIO_KUBE_APP_PROBERS") && log.contains("/elsewhere"), "{log}");
}

#[test]
fn a_probe_of_a_lifecycle_hook_is_forwarded_too() {
    let port = application("");
    let probers = format!(r#"{{"/app-lifecycle/web/prestopz":{{"httpGet":{{"path":"/stop","port":{port}}}}}}}"#);
    let proxy = Setup::new().env("ISTIO_KUBE_APP_PROBERS", &probers).start();
    assert_eq!(proxy.get(proxy.ports.status, "/app-lifecycle/web/prestopz").status, 200);
}

#[test]
fn metrics_are_compressed_for_those_who_accept_it() {
    let proxy = Setup::new().start();
    for port in [proxy.ports.status, proxy.ports.prometheus] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
        let request = "GET /stats/prometheus HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("written");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        assert!(head.contains("content-encoding: gzip"), "{head}");
        let mut text = String::new();
        flate2::read::GzDecoder::new(&answer[end + 4..]).read_to_string(&mut text).expect("gzip");
        assert!(text.contains("istio_build{"), "{text}");
    }
}

#[test]
fn what_changes_the_process_is_for_loopback_and_post_alone() {
    let proxy = Setup::new().start();
    for path in ["/quitquitquit", "/drain"] {
        assert_eq!(proxy.get(proxy.ports.status, path).status, 405, "{path}");
    }
    let names = proxy.get(proxy.ports.status, "/debug/ndsz");
    assert_eq!((names.status, names.body.as_str()), (404, "{}"));
    let Some(own) = own_address() else { panic!("this test needs an address other than loopback") };
    for (method, path) in [("POST", "/quitquitquit"), ("POST", "/drain"), ("GET", "/debug/ndsz")] {
        let answer = crate::fixture::request_to((own, proxy.ports.status).into(), method, path).expect("an answer");
        assert_eq!(answer.status, 403, "{path}");
    }
    assert_eq!(proxy.get(proxy.ports.health, "/healthz/ready").status, 200, "nothing of this had an effect");
}

/// An address of this machine from which a connection is not one of loopback.
fn own_address() -> Option<std::net::IpAddr> {
    outrigger_proxy::bootstrap::interface_addresses().into_iter().find(std::net::IpAddr::is_ipv4)
}

#[test]
fn status_port_0_switches_the_status_server_off() {
    let setup = Setup::new();
    let config = format!(r#"{{"proxyAdminPort":{},"statusPort":0,"concurrency":1}}"#, setup.ports.admin);
    let proxy = setup.env("PROXY_CONFIG", &config).start();
    assert!(proxy.try_get(proxy.ports.status, "/healthz/ready").is_none());
}

#[test]
fn slow_clients_do_not_keep_others_out() {
    let proxy = Setup::new().start();
    let slow: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", proxy.ports.health)).expect("connected");
            stream.write_all(b"GET /healthz/ready HTTP/1.1\r\nhost:").expect("written");
            stream
        })
        .collect();
    let start = Instant::now();
    assert_eq!(proxy.get(proxy.ports.health, "/healthz/ready").status, 200);
    assert!(start.elapsed() < Duration::from_secs(5));
    drop(slow);
}

/// What Prometheus' own parser says about an exposition: exit status and messages.
fn promtool(text: &str) -> (Option<i32>, String) {
    use std::process::{Command, Stdio};
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is needed for this test: apt-get install prometheus, or scripts/deps test");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("ended");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn prometheus_itself_reads_what_is_exposed() {
    let setup = Setup::new();
    let port = setup.ports.gateway;
    let proxy = setup.file("gateway.yaml", &crate::fixture::gateway(port, 207)).start();
    proxy.get(port, "/");
    proxy.until("counted", |proxy| proxy.get(proxy.ports.prometheus, "/stats/prometheus").body.contains("istio_requests_total{"));
    for (port, path) in [(proxy.ports.prometheus, "/stats/prometheus"), (proxy.ports.status, "/metrics")] {
        let (code, messages) = promtool(&proxy.get(port, path).body);
        // 3 = readable, with remarks on style; Envoy's and Istio's names are what they are.
        assert!(matches!(code, Some(0 | 3)), "{code:?}: {messages}");
        let own: Vec<&str> = messages.lines().filter(|line| line.starts_with("outrigger_")).collect();
        assert!(own.is_empty(), "{own:?}");
    }
    let (code, _) = promtool("broken{ 1\n");
    assert_eq!(code, Some(1), "promtool finds what is broken");
}
