//! As much of HTTP/1.1 as the generator and the origin need: heads with `content-length`, nothing else. What a server may
//! send to `outrigger load` is read by `crate::http1`.

/// What matters in the head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the head, the empty line included.
    pub length: usize,
    /// Status code.
    pub status: u16,
    /// `content-length`.
    pub body: u64,
    /// The server closes after this answer.
    pub close: bool,
}

/// The bytes are no answer with a `content-length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unparsable;

/// The head of an answer at the beginning of `bytes`; `None` while its end is missing.
///
/// # Errors
/// A status line or a length that cannot be understood.
pub fn head(bytes: &[u8]) -> Result<Option<Head>, Unparsable> {
    let mut status = None;
    let (mut body, mut close) = (None, false);
    let mut at = 0;
    while let Some(length) = bytes[at..].iter().position(|&byte| byte == b'\n') {
        let line = trim(&bytes[at..at + length]);
        at += length + 1;
        if status.is_none() {
            status = Some(status_of(line)?);
        } else if line.is_empty() {
            let (Some(status), Some(body)) = (status, body) else { return Err(Unparsable) };
            return Ok(Some(Head { length: at, status, body, close }));
        } else if let Some(value) = header(line, b"content-length") {
            body = Some(number(value).ok_or(Unparsable)?);
        } else if let Some(value) = header(line, b"connection") {
            close = value.eq_ignore_ascii_case(b"close");
        }
    }
    Ok(None)
}

/// A request as the origin sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Bytes of the head, the empty line included.
    pub length: usize,
    /// The number in the path `/b/N`: bytes of the answer's body.
    pub size: u64,
    /// The client, or HTTP/1.0, wants the connection closed.
    pub close: bool,
}

/// The head of a request at the beginning of `bytes`; `None` while its end is missing. Bodies are not understood.
pub fn request(bytes: &[u8]) -> Option<Request> {
    let mut at = 0;
    let mut found: Option<Request> = None;
    while let Some(length) = bytes[at..].iter().position(|&byte| byte == b'\n') {
        let line = trim(&bytes[at..at + length]);
        at += length + 1;
        match &mut found {
            None => found = Some(Request { length: 0, size: size_of(line), close: line.ends_with(b"HTTP/1.0") }),
            Some(request) if line.is_empty() => return Some(Request { length: at, ..*request }),
            Some(request) => {
                if let Some(value) = header(line, b"connection") {
                    request.close = value.eq_ignore_ascii_case(b"close");
                }
            }
        }
    }
    None
}

fn status_of(line: &[u8]) -> Result<u16, Unparsable> {
    let digits = line.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5)).ok_or(Unparsable)?;
    number(digits).and_then(|status| u16::try_from(status).ok()).ok_or(Unparsable)
}

fn size_of(line: &[u8]) -> u64 {
    let digits = line.split(|&byte| byte == b' ').nth(1).and_then(|path| path.strip_prefix(b"/b/"));
    digits.and_then(number).unwrap_or(0)
}

fn trim(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The value of a header line, when it has this name.
fn header<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, value) = (line.get(..name.len())?, line.get(name.len() + 1..)?);
    let fits = line.get(name.len()) == Some(&b':') && found.eq_ignore_ascii_case(name);
    fits.then(|| value.trim_ascii())
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_complete_with_its_empty_line() {
        let bytes = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 12\r\nconnection: close\r\n\r\nhello world!";
        assert_eq!(head(bytes), Ok(Some(Head { length: bytes.len() - 12, status: 200, body: 12, close: true })));
        for end in 0..bytes.len() - 13 {
            assert_eq!(head(&bytes[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn an_answer_without_length_or_status_is_unparsable() {
        for bytes in ["HTTP/1.1 200 OK\r\n\r\n", "SSH-2.0-x\r\n", "HTTP/1.1 2\r\n", "HTTP/1.1 200 OK\r\ncontent-length: x\r\n"] {
            assert_eq!(head(bytes.as_bytes()), Err(Unparsable), "{bytes}");
        }
    }

    #[test]
    fn a_request_tells_how_many_bytes_it_wants_and_whether_it_is_the_last() {
        let bytes = b"GET /b/1024 HTTP/1.1\r\nhost: a\r\n\r\nGET";
        assert_eq!(request(bytes), Some(Request { length: bytes.len() - 3, size: 1024, close: false }));
        assert_eq!(request(b"GET /b/1 HTTP/1.1\r\nConnection: close\r\n\r\n").map(|found| found.close), Some(true));
        assert_eq!(request(b"GET / HTTP/1.0\r\n\r\n").map(|found| (found.size, found.close)), Some((0, true)));
        assert_eq!(request(b"GET /b/1 HTTP/1.1\r\n"), None);
    }
}
