//! The stand-in application and the counting client, each as the process it is in the field, against each other.
//! Loopback only.

use std::{
    net::TcpListener,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use outrigger_loadtests::{Cause, Plan, Report, run};

const PROGRAM: &str = env!("CARGO_BIN_EXE_outrigger");

/// A running stand-in; killed when dropped.
struct StandIn {
    child: Child,
    ports: Vec<u16>,
}

impl StandIn {
    /// One port per protocol, each of which is accepting when this returns.
    fn start(protocols: &[&str], environment: &[(&str, &str)]) -> Self {
        // Held until all are chosen, so that they differ; another process could still take one in between.
        let chosen: Vec<TcpListener> = protocols.iter().map(|_| TcpListener::bind("[::]:0").expect("a free port")).collect();
        let ports: Vec<u16> = chosen.iter().map(|socket| socket.local_addr().expect("bound").port()).collect();
        drop(chosen);
        let mut command = Command::new(PROGRAM);
        command.arg("stand-in").args(["--version", "v7"]).env("HOSTNAME", "web-1").envs(environment.iter().copied());
        for (port, protocol) in ports.iter().zip(protocols) {
            command.arg("--port").arg(format!("{port}/{protocol}"));
        }
        let running = Self { child: command.spawn().expect("the program starts"), ports };
        let deadline = Instant::now() + Duration::from_secs(20);
        while running.ports.iter().any(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_err()) {
            assert!(Instant::now() < deadline, "the stand-in does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        running
    }

    fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://127.0.0.1:{}{path}", self.ports[0])
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _already_ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn terminate(child: &Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process number"));
    kill(pid, Signal::SIGTERM).expect("the process is still there");
}

async fn report(plan: Plan) -> Report {
    run(plan).await.expect("a plan that can be carried out")
}

fn load(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).arg("load").args(arguments).output().expect("the program runs")
}

#[tokio::test]
async fn every_protocol_is_answered_with_pod_and_version() {
    let server = StandIn::start(&["http"], &[]);
    let greeting = StandIn::start(&["tcp-server-first"], &[]);
    let hello = StandIn::start(&["tcp-hello"], &[]);
    let http = |path: &str| Plan::new(server.url("http", path), 20);
    let plans = [
        ("HTTP/1.1", http("/")),
        ("HTTP/1.1, new connections", Plan { new_connections: true, ..http("/") }),
        ("HTTP/2", Plan { http2: true, concurrency: 5, connections: 2, ..http("/") }),
        ("gRPC", Plan { grpc: true, body: b"hi".to_vec(), ..http("/shop.Cart/Add") }),
        ("WebSocket", Plan { body: b"hi".to_vec(), ..Plan::new(server.url("ws", "/"), 20) }),
        ("TCP", Plan { body: b"hi\n".to_vec(), ..Plan::new(hello.url("tcp", ""), 20) }),
        ("TCP, server first", Plan::new(greeting.url("tcp", ""), 20)),
    ];
    for (protocol, plan) in plans {
        let report = report(plan).await;
        assert_eq!(report.version("v7"), 20, "{protocol}: {:?}", report.error_examples);
        assert_eq!(report.pods.get("web-1").map(|pod| pod.requests), Some(20), "{protocol}");
    }
}

#[tokio::test]
async fn tls_is_served_on_ports_that_speak_it() {
    let server = StandIn::start(&["tls"], &[]);
    let mut plan = Plan { http2: true, keep_bodies: true, ..Plan::new(server.url("https", "/headers"), 5) };
    plan.tls.insecure = true;
    let report = report(plan).await;
    assert_eq!(report.status(200), 5, "{:?}", report.error_examples);
    assert!(report.answers[0].body.as_ref().is_some_and(|body| body.contains(r#""alpn":"h2""#)), "{:?}", report.answers[0].body);
}

#[tokio::test]
async fn a_share_of_the_requests_fails_exactly_and_attempts_are_counted() {
    let server = StandIn::start(&["http"], &[("STAND_IN_FAIL", "503:25%:/pay")]);
    let plan = Plan::new(server.url("http", "/pay"), 40).header("x-envoy-attempt-count", "2").expect("a header");
    let paid = report(plan).await;
    assert_eq!((paid.status(200), paid.status(503)), (30, 10));
    let counts = report(Plan { keep_bodies: true, ..Plan::new(server.url("http", "/counts"), 1) }).await;
    let body = counts.answers[0].body.clone().unwrap_or_default();
    assert!(body.contains(r#""/pay":{"attempts":{"2":40},"requests":40,"statuses":{"200":30,"503":10}}"#), "{body}");
}

#[tokio::test]
async fn sigterm_loses_neither_requests_in_flight_nor_those_that_come_a_little_late() {
    let mut server = StandIn::start(&["http"], &[("STAND_IN_LINGER_MS", "1500")]);
    let slow = tokio::spawn(report(Plan::new(server.url("http", "/delay/3000"), 1)));
    tokio::time::sleep(Duration::from_millis(300)).await;
    terminate(&server.child);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let late = report(Plan { new_connections: true, ..Plan::new(server.url("http", "/"), 5) }).await;
    assert_eq!(late.status(200), 5, "within the time it lingers: {:?}", late.error_examples);
    tokio::time::sleep(Duration::from_millis(1700)).await;
    let too_late = report(Plan::new(server.url("http", "/"), 1)).await;
    assert_eq!(too_late.errors.get(&Cause::Refused), Some(&1));
    assert_eq!(slow.await.expect("joined").status(200), 1);
    assert_eq!(server.child.wait().expect("waited for").code(), Some(0));
}

#[test]
fn an_expectation_decides_the_exit_status() {
    let server = StandIn::start(&["http"], &[]);
    let url = server.url("http", "/");
    assert_eq!(load(&[&url, "-n", "10", "--expect", "v7=1"]).status.code(), Some(0));
    let wrong = load(&[&url, "-n", "10", "--expect", "v7=1,v8=1"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stdout).contains("WRONG"));
}

#[test]
fn the_json_is_a_report_with_the_answers_in_order() {
    let server = StandIn::start(&["http"], &[]);
    let output = load(&[&server.url("http", "/"), "-n", "30", "-c", "3", "--answers", "-o", "json"]);
    let report: Report = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report.answers.iter().map(|answer| answer.index).collect::<Vec<_>>(), (0..30).collect::<Vec<_>>());
    assert!(report.latency.p50_us > 0.0 && report.latency.p50_us <= report.latency.max_us);
}

#[test]
fn a_signal_ends_a_long_run_with_its_report() {
    let server = StandIn::start(&["http"], &[]);
    let arguments = ["load", &server.url("http", "/"), "--duration", "60s", "--rate", "100", "-o", "json"];
    let running = Command::new(PROGRAM).args(arguments).stdout(Stdio::piped()).spawn().expect("the program starts");
    std::thread::sleep(Duration::from_millis(1000));
    terminate(&running);
    let output = running.wait_with_output().expect("ended");
    let report: Report = serde_json::from_slice(&output.stdout).expect("a report");
    assert!((10..=110).contains(&report.requests), "{} requests in a second at 100 per second", report.requests);
    assert_eq!(report.error_count(), 0, "{:?}", report.error_examples);
}

#[test]
fn reports_of_runs_are_merged_compared_and_drawn() {
    let server = StandIn::start(&["http"], &[]);
    let url = server.url("http", "/");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let html = file("run.html");
    for name in ["a1", "a2", "b1", "b2"] {
        let run = load(&[&url, "-n", "200", "-q", "400", "-c", "2", "-o", "json", "--html", &html]);
        assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
        std::fs::write(file(name), run.stdout).expect("written");
    }
    assert!(std::fs::read_to_string(&html).expect("a page").contains("id=\"percentiles\""));

    let merged = load(&["merge", &file("a1"), &file("a2"), "--expect", "v7=1", "-o", "json"]);
    assert_eq!(merged.status.code(), Some(0), "{}", String::from_utf8_lossy(&merged.stderr));
    let report: Report = serde_json::from_slice(&merged.stdout).expect("a report");
    assert_eq!((report.requests, report.run.merged, report.version("v7")), (400, 2, 400));
    assert_eq!(load(&["merge", &file("a1"), "--expect", "v8=1"]).status.code(), Some(1));

    let sides = [["a1", "a2"], ["b1", "b2"]].map(|side| side.map(file).join(","));
    let compared = load(&["compare", &sides[0], &sides[1]]);
    let text = String::from_utf8_lossy(&compared.stdout);
    assert!(compared.status.success() && text.contains("95 % interval") && text.contains("p99.9"), "{text}");

    let page = load(&["html", &file("b1")]);
    assert!(page.stdout.starts_with(b"<!doctype html>"));
    let refused = load(&["html", &html]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no report of outrigger load"));
}

/// What a run writes to standard error when that is a terminal.
fn on_a_terminal(server: &StandIn, environment: &[(&str, &str)]) -> String {
    let size = nix::pty::Winsize { ws_row: 24, ws_col: 160, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = nix::pty::openpty(Some(&size), None).expect("a terminal");
    let mut command = Command::new(PROGRAM);
    command.args(["load", &server.url("http", "/"), "-d", "1200ms", "-q", "200"]).env_remove("NO_COLOR").env("TERM", "xterm-256color");
    command.envs(environment.iter().copied()).stdout(Stdio::null()).stderr(terminal.slave);
    let mut child = command.spawn().expect("the program starts");
    // The terminal's other end has to be closed here too, so that reading ends with the program.
    drop(command);
    let mut screen = Vec::new();
    // Linux reports the end of a terminal as an error (EIO).
    let _end = std::io::Read::read_to_end(&mut std::fs::File::from(terminal.master), &mut screen);
    assert!(child.wait().expect("waited for").success());
    String::from_utf8_lossy(&screen).into_owned()
}

#[test]
fn progress_is_shown_on_a_terminal_and_nowhere_else() {
    let server = StandIn::start(&["http"], &[]);
    let screen = on_a_terminal(&server, &[]);
    assert!(screen.contains(" requests  ") && screen.contains("p99 ") && screen.contains("\x1b[32m"), "{screen:?}");
    let plain = on_a_terminal(&server, &[("NO_COLOR", "1")]);
    assert!(plain.contains(" requests  ") && !plain.contains("\x1b[3"), "{plain:?}");
    let piped = load(&[&server.url("http", "/"), "-d", "600ms", "-q", "100"]);
    assert_eq!((piped.status.code(), piped.stderr.len()), (Some(0), 0), "{}", String::from_utf8_lossy(&piped.stderr));
}
