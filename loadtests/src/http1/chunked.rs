//! The chunked transfer coding of a response body (RFC 9112 section 7.1), as far as a client needs it: where the data
//! lies and where the body ends. Extensions and trailer fields are passed over.

/// The body broke the coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadChunk;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the size; whether a digit was seen.
    Size(bool),
    Extension,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    /// At the begin of a trailer line.
    Line,
    /// Within a trailer line.
    Trailer,
    LastLineFeed,
    Done,
}

/// A decoder that takes the body in pieces of any size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunked {
    place: Place,
    /// Of the chunk: what is known of its size, then how much data is still to come.
    left: u64,
}

impl Default for Chunked {
    fn default() -> Self {
        Self { place: Place::Size(false), left: 0 }
    }
}

impl Chunked {
    /// Whether the end of the body was seen.
    pub(crate) fn done(&self) -> bool {
        self.place == Place::Done
    }

    /// Takes a piece, hands its data to `sink`, and returns how many bytes belonged to the body.
    pub(crate) fn take(&mut self, piece: &[u8], mut sink: impl FnMut(&[u8])) -> Result<usize, BadChunk> {
        let mut rest = piece;
        while let [byte, after @ ..] = rest {
            if self.done() {
                break;
            }
            if self.place == Place::Data {
                let length = rest.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                let (data, after) = rest.split_at(length);
                sink(data);
                self.left -= length as u64;
                if self.left == 0 {
                    self.place = Place::DataReturn;
                }
                rest = after;
            } else {
                self.place = self.step(*byte)?;
                rest = after;
            }
        }
        Ok(piece.len() - rest.len())
    }

    /// One byte that is not data.
    fn step(&mut self, byte: u8) -> Result<Place, BadChunk> {
        match (self.place, byte) {
            (Place::Size(_), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = (byte as char).to_digit(16).map_or(0, u64::from);
                self.left = self.left.checked_mul(16).and_then(|size| size.checked_add(digit)).ok_or(BadChunk)?;
                Ok(Place::Size(true))
            }
            (Place::Size(true), b'\r') | (Place::Extension, b'\r') => Ok(Place::SizeLineFeed),
            (Place::Size(true), b';' | b' ' | b'\t') => Ok(Place::Extension),
            (Place::Extension, byte) if byte != b'\n' => Ok(Place::Extension),
            (Place::SizeLineFeed, b'\n') => Ok(if self.left == 0 { Place::Line } else { Place::Data }),
            (Place::DataReturn, b'\r') => Ok(Place::DataLineFeed),
            (Place::DataLineFeed, b'\n') => Ok(Place::Size(false)),
            (Place::Line, b'\r') => Ok(Place::LastLineFeed),
            (Place::LastLineFeed, b'\n') => Ok(Place::Done),
            (Place::Line | Place::Trailer, b'\n') => Ok(Place::Line),
            (Place::Line | Place::Trailer, _) => Ok(Place::Trailer),
            _ => Err(BadChunk),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes in pieces of a size; the data, and what was left over.
    fn decode(body: &[u8], piece: usize) -> Result<(Vec<u8>, bool, usize), BadChunk> {
        let (mut decoder, mut data, mut taken) = (Chunked::default(), Vec::new(), 0);
        for part in body.chunks(piece) {
            taken += decoder.take(part, |bytes| data.extend_from_slice(bytes))?;
        }
        Ok((data, decoder.done(), body.len() - taken))
    }

    #[test]
    fn data_comes_out_however_the_body_is_cut() -> Result<(), BadChunk> {
        let body = b"5\r\nhello\r\n1;ext=\"a\"\r\n \r\nA\r\n0123456789\r\n0\r\nx-trailer: 1\r\n\r\nNEXT";
        for piece in 1..body.len() + 1 {
            let (data, done, left) = decode(body, piece)?;
            assert_eq!((data.as_slice(), done, left), (&b"hello 0123456789"[..], true, 4), "in pieces of {piece}");
        }
        Ok(())
    }

    #[test]
    fn a_body_that_is_not_whole_is_not_done() -> Result<(), BadChunk> {
        for body in [&b""[..], b"5\r\nhel", b"5\r\nhello\r\n", b"5\r\nhello\r\n0\r\n"] {
            assert!(!decode(body, 3)?.1, "{body:?}");
        }
        Ok(())
    }

    #[test]
    fn a_body_that_breaks_the_framing_of_chunks_is_refused() {
        for body in [&b"\r\n"[..], b"x\r\n", b"5\r\nhelloX", b"5\nhello", b"fffffffffffffffff\r\n", b"0\r\n\rX"] {
            assert_eq!(decode(body, 1).err(), Some(BadChunk), "{body:?}");
        }
    }
}
