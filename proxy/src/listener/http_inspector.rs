//! Tells HTTP/1.x and HTTP/2 (prior knowledge) from everything else by the first line.
//!
//! The whole request line is wanted, version included: `EHLO relay.example` and `PING now` look like HTTP until its end.
//! HTTP/1.0 counts as HTTP; Istio recognises it only with an extra setting. Sources: RFC 9112 section 3, RFC 9113
//! section 3.4.

/// The client preface of HTTP/2.
pub const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longest method looked at; registered ones have at most 17 letters.
const MAX_METHOD: usize = 32;

/// The protocol a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Verdict on a prefix of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpInspection {
    /// HTTP as far as seen; more bytes are needed.
    Incomplete,
    /// A complete first line (or HTTP/2 preface).
    Http(HttpVersion),
    /// Something else.
    NotHttp,
}

/// Judges the first bytes of a connection. An empty slice is incomplete.
pub fn inspect(bytes: &[u8]) -> HttpInspection {
    if bytes.starts_with(H2_PREFACE) {
        return HttpInspection::Http(HttpVersion::Http2);
    }
    if H2_PREFACE.starts_with(bytes) {
        return HttpInspection::Incomplete;
    }
    request_line(skip_empty_line(bytes))
}

/// RFC 9112 section 2.2: a server should ignore an empty line before the request line.
fn skip_empty_line(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_prefix(b"\r").unwrap_or(bytes);
    bytes.strip_prefix(b"\n").unwrap_or(bytes)
}

fn request_line(line: &[u8]) -> HttpInspection {
    let Some(space) = line.iter().position(|byte| *byte == b' ') else {
        let possible = line.len() <= MAX_METHOD && line.iter().all(|byte| is_token(*byte));
        return if possible { HttpInspection::Incomplete } else { HttpInspection::NotHttp };
    };
    let (method, rest) = line.split_at(space);
    if method.is_empty() || method.len() > MAX_METHOD || !method.iter().all(|byte| is_token(*byte)) {
        return HttpInspection::NotHttp;
    }
    target_and_version(rest.get(1..).unwrap_or_default())
}

fn target_and_version(rest: &[u8]) -> HttpInspection {
    let Some(end) = rest.iter().position(|byte| *byte <= b' ' || *byte == 0x7f) else { return HttpInspection::Incomplete };
    let (target, tail) = rest.split_at(end);
    if target.is_empty() {
        return HttpInspection::NotHttp;
    }
    let versions: [&[u8]; 4] = [b" HTTP/1.1\r\n", b" HTTP/1.1\n", b" HTTP/1.0\r\n", b" HTTP/1.0\n"];
    if versions.iter().any(|version| tail.starts_with(version)) {
        return HttpInspection::Http(HttpVersion::Http1);
    }
    if versions.iter().any(|version| version.starts_with(tail)) { HttpInspection::Incomplete } else { HttpInspection::NotHttp }
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
