//! Chunked bodies (RFC 9112, 7.1), decoded without copying. Pure.
//!
//! Trailers are checked and dropped, from clients and from servers, and none are written: so does Envoy unless it is told to
//! enable them, which Istio does not (Istio semantics 8.1), and a field that comes after the body can then not be taken for one of
//! the head by anybody behind us. gRPC, which lives of trailers, has them over HTTP/2, where they pass.

use bytes::{Buf, Bytes, BytesMut};

use super::{MAX_HEAD, MAX_HEADERS};

/// A chunk's size line with its extensions.
const MAX_LINE: usize = 16 * 1024;
/// The extensions of all chunks of a body: they carry nothing for us, and one per byte of body would be an attack.
const MAX_EXTENSIONS: usize = 16 * 1024;

/// Anything but chunks with their line ends, or more than the limits allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Where in the body we are.
#[derive(Debug, Default)]
pub struct Chunked {
    state: State,
    /// The beginning of a size line or of the trailers, cut off by the end of a read.
    partial: BytesMut,
    /// Bytes of extensions so far.
    extensions: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Data(u64),
    /// The line end after the data; this many bytes of it are missing.
    DataEnd(u8),
    Trailers,
    Over,
}

/// What the next bytes were.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Part of the body.
    Data(Bytes),
    /// Nothing: more input is needed.
    More,
    /// The body is over; what is left of the input belongs to nobody.
    Over,
}

impl Chunked {
    /// Takes the next piece off the front of `input`.
    ///
    /// # Errors
    /// [`Malformed`] for anything but chunks with their line ends.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Piece, Malformed> {
        loop {
            match self.state {
                State::Over => return Ok(Piece::Over),
                _ if input.is_empty() => return Ok(Piece::More),
                State::Size => {
                    let Some(line) = self.take_until(input, b"\n", MAX_LINE)? else { return Ok(Piece::More) };
                    let (size, extension) = size(&line)?;
                    self.extensions += extension;
                    self.state = match size {
                        _ if self.extensions > MAX_EXTENSIONS => return Err(Malformed),
                        0 => State::Trailers,
                        size => State::Data(size),
                    };
                }
                State::Data(left) => {
                    let taken = left.min(input.len() as u64);
                    self.state = if taken == left { State::DataEnd(2) } else { State::Data(left - taken) };
                    return Ok(Piece::Data(input.split_to(taken as usize)));
                }
                State::DataEnd(missing) => {
                    let expected = if missing == 2 { b'\r' } else { b'\n' };
                    if input.get_u8() != expected {
                        return Err(Malformed);
                    }
                    self.state = if missing == 2 { State::DataEnd(1) } else { State::Size };
                }
                State::Trailers => return self.trailers(input),
            }
        }
    }

    /// Whether the end was seen.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    fn trailers(&mut self, input: &mut Bytes) -> Result<Piece, Malformed> {
        if self.partial.is_empty() && input.starts_with(b"\r\n") {
            input.advance(2);
            self.state = State::Over;
            return Ok(Piece::Over);
        }
        let none = |partial: &BytesMut| partial.as_ref() == b"\r";
        if none(&self.partial) && input.first() == Some(&b'\n') {
            input.advance(1);
            self.state = State::Over;
            return Ok(Piece::Over);
        }
        let Some(block) = self.take_until(input, b"\r\n\r\n", MAX_HEAD)? else { return Ok(Piece::More) };
        self.state = State::Over;
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
        match httparse::parse_headers(&block, &mut fields) {
            // The parser takes a bare line feed for a line end, and so might end before the block does.
            Ok(httparse::Status::Complete((length, _))) if length == block.len() => Ok(Piece::Over),
            _ => Err(Malformed),
        }
    }

    /// Takes what ends in `mark`, kept bytes included; keeps the input when the mark has not come yet.
    fn take_until(&mut self, input: &mut Bytes, mark: &[u8], most: usize) -> Result<Option<Bytes>, Malformed> {
        // The mark may begin in what is kept.
        let seen = self.partial.len();
        let from = seen.saturating_sub(mark.len() - 1);
        if seen > 0 {
            let added = input.len().min(most + 1);
            self.partial.extend_from_slice(&input[..added]);
            let Some(at) = memchr::memmem::find(&self.partial[from..], mark) else {
                input.advance(added);
                return if self.partial.len() > most { Err(Malformed) } else { Ok(None) };
            };
            let end = from + at + mark.len();
            input.advance(end - seen);
            let whole = std::mem::take(&mut self.partial).split_to(end).freeze();
            return Ok(Some(whole));
        }
        match memchr::memmem::find(input, mark) {
            Some(at) if at <= most => Ok(Some(input.split_to(at + mark.len()))),
            None if input.len() <= most => {
                self.partial.extend_from_slice(input);
                input.clear();
                Ok(None)
            }
            _ => Err(Malformed),
        }
    }
}

/// The number in a size line, hexadecimal digits, and the length of what follows it: nothing or an extension.
fn size(line: &[u8]) -> Result<(u64, usize), Malformed> {
    let line = line.strip_suffix(b"\r\n").ok_or(Malformed)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    let blank = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    // Others may end the line at a carriage return, wherever it stands.
    let legal = matches!(rest.get(blank), None | Some(b';')) && !rest.contains(&b'\r');
    let number = std::str::from_utf8(digits).ok().filter(|_| legal).and_then(|text| u64::from_str_radix(text, 16).ok());
    Ok((number.ok_or(Malformed)?, rest.len()))
}
