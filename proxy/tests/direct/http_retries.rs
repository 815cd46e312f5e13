//! An origin that fails at every step, against every kind of request: what is sent again, and what never is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outrigger_config::model::{Cluster, LbPolicy, RetryPolicy};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::*;
use crate::http_fixture::*;

/// Where an origin gives up on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Closes the connection without reading.
    BeforeReading,
    /// Reads the head, then closes.
    AfterHead,
    /// Reads everything, then closes.
    AfterRequest,
    /// Begins to answer, then closes.
    InTheAnswer,
}

/// What happened at an origin.
#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    complete_requests: AtomicUsize,
}

/// An origin whose connections first serve `good` requests each and then fail at `step`; after `failures` of these it is
/// well.
async fn failing(step: Step, good: usize, failures: usize) -> (std::net::SocketAddr, Arc<Counts>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let counts = Arc::new(Counts::default());
    let shared = Arc::clone(&counts);
    tokio::spawn(async move {
        let failed = Arc::new(AtomicUsize::new(0));
        while let Ok((stream, _)) = listener.accept().await {
            shared.connections.fetch_add(1, Ordering::SeqCst);
            let may_fail = failed.fetch_add(1, Ordering::SeqCst) < failures;
            tokio::spawn(serve(stream, step, may_fail.then_some(good), Arc::clone(&shared)));
        }
    });
    (address, counts)
}

async fn serve(mut stream: TcpStream, step: Step, good: Option<usize>, counts: Arc<Counts>) {
    let mut served = 0;
    loop {
        let fails = good == Some(served);
        if fails && step == Step::BeforeReading {
            return;
        }
        let head = read_head(&mut stream).await;
        if head.is_empty() || (fails && step == Step::AfterHead) {
            return;
        }
        read_body(&mut stream, &head, false).await;
        counts.complete_requests.fetch_add(1, Ordering::SeqCst);
        if fails {
            if step == Step::InTheAnswer {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegin").await;
            }
            return;
        }
        let _ = stream.write_all(ok("fine").as_bytes()).await;
        served += 1;
    }
}

/// Sends one request over a connection that served one before (`reused`) or over a new one, to an origin that fails once.
async fn outcome(step: Step, method: &str, body: &str, reused: bool, policy: Option<RetryPolicy>) -> (Got, usize) {
    let (address, counts) = failing(step, usize::from(reused), 1).await;
    let proxy = in_front_of(address, |route| route.retry = policy.map(Into::into));
    let mut client = Client::of(&proxy).await;
    if reused {
        assert_eq!(client.get("/warm").await.status(), 200);
        // The origin's FIN, where it comes at once, is seen before the next request goes out.
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    client.send(format!("{method} / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    let got = client.receive().await;
    let received = counts.complete_requests.load(Ordering::SeqCst) - usize::from(reused);
    (got, received)
}

#[tokio::test]
async fn without_a_policy_only_the_lost_keep_alive_race_is_run_again_and_a_post_is_never_sent_twice() {
    for step in [Step::BeforeReading, Step::AfterHead, Step::AfterRequest] {
        for (method, body) in [("GET", ""), ("PUT", "data"), ("POST", "data")] {
            for reused in [false, true] {
                let (got, received) = outcome(step, method, body, reused, None).await;
                let idempotent = method != "POST";
                // A connection closed while idle is known to be dead, so the request goes elsewhere in the first place.
                let expected = reused && (idempotent || step == Step::BeforeReading);
                assert_eq!(got.status() == 200, expected, "{step:?} {method} reused {reused}: {}", got.head);
                if !idempotent {
                    assert!(received <= 1, "{step:?} {method} reused {reused} reached the origin {received} times");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_users_policy_repeats_what_was_not_answered_and_istios_default_does_not() {
    for step in [Step::BeforeReading, Step::AfterHead, Step::AfterRequest] {
        for (method, body) in [("GET", ""), ("POST", "data")] {
            let (got, _) = outcome(step, method, body, false, Some(retry_5xx(2))).await;
            assert_eq!((got.status(), got.text().as_str()), (200, "fine"), "{step:?} {method}");
            let (got, received) = outcome(step, method, body, false, Some(default_retries())).await;
            assert_eq!(got.status(), 503, "{step:?} {method}");
            assert!(received <= 1);
        }
    }
}

#[tokio::test]
async fn an_answer_that_has_begun_is_never_taken_back() {
    for reused in [false, true] {
        let (got, received) = outcome(Step::InTheAnswer, "GET", "", reused, Some(retry_5xx(3))).await;
        assert_eq!((got.status(), received), (200, 1), "reused {reused}");
        assert!(got.body.is_empty(), "cut off: the announced length does not come");
    }
}

#[tokio::test]
async fn a_refused_connection_is_retried_by_default_and_reads_as_in_envoy() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("bind").local_addr().expect("address");
    let proxy = in_front_of(closed, |route| route.retry = Some(default_retries().into()));
    let got = Client::of(&proxy).await.get("/").await;
    assert_eq!(got.status(), 503);
    assert_eq!(
        got.text(),
        "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: remote connection \
         failure, transport failure reason: delayed connect error: Connection refused"
    );
    let origin = Answering::start(|_, _| ok("other host")).await;
    let both = model(
        {
            let mut route = route(&[(2, 1)]);
            route.retry = Some(default_retries().into());
            route
        },
        vec![web("outbound|80||web", &[closed, origin.address])],
    );
    let proxy = Proxy::plain(both);
    let mut client = Client::of(&proxy).await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.text(), "other host");
    }
}

/// Sends four requests under `policy`, round robin over one origin per `(locality, weight)`, all answering 503. Returns the
/// numbers of the origins that each request was tried at, in order.
async fn attempted(policy: RetryPolicy, origins: &[(&str, u32)]) -> Vec<Vec<usize>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut cluster = Cluster { lb_policy: LbPolicy::RoundRobin, ..web("outbound|80||web", &[]) };
    for (number, (locality, weight)) in origins.iter().enumerate() {
        let shared = Arc::clone(&seen);
        let origin = Answering::start(move |_, _| {
            shared.lock().expect("lock").push(number);
            status(503)
        })
        .await;
        let mut endpoint = web("", &[origin.address]).endpoints.remove(0);
        let changed = Arc::make_mut(&mut endpoint);
        (changed.locality, changed.weight) = ((*locality).to_owned(), *weight);
        cluster.endpoints.push(endpoint);
    }
    let mut route = route(&[(2, 1)]);
    route.retry = Some(policy.into());
    let proxy = Proxy::plain(model(route, vec![cluster]));
    let mut client = Client::of(&proxy).await;
    let mut requests = Vec::new();
    for _ in 0..4 {
        assert_eq!(client.get("/").await.status(), 503);
        requests.push(std::mem::take(&mut *seen.lock().expect("lock")));
    }
    requests
}

#[tokio::test]
async fn a_retry_goes_to_another_host_unless_the_policy_says_that_it_need_not() {
    let hosts = [("", 3), ("", 1)];
    for (ignore_previous_hosts, at_each) in [(true, [4, 4]), (false, [6, 2])] {
        let requests = attempted(RetryPolicy { ignore_previous_hosts, ..retry_5xx(1) }, &hosts).await.concat();
        let at = |host| requests.iter().filter(|tried| **tried == host).count();
        assert_eq!([at(0), at(1)], at_each, "ignore previous hosts: {ignore_previous_hosts}");
    }
}

#[tokio::test]
async fn after_two_attempts_in_a_locality_a_retry_goes_to_another_one_when_the_policy_says_so() {
    let hosts = [("near", 1), ("near", 1), ("near", 1), ("far", 1)];
    let far = 3;
    for retry_remote_localities in [true, false] {
        let policy = RetryPolicy { retry_remote_localities, ignore_previous_hosts: false, ..retry_5xx(2) };
        let requests = attempted(policy, &hosts).await;
        let only_near: Vec<_> = requests.iter().filter(|tried| !tried.contains(&far)).collect();
        // Three turns of round robin at a time over four hosts miss each host once in four requests.
        assert_eq!(only_near.is_empty(), retry_remote_localities, "{requests:?}");
    }
}

#[tokio::test]
async fn a_503_is_passed_on_by_default_and_retried_when_the_user_says_5xx() {
    for (policy, expected, requests) in [(default_retries(), 503, 1), (retry_5xx(2), 200, 2)] {
        let origin = Answering::start(|number, seen| match number {
            0 => status(503),
            _ => ok(seen.header("x-envoy-attempt-count").unwrap_or("")),
        })
        .await;
        let proxy = in_front_of(origin.address, |route| route.retry = Some(policy.into()));
        let got = Client::of(&proxy).await.post("/", "body").await;
        assert_eq!((got.status(), origin.requests()), (expected, requests));
        if expected == 200 {
            assert_eq!(got.text(), "2", "the attempt is numbered");
            assert_eq!(origin.connections(), 1, "the discarded answer did not cost the connection");
        }
    }
}

#[tokio::test]
async fn attempts_are_exact_and_the_last_answer_is_passed_on() {
    let origin = Answering::start(|number, _| format!("HTTP/1.1 503 No\r\ncontent-length: 1\r\n\r\n{number}")).await;
    let proxy = in_front_of(origin.address, |route| route.retry = Some(retry_5xx(3).into()));
    let got = Client::of(&proxy).await.get("/").await;
    assert_eq!((got.status(), got.text().as_str(), origin.requests()), (503, "3", 4));
}

#[tokio::test]
async fn a_large_body_is_sent_once_and_its_failure_is_returned() {
    let (address, _) = failing(Step::AfterRequest, 0, 1).await;
    let proxy = in_front_of(address, |route| route.retry = Some(retry_5xx(2).into()));
    let got = Client::of(&proxy).await.post("/", &"x".repeat(2 << 20)).await;
    assert_eq!(got.status(), 503);
    let (address, counts) = failing(Step::AfterRequest, 0, 1).await;
    let proxy = in_front_of(address, |route| route.retry = Some(retry_5xx(2).into()));
    let got = Client::of(&proxy).await.post("/", &"x".repeat(1 << 19)).await;
    assert_eq!((got.status(), counts.complete_requests.load(Ordering::SeqCst)), (200, 2), "half a mebibyte is kept");
}

#[tokio::test]
async fn no_503_from_an_origin_that_closes_idle_connections_at_every_moment() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                // Keep-alive of a few milliseconds: about as long as the clients below wait between requests.
                let mut patience = SOON;
                loop {
                    let head = tokio::time::timeout(patience, read_head(&mut stream)).await;
                    patience = Duration::from_millis(5);
                    match head {
                        Ok(head) if !head.is_empty() => drop(stream.write_all(ok("fine").as_bytes()).await),
                        _ => return,
                    }
                }
            });
        }
    });
    let proxy = Arc::new(in_front_of(address, |_| ()));
    let clients: Vec<_> = (0..8u64)
        .map(|number| {
            let proxy = Arc::clone(&proxy);
            tokio::spawn(async move {
                let mut client = Client::of(&proxy).await;
                for round in 0..60u64 {
                    assert_eq!(client.get("/").await.status(), 200, "client {number}, round {round}");
                    tokio::time::sleep(Duration::from_micros(4000 + (number * 60 + round) % 20 * 100)).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("client");
    }
}
