//! Streams that break off, are refused or go both ways at once, seen from a client and an origin that handle them themselves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use outrigger_config::model::*;
use outrigger_proxy::listener::EntranceKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::fixture::*;
use crate::http_fixture::*;

/// An origin that leaves each request and its stream to `act`.
async fn origin<F, R>(act: F) -> SocketAddr
where
    F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> R + Clone + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let act = act.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.expect("handshake");
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(act(request, respond));
                }
            });
        }
    });
    address
}

fn in_front_of_http2(origin: SocketAddr, change: impl FnOnce(&mut Route)) -> Proxy {
    let mut route = route(&[(2, 1)]);
    change(&mut route);
    let cluster = Cluster { protocol: UpstreamProtocol::Http2, ..web("outbound|80||web", &[origin]) };
    Proxy::plain(model(route, vec![cluster]))
}

async fn client(proxy: &Proxy) -> h2::client::SendRequest<Bytes> {
    let stream = proxy.capture(EntranceKind::Outbound, vip()).await;
    let (sender, connection) = h2::client::handshake(stream).await.expect("handshake");
    tokio::spawn(connection);
    sender
}

fn get() -> Request<()> {
    Request::get("http://web.shop/").body(()).expect("request")
}

fn post() -> Request<()> {
    Request::post("http://web.shop/").body(()).expect("request")
}

/// Data until it ends, or why it broke off.
async fn read(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(data) = soon(body.data()).await {
        let data = data?;
        body.flow_control().release_capacity(data.len()).expect("read");
        all.extend_from_slice(&data);
    }
    Ok(all)
}

async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes) {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = soon(std::future::poll_fn(|cx| stream.poll_capacity(cx))).await.expect("open").expect("capacity");
        stream.send_data(data.split_to(room.min(data.len())), false).expect("sent");
    }
}

#[tokio::test]
async fn an_answer_that_the_origin_cancels_does_not_look_complete_to_the_client() {
    // With NO_ERROR, too, and when all that was announced has come: there may have been trailers.
    for (reason, length) in [(Reason::CANCEL, None), (Reason::NO_ERROR, None), (Reason::NO_ERROR, Some("4"))] {
        let address = origin(move |_, mut respond| async move {
            let mut head = Response::new(());
            length.map(|length| head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static(length)));
            let mut body = respond.send_response(head, false).expect("head");
            body.send_data(Bytes::from_static(b"half"), false).expect("data");
            tokio::time::sleep(Duration::from_millis(20)).await;
            body.send_reset(reason);
        })
        .await;
        let proxy = in_front_of_http2(address, |_| ());
        let (answer, _) = client(&proxy).await.send_request(get(), true).expect("sent");
        let error = read(soon(answer).await.expect("head").body_mut()).await.expect_err("broken off");
        assert!(error.is_reset() && error.is_remote(), "{error}");
        proxy.metric("istio_requests_total", &["response_code=\"200\"", "response_flags=\"UR\""]).await;
    }
}

#[tokio::test]
async fn a_request_that_the_client_cancels_does_not_look_complete_to_the_origin() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let address = origin(move |mut request, _respond| {
        let tell = tell.clone();
        async move {
            let first = request.body_mut().data().await.expect("data").expect("data");
            tell.send(Ok(first.to_vec())).expect("test is there");
            tell.send(read(request.body_mut()).await).expect("test is there");
        }
    })
    .await;
    let proxy = in_front_of_http2(address, |_| ());
    let (_answer, mut body) = client(&proxy).await.send_request(post(), false).expect("sent");
    body.send_data(Bytes::from_static(b"half"), false).expect("data");
    assert_eq!(soon(told.recv()).await.expect("told").expect("data"), b"half");
    body.send_reset(Reason::CANCEL);
    let end = soon(told.recv()).await.expect("told");
    assert!(end.is_err(), "the origin took this for the whole body: {end:?}");
}

#[tokio::test]
async fn an_origin_that_has_answered_need_not_take_the_rest_of_the_request() {
    // The codec resets a stream with NO_ERROR behind an answer whose request nobody reads.
    let address = origin(|_, mut respond| async move {
        let mut body = respond.send_response(Response::builder().status(403).body(()).expect("head"), false).expect("head");
        body.send_data(Bytes::from_static(b"no, thank you"), true).expect("data");
    })
    .await;
    let proxy = in_front_of_http2(address, |_| ());
    let (answer, _body) = client(&proxy).await.send_request(post(), false).expect("sent");
    let mut answer = soon(answer).await.expect("answered");
    assert_eq!(answer.status(), 403);
    assert_eq!(read(answer.body_mut()).await.expect("whole"), b"no, thank you");
}

#[tokio::test]
async fn data_goes_both_ways_at_once_and_trailers_after_it() {
    let address = origin(|mut request, mut respond| async move {
        let mut body = respond.send_response(Response::new(()), false).expect("head");
        while let Some(data) = request.body_mut().data().await {
            let data = data.expect("data");
            request.body_mut().flow_control().release_capacity(data.len()).expect("read");
            body.send_data(data, false).expect("echo");
        }
        let trailers = request.body_mut().trailers().await.expect("trailers").expect("trailers");
        body.send_trailers(trailers).expect("echo");
    })
    .await;
    let proxy = in_front_of_http2(address, |_| ());
    let (answer, mut body) = client(&proxy).await.send_request(post(), false).expect("sent");
    let mut answer = soon(answer).await.expect("a head before any data");
    for round in ["one", "two", "three"] {
        body.send_data(Bytes::from(round), false).expect("data");
        assert_eq!(soon(answer.body_mut().data()).await.expect("echo").expect("echo"), round);
    }
    body.send_trailers(HeaderMap::from_iter([(HeaderName::from_static("x-sum"), HeaderValue::from_static("3"))])).expect("trailers");
    assert!(soon(answer.body_mut().data()).await.is_none());
    assert_eq!(soon(answer.body_mut().trailers()).await.expect("trailers").expect("trailers")["x-sum"], "3");
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_ends_both_directions_at_the_origin() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let address = origin(move |mut request, mut respond| {
        let tell = tell.clone();
        async move {
            let mut body = respond.send_response(Response::new(()), false).expect("head");
            tell.send(read(request.body_mut()).await.is_err()).expect("test is there");
            tell.send(std::future::poll_fn(|cx| body.poll_reset(cx)).await.is_ok()).expect("test is there");
        }
    })
    .await;
    let proxy = in_front_of_http2(address, |_| ());
    let (answer, mut body) = client(&proxy).await.send_request(post(), false).expect("sent");
    let answer = soon(answer).await.expect("head");
    body.send_reset(Reason::CANCEL);
    drop(answer);
    assert!(soon(told.recv()).await.expect("told"), "the request ended as if complete");
    assert!(soon(told.recv()).await.expect("told"), "the answer is still wanted");
    let cluster = &proxy.worker.config.load().clusters().nth(2).expect("a third cluster");
    assert_eq!(cluster.hosts()[0].state.active.load(Ordering::Relaxed), 0, "nothing is leaked");
    proxy.metric("istio_requests_total", &["response_code=\"200\"", "response_flags=\"DC\""]).await;
}

#[tokio::test]
async fn bodies_larger_than_every_window_and_buffer_arrive_whole_in_both_directions() {
    const SIZE: usize = 3 << 20;
    let address = origin(|mut request, mut respond| async move {
        let all = read(request.body_mut()).await.expect("whole");
        let mut body = respond.send_response(Response::new(()), false).expect("head");
        send(&mut body, Bytes::from(all)).await;
        body.send_data(Bytes::new(), true).expect("end");
    })
    .await;
    let proxy = in_front_of_http2(address, |_| ());
    let (answer, mut body) = client(&proxy).await.send_request(post(), false).expect("sent");
    let bytes: Bytes = (0..SIZE).map(|position| (position % 251) as u8).collect();
    send(&mut body, bytes.clone()).await;
    body.send_data(Bytes::new(), true).expect("end");
    let mut answer = soon(answer).await.expect("head");
    // A client that takes its time fills every window on the way.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(read(answer.body_mut()).await.expect("whole") == bytes);
}

#[tokio::test]
async fn a_stream_that_the_origin_refuses_is_sent_again() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let address = origin(move |request, mut respond| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            if number == 0 {
                return respond.send_reset(Reason::REFUSED_STREAM);
            }
            let mut body = respond.send_response(Response::new(()), false).expect("head");
            let all = read(&mut request.into_body()).await.expect("whole");
            body.send_data(Bytes::from(all), true).expect("data");
        }
    })
    .await;
    let proxy = in_front_of_http2(address, |route| route.retry = Some(default_retries().into()));
    let (answer, mut body) = client(&proxy).await.send_request(post(), false).expect("sent");
    body.send_data(Bytes::from_static(b"once"), true).expect("data");
    let mut answer = soon(answer).await.expect("answered");
    assert_eq!((answer.status().as_u16(), calls.load(Ordering::SeqCst)), (200, 2));
    assert_eq!(read(answer.body_mut()).await.expect("whole"), b"once");
}

#[tokio::test]
async fn an_http2_origin_asks_an_http1_client_for_the_body_it_holds_back() {
    let address = origin(|mut request, mut respond| async move {
        respond.send_informational(Response::builder().status(100).body(()).expect("100")).expect("100");
        let all = read(request.body_mut()).await.expect("whole");
        respond.send_response(Response::new(()), false).expect("head").send_data(Bytes::from(all), true).expect("data");
    })
    .await;
    let proxy = in_front_of_http2(address, |_| ());
    let mut client = Client::of(&proxy).await;
    let since = Instant::now();
    client.send("POST / HTTP/1.1\r\nhost: web.shop\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n").await;
    assert!(read_head(&mut client.0).await.starts_with("HTTP/1.1 100"));
    assert!(since.elapsed() < Duration::from_millis(900), "the client was not left to its patience");
    client.send("body").await;
    assert_eq!(client.receive().await.text(), "body");
}

#[tokio::test]
async fn an_answer_without_a_body_is_complete_for_an_http1_client_whenever_its_stream_ends() {
    for (request, status, length, ends) in [
        ("GET", 200, Some("0"), true),
        ("GET", 200, Some("0"), false),
        ("GET", 204, None, false),
        ("GET", 304, None, false),
        ("HEAD", 200, Some("7"), false),
        ("HEAD", 200, None, true),
    ] {
        let (tell, mut told) = mpsc::unbounded_channel();
        let address = origin(move |_, mut respond| {
            let tell = tell.clone();
            async move {
                let mut head = Response::builder().status(status).body(()).expect("head");
                length.map(|length| head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static(length)));
                let mut body = respond.send_response(head, false).expect("head");
                if ends {
                    body.send_data(Bytes::new(), true).expect("end");
                }
                let reset = std::future::poll_fn(|cx| body.poll_reset(cx)).await;
                let _ = tell.send(reset.is_ok());
            }
        })
        .await;
        let proxy = in_front_of_http2(address, |_| ());
        let mut client = Client::of(&proxy).await;
        client.send(format!("{request} / HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        assert!(read_head(&mut client.0).await.starts_with(&format!("HTTP/1.1 {status} ")));
        let labels = [&format!("response_code=\"{status}\""), "response_flags=\"-\"", "} 1"];
        proxy.metric("istio_requests_total", &labels).await;
        if ends {
            let reset = tokio::time::timeout(Duration::from_millis(50), told.recv()).await;
            assert_ne!(reset, Ok(Some(true)), "a stream that had come to its end was reset");
        }
    }
}

#[tokio::test]
async fn a_stream_that_ends_makes_room_for_the_request_that_waits_for_its_host() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut hosts = Vec::new();
    for host in 0..2 {
        let tell = tell.clone();
        hosts.push(
            origin(move |_, respond| {
                let _ = tell.send((host, respond));
                async {}
            })
            .await,
        );
    }
    let mut cluster = Cluster { protocol: UpstreamProtocol::Http2, ..web("outbound|80||web", &hosts) };
    let pool = Arc::make_mut(&mut cluster.connection_pool);
    (pool.max_connections, pool.max_concurrent_streams) = (2, 2);
    let proxy = Proxy::plain(model(route(&[(2, 1)]), vec![cluster]));
    let mut client = client(&proxy).await;
    let (mut answers, mut taken) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        answers.push(client.send_request(get(), true).expect("sent").0);
        taken.push(soon(told.recv()).await.expect("arrived"));
    }
    let hosts: Vec<usize> = taken.iter().map(|(host, _)| *host).collect();
    assert!(hosts[0] == hosts[2] && hosts[1] == hosts[3] && hosts[0] != hosts[1], "in turn");
    // One more to each, of which the first is the first to be told of room with the other's host.
    for _ in 0..2 {
        answers.push(client.send_request(get(), true).expect("sent").0);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    taken[1].1.send_response(Response::new(()), true).expect("answer");
    let (host, _) = soon(told.recv()).await.expect("arrived");
    assert_eq!(host, hosts[1]);
}

#[tokio::test]
async fn a_host_that_allows_more_streams_gets_the_request_that_waits_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let mut cluster = Cluster { protocol: UpstreamProtocol::Http2, ..web("outbound|80||web", &[listener.local_addr().expect("address")]) };
    Arc::make_mut(&mut cluster.connection_pool).max_connections = 1;
    let proxy = Proxy::plain(model(route(&[(2, 1)]), vec![cluster]));
    let mut client = client(&proxy).await;
    let _first = client.send_request(get(), true).expect("sent");
    let (mut server, _) = soon(listener.accept()).await.expect("accept");
    let (mut read, settings) = (Vec::new(), |streams| [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, streams]);
    // HEADERS of this stream.
    let arrived = |read: &[u8], stream| read.windows(6).any(|bytes| bytes == [1, 5, 0, 0, 0, stream]);
    server.write_all(&settings(1)).await.expect("settings");
    while !arrived(&read, 1) {
        assert_ne!(soon(server.read_buf(&mut read)).await.expect("read"), 0);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let _second = client.send_request(get(), true).expect("sent");
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.write_all(&settings(2)).await.expect("settings");
    while !arrived(&read, 3) {
        assert_ne!(soon(server.read_buf(&mut read)).await.expect("read"), 0);
    }
}

#[tokio::test]
async fn a_refused_stream_is_sent_again_on_the_only_connection_that_the_limit_allows_and_holds_nobody_up() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let address = origin(move |_, respond| {
        let _ = tell.send(respond);
        async {}
    })
    .await;
    let mut cluster = Cluster { protocol: UpstreamProtocol::Http2, ..web("outbound|80||web", &[address]) };
    Arc::make_mut(&mut cluster.connection_pool).max_connections = 1;
    let proxy = Proxy::plain(model(route(&[(2, 1)]), vec![cluster]));
    let mut client = client(&proxy).await;
    let _long = client.send_request(get(), true).expect("sent");
    let _held = soon(told.recv()).await.expect("arrived");
    let (refused, _) = client.send_request(get(), true).expect("sent");
    soon(told.recv()).await.expect("arrived").send_reset(Reason::REFUSED_STREAM);
    let again = soon(told.recv()).await.expect("sent again");
    let (behind, _) = client.send_request(get(), true).expect("sent");
    for (mut respond, answer) in [(soon(told.recv()).await.expect("arrived"), behind), (again, refused)] {
        respond.send_response(Response::new(()), true).expect("answer");
        assert_eq!(soon(answer).await.expect("answered").status(), 200);
    }
}

#[tokio::test]
async fn a_field_that_http2_does_not_know_stays_behind_and_a_date_is_there() {
    let address = origin(|request, mut respond| async move {
        let status = if request.headers().contains_key(CONNECTION) { 500 } else { 200 };
        respond.send_response(Response::builder().status(status).body(()).expect("head"), true).expect("head");
    })
    .await;
    let close =
        || HeaderOperations { add: vec![(CONNECTION, HeaderFormat::Literal(HeaderValue::from_static("close")))], ..Default::default() };
    let proxy = in_front_of_http2(address, |route| {
        route.request_headers = close().into();
        route.response_headers = close().into();
    });
    let (answer, _) = client(&proxy).await.send_request(get(), true).expect("sent");
    let answer = soon(answer).await.expect("answered");
    assert_eq!((answer.status().as_u16(), answer.headers().get(CONNECTION)), (200, None));
    assert!(answer.headers()[DATE].to_str().expect("text").ends_with(" GMT"));
}

#[tokio::test]
async fn an_answer_made_here_tells_its_length() {
    let unreachable = "127.0.0.1:1".parse().expect("address");
    let proxy = in_front_of_http2(unreachable, |_| ());
    let (answer, _) = client(&proxy).await.send_request(get(), true).expect("sent");
    let mut answer = soon(answer).await.expect("answered");
    let length = answer.headers()[CONTENT_LENGTH].to_str().expect("text").parse::<usize>().expect("number");
    let body = read(answer.body_mut()).await.expect("whole");
    assert_eq!((answer.status().as_u16(), body.len()), (503, length));
}

#[tokio::test]
async fn trailers_of_an_http1_client_stay_behind() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let address = origin(move |mut request, mut respond| {
        let tell = tell.clone();
        async move {
            read(request.body_mut()).await.expect("whole");
            tell.send(request.body_mut().trailers().await.expect("trailers")).expect("test is there");
            respond.send_response(Response::new(()), true).expect("head");
        }
    })
    .await;
    let proxy = in_front_of_http2(address, |_| ());
    let mut client = Client::of(&proxy).await;
    let head = "POST / HTTP/1.1\r\nhost: web.shop\r\ntransfer-encoding: chunked\r\n\r\n";
    client.send(format!("{head}2\r\nhi\r\n0\r\nx-sum: 3\r\n\r\n")).await;
    assert_eq!(soon(told.recv()).await.expect("told"), None);
    assert_eq!(client.receive().await.status(), 200);
}

#[tokio::test]
async fn a_stream_of_small_messages_that_its_client_does_not_read_costs_no_other_stream() {
    const MESSAGES: usize = 5000;
    let address = origin(|request, mut respond| async move {
        let small = request.uri().path() == "/small";
        let mut body = respond.send_response(Response::new(()), !small).expect("head");
        for _ in 0..if small { MESSAGES } else { 0 } {
            send(&mut body, Bytes::from_static(b".")).await;
        }
        if small {
            body.send_data(Bytes::new(), true).expect("end");
        }
    })
    .await;
    let proxy = in_front_of_http2(address, |_| ());
    let stream = proxy.capture(EntranceKind::Outbound, vip()).await;
    let mut patient = h2::client::Builder::new();
    patient.initial_window_size(0).data_frame_budget(1 << 24);
    let (mut sender, mut connection) = patient.handshake::<_, Bytes>(stream).await.expect("handshake");
    let small = Request::get("http://web.shop/small").body(()).expect("request");
    let mut answers = Vec::new();
    for request in [small, get()] {
        let (answer, _) = sender.send_request(request, true).expect("sent");
        answers.push(
            soon(async {
                tokio::select! { answer = answer => answer, _ = &mut connection => panic!("over") }
            })
            .await
            .expect("head"),
        );
        let _ = tokio::time::timeout(Duration::from_millis(200), &mut connection).await;
    }
    connection.set_initial_window_size(65_535).expect("a window");
    tokio::spawn(connection);
    assert_eq!(read(answers[0].body_mut()).await.expect("whole").len(), MESSAGES);
    assert_eq!(answers[1].status(), 200);
}

#[tokio::test]
async fn the_route_timeout_reaches_a_client_that_takes_nothing() {
    let address = origin(|_, mut respond| async move {
        let mut body = respond.send_response(Response::new(()), false).expect("head");
        send(&mut body, Bytes::from_static(&[0; 100_000])).await;
        std::future::pending::<()>().await;
    })
    .await;
    let proxy = in_front_of_http2(address, |route| route.timeout = Some(Duration::from_millis(300)));
    let (answer, _) = client(&proxy).await.send_request(get(), true).expect("sent");
    let mut answer = soon(answer).await.expect("head");
    let ended = soon(async {
        // Takes what comes, without giving room for more.
        while let Some(data) = answer.body_mut().data().await {
            data?;
        }
        Ok::<_, h2::Error>(())
    });
    assert!(ended.await.expect_err("timed out").is_reset());
}

/// Gives no room for more than its windows have, and no answer.
async fn keeps_everything_waiting(_request: Request<RecvStream>, _respond: SendResponse<Bytes>) {
    std::future::pending().await
}

#[tokio::test]
async fn a_client_that_goes_away_is_noticed_although_a_stream_has_no_room_for_its_body() {
    let address = origin(keeps_everything_waiting).await;
    for timeout in [None, Some(Duration::from_secs(60))] {
        let proxy = in_front_of_http2(address, |route| route.timeout = timeout);
        let mut http1 = Client::of(&proxy).await;
        http1.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8000000\r\n\r\n").await;
        http1.send(vec![0; 300_000]).await;
        tokio::time::sleep(A_WHILE).await;
        drop(http1);
        proxy.metric("istio_requests_total", &["response_flags=\"DC\"", "response_code=\"0\"", "} 1"]).await;
    }
}

#[tokio::test]
async fn the_clock_of_a_request_runs_although_the_upstream_takes_no_more_of_its_body() {
    let address = origin(keeps_everything_waiting).await;
    let limit = Some(Duration::from_millis(100));
    for of_try in [false, true] {
        let proxy = in_front_of_http2(address, |route| match of_try {
            false => route.timeout = limit,
            true => route.retry = Some(RetryPolicy { per_try_timeout: limit, ..default_retries() }.into()),
        });
        let mut http1 = Client::of(&proxy).await;
        assert_eq!(http1.post("/", &"a".repeat(200_000)).await.status(), 504, "of one try: {of_try}");
        let (answer, mut body) = client(&proxy).await.send_request(post(), false).expect("sent");
        body.send_data(Bytes::from_static(&[0; 200_000]), true).expect("body");
        assert_eq!(soon(answer).await.expect("answered").status(), 504, "of one try: {of_try}");
    }
}

#[tokio::test]
async fn the_clock_of_a_request_runs_although_there_is_no_connection_for_it() {
    let busy = Origin::start().await;
    let mut service = web("svc", &[busy.address()]);
    std::sync::Arc::make_mut(&mut service.connection_pool).max_connections = 1;
    let mut route = route(&[(2, 1)]);
    route.timeout = Some(Duration::from_millis(500));
    let proxy = Proxy::plain(model(route, vec![service]));
    let mut first = Client::of(&proxy).await;
    first.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nha").await;
    let _server = busy.accept().await;
    assert_eq!(Client::of(&proxy).await.post("/", "body").await.status(), 504);
    drop(first);
}

#[tokio::test]
async fn requests_that_are_cancelled_again_and_again_do_not_cost_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let (tell, mut told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_what_is_cancelled(stream, tell.clone()));
        }
    });
    let proxy = in_front_of_http2(address, |route| route.timeout = Some(Duration::from_millis(20)));
    let client = client(&proxy).await;
    for _ in 0..15 {
        let mut answers = Vec::new();
        for _ in 0..90 {
            answers.push(client.clone().send_request(get(), true).expect("sent").0);
        }
        for answer in answers {
            assert_eq!(soon(answer).await.expect("answered").status(), 504);
        }
    }
    assert!(told.try_recv().is_err(), "a connection came to its end");
}

/// An origin whose answers cross with the resets of their streams.
async fn answer_what_is_cancelled(mut stream: TcpStream, ended: mpsc::UnboundedSender<()>) {
    const RST_STREAM: u8 = 3;
    const GOAWAY: u8 = 7;
    stream.read_exact(&mut [0; 24]).await.expect("preface");
    stream.write_all(b"\0\0\0\x04\0\0\0\0\0").await.expect("settings");
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.expect("payload");
        match head[3] {
            // HEADERS that end both themselves and the stream, with `:status: 200`.
            RST_STREAM => stream.write_all(&[&[0, 0, 1, 1, 5], &head[5..], &[0x88]].concat()).await.expect("answer"),
            GOAWAY => break,
            _ => {}
        }
    }
    let _ = ended.send(());
}

#[tokio::test]
async fn what_came_of_an_answer_before_it_was_cancelled_reaches_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        stream.write_all(b"\0\0\0\x04\0\0\0\0\0").await.expect("settings");
        let mut read = Vec::new();
        // HEADERS of stream 1.
        while !read.windows(6).any(|bytes| bytes == [1, 5, 0, 0, 0, 1]) {
            assert_ne!(stream.read_buf(&mut read).await.expect("read"), 0);
        }
        // At once `:status: 200`, data and RST_STREAM.
        let frames = b"\0\0\x01\x01\x04\0\0\0\x01\x88\0\0\x04\0\0\0\0\0\x01half\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08";
        stream.write_all(frames).await.expect("answer");
        let _ = stream.read_to_end(&mut read).await;
    });
    let proxy = in_front_of_http2(address, |_| ());
    let (answer, _) = client(&proxy).await.send_request(get(), true).expect("sent");
    let mut answer = soon(answer).await.expect("head");
    let first = soon(answer.body_mut().data()).await.expect("data").expect("data");
    assert_eq!(first, "half");
    soon(answer.body_mut().data()).await.expect("broken off").expect_err("broken off");
}
