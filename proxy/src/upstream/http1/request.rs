//! The bytes of a request. Pure.

use std::io::Write;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderName, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, Method};
use http_body::Body;

use crate::http::headers::{ATTEMPT_COUNT, EXPECTED_TIMEOUT, number};
use crate::http1::write_field;
use crate::router::replay::UploadBody;

/// A request to send.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// Method.
    pub method: &'a Method,
    /// Path and query.
    pub target: &'a str,
    /// Fields, `host` among them. `transfer-encoding` is ours to write and left out if it is there.
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

/// How the end of a request body is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By its length; this is what is left of it.
    Length(u64),
    /// By the last chunk, with those trailers that the head announced.
    Chunked(Vec<HeaderName>),
}

/// Appends the head of `request`; says how its body, if any, is to be framed.
pub fn write_head(out: &mut Vec<u8>, request: &Outgoing<'_>) -> Option<Ending> {
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(request.target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let mut length = None;
    for (name, value) in request.headers {
        if *name == TRANSFER_ENCODING || request.notes.replace(name) {
            continue;
        }
        if *name == CONTENT_LENGTH {
            length = value.to_str().ok().and_then(|text| text.parse().ok());
        }
        write_field(out, name, value);
    }
    for (name, value) in request.notes.fields() {
        write_field(out, &name, &number(value));
    }
    let ending = request.upload.as_ref().map(|upload| write_length(out, request.headers, length.ok_or(upload.size_hint().exact())));
    out.extend_from_slice(b"\r\n");
    ending
}

/// `length` is what the client said, or what is known about the body without its word.
fn write_length(out: &mut Vec<u8>, headers: &HeaderMap, length: Result<u64, Option<u64>>) -> Ending {
    match length {
        Ok(told) => Ending::Length(told),
        Err(Some(known)) => {
            let _ = write!(out, "content-length: {known}\r\n");
            Ending::Length(known)
        }
        Err(None) => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Ending::Chunked(announced(headers))
        }
    }
}

/// The names in `trailer`.
fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    let tokens = headers.get_all(TRAILER).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    tokens.filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok()).collect()
}

impl Ending {
    /// Appends what stands before `chunk`, and says whether a line end must follow it; `None` when the chunk is more than
    /// the head promised.
    pub fn open_chunk(&mut self, out: &mut Vec<u8>, chunk: &Bytes) -> Option<bool> {
        match self {
            Ending::Length(left) => {
                *left = left.checked_sub(chunk.len() as u64)?;
                Some(false)
            }
            // An empty chunk would be the last one.
            Ending::Chunked(_) if chunk.is_empty() => Some(false),
            Ending::Chunked(_) => {
                let _ = write!(out, "{:x}\r\n", chunk.len());
                Some(true)
            }
        }
    }

    /// Appends the end of the body; false when it is shorter than the head promised.
    pub fn close(self, out: &mut Vec<u8>, trailers: Option<&HeaderMap>) -> bool {
        match self {
            Ending::Length(left) => left == 0,
            Ending::Chunked(announced) => {
                out.extend_from_slice(b"0\r\n");
                let may_go = |name: &HeaderName| announced.contains(name) && !matches!(*name, CONTENT_LENGTH | TRANSFER_ENCODING | TRAILER);
                for (name, value) in trailers.into_iter().flatten().filter(|(name, _)| may_go(name)) {
                    write_field(out, name, value);
                }
                out.extend_from_slice(b"\r\n");
                true
            }
        }
    }
}
