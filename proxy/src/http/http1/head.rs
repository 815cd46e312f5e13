//! The head of a request. Pure, but for header maps that are used again.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};

use super::names::name;
use super::refusal::Refusal;
use crate::http1::maps::spare;
use crate::http1::{Coding, Framing, MAX_HEAD, MAX_HEADERS, Persistence, buffer};

/// What the first bytes of a request are.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once, and a box would cost more than the move")]
#[derive(Debug)]
pub enum Parsed {
    /// The beginning of a head.
    Incomplete,
    /// A head.
    Head(Head),
    /// Nothing that can be served.
    Refused(Refusal),
}

/// The head of a request.
#[derive(Debug)]
pub struct Head {
    /// Bytes it took.
    pub length: usize,
    /// Method.
    pub method: Method,
    /// Target, in any of its forms.
    pub target: Uri,
    /// Fields. Of equal lengths only the first.
    pub headers: HeaderMap,
    /// Where its body ends; `None` when it has none.
    pub body: Option<Framing>,
    /// What the answer depends on.
    pub asked: Asked,
}

/// What the client says about the answer and about what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// It wants the head only.
    pub head_only: bool,
    /// Another request may follow.
    pub keep_alive: bool,
    /// It waits for a 100 before it sends the body.
    pub expects_continue: bool,
}

/// Looks at the first bytes of a request.
pub fn parse(bytes: &Bytes) -> Parsed {
    let mut fields = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_request_with_uninit_headers(&mut request, bytes, &mut fields);
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(httparse::Status::Partial) if bytes.len() <= MAX_HEAD => return Parsed::Incomplete,
        Ok(_) => return Parsed::Refused(Refusal::TooLarge),
        Err(httparse::Error::TooManyHeaders) => return Parsed::Refused(Refusal::TooManyFields),
        Err(_) => return Parsed::Refused(Refusal::Malformed),
    };
    match read(&request, bytes, length) {
        Ok(head) => Parsed::Head(head),
        Err(refusal) => Parsed::Refused(refusal),
    }
}

fn read(request: &httparse::Request<'_, '_>, source: &Bytes, length: usize) -> Result<Head, Refusal> {
    let method = request.method.and_then(|method| Method::from_bytes(method.as_bytes()).ok()).ok_or(Refusal::Malformed)?;
    let target = request.path.and_then(|text| read_target(text, source)).ok_or(Refusal::Malformed)?;
    let version = if request.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let (headers, said) = read_fields(request.headers, source)?;
    let asked = Asked {
        version,
        head_only: method == Method::HEAD,
        keep_alive: said.persistence.or(version == Version::HTTP_11),
        expects_continue: said.expects_continue && version == Version::HTTP_11,
    };
    Ok(Head { length, method, target, headers, body: said.framing(version)?, asked })
}

/// Reads a target, which has no fragment (RFC 9112, 3.2): some would cut it off and others take it for a part of the path. An
/// absolute form without a path means `/` (3.2.1).
fn read_target(text: &str, source: &Bytes) -> Option<Uri> {
    let uri = Uri::from_maybe_shared(source.slice_ref(text.as_bytes())).ok()?;
    // `Uri` cuts fragments off, and so keeps all of a path only when there is none.
    let path = uri.path_and_query().map_or("", PathAndQuery::as_str);
    if path.len() == text.len() {
        return Some(uri);
    }
    if memchr::memchr(b'#', text.as_bytes()).is_some() {
        return None;
    }
    if !path.starts_with('?') {
        return Some(uri);
    }
    let path = PathAndQuery::try_from(format!("/{path}")).ok()?;
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).ok()
}

/// What the fields say to this hop.
#[derive(Debug, Default)]
struct Said {
    length: Option<u64>,
    coding: Coding,
    persistence: Persistence,
    expects_continue: bool,
}

fn read_fields(fields: &[httparse::Header<'_>], source: &Bytes) -> Result<(HeaderMap, Said), Refusal> {
    let mut headers = spare(fields.len());
    let mut said = Said::default();
    for field in fields {
        let name = name(field.name.as_bytes()).ok_or(Refusal::Malformed)?;
        match name {
            CONTENT_LENGTH if said.length(field.value)? => continue,
            TRANSFER_ENCODING => said.coding.line(field.value),
            CONNECTION => said.persistence.line(field.value),
            EXPECT => said.expects_continue |= field.value.eq_ignore_ascii_case(b"100-continue"),
            _ => {}
        }
        let value = HeaderValue::from_maybe_shared(source.slice_ref(field.value)).map_err(|_| Refusal::Malformed)?;
        headers.append(name, value);
    }
    Ok((headers, said))
}

impl Said {
    /// Several lengths must be the same one. Whether this one was known already.
    fn length(&mut self, value: &[u8]) -> Result<bool, Refusal> {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let length = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse::<u64>().ok());
        let length = length.ok_or(Refusal::Malformed)?;
        match self.length.replace(length) {
            Some(known) if known != length => Err(Refusal::Malformed),
            known => Ok(known.is_some()),
        }
    }

    fn framing(&self, version: Version) -> Result<Option<Framing>, Refusal> {
        match (self.coding.present, self.length) {
            (true, _) if self.coding.strange => Err(Refusal::StrangeEncoding),
            (true, Some(_)) => Err(Refusal::LengthAndEncoding),
            (true, None) if version == Version::HTTP_10 => Err(Refusal::Malformed),
            (true, None) => Ok(Some(Framing::Chunked)),
            (false, None | Some(0)) => Ok(None),
            (false, Some(length)) => Ok(Some(Framing::Length(length))),
        }
    }
}

/// Takes empty lines off the front of `input`, which stand before a head at times (RFC 9112, 2.2). Returns their number.
pub fn skip_empty_lines(input: &mut Bytes) -> usize {
    let (mut skipped, mut rest) = (0, &input[..]);
    while let [b'\n', after @ ..] | [b'\r', b'\n', after @ ..] = rest {
        (skipped, rest) = (skipped + 1, after);
    }
    if skipped > 0 {
        input.advance(input.len() - rest.len());
        buffer::free(input);
    }
    skipped
}

/// Whether a head may end in `bytes`, of which those before `from` were looked at before. Cheap, so that a head that comes
/// byte by byte is parsed once.
pub fn may_end(bytes: &[u8], from: usize) -> bool {
    let from = from.saturating_sub(3);
    let mut rest = bytes.get(from..).unwrap_or_default();
    while let Some(end) = memchr::memchr(b'\n', rest) {
        rest = rest.get(end + 1..).unwrap_or_default();
        if matches!(rest, [b'\n', ..] | [b'\r', b'\n', ..]) {
            return true;
        }
    }
    false
}
