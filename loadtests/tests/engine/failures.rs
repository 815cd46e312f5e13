//! What goes wrong is named, counted, and over in time.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use outrigger_loadtests::{Amount, Cause, Plan, Run, Unreachable, bench::certificates, run_until};

use crate::fixture::{answering, crowd, free_ports, narrow, nghttpd, plain, plan, read_head, report, scripted};

async fn only_cause(plan: Plan) -> Option<Cause> {
    let report = report(plan).await;
    assert_eq!(report.error_count(), report.requests, "{:?}", report.statuses);
    assert!(!report.error_examples.is_empty());
    let causes: Vec<Cause> = report.errors.keys().copied().collect();
    assert!(causes.len() <= 1, "{:?}", report.error_examples);
    causes.first().copied()
}

fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound")
}

#[tokio::test]
async fn each_failure_is_named_by_its_cause() {
    let closes = scripted(|mut stream| drop(read_head(&mut stream)));
    let resets = scripted(|mut stream| {
        // Closing with unread bytes resets.
        let _first = stream.read(&mut [0; 4]);
    });
    let cut_off = scripted(|mut stream| {
        let _head = read_head(&mut stream);
        let _sent = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
    });
    let no_last_chunk = scripted(|mut stream| {
        let _head = read_head(&mut stream);
        let _sent = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    });
    let babbles = answering(|| b"220 mail.example ESMTP\r\n\r\n".to_vec());
    let endless_head = answering(|| [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'x'; 1 << 20]].concat());
    for (address, cause) in [
        (nobody(), Cause::Refused),
        (closes, Cause::Closed),
        (resets, Cause::Reset),
        (cut_off, Cause::Body),
        (no_last_chunk, Cause::Body),
        (babbles, Cause::Protocol),
        (endless_head, Cause::Protocol),
    ] {
        assert_eq!(only_cause(plan(address, 3)).await, Some(cause));
    }
    assert_eq!(only_cause(Plan::new("http://no-such-host.invalid/", 2)).await, Some(Cause::Dns));
    let mut to_plaintext = Plan::new(format!("https://{babbles}/"), 2);
    to_plaintext.tls.insecure = true;
    assert_eq!(only_cause(to_plaintext).await, Some(Cause::Tls));
    assert_eq!(only_cause(Plan { http2: true, ..plan(babbles, 2) }).await, Some(Cause::Protocol));
}

#[tokio::test]
async fn a_server_that_stalls_or_never_reads_costs_its_timeout_and_no_more() {
    let stalls = scripted(|mut stream| {
        let _head = read_head(&mut stream);
        std::thread::sleep(Duration::from_secs(60));
    });
    let never_reads = scripted(|stream| {
        std::thread::sleep(Duration::from_secs(60));
        drop(stream);
    });
    let stops_midway = scripted(|mut stream| {
        let _head = read_head(&mut stream);
        let _sent = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
        std::thread::sleep(Duration::from_secs(60));
    });
    let begin = Instant::now();
    let impatient = |address| Plan { timeout: Duration::from_millis(300), concurrency: 4, ..plan(address, 8) };
    assert_eq!(only_cause(impatient(stalls)).await, Some(Cause::Timeout));
    assert_eq!(only_cause(Plan { body: vec![0; 20_000_000], ..impatient(never_reads) }).await, Some(Cause::Timeout));
    assert_eq!(
        only_cause(Plan { tcp_echo: true, url: format!("tcp://{never_reads}"), body: vec![1; 20_000_000], ..impatient(never_reads) }).await,
        Some(Cause::Timeout)
    );
    assert_eq!(only_cause(impatient(stops_midway)).await, Some(Cause::Timeout));
    let mut no_session = impatient(stalls);
    no_session.url = format!("https://{stalls}/");
    no_session.tls.insecure = true;
    no_session.connect_timeout = Duration::from_millis(100);
    assert_eq!(only_cause(no_session).await, Some(Cause::Tls));
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_run_in_which_nothing_is_ever_answered_is_given_up() {
    let stalls = scripted(|mut stream| {
        let _head = read_head(&mut stream);
        std::thread::sleep(Duration::from_secs(60));
    });
    let begin = Instant::now();
    let hopeless = Plan { timeout: Duration::from_millis(200), concurrency: 2, give_up: true, ..plan(stalls, 1_000_000) };
    let report = report(hopeless).await;
    assert!((4..100).contains(&report.requests), "{}", report.requests);
    let told = outrigger_loadtests::table::render(&report, outrigger_loadtests::table::Paint::Plain);
    assert!(report.run.gave_up && told.contains("ended early: nothing was answered"), "{told}");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn nobody_to_connect_to_is_said_before_anything_is_sent() {
    let error = Run::prepare(Plan { preconnect: true, ..plan(nobody(), 100) }).expect("threads").finish(std::future::pending()).await;
    let error = error.expect_err("nobody listens");
    assert!(error.is::<Unreachable>() && error.to_string().contains("refused"), "{error:#}");
}

#[tokio::test]
async fn nobody_to_connect_to_is_said_for_every_kind_of_connection() {
    let kept = Plan { preconnect: true, concurrency: 8, threads: 2, ..plan(nobody(), 100) };
    for plan in [Plan { http2: true, connections: 2, ..kept.clone() }, Plan { new_connections: true, ..kept.clone() }, kept] {
        let error = Run::prepare(plan).expect("threads").finish(std::future::pending()).await.expect_err("nobody listens");
        assert!(error.is::<Unreachable>(), "{error:#}");
    }
}

#[tokio::test]
async fn a_server_whose_certificate_is_refused_is_told_with_the_way_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = certificates::write(folder.path()).expect("certificates");
    let strangers = tempfile::tempdir().expect("a folder");
    let stranger = certificates::write(strangers.path()).expect("certificates");
    let [port] = free_ports();
    let _server = nghttpd(folder.path(), port, Some((&files.key, &files.certificate)));
    let to = |roots: &std::path::Path, name: &str| {
        let mut plan = Plan { preconnect: true, http2: true, ..Plan::new(format!("https://127.0.0.1:{port}/"), 1) };
        (plan.tls.roots, plan.tls.sni) = (Some(roots.to_owned()), Some(name.to_owned()));
        plan
    };
    for (plan, words) in [(to(&stranger.authority, "peer.test"), "--cacert"), (to(&files.authority, "other.test"), "--sni")] {
        let error = Run::prepare(plan).expect("threads").finish(std::future::pending()).await.expect_err("refused").to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_schedule_lasts_as_long_as_it_says_whenever_its_last_answer_comes() {
    let quick = answering(|| plain("ok"));
    let report = report(Plan { rate: Some(5.0), concurrency: 2, ..plan(quick, 2) }).await;
    assert!((0.4..2.0).contains(&report.seconds) && report.rate <= 5.0, "{} in {} s", report.rate, report.seconds);
}

#[tokio::test]
async fn a_url_that_never_answers_stands_among_those_that_do() {
    let (up, down) = (answering(|| plain("ok")), format!("http://{}/", nobody()));
    let report = report(Plan { more_urls: vec![down.clone()], ..plan(up, 10) }).await;
    assert_eq!((report.breakdown.url[&down].requests, report.error_count()), (0, 5), "{:?}", report.breakdown.url.keys());
    let told = outrigger_loadtests::table::render(&report, outrigger_loadtests::table::Paint::Plain);
    assert!(told.contains("and 1 more") && told.contains(&down), "{told}");
}

#[tokio::test]
async fn a_connection_closed_between_requests_is_replaced_without_an_error() {
    let one_each = scripted(|mut stream| {
        if read_head(&mut stream).is_some() {
            let _sent = stream.write_all(&plain("ok"));
        }
    });
    // 20 a second leave time for the server's end to arrive before the next request.
    let report = report(Plan { rate: Some(20.0), ..plan(one_each, 20) }).await;
    assert_eq!((report.status(200), report.error_count(), report.connections.opened), (20, 0, 20), "{:?}", report.error_examples);
}

#[tokio::test]
async fn a_stop_ends_the_run_with_what_there_is_and_loses_no_answer_on_the_way() {
    let slow = answering(|| {
        std::thread::sleep(Duration::from_millis(100));
        plain("ok")
    });
    let begin = Instant::now();
    let endless = Plan { amount: Amount::For(Duration::from_secs(600)), rate: Some(40.0), concurrency: 10, threads: 2, ..plan(slow, 0) };
    let report = run_until(endless, tokio::time::sleep(Duration::from_millis(800))).await.expect("a report");
    assert!(report.run.interrupted);
    assert_eq!(report.error_count(), 0, "{:?}", report.error_examples);
    assert!((5..=40).contains(&report.requests), "{}", report.requests);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_stop_while_connections_are_made_ends_the_run_at_once() {
    let listener = narrow();
    let address = listener.local_addr().expect("bound");
    let _crowd = crowd(address);
    let long = Duration::from_secs(30);
    let patient = Plan { preconnect: true, connect_timeout: long, timeout: long, ..plan(address, 10) };
    for stop in [Duration::ZERO, Duration::from_millis(200)] {
        let begin = Instant::now();
        let report = run_until(patient.clone(), tokio::time::sleep(stop)).await.expect("a report");
        assert!(report.run.interrupted && report.requests == 0 && report.seconds == 0.0, "{report:?}");
        assert!(begin.elapsed() < stop + Duration::from_secs(1), "{:?}", begin.elapsed());
    }
}

#[tokio::test]
async fn a_stop_waits_only_so_long_for_a_server_that_stalls() {
    let stalls = scripted(|mut stream| {
        let _head = read_head(&mut stream);
        std::thread::sleep(Duration::from_secs(60));
    });
    let begin = Instant::now();
    let patient = Plan { patience: Duration::from_millis(200), ..plan(stalls, 10) };
    let report = run_until(patient, tokio::time::sleep(Duration::from_millis(200))).await.expect("a report");
    assert_eq!((report.requests, report.run.abandoned), (0, 1), "what was abandoned is no error of the server, and is not hidden");
    assert!(report.seconds > 0.19, "the time until the stop went by: {}", report.seconds);
    assert!(!"p50<3600s".parse::<outrigger_loadtests::Slo>().expect("an objective").holds(&report));
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_named() {
    let plan = Plan { unix_socket: Some("/nowhere/socket".into()), ..plan(nobody(), 1) };
    let report = report(plan).await;
    assert!(report.error_examples[0].contains("/nowhere/socket"), "{:?}", report.error_examples);
}

/// Answers so many requests in all, then holds whoever asks.
fn answers_then_hangs(answers: usize) -> SocketAddr {
    let left = std::sync::Mutex::new(answers);
    answering(move || {
        let go_on = {
            let mut left = left.lock().expect("not poisoned");
            let go_on = *left > 0;
            *left = left.saturating_sub(1);
            go_on
        };
        if !go_on {
            std::thread::sleep(Duration::from_secs(60));
        }
        plain("ok")
    })
}

#[tokio::test]
async fn a_closed_loop_lasts_its_time_also_when_the_server_hangs_for_most_of_it() {
    let until = Instant::now() + Duration::from_millis(200);
    let stops = answering(move || {
        if Instant::now() > until {
            std::thread::sleep(Duration::from_secs(60));
        }
        std::thread::sleep(Duration::from_millis(1));
        plain("ok")
    });
    let closed = Plan { amount: Amount::For(Duration::from_secs(2)), timeout: Duration::from_secs(3), concurrency: 4, ..plan(stops, 0) };
    let report = report(closed).await;
    assert_eq!((report.seconds, report.error_count()), (2.0, 4), "{} requests, {:?}", report.requests, report.errors);
    let while_it_answered = report.histograms.latency.count() as f64 / 0.2;
    let rate = format!("rate>{}", while_it_answered / 2.0).parse::<outrigger_loadtests::Slo>().expect("an objective");
    assert!(!rate.holds(&report), "{}/s of {while_it_answered}/s", report.rate);
}

#[tokio::test]
async fn the_time_in_which_a_counted_closed_loop_is_kept_waiting_is_time_of_the_run() {
    let impatient = Plan { timeout: Duration::from_secs(1), concurrency: 1, ..plan(answers_then_hangs(1), 4) };
    let report = report(impatient).await;
    assert_eq!((report.status(200), report.error_count()), (1, 3));
    assert!((2.0..2.9).contains(&report.seconds), "until the last was sent: {}", report.seconds);
}

#[tokio::test]
async fn quick_answers_do_not_meet_an_objective_that_most_requests_missed() {
    let impatient = Plan {
        amount: Amount::For(Duration::from_secs(1)),
        rate: Some(200.0),
        timeout: Duration::from_millis(1_500),
        concurrency: 4,
        ..plan(answers_then_hangs(100), 0)
    };
    let report = report(impatient).await;
    assert_eq!((report.requests, report.status(200)), (200, 100), "{:?}", report.errors);
    assert!(report.latency.p99_us < 1_400_000.0, "the answers alone were quick: {:?}", report.latency);
    let check = |text: &str| text.parse::<outrigger_loadtests::Slo>().expect("an objective").check(&report).remove(0);
    assert!(check("p49<1400ms").ok, "{:?}", check("p49<1400ms"));
    for objective in ["p99<1400ms", "p51<1400ms", "service-p99<1400ms", "max<1400ms", "mean<1400ms"] {
        let check = check(objective);
        assert!(!check.ok && check.got == "no answer", "{check:?}");
    }
}

#[tokio::test]
async fn a_run_that_is_given_up_counts_every_request_that_was_due() {
    let hopeless = Plan {
        amount: Amount::For(Duration::from_secs(1)),
        rate: Some(50.0),
        timeout: Duration::from_millis(500),
        concurrency: 4,
        give_up: true,
        ..plan(answers_then_hangs(0), 0)
    };
    let report = report(hopeless).await;
    assert!(report.run.gave_up);
    assert_eq!((report.requests, report.error_count()), (50, 50), "{:?}", report.errors);
}

#[tokio::test]
async fn a_run_that_is_given_up_counts_what_was_due_by_then_and_nothing_after() {
    // More connections than are in flight: idle workers hold requests that are due later, and more are due until the last one ends.
    let hopeless = Plan {
        amount: Amount::For(Duration::from_secs(60)),
        rate: Some(20.0),
        timeout: Duration::from_secs(1),
        concurrency: 30,
        threads: 1,
        give_up: true,
        ..plan(answers_then_hangs(0), 0)
    };
    let report = report(hopeless).await;
    assert!(report.run.gave_up && report.error_count() == report.requests);
    // What was sent last has taken its second of patience.
    let due = (report.seconds - 1.0) * 20.0 + 1.0;
    assert!(
        report.requests >= 41 && report.requests as f64 <= due + 3.0,
        "{} in {} s: {:?}",
        report.requests,
        report.seconds,
        report.errors
    );
}

#[tokio::test]
async fn a_stop_counts_what_was_due_by_then_and_found_no_connection() {
    let endless = Plan {
        amount: Amount::For(Duration::from_secs(600)),
        rate: Some(100.0),
        concurrency: 4,
        patience: Duration::from_millis(100),
        ..plan(answers_then_hangs(0), 0)
    };
    let report = run_until(endless, tokio::time::sleep(Duration::from_secs(1))).await.expect("a report");
    assert_eq!(report.run.abandoned, 4);
    let not_sent = report.errors.get(&Cause::NotSent).copied().unwrap_or_default();
    // Without what became due in the last moments.
    assert!((80..150).contains(&not_sent) && report.requests == not_sent, "about a hundred were due: {:?}", report.errors);
}
