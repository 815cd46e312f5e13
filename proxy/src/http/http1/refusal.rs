//! Heads that are refused before there is a request, answered in Envoy's words (Istio semantics 8.1, 8.5).

use std::borrow::Cow;
use std::io::Write;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request};

use crate::http::connection_manager::ServedConnection;
use crate::http::date;
use crate::http::headers::{self, Seen};
use crate::listener::Direction;
use crate::router::stream::Stream;
use crate::telemetry::ResponseFlags;

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// More bytes than are allowed.
    TooLarge,
    /// More fields than are allowed.
    TooManyFields,
    /// A transfer coding other than `chunked`.
    StrangeEncoding,
    /// Two statements about the length of the body, which is how requests are smuggled past proxies.
    LengthAndEncoding,
    /// No head, or one that others may read differently.
    Malformed,
}

impl Refusal {
    /// Status and reason phrase, which is the body, too.
    pub fn status(self) -> (u16, &'static str) {
        match self {
            Refusal::TooLarge | Refusal::TooManyFields => (431, "Request Header Fields Too Large"),
            Refusal::StrangeEncoding => (501, "Not Implemented"),
            Refusal::LengthAndEncoding | Refusal::Malformed => (400, "Bad Request"),
        }
    }

    /// Response code details.
    pub fn details(self) -> &'static str {
        match self {
            Refusal::TooLarge => "http1.headers_too_large",
            Refusal::TooManyFields => "http1.too_many_headers",
            Refusal::StrangeEncoding => "http1.invalid_transfer_encoding",
            Refusal::LengthAndEncoding => "http1.content_length_and_chunked_not_allowed",
            Refusal::Malformed => "http1.codec_error",
        }
    }

    /// The whole answer.
    pub fn answer(self, direction: Direction) -> Vec<u8> {
        let (status, reason) = self.status();
        let mut out = Vec::with_capacity(256);
        let _ = write!(out, "HTTP/1.1 {status} {reason}\r\ncontent-length: {}\r\ncontent-type: text/plain\r\n", reason.len());
        date::write_field(&mut out);
        out.extend_from_slice(b"server: ");
        out.extend_from_slice(headers::server_name(direction).as_bytes());
        let _ = write!(out, "\r\nconnection: close\r\n\r\n{reason}");
        out
    }

    /// Counts and logs it as a request of which nothing is known.
    pub fn book(self, connection: &ServedConnection) {
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(b"-").unwrap_or_default();
        let (head, ()) = request.into_parts();
        let (seen, authority) = (Seen::default(), HeaderValue::from_static(""));
        let mut stream = Stream::begin(&connection.downstream, &connection.worker, &head, seen, authority);
        stream.note(|record| {
            record.path = PathAndQuery::from_static("/");
            record.status = self.status().0;
            record.flags = ResponseFlags::DPE;
            record.details = Cow::Borrowed(self.details());
        });
        stream.complete();
    }
}
