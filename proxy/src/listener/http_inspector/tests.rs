//! First lines that are HTTP, are not, or are not yet either.

use proptest::prelude::*;

use super::*;

#[test]
fn request_lines_of_http_1_are_recognised_whole() {
    for line in [
        "GET / HTTP/1.1\r\n",
        "GET /a?b=c%20d HTTP/1.0\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "CONNECT shop:443 HTTP/1.1\r\n",
        "POST http://shop/x HTTP/1.1\r\n",
        "VERSION-CONTROL /x HTTP/1.1\n",
        "PRINT / HTTP/1.1\r\n",
        "\r\nGET / HTTP/1.1\r\n",
    ] {
        assert_eq!(inspect(line.as_bytes()), HttpInspection::Http(HttpVersion::Http1), "{line:?}");
        for cut in 0..line.len() - 1 {
            assert_eq!(inspect(&line.as_bytes()[..cut]), HttpInspection::Incomplete, "{line:?} cut at {cut}");
        }
    }
}

#[test]
fn the_http_2_preface_is_recognised_whole() {
    for cut in 0..H2_PREFACE.len() {
        assert_eq!(inspect(&H2_PREFACE[..cut]), HttpInspection::Incomplete, "cut at {cut}");
    }
    assert_eq!(inspect(&[H2_PREFACE, b"\0\0\0"].concat()), HttpInspection::Http(HttpVersion::Http2));
}

#[test]
fn protocols_that_look_alike_are_not_http() {
    for line in [
        "EHLO relay.example\r\n",
        "EHLO relay example\r\n",
        "PING\r\n",
        "get key\r\n",
        "*1\r\n$4\r\nPING\r\n",
        "SSH-2.0-OpenSSH_9.6\r\n",
        "GET /\r\n",
        "GET / HTTP/2.0\r\n",
        "GET / HTTP/1.1 \r\n",
        "GET  / HTTP/1.1\r\n",
        " GET / HTTP/1.1\r\n",
        "GET\t/ HTTP/1.1\r\n",
        "THIS-IS-FAR-LONGER-THAN-ANY-METHOD-OF-HTTP / HTTP/1.1\r\n",
        "\x00\x01\x02",
    ] {
        assert_eq!(inspect(line.as_bytes()), HttpInspection::NotHttp, "{line:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = inspect(&bytes);
    }

    #[test]
    fn a_verdict_never_changes_with_more_bytes(text in "[A-Z]{0,5} ?[a-z/]{0,6} ?(HTTP/1\\.[0-2])?\r?\n?", more in "[ -~\r\n]{0,8}") {
        let before = inspect(text.as_bytes());
        if before != HttpInspection::Incomplete {
            prop_assert_eq!(inspect(format!("{text}{more}").as_bytes()), before);
        }
    }
}
