//! Just enough HTTP/2 to send fixed messages and to see where the other side's end.
//!
//! Header blocks are written like those of real peers: the first message of a connection enters its headers into the dynamic
//! table, later ones refer to them.

use anyhow::{Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::http1::{ANSWER_HEADERS, request_headers};
use crate::scenario::{ANSWER_BYTES, HOST, Scenario};

/// What a client begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame without its length.
#[derive(Debug)]
pub struct Frame {
    kind: u8,
    flags: u8,
    /// 0 for the connection.
    pub stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// Reads one; `None` at the end of the stream.
    pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Frame>> {
        let mut head = [0; 9];
        if let Err(error) = stream.read_exact(&mut head).await {
            return if error.kind() == std::io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error.into()) };
        }
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).await?;
        Ok(Some(Frame { kind, flags, stream: u32::from_be_bytes(id) & 0x7fff_ffff, payload }))
    }

    /// The last one of a message.
    pub fn ends_message(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// Bytes of a body.
    pub fn body_bytes(&self) -> usize {
        if self.kind == DATA { self.payload.len() } else { 0 }
    }

    /// Whether this is a head that says 200, the way it is written by whoever uses the static table.
    pub fn says_ok(&self) -> bool {
        self.kind == HEADERS && self.payload.iter().find(|byte| **byte & 0xe0 != 0x20) == Some(&0x88)
    }

    /// Whether this is a head at all.
    pub fn is_head(&self) -> bool {
        self.kind == HEADERS
    }

    /// What must be sent back for it, if anything.
    pub fn reply(&self) -> Option<Vec<u8>> {
        let owed = matches!(self.kind, SETTINGS | PING) && self.flags & ACK == 0;
        owed.then(|| frame(self.kind, ACK, 0, if self.kind == PING { &self.payload } else { &[] }))
    }

    /// Fails on what ends a stream or a connection early.
    pub fn refuse_ends(&self) -> Result<()> {
        ensure!(!matches!(self.kind, 3 | 7), "the proxy sent RST_STREAM or GOAWAY: {self:?}");
        Ok(())
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Our settings, and a window of the connection that is never used up.
pub fn opening() -> Vec<u8> {
    [frame(SETTINGS, 0, 0, &[]), frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes())].concat()
}

/// Writes the messages of one side of one connection.
#[derive(Default)]
pub struct Writer {
    indexed: bool,
}

impl Writer {
    /// A request without body.
    pub fn request(&mut self, scenario: &Scenario, stream: u32) -> Vec<u8> {
        // `:method GET` and `:scheme http` of the static table; names 1 and 4 are `:authority` and `:path`.
        let own = [entry(1, "", HOST), entry(4, "", scenario.path())];
        let block = self.block(&[0x82, 0x86], own.into_iter().chain(entries(request_headers(scenario))).collect());
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
    }

    /// The answer of the origin.
    pub fn answer(&mut self, stream: u32) -> Vec<u8> {
        let length = ANSWER_BYTES.to_string();
        let block = self.block(&[0x88], entries(ANSWER_HEADERS).chain([entry(0, "content-length", &length)]).collect());
        [frame(HEADERS, END_HEADERS, stream, &block), frame(DATA, END_STREAM, stream, &[b'y'; ANSWER_BYTES])].concat()
    }

    /// The dynamic table begins at 62 with the entry that came last.
    fn block(&mut self, fixed: &[u8], entries: Vec<Vec<u8>>) -> Vec<u8> {
        let count = entries.len() as u8;
        match std::mem::replace(&mut self.indexed, true) {
            false => [fixed, &entries.concat()].concat(),
            true => [fixed, &(0..count).map(|at| 0x80 | (62 + count - 1 - at)).collect::<Vec<u8>>()].concat(),
        }
    }
}

fn entries<'a>(headers: &'a [(&str, &str)]) -> impl Iterator<Item = Vec<u8>> + use<'a> {
    headers.iter().map(|(name, value)| entry(0, name, value))
}

/// A header that enters the dynamic table; its name by number in the static table, or, with 0, as text. Texts are shorter than
/// 127 bytes.
fn entry(number: u8, name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let name = if number == 0 { text(name) } else { Vec::new() };
    [vec![0x40 | number], name, text(value)].concat()
}
