//! The head of an answer. Pure, but for the date.

use std::io::Write;

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRAILER, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderValue, StatusCode, Version};
use http_body::Body;

use super::head::Asked;
use crate::http::date;
use crate::http1::{Ending, write_field};

/// What follows the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Following {
    /// How the end of the body is told; `None` when there is no body.
    pub body: Option<Ending>,
    /// Whether the connection may serve another request.
    pub keep_alive: bool,
}

/// Appends the head of an answer. `asked.keep_alive` tells what both sides allow so far.
pub fn write_head(out: &mut Vec<u8>, head: &Parts, body: &impl Body, asked: Asked) -> Following {
    write_status(out, head.status, asked.version);
    let bodiless = asked.head_only || is_bodiless(head.status);
    let (mut length, mut keep_alive, mut dated) = (None, asked.keep_alive, false);
    for (name, value) in &head.headers {
        match *name {
            // There are no trailers over HTTP/1 to announce.
            TRANSFER_ENCODING | TRAILER => continue,
            CONTENT_LENGTH if length.is_some() || forbids_length(head.status) => continue,
            CONTENT_LENGTH => match number(value) {
                Some(told) => length = Some(told),
                // What follows is told below, and only once.
                None => continue,
            },
            // Written below, when it is known.
            CONNECTION if head.status != StatusCode::SWITCHING_PROTOCOLS => {
                keep_alive &= !says_close(value);
                continue;
            }
            DATE => dated = true,
            _ => {}
        }
        write_field(out, name, value);
    }
    let body = if bodiless { None } else { write_framing(out, body, length, asked) };
    keep_alive &= body != Some(Ending::UntilClose);
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        write_connection(out, keep_alive, asked.version);
    }
    if !dated {
        date::write_field(out);
    }
    out.extend_from_slice(b"\r\n");
    Following { body, keep_alive }
}

fn write_status(out: &mut Vec<u8>, status: StatusCode, version: Version) {
    if status == StatusCode::OK && version == Version::HTTP_11 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(if version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or("Unknown").as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Answers without a body whatever their fields say (RFC 9112, 6.3).
fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Answers that must not even name a length (RFC 9110, 8.6).
fn forbids_length(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT
}

/// The one number of a length; `None` for anything else, such as a list.
fn number(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit())).and_then(|text| text.parse().ok())
}

fn says_close(value: &HeaderValue) -> bool {
    value.as_bytes().split(|byte| *byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// Appends what tells the end of the body; `None` when it is over already.
fn write_framing(out: &mut Vec<u8>, body: &impl Body, told: Option<u64>, asked: Asked) -> Option<Ending> {
    if let Some(told) = told {
        return (told > 0).then_some(Ending::Length(told));
    }
    let known = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
    if let Some(known) = known {
        let _ = write!(out, "content-length: {known}\r\n");
        return (known > 0).then_some(Ending::Length(known));
    }
    if asked.version == Version::HTTP_10 {
        return Some(Ending::UntilClose);
    }
    out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    Some(Ending::Chunked)
}

/// Says what does not go without saying.
fn write_connection(out: &mut Vec<u8>, keep_alive: bool, version: Version) {
    match (keep_alive, version) {
        (false, Version::HTTP_11) => out.extend_from_slice(b"connection: close\r\n"),
        (true, Version::HTTP_10) => out.extend_from_slice(b"connection: keep-alive\r\n"),
        _ => {}
    }
}
