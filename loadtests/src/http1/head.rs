//! The head of an HTTP/1 response, and how the body behind it ends (RFC 9112 section 6.3).

use std::mem::MaybeUninit;

use httparse::{ParserConfig, Status};

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// Until the connection ends.
    UntilClose,
}

/// What a head says about the connection and the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes of the head, its empty line included.
    pub(crate) length: usize,
    pub(crate) status: u16,
    pub(crate) framing: Framing,
    /// Whether the connection can carry another request afterwards.
    pub(crate) keep_alive: bool,
}

/// Header fields of one response; more are refused.
const MAX_FIELDS: usize = 128;

/// Reads a head from the begin of `bytes`, handing each field to `field`; `None` while it is not all there.
/// `bodiless`: the request was one whose answer has no body.
///
/// # Errors
/// Bytes that are no HTTP/1 response, in words.
pub(crate) fn parse(bytes: &[u8], bodiless: bool, mut field: impl FnMut(&str, &[u8])) -> Result<Option<Head>, String> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut fields);
    let length = match parsed.map_err(|error| format!("not an HTTP/1.1 response: {error}"))? {
        Status::Partial => return Ok(None),
        Status::Complete(length) => length,
    };
    let status = response.code.unwrap_or_default();
    let mut facts = Facts { content_length: None, chunked: false, coded: false, keep_alive: response.version == Some(1) };
    for header in response.headers.iter() {
        facts.learn(header.name, header.value)?;
        field(header.name, header.value);
    }
    let framing = if bodiless || status < 200 || status == 204 || status == 304 { Framing::Length(0) } else { facts.framing() };
    Ok(Some(Head { length, status, framing, keep_alive: facts.keep_alive && framing != Framing::UntilClose }))
}

struct Facts {
    content_length: Option<u64>,
    chunked: bool,
    coded: bool,
    keep_alive: bool,
}

impl Facts {
    fn learn(&mut self, name: &str, value: &[u8]) -> Result<(), String> {
        // By length first: most fields are none of these.
        match name.len() {
            14 if name.eq_ignore_ascii_case("content-length") => {
                let length = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
                let length: u64 = length.ok_or_else(|| format!("content-length {:?}", String::from_utf8_lossy(value)))?;
                if self.content_length.is_some_and(|before| before != length) {
                    return Err("two content-length headers that differ".to_owned());
                }
                self.content_length = Some(length);
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                self.coded = true;
                self.chunked = tokens(value).last().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
            }
            10 if name.eq_ignore_ascii_case("connection") => {
                for token in tokens(value) {
                    match token {
                        token if token.eq_ignore_ascii_case(b"close") => self.keep_alive = false,
                        token if token.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn framing(&self) -> Framing {
        match self.content_length {
            _ if self.chunked => Framing::Chunked,
            Some(length) if !self.coded => Framing::Length(length),
            _ => Framing::UntilClose,
        }
    }
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Head>, String> {
        super::parse(text.as_bytes(), false, |_, _| {})
    }

    fn framing(fields: &str) -> Option<(Framing, bool)> {
        let head = parse(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).ok()??;
        Some((head.framing, head.keep_alive))
    }

    #[test]
    fn the_body_ends_as_the_fields_say() {
        assert_eq!(framing("Content-Length: 7\r\n"), Some((Framing::Length(7), true)));
        assert_eq!(framing("content-length: 7\r\ncontent-length: 7\r\n"), Some((Framing::Length(7), true)));
        assert_eq!(framing("Transfer-Encoding: gzip, Chunked\r\ncontent-length: 7\r\n"), Some((Framing::Chunked, true)));
        assert_eq!(framing("transfer-encoding: gzip\r\n"), Some((Framing::UntilClose, false)));
        assert_eq!(framing("content-length: 7\r\nconnection: x, Close\r\n"), Some((Framing::Length(7), false)));
        assert_eq!(framing("server: x\r\n"), Some((Framing::UntilClose, false)));
        for nonsense in ["content-length: -1\r\n", "content-length: 7\r\ncontent-length: 8\r\n", "no colon\r\n"] {
            assert_eq!(framing(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn answers_without_a_body_have_none() -> Result<(), String> {
        for status in [100, 204, 304] {
            let head = parse(&format!("HTTP/1.1 {status} x\r\ncontent-length: 7\r\n\r\n"))?;
            assert_eq!(head.map(|head| head.framing), Some(Framing::Length(0)), "{status}");
        }
        let head = super::parse(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n", true, |_, _| {})?;
        assert_eq!(head.map(|head| head.framing), Some(Framing::Length(0)), "HEAD");
        Ok(())
    }

    #[test]
    fn http_1_0_closes_unless_it_says_otherwise() -> Result<(), String> {
        let keep = |fields: &str| {
            parse(&format!("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n{fields}\r\n")).map(|head| head.map(|head| head.keep_alive))
        };
        assert_eq!(keep("")?, Some(false));
        assert_eq!(keep("connection: keep-alive\r\n")?, Some(true));
        Ok(())
    }

    #[test]
    fn a_head_is_waited_for_and_its_fields_are_handed_out() -> Result<(), String> {
        let text = b"HTTP/1.1 200 OK\r\nx-pod: a\r\ncontent-length: 1\r\n\r\nX";
        for end in 0..text.len() - 1 {
            assert_eq!(super::parse(&text[..end], false, |_, _| {})?, None, "{end}");
        }
        let mut seen = Vec::new();
        let head = super::parse(text, false, |name, value| seen.push((name.to_owned(), value.to_vec())))?;
        assert_eq!(head.map(|head| head.length), Some(text.len() - 1));
        assert_eq!(seen[0], ("x-pod".to_owned(), b"a".to_vec()));
        Ok(())
    }
}
