//! Golden lines, byte for byte, and the queue's behaviour under a reader that does not read.

use std::borrow::Cow;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, Method, Version};
use outrigger_config::model::{AccessLogFormat, AccessLogSettings, FormatPiece};

use super::*;
use crate::listener::{Direction, Downstream};
use crate::telemetry::{HttpRecord, ResponseFlags, TcpRecord, UpstreamFacts};

fn settings(format: AccessLogFormat) -> AccessLogSettings {
    AccessLogSettings { path: "/dev/stdout".into(), format }
}

fn command(name: &str, argument: Option<&str>) -> FormatPiece {
    FormatPiece::Command { name: name.into(), argument: argument.map(str::to_owned) }
}

fn istio_default() -> Arc<AccessLog> {
    let settings = settings_from_flags(Some("/dev/stdout"), None, false).expect("parses").expect("on");
    Arc::new(AccessLog::compile(&settings))
}

fn downstream() -> Arc<Downstream> {
    let accepted_at = UNIX_EPOCH + Duration::from_millis(1_763_638_344_007);
    Arc::new(Downstream { accepted_at, ..crate::testing::downstream(Direction::Outbound) })
}

fn upstream() -> UpstreamFacts {
    UpstreamFacts {
        cluster: "outbound|80|v1|web.shop.svc.cluster.local".into(),
        service: None,
        address: Some("10.0.0.9:8080".parse().expect("address")),
        local: Some("10.0.0.1:5000".parse().expect("address")),
        workload: None,
        peer_identity: None,
        local_identity: None,
        transport_failure: None,
        service_time: Some(Duration::from_millis(12)),
    }
}

fn exchange(captured: Option<CapturedHeaders>) -> HttpRecord {
    HttpRecord {
        downstream: downstream(),
        start: UNIX_EPOCH + Duration::from_millis(1_763_638_344_007),
        duration: Duration::from_micros(15_900),
        method: Method::GET,
        path: "/cart?id=7".parse().expect("path"),
        version: Version::HTTP_11,
        authority: HeaderValue::from_static("web"),
        status: 200,
        grpc_status: None,
        is_grpc: false,
        flags: ResponseFlags::NONE,
        details: Cow::Borrowed("via_upstream"),
        bytes_received: 0,
        bytes_sent: 42,
        request_head_bytes: 100,
        response_head_bytes: 100,
        route_name: "split".into(),
        decision: 3,
        upstream: Some(upstream()),
        attempts: 1,
        captured,
    }
}

fn request_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("user-agent", HeaderValue::from_static("curl/8"));
    headers.insert("x-request-id", HeaderValue::from_static("5f1c"));
    headers.insert("x-quoted", HeaderValue::from_static("say \"hi\""));
    headers
}

fn line(log: &Arc<AccessLog>, record: &HttpRecord) -> String {
    let captured = CapturedHeaders::capture(log, &request_headers());
    let mut out = Vec::new();
    render_http(&mut out, &captured, record);
    String::from_utf8(out).expect("text")
}

#[test]
fn the_default_text_line_is_istios() {
    assert_eq!(
        line(&istio_default(), &exchange(None)),
        "[2025-11-20T11:32:24.007Z] \"GET /cart?id=7 HTTP/1.1\" 200 - via_upstream - \"-\" 0 42 15 12 \"-\" \"curl/8\" \"5f1c\" \
         \"web\" \"10.0.0.9:8080\" outbound|80|v1|web.shop.svc.cluster.local 10.0.0.1:5000 10.96.0.1:80 10.0.0.1:4000 - split\n"
    );
}

#[test]
fn a_failure_shows_flags_and_reason_and_leaves_the_rest_out() {
    let mut record = exchange(None);
    record.status = 503;
    record.flags = ResponseFlags::UF;
    record.flags.insert(ResponseFlags::URX);
    record.details = Cow::Borrowed("upstream_reset_before_response_started{connection_failure}");
    let up = record.upstream.as_mut().expect("upstream");
    up.transport_failure = Some("delayed connect error: Connection refused".into());
    up.service_time = None;
    up.local = None;
    let line = line(&istio_default(), &record);
    assert!(line.contains(" 503 UF,URX upstream_reset_before_response_started{connection_failure} - "), "{line}");
    assert!(line.contains("\"delayed connect error: Connection refused\" 0 42 15 - "), "{line}");
}

#[test]
fn a_connection_has_no_method_and_code_zero() {
    let record = TcpRecord {
        downstream: downstream(),
        duration: Duration::from_millis(1500),
        flags: ResponseFlags::UF,
        bytes_received: 10,
        bytes_sent: 20,
        termination_details: Cow::Borrowed("-"),
        upstream: None,
    };
    let mut out = Vec::new();
    render_tcp(&mut out, &istio_default(), &record);
    assert_eq!(
        String::from_utf8(out).expect("text"),
        "[2025-11-20T11:32:24.007Z] \"- - -\" 0 UF - - \"-\" 10 20 1500 - \"-\" \"-\" \"-\" \"-\" \"-\" - - 10.96.0.1:80 10.0.0.1:4000 - -\n"
    );
}

#[test]
fn json_keeps_numbers_and_nulls_and_escapes_text() {
    let log = Arc::new(AccessLog::compile(&settings(AccessLogFormat::Json(vec![
        ("code".into(), vec![command("RESPONSE_CODE", None)]),
        ("sni".into(), vec![command("REQUESTED_SERVER_NAME", None)]),
        ("header".into(), vec![command("REQ", Some("X-QUOTED"))]),
        (
            "mixed".into(),
            vec![FormatPiece::Text("took ".into()), command("DURATION", None), command("UPSTREAM_TRANSPORT_FAILURE_REASON", None)],
        ),
        ("decision".into(), vec![command("OUTRIGGER_DECISION", None)]),
    ]))));
    let line = line(&log, &exchange(None));
    assert_eq!(line, "{\"code\":200,\"sni\":null,\"header\":\"say \\\"hi\\\"\",\"mixed\":\"took 15-\",\"decision\":3}\n");
    serde_json::from_str::<serde_json::Value>(&line).expect("valid JSON");
}

#[test]
fn alternatives_lengths_and_response_headers_are_honoured() {
    let log = Arc::new(AccessLog::compile(&settings(AccessLogFormat::Text(vec![
        command("REQ", Some("X-ABSENT?USER-AGENT")),
        FormatPiece::Text("|".into()),
        command("REQ:3", Some("X-REQUEST-ID")),
        FormatPiece::Text("|".into()),
        command("RESP", Some("X-POD")),
        FormatPiece::Text("|".into()),
        command("TRAILER", Some("GRPC-STATUS")),
    ]))));
    let mut captured = CapturedHeaders::capture(&log, &request_headers());
    let mut response = HeaderMap::new();
    response.insert("x-pod", HeaderValue::from_static("web-1"));
    captured.response(&response);
    let mut out = Vec::new();
    render_http(&mut out, &captured, &exchange(None));
    assert_eq!(String::from_utf8(out).expect("text"), "curl/8|5f1|web-1|-");
}

#[test]
fn unknown_operators_print_a_dash_and_are_named() {
    let log =
        Arc::new(AccessLog::compile(&settings(AccessLogFormat::Text(vec![command("WARP", None), command("FILTER_STATE", Some("x"))]))));
    assert_eq!(line(&log, &exchange(None)), "--");
    assert_eq!(log.unknown(), ["%WARP%", "%FILTER_STATE(x)%"]);
}

#[test]
fn an_unchanged_format_is_not_compiled_again() {
    let one = settings(AccessLogFormat::Text(vec![command("PROTOCOL", None)]));
    let first = AccessLog::reuse_or_compile(Some(&one), None).expect("on");
    let same = AccessLog::reuse_or_compile(Some(&one.clone()), Some(&first)).expect("on");
    assert!(Arc::ptr_eq(&first, &same));
    let other = settings(AccessLogFormat::Text(vec![command("DURATION", None)]));
    let changed = AccessLog::reuse_or_compile(Some(&other), Some(&first)).expect("on");
    assert!(!Arc::ptr_eq(&first, &changed));
    assert!(AccessLog::reuse_or_compile(None, Some(&first)).is_none());
}

#[test]
fn a_full_queue_drops_lines_and_counts_them() {
    let queue = LogQueue::default();
    let long = [b'x'; 1 << 16];
    for _ in 0..20 {
        queue.push(|line| line.extend_from_slice(&long));
    }
    assert_eq!(queue.dropped(), 4);
    let mut taken = Vec::new();
    queue.swap(&mut taken);
    assert_eq!(taken.len(), 16 << 16);
}

#[test]
fn lines_of_all_workers_reach_the_file_and_the_last_ones_are_flushed() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("log");
    let writer = LogWriter::new();
    let early = writer.queue();
    writer.set_path(path.to_str().expect("text"));
    let late = writer.queue();
    for number in 0..1000 {
        let queue = if number % 2 == 0 { &early } else { &late };
        queue.push(|line| line.extend_from_slice(format!("{number}\n").as_bytes()));
    }
    drop(writer);
    let text = std::fs::read_to_string(&path).expect("written");
    let mut numbers: Vec<u32> = text.lines().map(|line| line.parse().expect("number")).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_reader_that_does_not_read_costs_lines_but_never_time() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let _reader = std::fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&path).expect("opened");
    let writer = LogWriter::new();
    let queue = writer.queue();
    writer.set_path(path.to_str().expect("text"));
    let line = [b'x'; 1000];
    let start = std::time::Instant::now();
    let mut slowest = Duration::ZERO;
    for _ in 0..5_000 {
        let push = std::time::Instant::now();
        queue.push(|out| out.extend_from_slice(&line));
        slowest = slowest.max(push.elapsed());
    }
    assert!(writer.dropped() > 2_000, "{} dropped in {:?}", writer.dropped(), start.elapsed());
    assert!(slowest < Duration::from_millis(500), "a push waited {slowest:?} for the reader");
    let start = std::time::Instant::now();
    drop(writer);
    assert!(start.elapsed() < Duration::from_secs(10), "the end waited for the reader");
}

/// Waits until `met`, for some times as long as a destination that failed is left alone.
fn until(what: &str, mut met: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !met() {
        assert!(std::time::Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_path_that_cannot_be_opened_costs_counted_lines_until_it_can_and_none_go_to_the_path_before() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (before, after) = (folder.path().join("log"), folder.path().join("missing/log"));
    let writer = LogWriter::new();
    let queue = writer.queue();
    let log = |line: &str| queue.push(|out| out.extend_from_slice(line.as_bytes()));
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default();
    writer.set_path(before.to_str().expect("text"));
    log("first\n");
    until("the first line", || read(&before) == "first\n");
    writer.set_path(after.to_str().expect("text"));
    log("lost\nlost\n");
    until("two lines dropped", || writer.dropped() == 2);
    std::fs::create_dir(folder.path().join("missing")).expect("made");
    until("opened without being asked", || after.exists());
    log("last\n");
    drop(writer);
    assert_eq!((read(&before).as_str(), read(&after).as_str()), ("first\n", "last\n"));
}

#[test]
fn lines_that_a_full_disk_does_not_take_are_counted() {
    let writer = LogWriter::new();
    let queue = writer.queue();
    writer.set_path("/dev/full");
    queue.push(|out| out.extend_from_slice(b"one\ntwo\n"));
    until("both are counted", || writer.dropped() == 2);
    assert_eq!(writer.writes(), (0, 1));
}

#[test]
fn the_line_after_one_that_was_written_in_part_begins_a_line_of_its_own() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let open = || std::fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&path).expect("opened");
    let mut seen = Vec::new();
    let mut read_until = |reader: &mut std::fs::File, end: &[u8]| {
        until("lines", || {
            let mut some = [0; 1000];
            seen.extend_from_slice(reader.read(&mut some).map_or(&[][..], |length| &some[..length]));
            seen.ends_with(end)
        });
        seen.clone()
    };
    let writer = LogWriter::new();
    let queue = writer.queue();
    let log = |line: &[u8]| queue.push(|out| out.extend_from_slice(line));
    let mut reader = open();
    writer.set_path(path.to_str().expect("text"));
    // More than the pipe takes, so that the reader leaves in the middle of it.
    log(&[&[b'x'; 500_000][..], b"\n"].concat());
    read_until(&mut reader, b"x");
    drop(reader);
    until("the long line is given up", || writer.dropped() == 1);
    let mut reader = open();
    log(b"second\n");
    log(b"third\n");
    let seen = String::from_utf8(read_until(&mut reader, b"third\n")).expect("text");
    let lines: Vec<&str> = seen.lines().collect();
    assert!(lines[0].bytes().all(|byte| byte == b'x'), "{}", &lines[0][lines[0].len() - 20..]);
    assert_eq!(lines[1..], ["second", "third"]);
    assert_eq!(writer.dropped(), 1);
}
