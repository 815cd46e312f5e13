//! Reads server name and ALPN out of a ClientHello without taking part in the handshake.
//!
//! Works on whatever prefix of the connection has arrived: a ClientHello may be spread over many packets and, since a
//! handshake message may span records, over many records. Sources: RFC 8446 section 4.1.2 and 5.1, RFC 6066, RFC 7301.

/// TLS record type of handshake messages.
const HANDSHAKE: u8 = 22;
/// Handshake type of a ClientHello.
const CLIENT_HELLO: u8 = 1;
/// Longest ClientHello looked at. Post-quantum key shares make about 2 KiB; Envoy's limit is the same.
pub const MAX_CLIENT_HELLO: usize = 16 * 1024;
/// A record's fragment is at most this long (RFC 8446 section 5.1).
const MAX_FRAGMENT: usize = 1 << 14;

/// What the first message of a TLS client says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// Host name asked for, lower case, without a trailing dot.
    pub sni: Option<String>,
    /// Application protocols offered, best first.
    pub alpn: Vec<Vec<u8>>,
}

/// Verdict on a prefix of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsInspection {
    /// TLS as far as seen; more bytes are needed.
    Incomplete,
    /// A complete ClientHello.
    Hello(ClientHello),
    /// Not TLS, or not a ClientHello within [`MAX_CLIENT_HELLO`].
    NotTls,
}

/// Judges the first bytes of a connection. An empty slice is incomplete.
pub fn inspect(bytes: &[u8]) -> TlsInspection {
    match handshake_message(bytes) {
        Err(Stop::Incomplete) => TlsInspection::Incomplete,
        Err(Stop::NotTls) => TlsInspection::NotTls,
        Ok(body) => parse(&body).map_or(TlsInspection::NotTls, TlsInspection::Hello),
    }
}

enum Stop {
    Incomplete,
    NotTls,
}

/// Joins the fragments of the first handshake message and returns its body.
fn handshake_message(mut bytes: &[u8]) -> Result<Vec<u8>, Stop> {
    let mut message = Vec::new();
    loop {
        let (fragment, complete) = record(bytes)?;
        message.extend_from_slice(fragment);
        if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(Stop::NotTls);
        }
        if let [_, a, b, c, body @ ..] = message.as_slice() {
            let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            if length > MAX_CLIENT_HELLO {
                return Err(Stop::NotTls);
            }
            if let Some(body) = body.get(..length) {
                return Ok(body.to_vec());
            }
        }
        if !complete {
            return Err(Stop::Incomplete);
        }
        bytes = bytes.get(5 + fragment.len()..).unwrap_or_default();
    }
}

/// The fragment of the record at the front, as far as it has arrived, and whether it is all there.
fn record(bytes: &[u8]) -> Result<(&[u8], bool), Stop> {
    let expected = |at: usize, fits: fn(u8) -> bool| bytes.get(at).is_none_or(|byte| fits(*byte));
    if !expected(0, |kind| kind == HANDSHAKE) || !expected(1, |major| major == 3) || !expected(2, |minor| minor <= 4) {
        return Err(Stop::NotTls);
    }
    let [_, _, _, high, low, rest @ ..] = bytes else { return Err(Stop::Incomplete) };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length == 0 || length > MAX_FRAGMENT {
        return Err(Stop::NotTls);
    }
    match rest.get(..length) {
        Some(fragment) => Ok((fragment, true)),
        None => Ok((rest, false)),
    }
}

/// Cursor over length-prefixed fields; every read is checked.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn byte(&mut self) -> Option<usize> {
        self.take(1).and_then(<[u8]>::first).map(|byte| usize::from(*byte))
    }

    fn short(&mut self) -> Option<usize> {
        self.take(2).and_then(|pair| <[u8; 2]>::try_from(pair).ok()).map(|pair| usize::from(u16::from_be_bytes(pair)))
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.byte()?;
        self.take(length)
    }

    fn vector16(&mut self) -> Option<Reader<'a>> {
        let length = self.short()?;
        self.take(length).map(Reader)
    }
}

fn parse(body: &[u8]) -> Option<ClientHello> {
    let mut reader = Reader(body);
    reader.take(2 + 32)?;
    reader.vector8()?;
    reader.vector16()?;
    reader.vector8()?;
    let mut hello = ClientHello::default();
    if reader.0.is_empty() {
        return Some(hello);
    }
    let mut extensions = reader.vector16()?;
    while !extensions.0.is_empty() {
        let kind = extensions.short()?;
        let content = extensions.vector16()?;
        match kind {
            0 => hello.sni = server_name(content)?,
            16 => hello.alpn = protocols(content)?,
            _ => {}
        }
    }
    Some(hello)
}

/// RFC 6066 section 3: the first entry of type host_name. Outer `None` = malformed; a name with a control character is,
/// since it would write lines of its own into logs.
fn server_name(mut content: Reader<'_>) -> Option<Option<String>> {
    let mut list = content.vector16()?;
    while !list.0.is_empty() {
        let kind = list.byte()?;
        let name = list.vector16()?.0;
        if kind == 0 {
            let text = std::str::from_utf8(name).ok().filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic()))?;
            let text = text.trim_end_matches('.').to_ascii_lowercase();
            return Some((!text.is_empty()).then_some(text));
        }
    }
    Some(None)
}

/// RFC 7301 section 3.1.
fn protocols(mut content: Reader<'_>) -> Option<Vec<Vec<u8>>> {
    let mut list = content.vector16()?;
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        protocols.push(list.vector8()?.to_vec());
    }
    Some(protocols)
}

#[cfg(test)]
mod tests;
