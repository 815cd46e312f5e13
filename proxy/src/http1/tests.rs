//! Chunked bodies in pieces of every size, and the memory they were read into.

use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use proptest::prelude::*;
use tokio::io::AsyncRead;

use super::*;

/// A body and what was after it.
type Decoded = (Vec<u8>, Vec<u8>);

/// A text in memory of its own, and a sign that lives as long as that memory.
pub(crate) fn read_into_memory(text: &'static str) -> (Bytes, Weak<()>) {
    struct Memory {
        text: &'static str,
        _sign: Arc<()>,
    }
    impl AsRef<[u8]> for Memory {
        fn as_ref(&self) -> &[u8] {
            self.text.as_bytes()
        }
    }
    let sign = Arc::new(());
    let held = Arc::downgrade(&sign);
    (Bytes::from_owner(Memory { text, _sign: sign }), held)
}

/// Decodes a body that comes in pieces.
fn decode(pieces: &[&[u8]]) -> Result<Decoded, Malformed> {
    let (mut chunked, mut body, mut left) = (Chunked::default(), Vec::new(), Vec::new());
    for piece in pieces {
        let mut input = Bytes::copy_from_slice(piece);
        loop {
            match chunked.next(&mut input)? {
                Piece::Data(data) => body.extend_from_slice(&data),
                Piece::More => break,
                Piece::Over => {
                    left.extend_from_slice(&input);
                    break;
                }
            }
        }
    }
    Ok((body, left))
}

const CHUNKS: &[u8] = b"5;x=y\r\nhello\r\n001\r\n \r\n5  \r\nworld\r\n0\r\nx-sum: 1\r\ny: 2\r\n\r\nnext";

proptest! {
    #[test]
    fn the_cut_between_reads_does_not_matter(cuts in prop::collection::vec(0usize..CHUNKS.len(), 0..12), bare in any::<bool>()) {
        let trailers = CHUNKS.len() - b"x-sum: 1\r\ny: 2\r\n\r\nnext".len();
        let bytes = if bare { [&CHUNKS[..trailers], b"\r\nnext"].concat() } else { CHUNKS.to_vec() };
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % bytes.len()).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let (body, left) = decode(&pieces).unwrap();
        prop_assert_eq!((body.as_slice(), left.as_slice()), (&b"hello world"[..], &b"next"[..]));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&[&bytes]);
    }
}

#[test]
fn chunks_without_their_line_ends_or_sizes_are_refused() {
    for wrong in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhellooo",
        "x\r\n",
        "\r\n",
        "-1\r\n",
        "5 5\r\nhello",
        "fffffffffffffffff\r\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\nt: 1\n\r\nGET / HTTP/1.1\r\n\r\n",
        "1;a\rb\r\nx\r\n",
        "1\r\r\nx\r\n",
        "1 \r;a\r\nx\r\n",
        "1\x0c\r\nx\r\n",
    ] {
        assert_eq!(decode(&[wrong.as_bytes()]).err(), Some(Malformed), "{wrong:?}");
    }
    assert_eq!(decode(&[&[b'1'; 20_000]]).err(), Some(Malformed), "an endless size");
    assert_eq!(decode(&[b"0\r\n", &[b'a'; 70_000]]).err(), Some(Malformed), "endless trailers");
    let extended = format!("1;{}\r\nx\r\n", "a".repeat(10_000)).repeat(2);
    assert_eq!(decode(&[extended.as_bytes()]).err(), Some(Malformed), "more extension than body");
}

/// Reads frames until there are no more, or none for now.
fn read_all(reading: &mut Reading, mut io: impl AsyncRead + Unpin) -> Vec<u8> {
    let (mut cx, mut all) = (Context::from_waker(Waker::noop()), Vec::new());
    while let Poll::Ready(Some(frame)) = reading.poll_frame(&mut io, &mut cx) {
        all.extend_from_slice(frame.expect("well-formed").data_ref().expect("data"));
    }
    all
}

#[test]
fn after_the_last_chunk_nothing_holds_the_memory_it_was_read_into() {
    for text in ["2\r\nhi\r\n0\r\n\r\n", "2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n"] {
        let (input, held) = read_into_memory(text);
        let mut reading = Reading::new(Framing::Chunked, input);
        assert_eq!(read_all(&mut reading, tokio::io::empty()), b"hi");
        let rest = reading.into_input();
        assert_eq!((rest.len(), held.strong_count()), (0, 0), "{text:?}");
    }
}

#[tokio::test]
async fn between_two_chunks_nothing_holds_the_memory_of_the_first() {
    let (input, held) = read_into_memory("2\r\nhi\r\n");
    let (_quiet, io) = tokio::io::duplex(1);
    let mut reading = Reading::new(Framing::Chunked, input);
    assert_eq!(read_all(&mut reading, io), b"hi");
    assert_eq!((reading.is_over(), held.strong_count()), (false, 0));
}
