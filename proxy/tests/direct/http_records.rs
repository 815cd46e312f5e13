//! What metrics say about each way an exchange can end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use outrigger_config::model::*;
use outrigger_proxy::drain::Phase;
use tokio::io::AsyncWriteExt;

use crate::fixture::*;
use crate::http_fixture::*;

/// The flags and the code under which exactly one request was counted.
async fn counted(proxy: &Proxy, flags: &str, code: u16) {
    let labels = [format!("response_flags=\"{flags}\""), format!("response_code=\"{code}\""), "} 1".to_owned()];
    proxy.metric("istio_requests_total", &labels.each_ref().map(String::as_str)).await;
}

/// What the only host of [`in_front_of`] has on record: requests, and of these errors.
fn on_record(proxy: &Proxy) -> (u64, u64) {
    let hosts = proxy.worker.config.load().clusters().nth(2).expect("a third cluster").hosts();
    (hosts[0].state.requests.load(Ordering::Relaxed), hosts[0].state.errors.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_host_is_charged_with_every_attempt_that_it_failed_and_with_no_other() {
    let origin = Answering::start(|number, _| if number == 1 { ok("") } else { status(503) }).await;
    let retried = in_front_of(origin.address, |route| route.retry = Some(retry_5xx(1).into()));
    let mut client = Client::of(&retried).await;
    assert_eq!(client.get("/").await.status(), 200);
    assert_eq!(on_record(&retried), (2, 1), "a 503, and the answer to the retry");
    assert_eq!(client.get("/").await.status(), 503);
    assert_eq!(on_record(&retried), (4, 3), "two more 503");

    let hang = Origin::start().await;
    let timed = in_front_of(hang.address(), |route| route.timeout = Some(Duration::from_millis(50)));
    assert_eq!(Client::of(&timed).await.get("/").await.status(), 504);
    assert_eq!(on_record(&timed), (1, 1), "the route timeout ended it");
}

#[tokio::test]
async fn a_route_timeout_between_two_attempts_charges_the_host_with_nothing_more() {
    let origin = Answering::start(|_, _| status(503)).await;
    let waiting = in_front_of(origin.address, |route| {
        route.timeout = Some(Duration::from_millis(150));
        // Drawn between nothing and this: hardly ever within the timeout.
        route.retry = Some(RetryPolicy { backoff: Duration::from_secs(1_000_000), ..retry_5xx(1) }.into());
    });
    assert_eq!(Client::of(&waiting).await.get("/").await.status(), 504);
    assert_eq!(on_record(&waiting), (1, 1));
}

#[tokio::test]
async fn answers_made_here_carry_the_flag_of_their_cause() {
    let closed = Origin::start().await.address();
    let nobody = || Proxy::plain(model(route(&[(2, 1)]), vec![web("outbound|80||web", &[])]));
    let cases: [(Proxy, &str, u16); 5] = [
        (in_front_of(closed, |_| ()), "UF", 503),
        (in_front_of(closed, |route| route.retry = Some(default_retries().into())), "UF,URX", 503),
        (nobody(), "UH", 503),
        (
            in_front_of(closed, |route| {
                route.matches.method = Some(Box::new(outrigger_config::matcher::StringMatch::Exact("PUT".to_owned())))
            }),
            "NR",
            404,
        ),
        (
            in_front_of(closed, |route| {
                let delay = FaultDelay { per_million: 1_000_000, duration: Duration::from_millis(1) };
                let abort = FaultAbort { per_million: 1_000_000, status: AbortStatus::Http(418) };
                route.fault = Some(Fault { delay: Some(delay), abort: Some(abort) }.into());
            }),
            "DI,FI",
            418,
        ),
    ];
    for (proxy, flags, code) in cases {
        assert_eq!(Client::of(&proxy).await.get("/").await.status(), code, "{flags}");
        counted(&proxy, flags, code).await;
    }
}

#[tokio::test]
async fn an_upstream_that_fails_is_named_with_the_way_it_failed() {
    let origin = Origin::start().await;
    let proxy = in_front_of(origin.address(), |_| ());
    let mut client = Client::of(&proxy).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut server, _) = origin.accept().await;
    read_request(&mut server).await.expect("request");
    drop(server);
    assert_eq!(client.receive().await.status(), 503);
    counted(&proxy, "UC", 503).await;

    let nonsense = Answering::start(|_, _| "this is not HTTP\r\n\r\n".to_owned()).await;
    let proxy = in_front_of(nonsense.address, |_| ());
    assert_eq!(Client::of(&proxy).await.get("/").await.status(), 502);
    counted(&proxy, "UPE", 502).await;

    let hang = Origin::start().await;
    let proxy = in_front_of(hang.address(), |route| route.timeout = Some(Duration::from_millis(50)));
    assert_eq!(Client::of(&proxy).await.get("/").await.status(), 504);
    counted(&proxy, "UT", 504).await;
}

#[tokio::test]
async fn a_response_that_breaks_off_keeps_its_status_and_gets_a_flag() {
    let origin = Origin::start().await;
    let proxy = in_front_of(origin.address(), |_| ());
    let mut client = Client::of(&proxy).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut server, _) = origin.accept().await;
    read_request(&mut server).await.expect("request");
    server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.expect("write");
    expect(&mut client.0, "HTTP/1.1 200 OK\r\n").await;
    drop(server);
    assert!(String::from_utf8_lossy(&rest(&mut client.0).await).ends_with("half"));
    counted(&proxy, "UC", 200).await;
}

#[tokio::test]
async fn a_client_that_goes_away_is_counted_with_code_0_and_its_request_ends_upstream() {
    let origin = Origin::start().await;
    let proxy = in_front_of(origin.address(), |_| ());
    let mut client = Client::of(&proxy).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut server, _) = origin.accept().await;
    read_request(&mut server).await.expect("request");
    drop(client);
    assert!(rest(&mut server).await.is_empty(), "the upstream connection is closed");
    counted(&proxy, "DC", 0).await;
    let mut client = Client::of(&proxy).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").await;
    let (mut server, _) = origin.accept().await;
    read_head(&mut server).await;
    drop(client);
    rest(&mut server).await;
    assert_eq!(on_record(&proxy), (2, 0), "the host failed neither");
    let labels = ["response_flags=\"DC\"", "response_code=\"0\"", "} 2"];
    proxy.metric("istio_requests_total", &labels).await;
}

#[tokio::test]
async fn a_client_that_goes_away_before_its_body_is_read_is_noticed_at_once_and_its_request_not_sent() {
    let length = "content-length: 4";
    for (fields, body) in [(length, "body"), (length, "bo"), (length, ""), ("content-length: 4\r\nexpect: 100-continue", "")] {
        let origin = Origin::start().await;
        let proxy = in_front_of(origin.address(), |route| {
            let delay = FaultDelay { per_million: 1_000_000, duration: Duration::from_secs(60) };
            route.fault = Some(Fault { delay: Some(delay), abort: None }.into());
        });
        let mut client = Client::of(&proxy).await;
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n")).await;
        client.send(body).await;
        drop(client);
        counted(&proxy, "DC,DI", 0).await;
        assert!(origin.stays_alone().await);
    }
    let busy = Origin::start().await;
    let mut service = web("svc", &[busy.address()]);
    std::sync::Arc::make_mut(&mut service.connection_pool).max_connections = 1;
    let proxy = Proxy::plain(model(route(&[(2, 1)]), vec![service]));
    let mut first = Client::of(&proxy).await;
    first.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut server, _) = busy.accept().await;
    read_request(&mut server).await.expect("request");
    let mut client = Client::of(&proxy).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody").await;
    drop(client);
    counted(&proxy, "DC", 0).await;
    server.write_all(ok("").as_bytes()).await.expect("write");
    assert_eq!(first.receive().await.status(), 200);
    drop(first);
}

#[tokio::test]
async fn a_client_that_goes_away_is_noticed_although_the_upstream_takes_no_more_of_its_body() {
    for answered in [false, true] {
        let origin = Origin::start().await;
        let proxy = in_front_of(origin.address(), |_| ());
        let mut client = Client::of(&proxy).await;
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 80000000\r\n\r\n").await;
        let (mut server, _) = origin.accept().await;
        read_head(&mut server).await;
        if answered {
            server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.expect("write");
            expect(&mut client.0, "HTTP/1.1 200 OK\r\n").await;
        }
        fill(&mut client).await;
        // An end in good order would wait behind what the proxy's socket has no room for.
        client.0.set_zero_linger().expect("linger");
        drop(client);
        counted(&proxy, "DC", if answered { 200 } else { 0 }).await;
        rest(&mut server).await;
    }
}

/// Sends until nothing more is taken.
async fn fill(client: &mut Client) {
    while let Ok(written) = tokio::time::timeout(A_WHILE, client.0.write(&[0; 65536])).await {
        written.expect("write");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_is_noticed_although_it_has_sent_more_than_is_read_ahead() {
    let origin = Origin::start().await;
    let proxy = in_front_of(origin.address(), |route| {
        let delay = FaultDelay { per_million: 1_000_000, duration: Duration::from_secs(60) };
        route.fault = Some(Fault { delay: Some(delay), abort: None }.into());
    });
    let mut client = Client::of(&proxy).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n").await;
    client.send(vec![0; 100_000]).await;
    drop(client);
    counted(&proxy, "DC,DI", 0).await;
    assert!(origin.stays_alone().await);
}

#[tokio::test]
async fn a_head_that_the_codec_refuses_is_counted_too() {
    let origin = Origin::start().await;
    for (head, code) in [
        ("GET / HTTP/1.1\r\nbad header\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(70_000)), 431),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n".to_owned(), 400),
    ] {
        let proxy = in_front_of(origin.address(), |_| ());
        let mut client = Client::of(&proxy).await;
        client.send(head).await;
        assert_eq!(client.receive().await.status(), code);
        counted(&proxy, "DPE", code).await;
    }
}

#[tokio::test]
async fn the_bytes_of_a_websocket_are_counted_however_it_ends() {
    let origin = Origin::start().await;
    for is_cut in [true, false] {
        let proxy = in_front_of(origin.address(), |_| ());
        let mut client = Client::of(&proxy).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await;
        let (mut server, _) = origin.accept().await;
        read_request(&mut server).await.expect("request");
        server.write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await.expect("write");
        assert_eq!(client.receive().await.status(), 101);
        client.send("x".repeat(50_000)).await;
        expect(&mut server, &"x".repeat(50_000)).await;
        server.write_all("y".repeat(70_000).as_bytes()).await.expect("write");
        expect(&mut client.0, &"y".repeat(70_000)).await;
        if is_cut {
            proxy.phase.advance(Phase::Forced);
            rest(&mut client.0).await;
        } else {
            // What is there to be read makes the kernel reset the connection.
            client.send("unread").await;
            soon(server.peek(&mut [0])).await.expect("unread");
            drop(server);
            rest(&mut client.0).await;
        }
        let size = |line: String| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect("a number");
        let received = size(proxy.metric("istio_request_bytes_sum", &[]).await);
        let sent = size(proxy.metric("istio_response_bytes_sum", &[]).await);
        assert!(received > 50_000.0 && sent > 70_000.0, "cut: {is_cut}, {received} and {sent}");
    }
}
