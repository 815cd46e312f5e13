//! Merged metrics of a sidecar with several targets (sidecar contract 1.2).

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::thread;

use crate::net::{Net, PROGRAM, Process, ask, inside, listen};

/// Answers every request with one text in one format.
fn metrics(net: &Net, address: &str, port: u16, format: &'static str, text: &'static str) {
    let listener = inside(&net.pod, || listen(address.parse().expect("an address"), port));
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let length = text.len();
            let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: {format}\r\ncontent-length: {length}\r\n\r\n{text}");
        }
    });
}

/// The answer of the status server of a sidecar with these targets.
fn merged(net: &Net, targets: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = net.in_pod(PROGRAM);
    command.args(["proxy", "sidecar", "--pod-info", "/nonexistent", "--concurrency", "1", "--config"]).arg(folder.path());
    command.env("ISTIO_PROMETHEUS_ANNOTATIONS", format!(r#"{{"scrape":"true","targets":[{targets}]}}"#));
    let mut proxy = Process::start(&mut command);
    let status = SocketAddr::from(([127, 0, 0, 1], 15020));
    let get = |path: &str| inside(&net.pod, || ask("127.0.0.1", status, &format!("GET {path} HTTP/1.0\r\n\r\n")));
    proxy.until("ready", || get("/healthz/ready").is_ok_and(|answer| answer.contains(" 200 ")));
    get("/stats/prometheus").expect("an answer")
}

const OPEN: &str = "application/openmetrics-text; version=1.0.0";

#[test]
fn applications_come_last_with_one_end_mark_and_those_that_fail_are_counted() {
    let net = Net::new();
    metrics(&net, "127.0.0.1", 9001, OPEN, "app_first 1\n# EOF\n");
    metrics(&net, "::1", 9002, OPEN, "app_second 2\n# EOF\n");
    let answer = merged(&net, r#"{"port":"9001"},{"port":"9003"},{"port":"9002"}"#);
    let at = |text: &str| answer.find(text).unwrap_or_else(|| panic!("no {text:?}: {answer}"));
    let order = [OPEN, "istio_agent_scrapes_total ", "istio_build{", "app_first", "app_second", "# EOF"].map(at);
    assert!(order.is_sorted() && answer.matches("# EOF").count() == 1, "{answer}");
    at("istio_agent_scrape_failures_total{type=\"application\"} 1\n");
    for name in ["startup_duration_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"] {
        at(&format!("\nistio_agent_{name} "));
    }
}

#[test]
fn applications_of_different_formats_are_joined_as_plain_text() {
    let net = Net::new();
    metrics(&net, "127.0.0.1", 9001, OPEN, "app_first 1\n# EOF\n");
    metrics(&net, "127.0.0.1", 9002, "text/plain; version=0.0.4", "app_second 2\n");
    let answer = merged(&net, r#"{"port":"9001"},{"port":"9002"}"#);
    assert!(answer.contains("content-type: text/plain") && answer.contains("app_first 1\napp_second 2\n"), "{answer}");
    assert!(!answer.contains("# EOF"), "{answer}");
}
