//! HTTP/2 on both sides: prior knowledge, gRPC with trailers, streams that share connections, GOAWAY.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use outrigger_config::matcher::{FullRegex, HeaderKey, HeaderMatch, StringMatch};
use outrigger_config::model::*;
use outrigger_proxy::drain::Phase;
use outrigger_proxy::listener::EntranceKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::*;
use crate::http_fixture::*;

type Body = BoxBody<Bytes, Infallible>;

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed()
}

/// Data and then trailers.
fn with_trailers(text: &'static str, grpc_status: &'static str) -> Body {
    let trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static(grpc_status))]);
    let frames = [Ok::<_, Infallible>(Frame::data(Bytes::from_static(text.as_bytes()))), Ok(Frame::trailers(trailers))];
    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)))
}

struct Http2Origin {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

/// An HTTP/2 origin by prior knowledge.
async fn origin<F, R>(answer: F) -> Http2Origin
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let origin = Http2Origin { address: listener.local_addr().expect("address"), connections: Arc::default() };
    let connections = Arc::clone(&origin.connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            let service = service_fn(move |request| {
                let answer = answer(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
            tokio::spawn(serving);
        }
    });
    origin
}

fn grpc_cluster(origin: SocketAddr) -> Cluster {
    Cluster { protocol: UpstreamProtocol::Http2, ..web("outbound|80||grpc", &[origin]) }
}

async fn client(proxy: &Proxy) -> SendRequest<Body> {
    let stream = proxy.capture(EntranceKind::Outbound, vip()).await;
    let (sender, driver) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("handshake");
    tokio::spawn(driver);
    sender
}

fn call(body: Body) -> Request<Body> {
    let request = Request::builder().method("POST").uri("http://grpc.shop/echo.Echo/Say");
    request.header("content-type", "application/grpc").header("te", "trailers").body(body).expect("request")
}

#[tokio::test]
async fn grpc_keeps_its_trailers_in_both_directions() {
    let origin = origin(|request| async move {
        assert_eq!((request.uri().path(), request.uri().authority().map(|a| a.as_str())), ("/echo.Echo/Say", Some("grpc.shop")));
        assert_eq!(request.headers()["te"], "trailers");
        let collected = request.into_body().collect().await.expect("body");
        assert!(collected.trailers().is_some_and(|trailers| trailers.contains_key("grpc-status")), "the client's trailers");
        Response::new(with_trailers("pong", "0"))
    })
    .await;
    let proxy = Proxy::plain(model(route(&[(2, 1)]), vec![grpc_cluster(origin.address)]));
    let mut sender = client(&proxy).await;
    let response = soon(sender.send_request(call(with_trailers("ping", "7")))).await.expect("response");
    let collected = soon(response.into_body().collect()).await.expect("body");
    assert_eq!(collected.trailers().and_then(|trailers| trailers.get("grpc-status")), Some(&HeaderValue::from_static("0")));
    assert_eq!(collected.to_bytes(), "pong");
}

#[tokio::test]
async fn a_local_answer_is_one_that_grpc_understands() {
    let proxy = Proxy::plain(model(route(&[(2, 1)]), vec![Cluster { endpoints: Vec::new(), ..grpc_cluster(vip()) }]));
    let mut sender = client(&proxy).await;
    let response = soon(sender.send_request(call(full("")))).await.expect("response");
    let headers = response.headers();
    assert_eq!((response.status().as_u16(), &headers["grpc-status"]), (200, &HeaderValue::from_static("14")));
    assert_eq!(headers["grpc-message"], "no healthy upstream");
}

#[tokio::test]
async fn an_http2_client_reaches_an_http1_server_and_its_cookies_are_joined() {
    let origin =
        Answering::start(|_, seen| ok(&format!("{} {}", seen.header("host").unwrap_or("-"), seen.header("cookie").unwrap_or("-")))).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut sender = client(&proxy).await;
    let request = Request::builder().uri("http://web.shop/").header("cookie", "a=1").header("cookie", "b=2");
    let response = soon(sender.send_request(request.body(full("")).expect("request"))).await.expect("response");
    assert_eq!(response.into_body().collect().await.expect("body").to_bytes(), "web.shop a=1; b=2");
}

#[tokio::test]
async fn cookies_that_come_in_several_fields_are_one_to_a_route_to_a_format_and_to_the_limit_of_fields() {
    let origin = Answering::start(|_, seen| ok(seen.header("x-cookies").unwrap_or("-"))).await;
    let proxy = in_front_of(origin.address, |route| {
        let name = HeaderKey::parse("cookie").expect("a header");
        let value = StringMatch::Regex(FullRegex::new("crumb0=1; .*; crumb149=1").expect("regex"));
        route.matches.headers = vec![HeaderMatch { name, value, invert: false }];
        let cookies = FormatPiece::Command { name: "REQ".to_owned(), argument: Some("cookie".to_owned()) };
        let set = vec![(HeaderName::from_static("x-cookies"), HeaderFormat::Template(vec![cookies]))];
        route.request_headers = RouteHeaders::from(HeaderOperations { set, ..HeaderOperations::default() });
    });
    let mut sender = client(&proxy).await;
    let crumbs: Vec<_> = (0..150).map(|crumb| format!("crumb{crumb}=1")).collect();
    let mut request = Request::builder().uri("http://web.shop/");
    for crumb in &crumbs {
        request = request.header("cookie", crumb);
    }
    let response = soon(sender.send_request(request.body(full("")).expect("request"))).await.expect("response");
    assert_eq!(response.status(), 200);
    assert_eq!(response.into_body().collect().await.expect("body").to_bytes(), crumbs.join("; "));
}

#[tokio::test]
async fn many_streams_share_few_connections() {
    let origin = origin(|_| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Response::new(full("ok"))
    })
    .await;
    let proxy = Proxy::plain(model(route(&[(2, 1)]), vec![grpc_cluster(origin.address)]));
    let sender = client(&proxy).await;
    let calls: Vec<_> = (0..90)
        .map(|_| {
            let mut sender = sender.clone();
            tokio::spawn(async move { soon(sender.send_request(call(full("")))).await.expect("response").status() })
        })
        .collect();
    for answer in calls {
        assert_eq!(answer.await.expect("task"), 200);
    }
    assert_eq!(origin.connections.load(Ordering::SeqCst), 1, "a burst on an empty pool dials once");
}

#[tokio::test]
async fn streams_beyond_the_limit_get_another_connection() {
    let origin = origin(|_| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Response::new(full("ok"))
    })
    .await;
    let mut service = grpc_cluster(origin.address);
    Arc::make_mut(&mut service.connection_pool).max_concurrent_streams = 10;
    let proxy = Proxy::plain(model(route(&[(2, 1)]), vec![service]));
    let sender = client(&proxy).await;
    let calls: Vec<_> = (0..30)
        .map(|_| {
            let mut sender = sender.clone();
            tokio::spawn(async move { soon(sender.send_request(call(full("")))).await.expect("response").status() })
        })
        .collect();
    for answer in calls {
        assert_eq!(answer.await.expect("task"), 200);
    }
    assert_eq!(origin.connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_server_that_allows_few_streams_gets_more_connections_and_no_queue() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let (connections, running) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (accepted, shared) = (Arc::clone(&connections), Arc::clone(&running));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            accepted.fetch_add(1, Ordering::SeqCst);
            let running = Arc::clone(&shared);
            let service = service_fn(move |request: Request<Incoming>| {
                let guard = Running::start(&running);
                async move {
                    if request.uri().path() != "/warm" {
                        until(|| guard.0.load(Ordering::SeqCst) == 12).await;
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    Ok::<_, Infallible>(Response::new(full("ok")))
                }
            });
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.max_concurrent_streams(4).serve_connection(TokioIo::new(stream), service));
        }
    });
    let proxy = Proxy::plain(model(route(&[(2, 1)]), vec![grpc_cluster(address)]));
    let mut sender = client(&proxy).await;
    // One answer, so that the peer's settings are known.
    let get = |path: &str| Request::get(format!("http://grpc.shop{path}")).body(full("")).expect("request");
    assert_eq!(soon(sender.send_request(get("/warm"))).await.expect("response").status(), 200);
    let mut calls = Vec::new();
    for expected in 1..=12 {
        calls.push(tokio::spawn(sender.send_request(get("/"))));
        soon(until(|| running.load(Ordering::SeqCst) >= expected)).await;
    }
    for answer in calls {
        assert_eq!(soon(answer).await.expect("task").expect("response").status(), 200);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn early_hints_over_http2_do_not_disturb_the_exchange() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("accept");
        let mut connection = h2::server::handshake(stream).await.expect("handshake");
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let hints = || Response::builder().status(103).header("link", "</style.css>").body(()).expect("hints");
            respond.send_informational(hints()).expect("send");
            respond.send_informational(hints()).expect("send");
            let mut body = respond.send_response(Response::new(()), false).expect("send");
            body.send_data(Bytes::from_static(b"done"), true).expect("send");
        }
    });
    let proxy = Proxy::plain(model(route(&[(2, 1)]), vec![grpc_cluster(address)]));
    let mut sender = client(&proxy).await;
    for _ in 0..3 {
        let request = Request::get("http://grpc.shop/").body(full("")).expect("request");
        let response = soon(sender.send_request(request)).await.expect("response");
        assert_eq!((response.status().as_u16(), response.headers().get("link")), (200, None));
        assert_eq!(response.into_body().collect().await.expect("body").to_bytes(), "done");
    }
}

#[tokio::test]
async fn a_draining_proxy_finishes_its_streams() {
    let origin = origin(|_| async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        Response::new(full("late"))
    })
    .await;
    let proxy = Proxy::plain(model(route(&[(2, 1)]), vec![grpc_cluster(origin.address)]));
    let mut sender = client(&proxy).await;
    let answer = tokio::spawn(sender.send_request(call(full(""))));
    tokio::time::sleep(Duration::from_millis(50)).await;
    proxy.phase.advance(Phase::Draining);
    let response = soon(answer).await.expect("task").expect("response");
    assert_eq!(response.into_body().collect().await.expect("body").to_bytes(), "late");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(sender.is_closed() || sender.send_request(call(full(""))).await.is_err());
}

#[tokio::test]
async fn a_connection_to_a_service_that_is_no_more_ends_with_the_answer_that_says_so() {
    let origin = Answering::start(|_, _| ok("served")).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut sender = client(&proxy).await;
    assert_eq!(soon(sender.send_request(call(full("")))).await.expect("answer").status(), 200);
    crate::doors::change(&proxy, |model| model.outbound.by_address.clear());
    let answer = soon(sender.send_request(call(full("")))).await.expect("answer");
    assert_eq!(answer.headers()["grpc-status"], "12", "no route");
    soon(async {
        while !sender.is_closed() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn unavailable_in_the_headers_is_retried_by_default() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let origin = origin(move |_| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let status = if number == 0 { "14" } else { "0" };
            Response::builder().header("content-type", "application/grpc").header("grpc-status", status).body(full("")).expect("response")
        }
    })
    .await;
    let mut route = route(&[(2, 1)]);
    route.retry = Some(default_retries().into());
    let proxy = Proxy::plain(model(route, vec![grpc_cluster(origin.address)]));
    let response = soon(client(&proxy).await.send_request(call(full("ping")))).await.expect("response");
    assert_eq!((&response.headers()["grpc-status"], calls.load(Ordering::SeqCst)), (&HeaderValue::from_static("0"), 2));
}

#[tokio::test]
async fn a_client_that_resets_its_stream_ends_the_upstream_request() {
    let running = Arc::new(AtomicUsize::new(0));
    let shared = Arc::clone(&running);
    let origin = origin(move |_| {
        let guard = Running::start(&shared);
        async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(guard);
            Response::new(full(""))
        }
    })
    .await;
    let proxy = Proxy::plain(model(route(&[(2, 1)]), vec![grpc_cluster(origin.address)]));
    let mut sender = client(&proxy).await;
    let pending = tokio::spawn(sender.send_request(call(full(""))));
    soon(until(|| running.load(Ordering::SeqCst) == 1)).await;
    pending.abort();
    soon(until(|| running.load(Ordering::SeqCst) == 0)).await;
    let cluster = &proxy.worker.config.load().clusters().nth(2).expect("a third cluster");
    assert_eq!(cluster.hosts()[0].state.active.load(Ordering::Relaxed), 0, "nothing is leaked");
}

#[tokio::test]
async fn an_origin_that_says_goaway_again_and_again_costs_no_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let service = service_fn(|_| async {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    Ok::<_, Infallible>(Response::new(full("ok")))
                });
                let serving =
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
                let mut serving = std::pin::pin!(serving);
                tokio::select! {
                    _ = serving.as_mut() => return,
                    () = tokio::time::sleep(Duration::from_millis(15)) => serving.as_mut().graceful_shutdown(),
                }
                let _ = serving.await;
            });
        }
    });
    let proxy = Proxy::plain(model(route(&[(2, 1)]), vec![grpc_cluster(address)]));
    let sender = client(&proxy).await;
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let mut sender = sender.clone();
            tokio::spawn(async move {
                for round in 0..40 {
                    let response = soon(sender.send_request(call(full("")))).await.expect("response");
                    assert!(!response.headers().contains_key("grpc-status"), "round {round}: {:?}", response.headers());
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("caller");
    }
}

/// Counts a handler for as long as it lives.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn start(count: &Arc<AtomicUsize>) -> Running {
        count.fetch_add(1, Ordering::SeqCst);
        Running(Arc::clone(count))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn under_a_limit_of_one_connection_every_endpoint_gets_its_turn() {
    let first = origin(|_| async { Response::new(full("first")) }).await;
    let second = origin(|_| async { Response::new(full("second")) }).await;
    let mut cluster = Cluster { protocol: UpstreamProtocol::Http2, ..web("outbound|80||grpc", &[first.address, second.address]) };
    Arc::make_mut(&mut cluster.connection_pool).max_connections = 1;
    let proxy = Proxy::plain(model(route(&[(2, 1)]), vec![cluster]));
    let mut sender = client(&proxy).await;
    let mut answers = Vec::new();
    for _ in 0..4 {
        let response = soon(sender.send_request(call(full("")))).await.expect("response");
        answers.push(soon(response.into_body().collect()).await.expect("body").to_bytes());
    }
    answers.sort();
    assert_eq!(answers, ["first", "first", "second", "second"]);
}

#[tokio::test]
async fn the_longest_deadline_a_client_can_write_is_one() {
    let origin = origin(|_| async { Response::new(with_trailers("pong", "0")) }).await;
    let proxy = Proxy::plain(model(route(&[(2, 1)]), vec![grpc_cluster(origin.address)]));
    let mut sender = client(&proxy).await;
    let mut request = call(full("ping"));
    request.headers_mut().insert("grpc-timeout", HeaderValue::from_static("99999999H"));
    assert_eq!(soon(sender.send_request(request)).await.expect("response").status(), 200);
}

#[tokio::test]
async fn a_request_with_more_than_a_hundred_fields_is_refused_as_on_http1() {
    let origin = Answering::start(|_, _| ok("reached")).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut sender = client(&proxy).await;
    for (fields, status) in [(100, 200), (101, 431)] {
        let mut request = Request::builder().uri("http://web.shop/");
        for field in 0..fields {
            request = request.header(format!("x-{field}"), "1");
        }
        let response = soon(sender.send_request(request.body(full("")).expect("request"))).await.expect("answered");
        assert_eq!(response.status(), status, "{fields} fields");
    }
    assert_eq!(origin.requests(), 1, "the refused one went nowhere");
    proxy.metric("istio_requests_total", &["response_code=\"431\"", "response_flags=\"-\""]).await;
}

/// A client that speaks in frames.
async fn raw(proxy: &Proxy) -> TcpStream {
    let mut stream = proxy.capture(EntranceKind::Outbound, vip()).await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("preface and settings");
    stream
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Type, flags and payload of the next frame.
async fn next_frame(stream: &mut TcpStream) -> (u8, u8, Vec<u8>) {
    let mut head = [0; 9];
    soon(stream.read_exact(&mut head)).await.expect("a frame");
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    soon(stream.read_exact(&mut payload)).await.expect("its payload");
    (head[3], head[4], payload)
}

const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// The error code of the GOAWAY that ends a connection.
async fn goaway(stream: &mut TcpStream) -> u32 {
    loop {
        if let (GOAWAY, _, payload) = next_frame(stream).await {
            return u32::from_be_bytes(payload[4..8].try_into().expect("error code"));
        }
    }
}

/// Waits for the answer to a PING: the connection is in use.
async fn pong(stream: &mut TcpStream) {
    loop {
        match next_frame(stream).await {
            (PING, 1, _) => return,
            (GOAWAY, ..) => panic!("sent away too early"),
            _ => {}
        }
    }
}

const ENHANCE_YOUR_CALM: u32 = 11;
/// `GET http://web.shop/` in HPACK: indexed method, scheme and path, literal authority.
const GET: &[u8] = b"\x82\x86\x84\x41\x08web.shop";

#[tokio::test]
async fn a_flood_of_streams_opened_and_reset_ends_the_connection_and_reaches_nobody() {
    let origin = Answering::start(|_, _| ok("reached")).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut stream = raw(&proxy).await;
    let flood: Vec<u8> =
        (0..200_u32).flat_map(|n| [frame(1, 5, 2 * n + 1, GET), frame(3, 0, 2 * n + 1, &8_u32.to_be_bytes())].concat()).collect();
    stream.write_all(&flood).await.expect("sent");
    assert_eq!(goaway(&mut stream).await, ENHANCE_YOUR_CALM);
    assert!(origin.requests() <= 20, "{} requests reached the origin", origin.requests());
}

#[tokio::test]
async fn a_client_whose_streams_must_be_reset_again_and_again_is_sent_away() {
    let origin = Answering::start(|_, _| ok("reached")).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut stream = raw(&proxy).await;
    // A request without :path is a stream error (RFC 9113, 8.1.1).
    let mistakes: Vec<u8> = (0..1100_u32).flat_map(|n| frame(1, 5, 2 * n + 1, b"\x82\x86\x41\x08web.shop")).collect();
    let (mut read, mut write) = stream.split();
    let sending = async { write.write_all(&mistakes).await };
    let reading = async {
        let mut read_all = Vec::new();
        let _ = soon(read.read_to_end(&mut read_all)).await;
        read_all
    };
    let (_, answers) = tokio::join!(sending, reading);
    let goaway = answers.windows(17).rfind(|bytes| bytes[3] == 7 && bytes[..3] != [0; 3]).expect("a GOAWAY");
    assert_eq!(u32::from_be_bytes(goaway[13..17].try_into().expect("error code")), ENHANCE_YOUR_CALM);
}

#[tokio::test]
async fn a_client_that_gives_up_most_of_its_requests_at_once_is_sent_away() {
    let origin = Origin::start().await;
    let proxy = in_front_of(origin.address(), |_| ());
    let mut stream = raw(&proxy).await;
    // Every request is on its way to the origin before it is reset, so that none counts against the codec's own limit, which is
    // for streams that nobody has looked at.
    let mut held = Vec::new();
    for id in (0..250_u32).map(|n| 2 * n + 1) {
        stream.write_all(&frame(1, 5, id, GET)).await.expect("sent");
        held.push(origin.accept().await);
        if id == 2 * 249 + 1 {
            stream.write_all(&frame(PING, 0, 0, b"anyone ?")).await.expect("sent");
            pong(&mut stream).await;
        }
        stream.write_all(&frame(3, 0, id, &8_u32.to_be_bytes())).await.expect("sent");
    }
    assert_eq!(goaway(&mut stream).await, ENHANCE_YOUR_CALM);
}

#[tokio::test]
async fn of_equal_lengths_one_is_passed_on_and_of_different_ones_none() {
    const CONTENT_LENGTH: &[u8] = b"\x0f\x0d";
    let origin = Answering::start(|_, seen| {
        let lengths = seen.head.lines().filter(|line| line.starts_with("content-length: 5")).count();
        assert_eq!((lengths, seen.body.as_slice()), (1, &b"hello"[..]));
        ok("")
    })
    .await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut stream = raw(&proxy).await;
    for (id, lengths) in [(1, ["5", "3"]), (3, ["5", "5, 5"]), (5, ["5", "+5"]), (7, ["5", "5"])] {
        let fields = lengths.map(|length| [CONTENT_LENGTH, &[length.len() as u8], length.as_bytes()].concat()).concat();
        let head = [b"\x83", &GET[1..], &fields].concat();
        stream.write_all(&[frame(1, 4, id, &head), frame(0, 1, id, b"hello")].concat()).await.expect("sent");
    }
    proxy.metric("istio_requests_total", &["response_code=\"200\"", "} 1"]).await;
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn a_request_whose_length_is_empty_is_refused() {
    let origin = Answering::start(|_, _| ok("hello")).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut stream = raw(&proxy).await;
    stream.write_all(&[frame(1, 4, 1, &empty_length()), frame(0, 1, 1, b"")].concat()).await.expect("sent");
    proxy.metric("istio_requests_total", &["response_code=\"400\"", "response_flags=\"DPE\"", "} 1"]).await;
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn a_path_that_does_not_begin_with_a_slash_is_refused() {
    let origin = Answering::start(|_, _| ok("hello")).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut stream = raw(&proxy).await;
    let head = [&GET[..2], b"\x04\x04?x=1", &GET[3..]].concat();
    stream.write_all(&frame(1, 5, 1, &head)).await.expect("sent");
    proxy.metric("istio_requests_total", &["response_code=\"400\"", "response_flags=\"DPE\"", "} 1"]).await;
    assert_eq!(origin.requests(), 0);
}

/// The fields of a POST with a `content-length` without a value.
fn empty_length() -> Vec<u8> {
    [b"\x83", &GET[1..], b"\x0f\x0d\x00"].concat()
}

#[tokio::test]
async fn a_request_that_would_be_refused_and_is_reset_at_once_is_counted_as_a_disconnection_alone() {
    let origin = Answering::start(|_, _| ok("reached")).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut stream = raw(&proxy).await;
    stream.write_all(&[frame(1, 4, 1, &empty_length()), frame(3, 0, 1, &8_u32.to_be_bytes())].concat()).await.expect("sent");
    proxy.metric("istio_requests_total", &["response_code=\"0\"", "response_flags=\"DC\"", "} 1"]).await;
}

#[tokio::test]
async fn a_request_that_is_reset_at_once_reaches_nobody_and_is_counted_with_code_0() {
    let origin = Answering::start(|_, _| ok("reached")).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut stream = raw(&proxy).await;
    for id in [1, 3, 5] {
        stream.write_all(&[frame(1, 5, id, GET), frame(3, 0, id, &8_u32.to_be_bytes())].concat()).await.expect("sent");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let labels = ["response_code=\"0\"", "response_flags=\"DC\"", "destination_service_name=\"web\"", "} 3"];
    proxy.metric("istio_requests_total", &labels).await;
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn the_last_answer_of_a_draining_connection_reaches_a_client_that_still_sends() {
    const SIZE: usize = 600_000;
    let origin = Answering::start(|_, _| ok(&"x".repeat(SIZE))).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut stream = proxy.capture(EntranceKind::Outbound, vip()).await;
    // SETTINGS_INITIAL_WINDOW_SIZE, and as much for the connection.
    let window = (1_u32 << 20).to_be_bytes();
    let settings = frame(4, 0, 0, &[&[0, 4][..], &window].concat());
    let request = frame(1, 5, 1, GET);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    stream.write_all(&[preface, settings, frame(8, 0, 0, &window), request].concat()).await.expect("sent");
    tokio::time::sleep(Duration::from_millis(200)).await;
    proxy.phase.advance(Phase::Draining);
    // Answers to the proxy's SETTINGS and to the PING that its GOAWAY comes with.
    stream.write_all(&frame(4, 1, 0, b"")).await.expect("sent");
    stream.write_all(&frame(PING, 1, 0, &[0x0b, 0x7b, 0xa2, 0xf0, 0x8b, 0x9b, 0xfe, 0x54])).await.expect("sent");
    for _ in 0..10 {
        let _ = stream.write_all(&frame(PING, 0, 0, b"anyone ?")).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut all = Vec::new();
    let ended = soon(stream.read_to_end(&mut all)).await;
    assert!(ended.is_ok() && all.iter().filter(|byte| **byte == b'x').count() >= SIZE, "{ended:?} after {} bytes", all.len());
}
