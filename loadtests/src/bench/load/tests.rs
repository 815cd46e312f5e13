//! The open and the closed loop against a small server: what is sent, and what is counted.

use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use super::*;
use crate::bench::origin::Origin;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port()
}

fn plan(port: u16) -> Plan {
    Plan {
        target: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        path: "/b/1024".to_owned(),
        host: "svc.test".to_owned(),
        connections: 4,
        rate: None,
        close: false,
        warm_up: Duration::from_millis(20),
        window: Duration::from_secs(1),
    }
}

#[test]
fn a_closed_loop_is_answered_and_measured() {
    let port = free_port();
    let origin = Origin::start(&[port], None).expect("an origin");
    for close in [false, true] {
        let outcome = run(&Plan { close, ..plan(port) }, Cpu::default).expect("a run");
        assert!(
            outcome.requests > 0,
            "close {close}: {} failed, {} in all, {:?}",
            outcome.failed,
            outcome.answered_in_all,
            outcome.elapsed
        );
        assert_eq!((outcome.failed, outcome.bad_status, outcome.unanswered), (0, 0, 0), "close {close}");
        assert_eq!(outcome.latency.len(), outcome.requests);
        assert!(outcome.bytes >= outcome.requests * 1024, "close {close}: {} bytes", outcome.bytes);
        assert!(origin.counts()[0] >= outcome.answered_in_all);
    }
}

#[test]
fn an_open_loop_sends_what_is_due_and_no_more() {
    let port = free_port();
    let _origin = Origin::start(&[port], None).expect("an origin");
    let outcome = run(&Plan { rate: Some(500.0), ..plan(port) }, Cpu::default).expect("a run");
    assert_eq!(outcome.latency.len(), 500);
    assert_eq!((outcome.failed, outcome.unanswered), (0, 0));
}

#[test]
fn an_answer_is_understood_however_it_is_cut() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    for cut in 1..answer.len() {
        let mut connection = Connection::default();
        for _ in 0..2 {
            let first = connection.receive(&answer[..cut]).expect("the beginning of an answer");
            assert!(matches!(first, Progress::Partial), "cut at {cut}");
            let second = connection.receive(&answer[cut..]).expect("the rest");
            assert!(matches!(second, Progress::Complete(head) if head.status == 200), "cut at {cut}");
        }
    }
    assert!(Connection::default().receive(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab").is_err(), "more than was announced");
}

#[test]
fn a_body_larger_than_any_buffer_arrives_whole() {
    let port = free_port();
    let _origin = Origin::start(&[port], None).expect("an origin");
    let outcome = run(&Plan { path: "/b/5000000".to_owned(), connections: 1, ..plan(port) }, Cpu::default).expect("a run");
    assert!(outcome.requests > 0);
    assert_eq!(outcome.failed, 0);
}

#[test]
fn a_stall_is_charged_to_every_request_that_was_due_meanwhile() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    // Answers nothing for 150 ms, and then everything at once: the requests that waited were due 10 ms apart.
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the connection");
        thread::sleep(Duration::from_millis(150));
        let mut buffer = [0; 4096];
        while matches!(stream.read(&mut buffer), Ok(length) if length > 0) {
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
                break;
            }
        }
    });
    let schedule = Plan { rate: Some(100.0), connections: 1, warm_up: Duration::ZERO, window: Duration::from_millis(300), ..plan(port) };
    let outcome = run(&schedule, Cpu::default).expect("a run");
    server.join().expect("the server ends with the connection");
    assert_eq!(outcome.latency.len(), 30);
    let slow = outcome.latency.iter_recorded().filter(|step| step.value_iterated_to() > 30_000_000);
    let slow: u64 = slow.map(|step| step.count_at_value()).sum();
    assert!(slow >= 10, "only {slow} requests felt a stall of 150 ms at 100/s");
}

#[test]
fn what_is_no_answer_is_a_failure_and_the_run_ends_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            drop((&stream).write_all(b"SSH-2.0-nonsense\r\n\r\n"));
        }
    });
    let began = Instant::now();
    let outcome = run(&plan(port), Cpu::default).expect("a run");
    assert!(outcome.failed > 0);
    assert_eq!(outcome.requests, 0);
    assert!(began.elapsed() < Duration::from_secs(10));
}
