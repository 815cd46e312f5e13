//! The bytes of a request. Pure.

use std::io::Write;

use http::header::{CONTENT_LENGTH, HeaderName, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, Method};
use http_body::Body;

use crate::http::headers::{self, ATTEMPT_COUNT, EXPECTED_TIMEOUT, number};
use crate::http1::{Ending, write_field};
use crate::upstream::upload::UploadBody;

/// A request to send.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// Method.
    pub method: &'a Method,
    /// Path and query.
    pub target: &'a str,
    /// Fields, `host` among them. `transfer-encoding` is ours to write and left out if it is there, as is `trailer`, since there
    /// are none over HTTP/1.
    pub headers: &'a HeaderMap,
    /// Fields that take the place of those of the same name: to put them into the map would cost more than to write them.
    pub notes: Notes,
    /// Body, unless there is none.
    pub upload: Option<UploadBody>,
}

/// What a proxy tells about an attempt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Notes {
    /// `x-envoy-attempt-count`.
    pub attempt: Option<u32>,
    /// `x-envoy-expected-rq-timeout-ms`.
    pub expected_millis: Option<u64>,
}

impl Notes {
    /// Name and value of those there are.
    fn fields(self) -> impl Iterator<Item = (HeaderName, u64)> {
        let attempt = self.attempt.map(|attempt| (ATTEMPT_COUNT, u64::from(attempt)));
        attempt.into_iter().chain(self.expected_millis.map(|millis| (EXPECTED_TIMEOUT, millis)))
    }

    /// Puts them among the fields of a request.
    pub fn insert(self, headers: &mut HeaderMap) {
        self.fields().for_each(|(name, value)| drop(headers.insert(name, number(value))));
    }

    /// Whether the field is one of them.
    fn replace(self, name: &HeaderName) -> bool {
        (self.attempt.is_some() && *name == ATTEMPT_COUNT) || (self.expected_millis.is_some() && *name == EXPECTED_TIMEOUT)
    }
}

/// Appends the head of `request`; says how its body, if any, is to be framed.
pub fn write_head(out: &mut Vec<u8>, request: &Outgoing<'_>) -> Option<Ending> {
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(request.target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let mut length = None;
    for (name, value) in request.headers {
        if matches!(*name, TRANSFER_ENCODING | TRAILER) || request.notes.replace(name) {
            continue;
        }
        if *name == CONTENT_LENGTH {
            // Requests arrive with one at most, but a route may add others. What would stand beside a length, or beside
            // `chunked`, a server refuses, or takes for the beginning of another request; and of a length that no body follows, it
            // would wait for the body, and take the next request of this connection for it.
            match headers::length(value) {
                Some(told) if length.is_none() && (told == 0 || request.upload.is_some()) => length = Some(told),
                _ => continue,
            }
        }
        write_field(out, name, value);
    }
    for (name, value) in request.notes.fields() {
        write_field(out, &name, &number(value));
    }
    let ending = request.upload.as_ref().map(|upload| write_length(out, length.ok_or(upload.size_hint().exact())));
    if ending.is_none() && length.is_none() && !goes_without_body(request.method) {
        out.extend_from_slice(b"content-length: 0\r\n");
    }
    out.extend_from_slice(b"\r\n");
    ending
}

/// Whether nobody expects a body after requests of this method. After others a server may insist on being told that there is none
/// (411, RFC 9110 8.6), which a client of HTTP/2 need not say. Envoy makes the same distinction.
fn goes_without_body(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::DELETE | Method::TRACE | Method::CONNECT)
}

/// `length` is what the client said, or what is known about the body without its word.
fn write_length(out: &mut Vec<u8>, length: Result<u64, Option<u64>>) -> Ending {
    match length {
        Ok(told) => Ending::Length(told),
        Err(Some(known)) => {
            let _ = write!(out, "content-length: {known}\r\n");
            Ending::Length(known)
        }
        Err(None) => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Ending::Chunked
        }
    }
}
