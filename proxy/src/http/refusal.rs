//! Heads that the codec refuses by itself, answered in Envoy's words (Istio semantics 8.1, 8.5).
//!
//! hyper answers such a head with a status and nothing else, and offers no say in it. [`super::raw_head`] replaces that
//! answer on its way out where it certainly is one: when it is the first thing a connection says and no request was handed
//! out yet. On a connection that served requests before, telling an answer of the codec from bytes of a response would
//! cost something on every write; there it goes out as hyper made it.

use bytes::Bytes;

use super::headers;
use super::raw_head::Findings;
use crate::listener::Direction;

/// How a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Status code.
    pub status: u16,
    /// Reason phrase and body.
    reason: &'static str,
    /// Response code details.
    pub details: &'static str,
}

impl Refusal {
    /// The refusal of a head that is larger than allowed, or else malformed.
    pub fn new(too_large: bool, findings: &Findings) -> Self {
        let large = |details| Refusal { status: 431, reason: "Request Header Fields Too Large", details };
        match too_large {
            true if findings.has_many_fields() => large("http1.too_many_headers"),
            true => large("http1.headers_too_large"),
            // Later refusals go out with hyper's status, which is 400.
            false if findings.has_strange_encoding() && findings.requests() == 0 => {
                Refusal { status: 501, reason: "Not Implemented", details: "http1.invalid_transfer_encoding" }
            }
            false => Refusal { status: 400, reason: "Bad Request", details: "http1.codec_error" },
        }
    }

    /// The refusal for which `answer` is hyper's; `None` when it is not one of hyper's.
    pub fn of_codec(answer: &[u8], findings: &Findings) -> Option<Self> {
        match answer.get(..12)? {
            b"HTTP/1.1 400" => Some(Self::new(false, findings)),
            b"HTTP/1.1 431" => Some(Self::new(true, findings)),
            _ => None,
        }
    }

    /// The whole answer, with the date of hyper's.
    pub fn answer(self, codecs: &[u8], direction: Direction) -> Bytes {
        let Refusal { status, reason, .. } = self;
        let server = headers::server_name(direction);
        let server = server.to_str().unwrap_or_default();
        let lines = codecs.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
        let date = lines.filter_map(|line| line.strip_prefix("date: ")).map(str::trim_end).next();
        let date = date.map(|date| format!("date: {date}\r\n")).unwrap_or_default();
        let length = reason.len();
        Bytes::from(format!(
            "HTTP/1.1 {status} {reason}\r\ncontent-length: {length}\r\ncontent-type: text/plain\r\n{date}server: {server}\r\n\
             connection: close\r\n\r\n{reason}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_the_codec_gets_a_body_and_a_server_and_keeps_its_date() {
        let codecs = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: Fri, 20 Nov 2026 13:00:00 GMT\r\n\r\n";
        let refusal = Refusal::of_codec(codecs, &Findings::default()).expect("the codec's");
        assert_eq!(refusal.details, "http1.codec_error");
        assert_eq!(
            refusal.answer(codecs, Direction::Outbound),
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 11\r\ncontent-type: text/plain\r\ndate: Fri, 20 Nov 2026 13:00:00 GMT\r\n\
             server: envoy\r\nconnection: close\r\n\r\nBad Request"
        );
    }

    #[test]
    fn other_bytes_are_left_alone() {
        for bytes in [&b"HTTP/1.1 200 OK\r\n\r\n"[..], b"HTTP/1.1 404 Not Found\r\n\r\n", b"HTTP/1.1 4", b""] {
            assert_eq!(Refusal::of_codec(bytes, &Findings::default()), None);
        }
    }
}
