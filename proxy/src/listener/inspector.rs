//! Reads the beginning of a connection until its protocol is known, and keeps what was read.
//!
//! Bytes are read into a buffer rather than peeked at: with MSG_PEEK an incomplete beginning leaves the socket readable,
//! and waiting for more of it spins. The buffer goes on in front of the socket ([`super::Prefixed`]).

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use super::http_inspector::{self, HttpInspection, HttpVersion};
use super::tls_inspector::{self, ClientHello, TlsInspection};

/// Most bytes read before a decision.
pub const MAX_INSPECTED: usize = 16 * 1024;
/// First read: Envoy's initial size for ClientHellos, enough for most request heads.
const FIRST_READ: usize = 1024;
/// Time from the first byte until a ClientHello must be complete (Envoy's listener filter time-out).
pub const CLIENT_HELLO_LIMIT: Duration = Duration::from_secs(15);
/// Time from the first byte until a request line must be complete; after it, what has arrived decides. A client that
/// sent half a word of some other protocol and waits for the answer must not wait for ever.
pub const REQUEST_LINE_LIMIT: Duration = Duration::from_secs(1);

/// What the client's first bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstBytes {
    /// A ClientHello.
    Tls(ClientHello),
    /// A request line or the HTTP/2 preface.
    Http(HttpVersion),
    /// Anything else.
    Other,
}

/// How an inspection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspected {
    /// The client spoke.
    Spoke(FirstBytes),
    /// Not one byte arrived in the time allowed.
    Silent,
    /// The client closed without a byte.
    Closed,
}

/// What an inspection looks for besides TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookFor {
    /// HTTP as well.
    Http,
    /// Nothing: whatever is not TLS is [`FirstBytes::Other`].
    TlsOnly,
}

/// A pure verdict on a prefix: `None` = more bytes are needed.
pub fn judge(bytes: &[u8], look_for: LookFor) -> Option<FirstBytes> {
    match tls_inspector::inspect(bytes) {
        TlsInspection::Hello(hello) => return Some(FirstBytes::Tls(hello)),
        TlsInspection::Incomplete if bytes.len() < MAX_INSPECTED => return None,
        _ if look_for == LookFor::TlsOnly => return Some(FirstBytes::Other),
        _ => {}
    }
    match http_inspector::inspect(bytes) {
        HttpInspection::Http(version) => Some(FirstBytes::Http(version)),
        HttpInspection::Incomplete if bytes.len() < MAX_INSPECTED => None,
        HttpInspection::Incomplete => Some(FirstBytes::Http(HttpVersion::Http1)),
        HttpInspection::NotHttp => Some(FirstBytes::Other),
    }
}

/// A stream under inspection.
#[derive(Debug)]
pub struct Inspector<T> {
    io: T,
    buffer: BytesMut,
    look_for: LookFor,
}

impl<T: AsyncRead + Unpin> Inspector<T> {
    /// Nothing read yet.
    pub fn new(io: T, look_for: LookFor) -> Self {
        Inspector { io, buffer: BytesMut::new(), look_for }
    }

    /// Reads until the protocol is known. `silence` bounds the wait for the first byte only; a client that stays silent
    /// may be inspected again. Dropping the future loses nothing that was read.
    ///
    /// # Errors
    /// The socket's, and `TimedOut` for a ClientHello that does not get finished.
    pub async fn inspect(&mut self, silence: Duration) -> io::Result<Inspected> {
        if self.buffer.is_empty() {
            let Ok(result) = timeout_at(Instant::now() + silence, self.read()).await else { return Ok(Inspected::Silent) };
            if result? == 0 {
                return Ok(Inspected::Closed);
            }
        }
        self.rest(Instant::now()).await.map(Inspected::Spoke)
    }

    async fn rest(&mut self, since: Instant) -> io::Result<FirstBytes> {
        loop {
            if let Some(verdict) = judge(&self.buffer, self.look_for) {
                return Ok(verdict);
            }
            let tls = tls_inspector::inspect(&self.buffer) == TlsInspection::Incomplete;
            let limit = if tls { CLIENT_HELLO_LIMIT } else { REQUEST_LINE_LIMIT };
            let more = match timeout_at(since + limit, self.read()).await {
                Ok(result) => result? > 0,
                Err(_elapsed) if tls => return Err(io::Error::new(io::ErrorKind::TimedOut, "the ClientHello was not finished in time")),
                Err(_elapsed) => false,
            };
            if !more {
                return Ok(self.unfinished());
            }
        }
    }

    /// What a beginning that got no further counts as: bytes, unless they are clearly a request line cut short.
    fn unfinished(&self) -> FirstBytes {
        let line = self.buffer.iter().filter(|byte| **byte == b' ').count() > 0;
        let http = line && http_inspector::inspect(&self.buffer) == HttpInspection::Incomplete;
        let known = KNOWN_METHODS.iter().any(|method| self.buffer.starts_with(method.as_bytes()));
        if http && known { FirstBytes::Http(HttpVersion::Http1) } else { FirstBytes::Other }
    }

    async fn read(&mut self) -> io::Result<usize> {
        let room = if self.buffer.is_empty() { FIRST_READ } else { self.buffer.len() };
        self.buffer.reserve(room.min(MAX_INSPECTED));
        self.io.read_buf(&mut self.buffer).await
    }
}

const KNOWN_METHODS: [&str; 9] = ["GET ", "POST ", "PUT ", "HEAD ", "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ", "TRACE "];

impl<T> Inspector<T> {
    /// What was read, and the stream.
    pub fn into_parts(self) -> (Bytes, T) {
        (self.buffer.freeze(), self.io)
    }

    /// The stream underneath.
    pub fn get_ref(&self) -> &T {
        &self.io
    }
}

#[cfg(test)]
mod tests;
