//! Splits, faults, time-outs, limits, balancing and header operations, seen from outside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};
use outrigger_config::model::*;
use outrigger_proxy::snapshot::Config;
use outrigger_proxy::upstream::Resource;
use tokio::io::AsyncWriteExt;

use crate::fixture::*;
use crate::http_fixture::*;

async fn named(name: &'static str) -> Answering {
    Answering::start(move |_, _| ok(name)).await
}

/// Answers by body.
async fn tally(client: &mut Client, requests: usize) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for _ in 0..requests {
        *tally.entry(client.get("/").await.text()).or_default() += 1;
    }
    tally
}

#[tokio::test]
async fn a_split_is_exact_in_every_hundred() {
    let (a, b, c) = (named("a").await, named("b").await, named("c").await);
    let clusters = vec![web("a", &[a.address]), web("b", &[b.address]), web("c", &[c.address])];
    let proxy = Proxy::plain(model(route(&[(2, 50), (3, 45), (4, 5)]), clusters));
    let mut client = Client::of(&proxy).await;
    for _ in 0..3 {
        let expected = BTreeMap::from([("a".to_owned(), 50), ("b".to_owned(), 45), ("c".to_owned(), 5)]);
        assert_eq!(tally(&mut client, 100).await, expected);
    }
}

#[tokio::test]
async fn round_robin_goes_on_when_an_endpoint_comes() {
    let hosts = [named("a").await, named("b").await, named("c").await];
    let two = model(route(&[(2, 1)]), vec![web("svc", &[hosts[0].address, hosts[1].address])]);
    let three = model(route(&[(2, 1)]), vec![web("svc", &hosts.each_ref().map(|host| host.address))]);
    let proxy = Proxy::plain(two);
    let mut client = Client::of(&proxy).await;
    let before = tally(&mut client, 10).await;
    assert_eq!(before.into_values().collect::<Vec<_>>(), [5, 5]);
    let next = Config::build(three, Some(&proxy.worker.config.load()));
    proxy.worker.config.publish(next);
    assert_eq!(tally(&mut client, 9).await.into_values().collect::<Vec<_>>(), [3, 3, 3]);
    assert_eq!(hosts[0].connections() + hosts[1].connections(), 2, "connections of the others were not dropped");
}

#[tokio::test]
async fn a_removed_endpoint_finishes_its_request_and_loses_its_idle_connections() {
    let origin = Origin::start().await;
    let with = model(route(&[(2, 1)]), vec![web("svc", &[origin.address()])]);
    let without = model(route(&[(2, 1)]), vec![web("svc", &[])]);
    let proxy = Proxy::plain(with);
    let (mut idle, mut busy) = (Client::of(&proxy).await, Client::of(&proxy).await);
    idle.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut idle_server, _) = origin.accept().await;
    read_request(&mut idle_server).await.expect("request");
    busy.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut busy_server, _) = origin.accept().await;
    read_request(&mut busy_server).await.expect("request");
    idle_server.write_all(ok("first").as_bytes()).await.expect("write");
    assert_eq!(idle.receive().await.text(), "first");
    let next = Config::build(without, Some(&proxy.worker.config.load()));
    proxy.worker.config.publish(next);
    assert!(rest(&mut idle_server).await.is_empty(), "the idle connection closes by itself");
    busy_server.write_all(ok("second").as_bytes()).await.expect("write");
    assert_eq!(busy.receive().await.text(), "second");
    assert_eq!(idle.get("/").await.status(), 503);
    assert!(rest(&mut busy_server).await.is_empty(), "and so does the other once it is free");
}

#[tokio::test]
async fn faults_are_exact_and_answered_as_in_envoy() {
    let origin = named("ok").await;
    let proxy = in_front_of(origin.address, |route| {
        route.fault = Some(Box::new(Fault {
            delay: Some(FaultDelay { per_million: 300_000, duration: Duration::from_millis(60) }),
            abort: Some(FaultAbort { per_million: 200_000, status: AbortStatus::Http(503) }),
        }));
    });
    let mut client = Client::of(&proxy).await;
    let (mut aborted, mut delayed) = (0, 0);
    for _ in 0..100 {
        let begin = Instant::now();
        let got = client.get("/").await;
        delayed += usize::from(begin.elapsed() >= Duration::from_millis(60));
        if got.status() == 503 {
            assert_eq!(got.text(), "fault filter abort");
            aborted += 1;
        }
    }
    assert_eq!(aborted, 20);
    assert!((30..=34).contains(&delayed), "{delayed} delays; a slow machine may add a few");
    assert_eq!(origin.requests(), 80);
}

#[tokio::test]
async fn a_route_timeout_covers_all_tries_and_a_try_has_its_own() {
    let hang = Origin::start().await;
    let proxy = in_front_of(hang.address(), |route| route.timeout = Some(Duration::from_millis(150)));
    let begin = Instant::now();
    let got = Client::of(&proxy).await.get("/").await;
    assert_eq!((got.status(), got.text().as_str()), (504, "upstream request timeout"));
    assert!((150..2000).contains(&begin.elapsed().as_millis()));

    let policy = RetryPolicy { per_try_timeout: Some(Duration::from_millis(50)), ..retry_5xx(2) };
    let slow_once = Origin::start().await;
    let proxy = in_front_of(slow_once.address(), |route| route.retry = Some(policy.into()));
    let mut client = Client::of(&proxy).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut first, _) = slow_once.accept().await;
    let seen = read_request(&mut first).await.expect("request");
    assert_eq!(seen.header("x-envoy-expected-rq-timeout-ms"), Some("50"));
    let (mut second, _) = slow_once.accept().await;
    read_request(&mut second).await.expect("second try");
    second.write_all(ok("second").as_bytes()).await.expect("write");
    assert_eq!(client.receive().await.text(), "second");
}

#[tokio::test]
async fn the_route_timeout_ends_an_answer_that_the_client_does_not_take() {
    let origin = Origin::start().await;
    let proxy = in_front_of(origin.address(), |route| route.timeout = Some(Duration::from_millis(300)));
    let mut client = Client::of(&proxy).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut server, _) = origin.accept().await;
    read_request(&mut server).await.expect("request");
    server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await.expect("write");
    let chunk = vec![0; 1 << 16];
    soon(async { while server.write_all(&chunk).await.is_ok() {} }).await;
    proxy.metric("istio_requests_total", &["response_code=\"200\"", "response_flags=\"UT\"", "} 1"]).await;
}

#[tokio::test]
async fn the_clock_does_not_run_while_the_request_is_still_coming() {
    let origin = Answering::start(|_, seen| ok(&seen.body.len().to_string())).await;
    let proxy = in_front_of(origin.address, |route| route.timeout = Some(Duration::from_millis(100)));
    let mut client = Client::of(&proxy).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n").await;
    for byte in ["a", "b", "c"] {
        tokio::time::sleep(Duration::from_millis(60)).await;
        client.send(byte).await;
    }
    assert_eq!(client.receive().await.text(), "3");
}

#[tokio::test]
async fn the_clock_starts_at_the_end_of_a_request_whose_answer_began_before_it() {
    let origin = Origin::start().await;
    let proxy = in_front_of(origin.address(), |route| route.timeout = Some(Duration::from_millis(100)));
    let mut client = Client::of(&proxy).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbo").await;
    let (mut server, _) = origin.accept().await;
    read_head(&mut server).await;
    expect(&mut server, "bo").await;
    server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf").await.expect("write");
    assert_eq!(header(&read_head(&mut client.0).await, "content-length"), Some("8"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    client.send("dy").await;
    expect(&mut server, "dy").await;
    assert_eq!(rest(&mut client.0).await, b"half");
    proxy.metric("istio_requests_total", &["response_code=\"200\"", "response_flags=\"UT\"", "} 1"]).await;
}

#[tokio::test]
async fn one_request_in_flight_one_waiting_and_the_rest_overflows() {
    let origin = Origin::start().await;
    let mut service = web("svc", &[origin.address()]);
    Arc::make_mut(&mut service.connection_pool).max_connections = 1;
    Arc::make_mut(&mut service.connection_pool).max_pending_requests = 1;
    let proxy = Proxy::plain(model(route(&[(2, 1)]), vec![service]));
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::of(&proxy).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        clients.push(client);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let refused = clients[2].receive().await;
    assert_eq!((refused.status(), refused.header("x-envoy-overloaded")), (503, Some("true")));
    assert_eq!(refused.text(), "upstream connect error or disconnect/reset before headers. reset reason: overflow");
    let (mut server, _) = origin.accept().await;
    for client in &mut clients[..2] {
        read_request(&mut server).await.expect("request");
        server.write_all(ok("served").as_bytes()).await.expect("write");
        assert_eq!(client.receive().await.text(), "served");
    }
    assert!(origin.stays_alone().await, "one connection was enough");
}

#[tokio::test]
async fn an_answer_that_is_retried_and_never_ends_holds_neither_a_limit_nor_its_connection() {
    let origin = Origin::start().await;
    let mut service = web("svc", &[origin.address()]);
    Arc::make_mut(&mut service.connection_pool).max_requests = 1;
    let mut route = route(&[(2, 1)]);
    route.retry = Some(retry_5xx(1).into());
    let proxy = Proxy::plain(model(route, vec![service]));
    let mut client = Client::of(&proxy).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut first, _) = origin.accept().await;
    read_request(&mut first).await.expect("request");
    first.write_all(b"HTTP/1.1 503 Whatever\r\ncontent-length: 9\r\n\r\nnever").await.expect("write");
    let (mut second, _) = origin.accept().await;
    read_request(&mut second).await.expect("request");
    second.write_all(ok("second").as_bytes()).await.expect("write");
    assert_eq!(client.receive().await.text(), "second");
    assert!(rest(&mut first).await.is_empty());
}

#[tokio::test]
async fn a_limit_on_requests_per_connection_is_kept() {
    let origin = named("x").await;
    let mut service = web("svc", &[origin.address]);
    Arc::make_mut(&mut service.connection_pool).max_requests_per_connection = 2;
    let proxy = Proxy::plain(model(route(&[(2, 1)]), vec![service]));
    let mut client = Client::of(&proxy).await;
    for _ in 0..6 {
        assert_eq!(client.get("/").await.status(), 200);
    }
    assert_eq!(origin.connections(), 3);
}

#[tokio::test]
async fn header_operations_apply_in_istios_order() {
    let origin = Answering::start(|_, seen| {
        let seen = format!(
            "{}|{}|{}",
            seen.header("x-set").unwrap_or("-"),
            seen.header("x-gone").unwrap_or("-"),
            seen.header("host").unwrap_or("-")
        );
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-internal: 1\r\n\r\n{seen}", seen.len())
    })
    .await;
    let literal = |value: &'static str| HeaderFormat::Literal(HeaderValue::from_static(value));
    let set = |value| vec![(HeaderName::from_static("x-set"), literal(value))];
    let build = |weights: &[(u32, u32)]| {
        let mut route = route(weights);
        route.request_headers = RouteHeaders::from(HeaderOperations {
            remove: vec![HeaderName::from_static("x-gone")],
            set: set("route"),
            authority: Some(literal("rewritten.host")),
            ..HeaderOperations::default()
        });
        route.response_headers = RouteHeaders::from(HeaderOperations {
            remove: vec![HeaderName::from_static("x-internal")],
            add: vec![(
                HeaderName::from_static("x-peer"),
                HeaderFormat::Template(vec![
                    FormatPiece::Text("from ".to_owned()),
                    FormatPiece::Command { name: "REQ".to_owned(), argument: Some(":METHOD".to_owned()) },
                ]),
            )],
            ..HeaderOperations::default()
        });
        if let RouteAction::Forward(clusters) = &mut route.action {
            clusters[0].request_headers.set = set("destination");
        }
        route
    };
    for (weights, winner) in [(&[(2, 100)][..], "destination"), (&[(2, 99), (3, 1)], "route")] {
        let clusters = vec![web("a", &[origin.address]), web("b", &[origin.address])];
        let proxy = Proxy::plain(model(build(weights), clusters));
        let mut client = Client::of(&proxy).await;
        client.send("GET / HTTP/1.1\r\nhost: web\r\nx-gone: 1\r\nx-set: client\r\n\r\n").await;
        let got = client.receive().await;
        assert_eq!(got.text(), format!("{winner}|-|rewritten.host"));
        assert_eq!((got.header("x-internal"), got.header("x-peer")), (None, Some("from GET")));
    }
}

#[tokio::test]
async fn rewrites_redirects_and_direct_responses() {
    let origin = Answering::start(|_, seen| {
        ok(&format!("{} {}", seen.head.lines().next().unwrap_or(""), seen.header("x-envoy-original-path").unwrap_or("-")))
    })
    .await;
    let proxy = in_front_of(origin.address, |route| {
        route.rewrite = Some(Rewrite { path: PathRewrite::Prefix { matched: 3, with: "/v2".to_owned() }, authority: None }.into());
    });
    assert_eq!(Client::of(&proxy).await.get("/v1/x?q").await.text(), "GET /v2/x?q HTTP/1.1 /v1/x?q");
    let redirect =
        Redirect { code: 302, scheme: None, authority: Some("new.shop".to_owned()), port: RedirectPort::Keep, path: PathRewrite::Keep };
    let proxy = Proxy::plain(model(with_action(RouteAction::Redirect(redirect.into())), vec![]));
    let got = Client::of(&proxy).await.get("/a?b").await;
    assert_eq!((got.status(), got.header("location")), (302, Some("http://new.shop/a?b")));
    let direct = DirectResponse { status: 418, body: b"teapot".to_vec() };
    let proxy = Proxy::plain(model(with_action(RouteAction::DirectResponse(direct)), vec![]));
    let got = Client::of(&proxy).await.get("/").await;
    assert_eq!((got.status(), got.text().as_str(), got.header("content-type")), (418, "teapot", Some("text/plain")));
}

#[tokio::test]
async fn an_upstream_connection_that_is_idle_for_too_long_is_closed() {
    let origin = Origin::start().await;
    let mut service = web("svc", &[origin.address()]);
    Arc::make_mut(&mut service.connection_pool).idle_timeout = Some(Duration::from_millis(100));
    let proxy = Proxy::plain(model(route(&[(2, 1)]), vec![service]));
    let mut client = Client::of(&proxy).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut server, _) = origin.accept().await;
    read_request(&mut server).await.expect("request");
    server.write_all(ok("").as_bytes()).await.expect("write");
    assert_eq!(client.receive().await.status(), 200);
    let begin = Instant::now();
    assert!(rest(&mut server).await.is_empty());
    assert!((90..3000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn every_upstream_connection_is_counted_once_however_many_requests_it_carries() {
    let origin = Answering::start(|_, _| ok("")).await;
    let gone = own_address();
    let kept = web("kept", &[origin.address]);
    let mut single = web("single", &[origin.address]);
    Arc::make_mut(&mut single.connection_pool).max_requests_per_connection = 1;
    let dead = web("dead", &[(gone, 9).into()]);
    for (cluster, connections) in [(kept, 1), (single, 3), (dead, 3)] {
        let proxy = Proxy::plain(model(route(&[(2, 1)]), vec![cluster]));
        let mut client = Client::of(&proxy).await;
        for _ in 0..3 {
            client.get("/").await;
        }
        let counted = proxy.worker.config.load().clusters().nth(2).expect("a third cluster").limits.connections();
        assert_eq!(counted, connections);
    }
}

#[tokio::test]
async fn clients_that_give_up_in_crowds_leak_nothing() {
    let hang = Origin::start().await;
    let mut service = web("svc", &[hang.address()]);
    Arc::make_mut(&mut service.connection_pool).max_connections = 10;
    let proxy = Proxy::plain(model(route(&[(2, 1)]), vec![service]));
    for _ in 0..3 {
        let mut crowd = Vec::new();
        for _ in 0..40 {
            let mut client = Client::of(&proxy).await;
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            crowd.push(client);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let config = proxy.worker.config.load_full();
    let cluster = &config.clusters().nth(2).expect("a third cluster");
    let host = cluster.hosts().remove(0);
    soon(async {
        use std::sync::atomic::Ordering::Relaxed;
        let held = || [Resource::Connections, Resource::Pending, Resource::Requests].map(|resource| cluster.limits.active(resource));
        while held() != [0; 3] || host.state.active.load(Relaxed) != 0 || host.state.connections.load(Relaxed) != 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
