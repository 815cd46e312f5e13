//! Heads in all forms and in pieces of every size.

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, Version};
use http_body_util::{Empty, Full, combinators::UnsyncBoxBody};
use proptest::prelude::*;

use super::answer::{Following, write_head};
use super::head::{Asked, Head, Parsed, may_end, parse, skip_empty_lines};
use super::refusal::Refusal;
use crate::http1::tests::read_into_memory;
use crate::http1::{Ending, Framing, MAX_HEAD, MAX_HEADERS};

fn judge(text: &str) -> Result<Option<Head>, Refusal> {
    match parse(&Bytes::copy_from_slice(text.as_bytes())) {
        Parsed::Head(head) => Ok(Some(head)),
        Parsed::Incomplete => Ok(None),
        Parsed::Refused(refusal) => Err(refusal),
    }
}

fn head(text: &str) -> Head {
    judge(text).unwrap_or_else(|refusal| panic!("{text:?}: {refusal:?}")).unwrap_or_else(|| panic!("{text:?} is incomplete"))
}

#[test]
fn a_head_is_taken_apart() {
    let text = "PUT /a/b?c HTTP/1.1\r\nHost: web\r\nX-Request-Id: 7\r\nx-two: 1\r\nX-Two:  2 \r\n\r\nrest";
    let head = head(text);
    assert_eq!((head.method.as_str(), head.target.to_string().as_str()), ("PUT", "/a/b?c"));
    assert_eq!(&text[head.length..], "rest");
    assert_eq!((head.headers["host"].as_bytes(), head.headers["x-request-id"].as_bytes()), (&b"web"[..], &b"7"[..]));
    assert_eq!(head.headers.get_all("x-two").iter().collect::<Vec<_>>(), ["1", "2"]);
    let asked = Asked { version: Version::HTTP_11, head_only: false, keep_alive: true, expects_continue: false };
    assert_eq!((head.body, head.asked), (None, asked));
}

#[test]
fn a_target_comes_in_four_forms() {
    for (target, path, authority) in [
        ("/a?b", Some("/a?b"), None),
        ("http://host:81/a", Some("/a"), Some("host:81")),
        ("http://host:81", Some("/"), Some("host:81")),
        ("http://host:81?b", Some("/?b"), Some("host:81")),
        ("*", Some("*"), None),
        ("host:443", None, Some("host:443")),
    ] {
        let head = head(&format!("GET {target} HTTP/1.1\r\n\r\n"));
        assert_eq!(head.target.path_and_query().map(|path| path.as_str()), path, "{target}");
        assert_eq!(head.target.authority().map(|authority| authority.as_str()), authority, "{target}");
    }
}

#[test]
fn bodies_end_as_the_fields_say() {
    for (fields, body) in [
        ("", None),
        ("content-length: 0\r\n", None),
        ("content-length: 5\r\n", Some(Framing::Length(5))),
        ("Content-Length: 5\r\ncontent-length: 5\r\n", Some(Framing::Length(5))),
        ("transfer-encoding: Chunked\r\n", Some(Framing::Chunked)),
    ] {
        let head = head(&format!("POST / HTTP/1.1\r\n{fields}\r\n"));
        assert_eq!(head.body, body, "{fields:?}");
        assert!(head.headers.get_all("content-length").iter().count() <= 1, "one length is enough for those who come after");
    }
}

#[test]
fn what_others_may_read_differently_is_refused() {
    use Refusal::*;
    for (text, refusal) in [
        ("POST / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n", LengthAndEncoding),
        ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n", LengthAndEncoding),
        ("POST / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n", StrangeEncoding),
        ("POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n", StrangeEncoding),
        ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n", StrangeEncoding),
        ("POST / HTTP/1.1\r\ntransfer-encoding: \x0bchunked\r\n\r\n", Malformed),
        ("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", Malformed),
        ("POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", Malformed),
        ("POST / HTTP/1.1\r\ncontent-length: 1, 1\r\n\r\n", Malformed),
        ("POST / HTTP/1.1\r\ncontent-length: +1\r\n\r\n", Malformed),
        ("POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", Malformed),
        ("POST / HTTP/1.1\r\ncontent-length:\r\n\r\n", Malformed),
        ("POST / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n", Malformed),
        ("GET / HTTP/1.1\r\nhost : a\r\n\r\n", Malformed),
        ("GET / HTTP/1.1\r\n host: a\r\n\r\n", Malformed),
        ("GET / HTTP/1.1\r\nx: a\r\n b\r\n\r\n", Malformed),
        ("GET / HTTP/1.1\r\nx: a\rb\r\n\r\n", Malformed),
        ("GET / HTTP/1.1\r\nx: a\0b\r\n\r\n", Malformed),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", Malformed),
        ("GET / HTTP/1.1\r\n: a\r\n\r\n", Malformed),
        ("GET / HTTP/2.0\r\n\r\n", Malformed),
        ("GET  / HTTP/1.1\r\n\r\n", Malformed),
        ("GET /a b HTTP/1.1\r\n\r\n", Malformed),
        ("GET ?a HTTP/1.1\r\n\r\n", Malformed),
        ("GET /a#b HTTP/1.1\r\n\r\n", Malformed),
        ("GET /a?b# HTTP/1.1\r\n\r\n", Malformed),
        ("GET http://host/a#b HTTP/1.1\r\n\r\n", Malformed),
        ("GET http://host#b HTTP/1.1\r\n\r\n", Malformed),
        ("GET # HTTP/1.1\r\n\r\n", Malformed),
        ("G\x01T / HTTP/1.1\r\n\r\n", Malformed),
        ("\x16\x03\x01\x02", Malformed),
    ] {
        assert_eq!(judge(text).err(), Some(refusal), "{text:?}");
    }
}

#[test]
fn a_head_may_be_so_large_and_have_so_many_fields() {
    let many = |fields: usize| judge(&format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(fields)));
    assert!(many(MAX_HEADERS).is_ok());
    assert_eq!(many(MAX_HEADERS + 1).err(), Some(Refusal::TooManyFields));
    let large = |size: usize, end: &str| {
        let frame = "GET / HTTP/1.1\r\nx: \r\n\r\n".len();
        judge(&format!("GET / HTTP/1.1\r\nx: {}{end}", "a".repeat(size - frame)))
    };
    assert!(large(MAX_HEAD, "\r\n\r\n").is_ok());
    assert_eq!(large(MAX_HEAD + 1, "\r\n\r\n").err(), Some(Refusal::TooLarge));
    assert_eq!(large(MAX_HEAD + 10, "").err(), Some(Refusal::TooLarge), "and more is not waited for");
}

#[test]
fn connections_are_kept_as_version_and_fields_say() {
    for (version, fields, kept) in [
        ("1.1", "", true),
        ("1.1", "connection: Close\r\n", false),
        ("1.1", "connection: x, close\r\nconnection: keep-alive\r\n", false),
        ("1.0", "", false),
        ("1.0", "connection: Keep-Alive\r\n", true),
    ] {
        assert_eq!(head(&format!("GET / HTTP/{version}\r\n{fields}\r\n")).asked.keep_alive, kept, "{version} {fields:?}");
    }
    assert!(head("POST / HTTP/1.1\r\nexpect: 100-Continue\r\ncontent-length: 1\r\n\r\n").asked.expects_continue);
    assert!(!head("POST / HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n").asked.expects_continue);
}

#[test]
fn any_expect_field_may_ask_for_a_100() {
    for fields in ["expect: 100-continue\r\nexpect: x\r\n", "expect: x\r\nexpect: 100-continue\r\n"] {
        assert!(head(&format!("POST / HTTP/1.1\r\n{fields}content-length: 1\r\n\r\n")).asked.expects_continue, "{fields}");
    }
}

#[test]
fn empty_lines_before_a_head_are_counted_and_gone() {
    for (text, lines, rest) in [("\r\n\n\r\nGET", 3, "GET"), ("\r", 0, "\r"), ("\r\n\r", 1, "\r"), ("GET\r\n", 0, "GET\r\n"), ("", 0, "")] {
        let mut input = Bytes::from_static(text.as_bytes());
        assert_eq!((skip_empty_lines(&mut input), &input[..]), (lines, rest.as_bytes()), "{text:?}");
    }
    let (mut input, held) = read_into_memory("\r\n");
    assert_eq!((skip_empty_lines(&mut input), held.strong_count()), (1, 0), "nothing holds the memory they were read into");
}

const WHOLE: &str = "\r\nPOST /path?query HTTP/1.1\r\nHost: web\r\nx: y\r\ncontent-length: 3\r\n\r\nabc";

#[test]
fn a_head_is_incomplete_until_its_last_byte() {
    let length = WHOLE.len() - "abc".len();
    for cut in 0..length {
        assert!(judge(&WHOLE[..cut]).is_ok_and(|head| head.is_none()), "{cut}");
        assert!(!may_end(&WHOLE.as_bytes()[..cut], cut.saturating_sub(1)) || cut <= 2, "{cut}");
    }
    assert!(may_end(&WHOLE.as_bytes()[..length], length - 1));
    assert_eq!(head(WHOLE).length, length);
    assert!(may_end(b"GET / HTTP/1.1\n\n", 15), "line feeds alone end lines, too");
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic_and_more_bytes_change_no_verdict(
        bytes in prop::collection::vec(any::<u8>(), 0..200), line in any::<bool>(),
    ) {
        let begin: &[u8] = if line { b"GET / HTTP/1.1\r\n" } else { b"" };
        let whole = [begin, &bytes].concat();
        let verdict = |bytes: &[u8]| match parse(&Bytes::copy_from_slice(bytes)) {
            Parsed::Incomplete => None,
            Parsed::Head(head) => Some(Ok(head.length)),
            Parsed::Refused(refusal) => Some(Err(refusal)),
        };
        let last = verdict(&whole);
        for cut in 0..whole.len() {
            let early = verdict(&whole[..cut]);
            prop_assert!(early.is_none() || early == last, "{:?} became {:?}", early, last);
        }
    }
}

type AnyBody = UnsyncBoxBody<Bytes, std::convert::Infallible>;

fn written(status: u16, fields: &[(&'static str, &'static str)], body: AnyBody, asked: Asked) -> (String, Following) {
    let mut head: Parts = Response::builder().status(status).body(()).unwrap().into_parts().0;
    let fields = fields.iter().chain(&[("date", "now")]);
    let fields = fields.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    head.headers = HeaderMap::from_iter(fields);
    let mut out = Vec::new();
    let following = write_head(&mut out, &head, &body, asked);
    (String::from_utf8(out).unwrap().replace("date: now\r\n", ""), following)
}

const ASKED: Asked = Asked { version: Version::HTTP_11, head_only: false, keep_alive: true, expects_continue: false };

fn none() -> AnyBody {
    AnyBody::new(Empty::new())
}

fn known() -> AnyBody {
    AnyBody::new(Full::from("hello"))
}

/// A body of unknown length.
fn unknown() -> AnyBody {
    AnyBody::new(http_body_util::StreamBody::new(futures_util::stream::pending()))
}

fn following(body: Option<Ending>, keep_alive: bool) -> Following {
    Following { body, keep_alive }
}

#[test]
fn an_answer_tells_its_end_as_the_client_understands_it() {
    let old = Asked { version: Version::HTTP_10, keep_alive: false, ..ASKED };
    let length = |length| Some(Ending::Length(length));
    for (what, asked, text, then) in [
        (known(), ASKED, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", following(length(5), true)),
        (none(), ASKED, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", following(None, true)),
        (unknown(), ASKED, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", following(Some(Ending::Chunked), true)),
        (unknown(), old, "HTTP/1.0 200 OK\r\n\r\n", following(Some(Ending::UntilClose), false)),
        (unknown(), Asked { keep_alive: true, ..old }, "HTTP/1.0 200 OK\r\n\r\n", following(Some(Ending::UntilClose), false)),
        (
            known(),
            Asked { keep_alive: true, ..old },
            "HTTP/1.0 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\n",
            following(length(5), true),
        ),
        (
            known(),
            Asked { keep_alive: false, ..ASKED },
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n",
            following(length(5), false),
        ),
    ] {
        assert_eq!(written(200, &[], what, asked), (text.to_owned(), then));
    }
}

#[test]
fn a_length_that_is_no_number_gives_way_to_what_is_known() {
    for wrong in ["5, 5", "+5", "x", ""] {
        let (text, then) = written(200, &[("content-length", wrong)], known(), ASKED);
        assert_eq!((text.as_str(), then), ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", following(Some(Ending::Length(5)), true)));
    }
}

#[test]
fn some_answers_have_no_body_whatever_they_say() {
    let length = [("content-length", "10")];
    let head = Asked { head_only: true, ..ASKED };
    assert_eq!(written(200, &length, none(), head).0, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n");
    assert_eq!(written(200, &[], none(), head).0, "HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(written(304, &length, none(), ASKED).0, "HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n");
    assert_eq!(written(204, &length, none(), ASKED), ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), following(None, true)));
    let switch = [("connection", "upgrade"), ("upgrade", "websocket")];
    let (text, _) = written(101, &switch, none(), Asked { keep_alive: false, ..ASKED });
    assert_eq!(text, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
}

#[test]
fn an_answer_that_says_close_is_the_last_and_none_announces_trailers() {
    let (text, then) = written(299, &[("connection", "close"), ("transfer-encoding", "gzip"), ("x", "y")], none(), ASKED);
    assert_eq!(text, "HTTP/1.1 299 Unknown\r\nx: y\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    assert!(!then.keep_alive);
    let (text, _) = written(200, &[("trailer", "x-sum")], unknown(), ASKED);
    assert_eq!(text, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
}
