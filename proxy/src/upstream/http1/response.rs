//! The head of a response. Pure, but for header maps that are used again.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::error::Failure;
use crate::http1::maps::spare;
use crate::http1::{Coding, Framing, MAX_HEAD, MAX_HEADERS, Persistence, buffer};

/// The head of a response.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Fields. Of lengths only one number.
    pub headers: HeaderMap,
    /// Where its body ends.
    pub framing: Framing,
    /// The connection may serve another request.
    pub keep_alive: bool,
    /// What was read beyond the head; put there by the reader.
    pub rest: Bytes,
}

/// Takes a response head off the front of `bytes`; `None` while it is incomplete. `bodiless`: the request was a HEAD.
///
/// # Errors
/// [`Failure::Protocol`] for what is no HTTP/1 head, is too large, or frames its body in a way that others may read
/// differently.
pub fn parse(bytes: &mut Bytes, bodiless: bool) -> Result<Option<Answer>, Failure> {
    let mut fields = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut fields);
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(httparse::Status::Partial) if bytes.len() <= MAX_HEAD => return Ok(None),
        _ => return Err(Failure::Protocol),
    };
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Failure::Protocol)?;
    let version = response.version.unwrap_or(0);
    let (headers, lengths) = read_fields(response.headers, bytes)?;
    let framing = framing(status, bodiless, version, &lengths)?;
    let keep_alive = lengths.persistence.or(version == 1) && framing != Framing::UntilClose;
    bytes.advance(length);
    buffer::free(bytes);
    Ok(Some(Answer { status, headers, framing, keep_alive, rest: Bytes::new() }))
}

/// What the fields say about the end of the message.
#[derive(Debug, Default)]
struct Lengths {
    length: Option<u64>,
    coding: Coding,
    persistence: Persistence,
}

fn read_fields(fields: &[httparse::Header<'_>], source: &Bytes) -> Result<(HeaderMap, Lengths), Failure> {
    let mut headers = spare(fields.len());
    let mut lengths = Lengths::default();
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Failure::Protocol)?;
        match name {
            CONTENT_LENGTH => {
                let repeated = lengths.length.is_some();
                let length = lengths.length(field.value)?;
                if repeated {
                    continue;
                }
                if field.value.contains(&b',') {
                    headers.append(name, HeaderValue::from(length));
                    continue;
                }
            }
            TRANSFER_ENCODING => lengths.coding.line(field.value),
            CONNECTION => lengths.persistence.line(field.value),
            _ => {}
        }
        let value = HeaderValue::from_maybe_shared(source.slice_ref(field.value)).map_err(|_| Failure::Protocol)?;
        headers.append(name, value);
    }
    Ok((headers, lengths))
}

impl Lengths {
    /// Several lengths must be the same one, which is returned.
    fn length(&mut self, value: &[u8]) -> Result<u64, Failure> {
        for text in value.split(|byte| *byte == b',') {
            let text = text.trim_ascii();
            let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(text).ok().filter(|_| digits).and_then(|text| text.parse::<u64>().ok());
            if length.is_none() || self.length.is_some_and(|known| Some(known) != length) {
                return Err(Failure::Protocol);
            }
            self.length = length;
        }
        self.length.ok_or(Failure::Protocol)
    }
}

fn framing(status: StatusCode, bodiless: bool, version: u8, lengths: &Lengths) -> Result<Framing, Failure> {
    if bodiless || status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(Framing::Length(0));
    }
    match (lengths.coding.present, lengths.length) {
        (true, _) if version == 0 || lengths.coding.strange => Err(Failure::Protocol),
        (true, _) => Ok(Framing::Chunked),
        (false, None) => Ok(Framing::UntilClose),
        (false, Some(length)) => Ok(Framing::Length(length)),
    }
}
