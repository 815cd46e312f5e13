//! Bodies as they are written. Pure.

use std::io::Write;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};

use super::write_field;

/// How the end of a body is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By its length; this is what is left of it.
    Length(u64),
    /// By the last chunk, with those trailers that the head announced.
    Chunked(Vec<HeaderName>),
    /// By the end of the connection; answers only.
    UntilClose,
}

/// Whether a field means nothing when it comes after the body but for itself. What frames a message, concerns one hop, names
/// the host or the client's certificate, or steers a proxy, is looked at in heads only, and must not be believed later.
pub fn may_trail(name: &HeaderName) -> bool {
    let steers = ["keep-alive", "proxy-connection", "x-forwarded-client-cert"];
    !matches!(*name, CONNECTION | CONTENT_LENGTH | HOST | TE | TRAILER | TRANSFER_ENCODING | UPGRADE)
        && !steers.contains(&name.as_str())
        && !name.as_str().starts_with("x-envoy-")
}

/// The names in `trailer`.
pub fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
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
            Ending::UntilClose => Some(false),
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
            Ending::UntilClose => true,
            Ending::Chunked(announced) => {
                out.extend_from_slice(b"0\r\n");
                let may_go = |name: &HeaderName| announced.contains(name) && may_trail(name);
                for (name, value) in trailers.into_iter().flatten().filter(|(name, _)| may_go(name)) {
                    write_field(out, name, value);
                }
                out.extend_from_slice(b"\r\n");
                true
            }
        }
    }
}
