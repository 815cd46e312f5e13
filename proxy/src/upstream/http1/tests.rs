//! Heads as bytes, in pieces of every size; and a connection against a scripted server.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::request::write_head;
use super::response::parse;
use super::*;
use crate::error::{Failure, Sent};
use crate::http1::tests::read_into_memory;
use crate::http1::{Ending, Framing, MAX_HEAD, MAX_HEADERS};
use crate::upstream::connect::UpstreamIo;

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(*name, HeaderValue::from_static(value));
    }
    map
}

fn get(headers: &HeaderMap) -> Outgoing<'_> {
    Outgoing { method: &Method::GET, target: "/a?b", headers, notes: Notes::default(), upload: None }
}

#[test]
fn a_request_is_written_with_its_fields_in_order() {
    let fields = headers(&[("host", "a"), ("x-many", "1"), ("x-many", "2"), ("transfer-encoding", "chunked")]);
    let mut out = Vec::new();
    assert_eq!(write_head(&mut out, &get(&fields)), None);
    assert_eq!(out, b"GET /a?b HTTP/1.1\r\nhost: a\r\nx-many: 1\r\nx-many: 2\r\n\r\n", "what has no body is not encoded");
}

#[test]
fn a_length_that_no_body_follows_is_not_written() {
    let written = |length| {
        let (fields, mut out) = (headers(&[("content-length", length)]), Vec::new());
        assert_eq!(write_head(&mut out, &get(&fields)), None);
        String::from_utf8(out).expect("text").replace("GET /a?b HTTP/1.1\r\n", "")
    };
    assert_eq!(written("5"), "\r\n");
    assert_eq!(written("0"), "content-length: 0\r\n\r\n");
}

#[test]
fn a_length_of_none_is_written_where_a_body_is_expected_and_does_not_follow() {
    let written = |method: &Method, fields: &[(&'static str, &'static str)]| {
        let (fields, mut out) = (headers(fields), Vec::new());
        assert_eq!(write_head(&mut out, &Outgoing { method, ..get(&fields) }), None);
        String::from_utf8(out).expect("text").replace(&format!("{method} /a?b HTTP/1.1\r\n"), "")
    };
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::OPTIONS, Method::from_bytes(b"PROPFIND").expect("method")] {
        for fields in [&[][..], &[("content-length", "0")], &[("content-length", "5")]] {
            assert_eq!(written(&method, fields), "content-length: 0\r\n\r\n", "{method} {fields:?}");
        }
    }
    for method in [Method::GET, Method::HEAD, Method::DELETE, Method::TRACE] {
        assert_eq!(written(&method, &[]), "\r\n", "{method}");
    }
}

#[test]
fn of_lengths_the_first_number_is_written_and_nothing_that_is_none() {
    let written = |lengths: &[&'static str]| {
        let fields = headers(&lengths.iter().map(|length| ("content-length", *length)).collect::<Vec<_>>());
        let upload = crate::upstream::upload::Upload::new(crate::http::body::ClientBody::Empty, true, false);
        let mut out = Vec::new();
        let ending = write_head(&mut out, &Outgoing { upload: Some(upload.attempt()), ..get(&fields) });
        (String::from_utf8(out).expect("text").replace("GET /a?b HTTP/1.1\r\n", ""), ending)
    };
    let five = || ("content-length: 5\r\n\r\n".to_owned(), Some(Ending::Length(5)));
    assert_eq!(written(&["5"]), five());
    assert_eq!(written(&["5", "5"]), five());
    assert_eq!(written(&["", "5", "6"]), five());
    let (head, _) = written(&["", "+5"]);
    assert_eq!(head.matches(": ").count(), 1, "one way to tell the end: {head}");
    assert!(!head.contains("+5") && !head.contains("content-length: \r"), "{head}");
}

#[test]
fn what_is_noted_about_the_attempt_stands_in_the_place_of_what_the_client_said_about_it() {
    let fields = headers(&[("x-envoy-attempt-count", "7"), ("host", "a"), ("x-envoy-expected-rq-timeout-ms", "8")]);
    let mut out = Vec::new();
    write_head(&mut out, &Outgoing { notes: Notes { attempt: Some(2), expected_millis: None }, ..get(&fields) });
    assert_eq!(out, b"GET /a?b HTTP/1.1\r\nhost: a\r\nx-envoy-expected-rq-timeout-ms: 8\r\nx-envoy-attempt-count: 2\r\n\r\n");
    let mut map = fields.clone();
    Notes { attempt: None, expected_millis: Some(1500) }.insert(&mut map);
    assert_eq!(
        (map.len(), &map["x-envoy-attempt-count"], &map["x-envoy-expected-rq-timeout-ms"]),
        (3, &HeaderValue::from(7), &HeaderValue::from(1500))
    );
}

#[test]
fn a_body_is_as_long_as_the_head_said() {
    let mut out = Vec::new();
    let mut ending = Ending::Length(5);
    assert_eq!(ending.open_chunk(&mut out, &Bytes::from_static(b"abc")), Some(false));
    assert!(!ending.close(&mut out), "too short");
    assert_eq!(ending.open_chunk(&mut out, &Bytes::from_static(b"abc")), None, "too long");
}

#[test]
fn a_chunked_body_ends_with_the_last_chunk() {
    let mut out = Vec::new();
    let mut ending = Ending::Chunked;
    assert_eq!(ending.open_chunk(&mut out, &Bytes::from_static(b"0123456789abcdef")), Some(true));
    assert_eq!(ending.open_chunk(&mut out, &Bytes::new()), Some(false), "an empty chunk would be the last");
    assert!(ending.close(&mut out));
    assert_eq!(out, b"10\r\n0\r\n\r\n");
}

/// Framing and keep-alive of a head, without its last empty line.
fn read(head: &str, bodiless: bool) -> Result<(Framing, bool), Failure> {
    let mut bytes = Bytes::from(format!("{head}\r\n\r\nrest"));
    let answer = parse(&mut bytes, bodiless)?.expect("complete");
    assert_eq!(bytes, "rest");
    Ok((answer.framing, answer.keep_alive))
}

#[test]
fn heads_say_where_bodies_end_and_whether_another_request_may_follow() {
    let ok = |head: &str| read(&format!("HTTP/1.1 200 OK\r\n{head}"), false);
    assert_eq!(ok("content-length: 7"), Ok((Framing::Length(7), true)));
    assert_eq!(ok("content-length: 7, 7\r\ncontent-length:7"), Ok((Framing::Length(7), true)));
    assert_eq!(ok("Transfer-Encoding: Chunked"), Ok((Framing::Chunked, true)));
    assert_eq!(ok("x: y"), Ok((Framing::UntilClose, false)));
    assert_eq!(ok("content-length: 0\r\nconnection: x, Close\r\nconnection: keep-alive"), Ok((Framing::Length(0), false)));
    assert_eq!(read("HTTP/1.0 200 OK\r\ncontent-length: 1", false), Ok((Framing::Length(1), false)));
    assert_eq!(read("HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive", false), Ok((Framing::Length(1), true)));
    assert_eq!(read("HTTP/1.1 200 OK\r\ncontent-length: 9", true), Ok((Framing::Length(0), true)), "an answer to HEAD");
    assert_eq!(read("HTTP/1.1 304 \r\ncontent-length: 9", false), Ok((Framing::Length(0), true)));
    assert_eq!(read("HTTP/1.1 204 No\r\ntransfer-encoding: chunked", false), Ok((Framing::Length(0), true)));
}

#[test]
fn what_follows_a_head_that_was_all_there_is_holds_no_memory() {
    let (mut bytes, held) = read_into_memory("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n");
    drop(parse(&mut bytes, false).expect("well-formed").expect("complete").headers);
    assert_eq!((bytes.len(), held.strong_count()), (0, 0));
}

#[test]
fn of_lengths_one_number_is_passed_on() {
    let lengths = |fields: &str| {
        let mut bytes = Bytes::from(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n"));
        let answer = parse(&mut bytes, false).unwrap().unwrap();
        answer.headers.get_all("content-length").iter().cloned().collect::<Vec<_>>()
    };
    assert_eq!(lengths("content-length: 5, 5"), ["5"]);
    assert_eq!(lengths("content-length: 5\r\ncontent-length: 5"), ["5"]);
}

#[test]
fn heads_that_others_may_read_differently_are_refused() {
    let refused = |head: &str| assert_eq!(read(head, false), Err(Failure::Protocol), "{head}");
    for length in ["1\r\ncontent-length: 2", "1, 2", "-1", "+1", "1x", "", "99999999999999999999"] {
        refused(&format!("HTTP/1.1 200 OK\r\ncontent-length: {length}"));
    }
    refused("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked");
    for coding in ["gzip", "gzip, chunked", "chunked, chunked", "xchunked", "identity", "", "chunked\r\ntransfer-encoding: chunked"] {
        refused(&format!("HTTP/1.1 200 OK\r\ntransfer-encoding: {coding}"));
    }
    refused("HTTP/1.1 200 OK\r\nno colon");
    refused("HTTP/1.1 99 Low");
    refused("SSH-2.0-OpenSSH");
    refused(&format!("HTTP/1.1 200 OK\r\n{}", "a: b\r\n".repeat(MAX_HEADERS + 1).trim_end()));
    refused(&format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(MAX_HEAD)));
    assert_eq!(parse(&mut Bytes::from_static(b"HT"), false).map(|answer| answer.is_none()), Ok(true));
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&mut Bytes::from([b"HTTP/1.1 200 OK\r\n", bytes.as_slice()].concat()), false);
    }
}

/// A connection, and the server's end of it.
async fn pair() -> (Box<Wire>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (Wire::new(UpstreamIo::Plain(client)), listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn a_head_in_pieces_after_early_hints_is_one_answer() {
    let (mut wire, mut server) = pair().await;
    let serve = async {
        let mut request = BytesMut::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert!(server.read_buf(&mut request).await.unwrap() > 0);
        }
        for piece in ["HTTP/1.1 103 Early\r\n\r\nHTT", "P/1.1 200 OK\r\ncontent-le", "ngth: 2\r\n\r\nok"] {
            server.write_all(piece.as_bytes()).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let fields = headers(&[("host", "a")]);
    let (answer, ()) = tokio::join!(wire.exchange(get(&fields)), serve);
    let answer = answer.unwrap();
    assert_eq!((answer.status.as_u16(), answer.framing, answer.rest.as_ref()), (200, Framing::Length(2), &b"ok"[..]));
    assert!(wire.is_alive() && wire.is_reusable());
}

#[tokio::test]
async fn an_idle_connection_that_speaks_or_closes_is_not_alive() {
    for farewell in ["HTTP/1.1 408 Timeout\r\n\r\n", ""] {
        let (mut wire, mut server) = pair().await;
        assert!(wire.is_alive());
        server.write_all(farewell.as_bytes()).await.unwrap();
        drop(server);
        while wire.is_alive() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_request_that_met_a_closed_connection_before_a_byte_was_written_was_not_sent() {
    let (mut wire, server) = pair().await;
    server.set_zero_linger().unwrap();
    drop(server);
    while wire.is_alive() {
        tokio::task::yield_now().await;
    }
    let fields = headers(&[("host", "a")]);
    assert_eq!(wire.exchange(get(&fields)).await.err(), Some(Failure::Terminated));
    assert_eq!(wire.sent(), Sent::Nothing);
}
