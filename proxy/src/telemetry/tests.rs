//! From records to the exposition: golden text, read back, and the promise that nothing is formatted per request.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Method, Version};
use outrigger_config::model::{Node, ServiceRef, Workload};

use super::access_log::LogWriter;
use super::encode::Exposition;
use super::*;
use crate::listener::{Direction, Downstream};

fn node() -> Arc<Node> {
    Arc::new(Node {
        name: "web-1".into(),
        namespace: "shop".into(),
        service_account: "web".into(),
        labels: [("app".into(), "web".into())].into(),
        workload_name: "web".into(),
        ..Node::default()
    })
}

fn telemetry(workers: usize) -> (Telemetry, Vec<WorkerTelemetry>) {
    Telemetry::new(node(), workers, &LogWriter::new(), Some("1.27.0".into()))
}

fn downstream(direction: Direction) -> Arc<Downstream> {
    Arc::new(crate::testing::downstream(direction))
}

fn upstream() -> UpstreamFacts {
    UpstreamFacts {
        cluster: "outbound|80||db.data.svc.cluster.local".into(),
        service: Some(Arc::new(ServiceRef { host: "db.data.svc.cluster.local".into(), name: "db".into(), namespace: "data".into() })),
        address: None,
        local: None,
        workload: Some(Arc::new(Workload { name: "db".into(), namespace: "data".into(), ..Workload::default() })),
        peer_identity: Some("spiffe://cluster.local/ns/data/sa/db".into()),
        local_identity: Some("spiffe://cluster.local/ns/shop/sa/web".into()),
        transport_failure: None,
        service_time: None,
    }
}

fn record(downstream: &Arc<Downstream>, upstream: Option<&UpstreamFacts>, status: u16) -> HttpRecord {
    HttpRecord {
        downstream: Arc::clone(downstream),
        start: SystemTime::UNIX_EPOCH,
        duration: Duration::from_micros(1_500),
        method: Method::GET,
        path: "/".parse().expect("path"),
        version: Version::HTTP_11,
        authority: HeaderValue::from_static("db"),
        status,
        grpc_status: None,
        is_grpc: false,
        flags: ResponseFlags::NONE,
        details: Cow::Borrowed("via_upstream"),
        bytes_received: 10,
        bytes_sent: 900,
        request_head_bytes: 90,
        response_head_bytes: 100,
        route_name: "default".into(),
        decision: 0,
        upstream: upstream.cloned(),
        attempts: u32::from(upstream.is_some()),
        captured: None,
    }
}

fn exposition(telemetry: &Telemetry) -> String {
    let mut out = Exposition::default();
    telemetry.write_istio(&mut out);
    out.finish()
}

/// Reads an exposition back: name with labels to value. Asserts what Prometheus would reject: a sample without a type
/// before it, a name or label of another shape, a series twice.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut typed = HashSet::new();
    let mut series = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(typed.insert(rest.split(' ').next().expect("name").to_owned()), "family twice: {line}");
        }
        if line.starts_with('#') {
            continue;
        }
        let (key, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let name = key.split('{').next().expect("name");
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end).filter(|name| typed.contains(*name)));
        assert!(typed.contains(family.unwrap_or(name)), "no type before {line}");
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
        assert!(!key.contains('{') || key.ends_with("\"}"), "{line}");
        let value = value.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
        assert!(series.insert(key.to_owned(), value).is_none(), "series twice: {line}");
    }
    series
}

#[test]
fn the_exposition_is_golden() {
    let (telemetry, workers) = telemetry(2);
    let (connection, up) = (downstream(Direction::Outbound), upstream());
    workers[0].http(&record(&connection, Some(&up), 200));
    workers[1].http(&record(&connection, Some(&up), 200));
    let mut report = workers[1].tcp_opened(&connection, Some(&up), ResponseFlags::NONE);
    workers[1].tcp_progress(&mut report, 100, 2_000);
    workers[1].tcp_progress(&mut report, 150, 2_000);
    let golden = include_str!("../../tests/golden/istio_metrics.txt");
    assert_eq!(exposition(&telemetry), golden);
}

#[test]
fn what_workers_count_adds_up_whatever_the_outcome() {
    let (telemetry, workers) = telemetry(4);
    let up = upstream();
    let directions = [Direction::Outbound, Direction::Inbound, Direction::Gateway];
    let connections: Vec<_> = (0..12).map(|number| downstream(directions[number % 3])).collect();
    for number in 0..1_200_usize {
        let mut record = record(&connections[number % 12], (number % 5 != 0).then_some(&up), [200, 404, 503][number % 3]);
        record.is_grpc = number.is_multiple_of(7);
        record.grpc_status = record.is_grpc.then_some(14);
        if number.is_multiple_of(11) {
            record.flags.insert(ResponseFlags::UF);
            record.flags.insert(ResponseFlags::URX);
        }
        workers[number % 4].http(&record);
    }
    let series = parse(&exposition(&telemetry));
    let sum = |prefix: &str| series.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(_, value)| value).sum::<f64>();
    assert_eq!(sum("istio_requests_total{"), 1_200.0);
    assert_eq!(sum("istio_request_duration_milliseconds_count{"), 1_200.0);
    assert_eq!(sum("istio_request_bytes_sum{"), 1_200.0 * 100.0);
    assert_eq!(sum("istio_response_bytes_sum{"), 1_200.0 * 1_000.0);
    assert!(series.keys().any(|key| key.contains("grpc_response_status=\"14\",response_flags=\"UF,URX\"")), "{series:#?}");
    let cluster = telemetry.clusters()["outbound|80||db.data.svc.cluster.local"];
    assert_eq!((cluster.rq_total, cluster.rq_xx.iter().sum::<u64>()), (960, 960));
}

#[test]
fn labels_are_computed_per_pair_of_workloads_not_per_request() {
    let (telemetry, workers) = telemetry(1);
    let (outbound, inbound, up) = (downstream(Direction::Outbound), downstream(Direction::Inbound), upstream());
    for status in [200, 404, 503] {
        for _ in 0..1_000 {
            workers[0].http(&record(&outbound, Some(&up), status));
            workers[0].http(&record(&inbound, Some(&up), status));
        }
    }
    assert_eq!(telemetry.labelled(), 2);
}

#[test]
fn configurations_and_connections_that_are_gone_leave_nothing_behind() {
    let (telemetry, workers) = telemetry(1);
    let outbound = downstream(Direction::Outbound);
    let first = upstream();
    let workload = first.workload.as_ref().map(Arc::downgrade).expect("a workload");
    workers[0].http(&record(&outbound, Some(&first), 200));
    drop(first);
    assert_eq!(workload.strong_count(), 0, "kept alive by statistics");
    for _ in 0..10_000 {
        workers[0].http(&record(&outbound, Some(&upstream()), 200));
    }
    assert!(telemetry.pointers() <= 64, "{} of 10,000", telemetry.pointers());
}

#[test]
fn a_thousand_living_peers_stay_known_while_others_come_and_go() {
    let (telemetry, workers) = telemetry(1);
    let outbound = downstream(Direction::Outbound);
    let living: Vec<_> = (0..1_000).map(|_| upstream()).collect();
    living.iter().for_each(|up| workers[0].http(&record(&outbound, Some(up), 200)));
    for _ in 0..10_000 {
        workers[0].http(&record(&outbound, Some(&upstream()), 200));
    }
    let before = telemetry.labelled();
    living.iter().for_each(|up| workers[0].http(&record(&outbound, Some(up), 200)));
    assert_eq!(telemetry.labelled(), before);
    assert!(telemetry.pointers() <= 2_048, "{}", telemetry.pointers());
}

#[test]
fn equal_values_behind_other_pointers_are_the_same_series() {
    let (telemetry, workers) = telemetry(1);
    let connection = downstream(Direction::Outbound);
    for _ in 0..5_000 {
        workers[0].http(&record(&connection, Some(&upstream()), 200));
    }
    let series = parse(&exposition(&telemetry));
    let requests: Vec<_> = series.iter().filter(|(key, _)| key.starts_with("istio_requests_total{")).collect();
    assert_eq!(requests.len(), 1);
    assert_eq!(*requests[0].1, 5_000.0);
}

#[test]
fn a_client_cannot_make_series_without_end() {
    let (telemetry, workers) = telemetry(1);
    let connection = downstream(Direction::Outbound);
    for number in 0..12_000 {
        let mut record = record(&connection, None, 404);
        record.authority = HeaderValue::from_str(&format!("h{number}.example")).expect("valid");
        workers[0].http(&record);
    }
    let series = parse(&exposition(&telemetry));
    let requests: Vec<f64> = series.iter().filter(|(key, _)| key.starts_with("istio_requests_total{")).map(|(_, value)| *value).collect();
    assert_eq!(requests.len(), 10_001);
    assert_eq!(requests.iter().sum::<f64>(), 12_000.0);
    assert_eq!(telemetry.overflowed(), 2_000);
}

#[test]
fn peers_that_invent_names_for_themselves_cannot_make_series_without_end() {
    let (telemetry, workers) = telemetry(1);
    for number in 0..12_000 {
        let connection = downstream(Direction::Inbound);
        let invented = Workload { name: format!("w{number}"), ..Workload::default() };
        connection.peer_workload.set(Arc::new(invented)).expect("set once");
        workers[0].http(&record(&connection, Some(&upstream()), 200));
    }
    let series = parse(&exposition(&telemetry));
    let requests: Vec<f64> = series.iter().filter(|(key, _)| key.starts_with("istio_requests_total{")).map(|(_, value)| *value).collect();
    assert_eq!(requests.len(), 10_001);
    assert_eq!(requests.iter().sum::<f64>(), 12_000.0);
}

#[test]
fn an_upstream_that_answers_with_every_status_fills_a_bounded_list() {
    let (telemetry, workers) = telemetry(1);
    let (connection, up) = (downstream(Direction::Outbound), upstream());
    for status in 100..900 {
        workers[0].http(&record(&connection, Some(&up), status));
    }
    let series = parse(&exposition(&telemetry));
    let requests: Vec<f64> = series.iter().filter(|(key, _)| key.starts_with("istio_requests_total{")).map(|(_, value)| *value).collect();
    assert!(requests.len() <= 257, "{}", requests.len());
    assert_eq!(requests.iter().sum::<f64>(), 800.0);
}

#[test]
fn a_connection_without_a_report_counts_as_opened_and_closed() {
    let (telemetry, workers) = telemetry(1);
    let record = TcpRecord {
        downstream: downstream(Direction::Outbound),
        duration: Duration::from_secs(1),
        flags: ResponseFlags::UF,
        bytes_received: 5,
        bytes_sent: 7,
        termination_details: Cow::Borrowed("-"),
        upstream: Some(upstream()),
    };
    workers[0].tcp_closed(None, &record, None);
    let series = parse(&exposition(&telemetry));
    for (name, value) in [
        ("istio_tcp_connections_opened_total", 1.0),
        ("istio_tcp_connections_closed_total", 1.0),
        ("istio_tcp_received_bytes_total", 5.0),
        ("istio_tcp_sent_bytes_total", 7.0),
    ] {
        let found: Vec<_> = series.iter().filter(|(key, _)| key.starts_with(name)).collect();
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!(*found[0].1, value, "{name}");
        assert!(found[0].0.contains("request_protocol=\"tcp\",response_flags=\"UF\",connection_security_policy=\"unknown\""));
        assert!(!found[0].0.contains("response_code"));
    }
}
