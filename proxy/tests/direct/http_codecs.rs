//! What the codecs let through, repair and refuse.

use std::time::Duration;

use outrigger_config::model::{GatewayListener, GatewayListenerKind, RouteAction, Snapshot};
use outrigger_proxy::drain::Phase;
use outrigger_proxy::listener::EntranceKind;
use tokio::io::AsyncWriteExt;

use crate::fixture::*;
use crate::http_fixture::*;

#[tokio::test]
async fn http_10_is_accepted_and_spoken_upstream_as_11() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let origin = Answering::start(move |_, seen| {
        assert!(seen.head.starts_with("GET / HTTP/1.1\r\n"), "{}", seen.head);
        chunked.to_owned()
    })
    .await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut client = Client::of(&proxy).await;
    client.send("GET / HTTP/1.0\r\nhost: web\r\n\r\n").await;
    let got = client.receive().await;
    assert_eq!((got.status(), got.text().as_str()), (200, "hello"));
    assert!(got.head.starts_with("HTTP/1.0 200"), "{}", got.head);
    assert!(got.header("transfer-encoding").is_none(), "not chunked, ended by the end of the connection");
}

#[tokio::test]
async fn http_10_without_host_goes_to_the_address_that_was_dialled() {
    let origin = Answering::start(|_, seen| ok(seen.header("host").unwrap_or("none"))).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut client = Client::of(&proxy).await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.receive().await.text(), vip().to_string());
}

#[tokio::test]
async fn an_http_10_server_is_understood() {
    let origin = Origin::start().await;
    let proxy = in_front_of(origin.address(), |_| ());
    let mut client = Client::of(&proxy).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut server, _) = origin.accept().await;
    read_request(&mut server).await.expect("request");
    server.write_all(b"HTTP/1.0 200 OK\r\n\r\nuntil the end").await.expect("write");
    drop(server);
    let got = client.receive().await;
    assert_eq!(got.text(), "until the end");
    assert!(got.head.starts_with("HTTP/1.1 200"), "{}", got.head);
}

#[tokio::test]
async fn a_request_with_length_and_encoding_is_refused_and_not_smuggled() {
    let origin = Answering::start(|_, _| ok("")).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut client = Client::of(&proxy).await;
    assert_eq!(client.get("/").await.status(), 200);
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let got = client.receive().await;
    assert_eq!((got.status(), got.header("connection")), (400, Some("close")));
    assert!(rest(&mut client.0).await.is_empty(), "the connection closes");
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn a_response_with_length_and_encoding_is_a_protocol_error() {
    let both = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let origin = Answering::start(move |_, _| both.to_owned()).await;
    let proxy = in_front_of(origin.address, |route| route.retry = Some(retry_5xx(2).into()));
    let got = Client::of(&proxy).await.get("/").await;
    assert_eq!(got.status(), 502, "{}", got.head);
    assert!(got.text().ends_with("reset reason: protocol error"), "{}", got.text());
    assert_eq!(origin.requests(), 1, "it was answered, so it is not sent again");
    proxy.metric("istio_requests_total", &["response_code=\"502\"", "response_flags=\"UPE\""]).await;
}

#[tokio::test]
async fn a_body_that_makes_no_sense_is_the_clients_fault() {
    let origin = Answering::start(|_, _| ok("")).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut client = Client::of(&proxy).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nno size\r\n").await;
    let got = client.receive().await;
    assert_eq!((got.status(), got.text().as_str()), (400, "Bad Request"), "{}", got.head);
    assert_eq!(got.header("connection"), Some("close"));
    proxy.metric("istio_requests_total", &["response_code=\"400\"", "response_flags=\"DPE\""]).await;
}

#[tokio::test]
async fn heads_that_mean_two_things_are_refused() {
    let origin = Answering::start(|_, _| ok("")).await;
    for (head, status) in [
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nconnection: host\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost : a\r\n\r\n", 400),
        ("GET /%00 HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n", 400),
        ("CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n", 403),
        ("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: tls/1.0\r\n\r\n", 403),
        ("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", 404),
    ] {
        let proxy = in_front_of(origin.address, |_| ());
        let mut client = Client::of(&proxy).await;
        client.send(head).await;
        assert_eq!(client.receive().await.status(), status, "{head:?}");
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn what_the_codec_refuses_reads_as_in_envoy() {
    let origin = Answering::start(|_, _| ok("")).await;
    for (head, status, body) in [
        ("GET / HTTP/1.1\r\nhost : a\r\n\r\n", 400, "Bad Request"),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n", 400, "Bad Request"),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", 501, "Not Implemented"),
    ] {
        let proxy = in_front_of(origin.address, |_| ());
        let mut client = Client::of(&proxy).await;
        client.send(head).await;
        let got = client.receive().await;
        assert_eq!((got.status(), got.text().as_str()), (status, body), "{head:?}");
        assert_eq!((got.header("server"), got.header("content-type")), (Some("envoy"), Some("text/plain")), "{head:?}");
        assert_eq!((got.header("connection"), got.header("date").is_some()), (Some("close"), true), "{head:?}");
        assert!(rest(&mut client.0).await.is_empty(), "{head:?} ends the connection");
        let labels = [format!("response_code=\"{status}\""), "response_flags=\"DPE\"".to_owned()];
        proxy.metric("istio_requests_total", &labels.each_ref().map(String::as_str)).await;
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn a_refusal_after_other_requests_reads_the_same_and_touches_no_answer() {
    let origin = Answering::start(|_, _| ok("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut client = Client::of(&proxy).await;
    assert_eq!(client.get("/").await.text(), "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n").await;
    let got = client.receive().await;
    assert_eq!((got.status(), got.text().as_str(), got.header("server")), (501, "Not Implemented", Some("envoy")));
    assert!(rest(&mut client.0).await.is_empty());
    proxy.metric("istio_requests_total", &["response_code=\"501\"", "response_flags=\"DPE\""]).await;
}

#[tokio::test]
async fn a_request_that_comes_byte_by_byte_is_one_request() {
    let origin = Answering::start(|_, seen| ok(&String::from_utf8_lossy(&seen.body))).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut client = Client::of(&proxy).await;
    let request = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nt: 1\r\n\r\n";
    for _ in 0..2 {
        for byte in request.as_bytes().chunks(1) {
            client.send(byte).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(client.receive().await.text(), "abc");
    }
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn bodies_of_pipelined_requests_are_told_from_the_next_head() {
    let origin = Answering::start(|_, seen| ok(&format!("{}{}", seen.head.len() % 2, String::from_utf8_lossy(&seen.body)))).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut client = Client::of(&proxy).await;
    let sized = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    client.send([sized, chunked, "GET / HTTP/1.1\r\nhost: a\r\n\r\n", chunked, sized].concat()).await;
    for body in ["hello", "abc", "", "abc", "hello"] {
        assert_eq!(client.receive().await.text()[1..], *body);
    }
}

#[tokio::test]
async fn http_10_connections_are_kept_on_request() {
    let origin = Answering::start(|_, _| ok("answer")).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut client = Client::of(&proxy).await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n").await;
        let got = client.receive().await;
        assert_eq!((got.text().as_str(), got.header("connection")), ("answer", Some("keep-alive")));
    }
    client.send("GET / HTTP/1.0\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.receive().await.header("connection"), None);
    assert!(rest(&mut client.0).await.is_empty());
}

#[tokio::test]
async fn what_is_left_of_a_small_body_is_read_and_the_connection_goes_on() {
    let origin = Origin::start().await;
    let proxy = in_front_of(origin.address(), |_| ());
    let mut client = Client::of(&proxy).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n01234").await;
    let (mut server, _) = origin.accept().await;
    read_head(&mut server).await;
    server.write_all(b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 0\r\n\r\n").await.expect("write");
    assert_eq!(client.receive().await.status(), 413);
    client.send("56789GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut server, _) = origin.accept().await;
    assert!(read_request(&mut server).await.expect("request").head.starts_with("GET"));
    server.write_all(ok("next").as_bytes()).await.expect("write");
    assert_eq!(client.receive().await.text(), "next");
}

#[tokio::test]
async fn a_client_that_still_sends_gets_the_last_answer_nevertheless() {
    let origin = Answering::start(|_, _| ok("")).await;
    for _ in 0..20 {
        let proxy = in_front_of(origin.address, |_| ());
        let mut client = Client::of(&proxy).await;
        client.send("GET / HTTP/1.1\r\nhost : a\r\n\r\n").await;
        client.send("x".repeat(100_000)).await;
        let got = client.receive().await;
        assert_eq!((got.status(), got.text().as_str()), (400, "Bad Request"));
    }
}

#[tokio::test]
async fn an_answer_to_a_client_that_waits_for_a_100_is_the_last() {
    let origin = Answering::start(|_, _| ok("")).await;
    let proxy = in_front_of(origin.address, |route| route.action = RouteAction::Forward(Vec::new()));
    let mut client = Client::of(&proxy).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n").await;
    let got = client.receive().await;
    assert_eq!((got.status(), got.header("connection")), (503, Some("close")), "nobody knows whether the body will come");
    assert!(rest(&mut client.0).await.is_empty());
}

#[tokio::test]
async fn http_1_trailers_are_dropped_both_ways_and_not_announced() {
    let origin = Origin::start().await;
    let proxy = in_front_of(origin.address(), |_| ());
    let mut client = Client::of(&proxy).await;
    let trailed = "transfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\nhost: other\r\n\r\n";
    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\n{trailed}")).await;
    let (mut server, _) = origin.accept().await;
    let head = read_head(&mut server).await;
    assert_eq!((header(&head, "te"), header(&head, "trailer")), (Some("trailers"), None));
    expect(&mut server, "5\r\nhello\r\n0\r\n\r\n").await;
    server.write_all(format!("HTTP/1.1 200 OK\r\n{trailed}").as_bytes()).await.expect("write");
    let head = read_head(&mut client.0).await;
    assert_eq!(header(&head, "trailer"), None);
    expect(&mut client.0, "5\r\nhello\r\n0\r\n\r\n").await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(read_request(&mut server).await.expect("the next request").head.starts_with("GET"), "on the same connection");
}

#[tokio::test]
async fn heads_beyond_the_limits_get_431() {
    let origin = Answering::start(|_, _| ok("")).await;
    let many: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
    let large = format!("x-large: {}\r\n", "a".repeat(61 * 1024));
    for extra in [many, large] {
        let proxy = in_front_of(origin.address, |_| ());
        let mut client = Client::of(&proxy).await;
        client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{extra}\r\n")).await;
        let got = client.receive().await;
        assert_eq!((got.status(), got.text().as_str()), (431, "Request Header Fields Too Large"));
    }
    let proxy = in_front_of(origin.address, |_| ());
    let mut client = Client::of(&proxy).await;
    client.send(format!("GET / HTTP/1.1\r\nhost: a\r\nx-large: {}\r\n\r\n", "a".repeat(50 * 1024))).await;
    assert_eq!(client.receive().await.status(), 200);
}

#[tokio::test]
async fn an_absolute_uri_replaces_host_and_paths_are_normalised() {
    let origin =
        Answering::start(|_, seen| ok(&format!("{} {}", seen.head.split(' ').nth(1).unwrap_or(""), seen.header("host").unwrap_or(""))))
            .await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut client = Client::of(&proxy).await;
    client.send("GET http://other.shop/a/../b?x=/../ HTTP/1.1\r\nhost: web\r\n\r\n").await;
    assert_eq!(client.receive().await.text(), "/b?x=/../ other.shop");
    client.send("GET http://other.shop?x=1 HTTP/1.1\r\nhost: web\r\n\r\n").await;
    assert_eq!(client.receive().await.text(), "/?x=1 other.shop");
}

#[tokio::test]
async fn a_websocket_becomes_a_tunnel() {
    let origin = Origin::start().await;
    let proxy = in_front_of(origin.address(), |_| ());
    let mut client = Client::of(&proxy).await;
    client.send("GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n\r\n").await;
    let (mut server, _) = origin.accept().await;
    let seen = read_request(&mut server).await.expect("request");
    assert_eq!((seen.header("connection"), seen.header("upgrade")), (Some("upgrade"), Some("websocket")));
    server
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: y\r\n\r\nfirst")
        .await
        .expect("write");
    let got = client.receive().await;
    assert_eq!((got.status(), got.header("upgrade"), got.header("sec-websocket-accept")), (101, Some("websocket"), Some("y")));
    expect(&mut client.0, "first").await;
    client.send("POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n").await;
    expect(&mut server, "POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n").await;
    server.write_all(b"back").await.expect("write");
    expect(&mut client.0, "back").await;
    let connections = || proxy.worker.connections.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(connections(), 1, "a drain waits for it and the limit counts it");
    drop(server);
    assert!(rest(&mut client.0).await.is_empty());
    drop(client);
    soon(async {
        while connections() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_switches_before_it_has_the_whole_request_is_a_protocol_error() {
    let origin = Origin::start().await;
    for (waits, sent) in [("", "half"), ("expect: 100-continue\r\n", "")] {
        let proxy = in_front_of(origin.address(), |route| route.retry = Some(retry_5xx(2).into()));
        let mut client = Client::of(&proxy).await;
        let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
        client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{upgrade}{waits}content-length: 8\r\n\r\n{sent}")).await;
        let (mut server, _) = origin.accept().await;
        read_head(&mut server).await;
        expect(&mut server, sent).await;
        server.write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await.expect("write");
        let got = client.receive().await;
        assert_eq!((got.status(), got.header("upgrade")), (502, None), "{}", got.head);
        assert!(got.text().ends_with("reset reason: protocol error"), "{}", got.text());
        assert!(rest(&mut server).await.is_empty(), "and nothing more goes to the server");
        proxy.metric("istio_requests_total", &["response_code=\"502\"", "response_flags=\"UPE\"", "} 1"]).await;
    }
}

#[tokio::test]
async fn a_websocket_whose_request_has_a_body_becomes_a_tunnel_behind_it() {
    let origin = Origin::start().await;
    let proxy = in_front_of(origin.address(), |_| ());
    let mut client = Client::of(&proxy).await;
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
    client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{upgrade}content-length: 4\r\n\r\nbody")).await;
    let (mut server, _) = origin.accept().await;
    assert_eq!(read_request(&mut server).await.expect("request").body, b"body");
    server.write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await.expect("write");
    assert_eq!(client.receive().await.status(), 101);
    client.send("there").await;
    expect(&mut server, "there").await;
}

#[tokio::test]
async fn a_refused_websocket_is_an_ordinary_answer() {
    let origin = Answering::start(|_, _| status(426)).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut client = Client::of(&proxy).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await;
    assert_eq!(client.receive().await.status(), 426);
    assert_eq!(client.get("/").await.status(), 426, "the connection goes on");
}

#[tokio::test]
async fn continue_comes_from_the_upstream_and_not_from_us() {
    let origin = Origin::start().await;
    let proxy = in_front_of(origin.address(), |_| ());
    let mut client = Client::of(&proxy).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n").await;
    let (mut server, _) = origin.accept().await;
    let head = read_head(&mut server).await;
    assert_eq!(header(&head, "expect"), Some("100-continue"));
    let early = tokio::time::timeout(Duration::from_millis(200), client.0.readable()).await;
    assert!(early.is_err(), "no 100 before the upstream says so");
    server.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.expect("write");
    assert!(read_head(&mut client.0).await.starts_with("HTTP/1.1 100"));
    client.send("body").await;
    expect(&mut server, "body").await;
    server.write_all(ok("done").as_bytes()).await.expect("write");
    assert_eq!(client.receive().await.text(), "done");
}

#[tokio::test]
async fn early_hints_do_not_disturb_the_exchange() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n";
    let origin = Answering::start(move |_, _| format!("{hints}HTTP/1.1 102 Processing\r\n\r\n{hints}{}", ok("done"))).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut client = Client::of(&proxy).await;
    for _ in 0..3 {
        let got = client.get("/").await;
        assert_eq!((got.status(), got.text().as_str(), got.header("link")), (200, "done", None));
        assert_eq!(client.post("/", "body").await.text(), "done");
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn early_hints_are_no_permission_to_send_the_body() {
    let origin = Origin::start().await;
    let proxy = in_front_of(origin.address(), |_| ());
    let mut client = Client::of(&proxy).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n").await;
    let (mut server, _) = origin.accept().await;
    read_head(&mut server).await;
    server.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await.expect("write");
    let early = tokio::time::timeout(Duration::from_millis(200), client.0.readable()).await;
    assert!(early.is_err(), "no 100 because of a 103");
    server.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.expect("write");
    assert!(read_head(&mut client.0).await.starts_with("HTTP/1.1 100"));
    client.send("body").await;
    expect(&mut server, "body").await;
    server.write_all(ok("done").as_bytes()).await.expect("write");
    assert_eq!(client.receive().await.text(), "done");
}

#[tokio::test]
async fn an_upstream_that_refuses_at_once_spares_the_body() {
    let origin = Answering::start(|_, _| status(417)).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut client = Client::of(&proxy).await;
    client.send("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(client.receive().await.status(), 417);
}

#[tokio::test]
async fn bodies_stream_both_ways_whatever_their_framing() {
    let origin = Answering::start(|_, seen| {
        let body = String::from_utf8_lossy(&seen.body);
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
    })
    .await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut client = Client::of(&proxy).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").await;
    assert_eq!(client.receive().await.text(), "abcde");
    let large = "x".repeat(300_000);
    assert_eq!(client.post("/", &large).await.text(), large);
}

#[tokio::test]
async fn a_slow_reader_holds_the_upstream_back() {
    let origin = Origin::start().await;
    let proxy = in_front_of(origin.address(), |_| ());
    let mut client = Client::of(&proxy).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut server, _) = origin.accept().await;
    read_request(&mut server).await.expect("request");
    const SIZE: usize = 64 << 20;
    server.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n").as_bytes()).await.expect("write");
    let chunk = vec![0; 1 << 16];
    let mut written = 0;
    while let Ok(result) = tokio::time::timeout(Duration::from_millis(300), server.write(&chunk)).await {
        written += result.expect("write");
        assert!(written < SIZE / 2, "the proxy must not take in what nobody reads");
    }
    drop(client);
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let origin = Origin::start().await;
    let proxy = in_front_of(origin.address(), |_| ());
    let mut client = Client::of(&proxy).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nbeginning").await;
    let (mut server, _) = origin.accept().await;
    read_head(&mut server).await;
    server.write_all(b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 0\r\n\r\n").await.expect("write");
    assert_eq!(client.receive().await.status(), 413);
}

#[tokio::test]
async fn connection_close_ends_each_side_on_its_own() {
    let origin = Answering::start(|number, _| match number {
        0 => "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
        _ => ok(""),
    })
    .await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut client = Client::of(&proxy).await;
    assert_eq!(client.get("/").await.header("connection"), None, "the client's connection is not the upstream's");
    assert_eq!(client.get("/").await.status(), 200);
    assert_eq!(origin.connections(), 2, "what the upstream said it would close is not used again");
    client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert_eq!(client.receive().await.header("connection"), Some("close"));
    assert!(rest(&mut client.0).await.is_empty());
    let mut other = Client::of(&proxy).await;
    assert_eq!(other.get("/").await.status(), 200);
    assert_eq!(origin.connections(), 2, "the upstream connection lives on");
}

#[tokio::test]
async fn head_and_204_and_304_have_no_body() {
    let origin = Answering::start(|_, seen| match seen.head.split(' ').nth(1) {
        Some("/204") => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        Some("/304") => "HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n".to_owned(),
        _ => "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n".to_owned(),
    })
    .await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut client = Client::of(&proxy).await;
    client.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let head = read_head(&mut client.0).await;
    assert_eq!(header(&head, "content-length"), Some("10"));
    assert_eq!(client.get("/204").await.status(), 204);
    assert_eq!(client.get("/304").await.status(), 304);
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_draining_proxy_answers_what_it_has_and_closes() {
    let origin = Answering::start(|_, _| ok("late")).await;
    let proxy = in_front_of(origin.address, |route| {
        let delay = outrigger_config::model::FaultDelay { per_million: 1_000_000, duration: Duration::from_millis(150) };
        route.fault = Some(outrigger_config::model::Fault { delay: Some(delay), abort: None }.into());
    });
    let mut client = Client::of(&proxy).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    proxy.phase.advance(Phase::Draining);
    let got = client.receive().await;
    assert_eq!((got.text().as_str(), got.header("connection")), ("late", Some("close")));
    assert!(rest(&mut client.0).await.is_empty());
}

#[tokio::test]
async fn the_last_answer_of_a_draining_connection_is_not_lost_by_a_request_that_crosses_it() {
    const SIZE: usize = 300_000;
    let origin = Origin::start().await;
    let proxy = in_front_of(origin.address(), |_| ());
    let mut client = Client::of(&proxy).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut server, _) = origin.accept().await;
    read_request(&mut server).await.expect("request");
    proxy.phase.advance(Phase::Draining);
    server.write_all(ok(&"x".repeat(SIZE)).as_bytes()).await.expect("write");
    tokio::time::sleep(Duration::from_millis(100)).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let got = client.receive().await;
    assert_eq!((got.status(), got.header("connection"), got.body.len()), (200, Some("close"), SIZE));
}

#[tokio::test]
async fn the_last_answer_is_not_lost_by_an_empty_line_after_the_body_of_its_request() {
    const SIZE: usize = 300_000;
    let origin = Origin::start().await;
    let proxy = in_front_of(origin.address(), |_| ());
    let mut client = Client::of(&proxy).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx").await;
    let (mut server, _) = origin.accept().await;
    read_request(&mut server).await.expect("request");
    client.send("\r\n").await;
    server.write_all(ok(&"x".repeat(SIZE)).as_bytes()).await.expect("write");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let got = client.receive().await;
    assert_eq!((got.status(), got.body.len()), (200, SIZE));
}

#[tokio::test]
async fn a_draining_proxy_waits_for_the_rest_of_a_head_that_has_begun_to_come() {
    let origin = Answering::start(|_, _| ok("last")).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut client = Client::of(&proxy).await;
    assert_eq!(client.get("/").await.status(), 200);
    client.send("GET / HT").await;
    proxy.phase.advance(Phase::Draining);
    // Until others are told of the drain. For how long a head is waited for is told by the tests of `Stay`.
    while Client::of(&proxy).await.get("/").await.header("connection") != Some("close") {}
    client.send("TP/1.1\r\nhost: a\r\n\r\n").await;
    let got = client.receive().await;
    assert_eq!((got.text().as_str(), got.header("connection")), ("last", Some("close")));
}

#[tokio::test]
async fn a_request_without_a_route_or_cluster_is_answered_here() {
    let origin = Origin::start().await;
    let proxy = in_front_of(origin.address(), |route| {
        if let RouteAction::Forward(clusters) = &mut route.action {
            clusters[0].cluster = None;
        }
    });
    let got = Client::of(&proxy).await.get("/").await;
    assert_eq!((got.status(), got.text().as_str(), got.header("content-length")), (503, "", Some("0")));
    let nowhere: Snapshot = model(route(&[(2, 1)]), vec![web("outbound|80||web", &[])]);
    let got = Client::of(&Proxy::plain(nowhere)).await.get("/").await;
    assert_eq!((got.status(), got.text().as_str(), got.header("server")), (503, "no healthy upstream", Some("envoy")));
}

#[tokio::test]
async fn a_draining_proxy_does_not_wait_for_a_client_that_never_spoke() {
    let origin = Answering::start(|_, _| ok("")).await;
    let mut model = model(route(&[(2, 1)]), vec![web("outbound|80||web", &[origin.address])]);
    model.gateways = vec![GatewayListener {
        name: "0.0.0.0_80".to_owned(),
        bind: None,
        port: 80,
        kind: GatewayListenerKind::Http(table("http.80", route(&[(2, 1)]))),
    }];
    let proxy = Proxy::plain(model);
    let mut silent = proxy.capture(EntranceKind::Gateway, vip()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    proxy.phase.advance(Phase::Draining);
    assert!(rest(&mut silent).await.is_empty());
}
