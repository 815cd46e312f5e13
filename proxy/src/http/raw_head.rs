//! The seam below the codec: request bytes of an HTTP/1 connection pass through here, and heads are looked at as they are.
//!
//! hyper repairs some heads before we see them: of `Content-Length` and `Transfer-Encoding` together it silently drops the
//! former, which is how requests are smuggled past proxies. [`RawHeads`] therefore follows the framing of the byte stream
//! with the least work that finds where heads begin (hyper validates; this only keeps in step with what hyper accepts) and
//! numbers the heads. The connection manager asks, for its n-th request, whether that head was among the refused.
//!
//! In the other direction it replaces the codec's own refusals, see [`super::refusal`].
//!
//! It also notices a client that goes away in the middle of a request. hyper would do so by reading ahead, for which it
//! allocates 8 KiB per request, since the head in progress still holds the buffer. A plaintext socket can be asked instead.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection_manager::MAX_HEADERS;
use super::refusal::Refusal;
use crate::listener::{Direction, Meanwhile, Watch};
use crate::runtime::Turn;

/// A head larger than this is refused by the codec anyway; following stops there.
const MAX_HEAD: usize = 64 * 1024;

/// What was found in the heads of one connection.
#[derive(Debug)]
pub struct Findings {
    /// Number of the first head that must be refused, counting from 0.
    first_bad: AtomicU64,
    /// Requests the codec handed out.
    requests: AtomicU64,
    /// The connection became a tunnel: its bytes are no heads.
    tunnel: AtomicBool,
    /// A head had all the fields it may have.
    many_fields: AtomicBool,
    /// A head had a Transfer-Encoding that does not end in `chunked`.
    strange_encoding: AtomicBool,
}

impl Default for Findings {
    fn default() -> Self {
        Findings {
            first_bad: AtomicU64::new(u64::MAX),
            requests: AtomicU64::new(0),
            tunnel: AtomicBool::new(false),
            many_fields: AtomicBool::new(false),
            strange_encoding: AtomicBool::new(false),
        }
    }
}

impl Findings {
    /// Counts a request that the codec hands out; true when its head must be refused.
    pub fn next_is_bad(&self) -> bool {
        self.requests.fetch_add(1, Ordering::Relaxed) >= self.first_bad.load(Ordering::Relaxed)
    }

    /// Requests handed out so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Whether a head had as many fields as are allowed, so that one refused for its size probably had too many.
    pub fn has_many_fields(&self) -> bool {
        self.many_fields.load(Ordering::Relaxed)
    }

    /// Whether a head had a Transfer-Encoding other than `chunked`.
    pub fn has_strange_encoding(&self) -> bool {
        self.strange_encoding.load(Ordering::Relaxed)
    }

    /// Stops looking at the bytes.
    pub fn becomes_tunnel(&self) {
        self.tunnel.store(true, Ordering::Relaxed);
    }
}

/// I/O of a downstream connection whose heads are looked at.
#[derive(Debug)]
pub struct RawHeads<I> {
    io: I,
    /// Bytes read before the codec was known.
    early: Bytes,
    tracker: Option<Tracker>,
    findings: Arc<Findings>,
    speech: Speech,
    /// A whole request was read, and the codec has not come back for another.
    in_progress: bool,
    /// When to write what the last read led to.
    turn: Turn,
}

/// What has been written to a connection.
#[derive(Debug)]
enum Speech {
    /// Nothing; the direction decides by which name the proxy would refuse.
    Silent(Direction),
    /// A part of a refusal; this is the rest.
    Refusing(Box<Bytes>),
    /// Something: whatever follows is passed through.
    Begun,
}

impl<I> RawHeads<I> {
    /// Follows the heads of an HTTP/1 connection. `early` was read from it already.
    pub fn http1(io: I, early: Bytes, findings: Arc<Findings>, direction: Direction) -> Self {
        RawHeads {
            io,
            early,
            tracker: Some(Tracker::default()),
            findings,
            speech: Speech::Silent(direction),
            in_progress: false,
            turn: Turn::Due,
        }
    }

    /// Passes bytes through.
    pub fn http2(io: I, early: Bytes) -> Self {
        RawHeads { io, early, tracker: None, findings: Arc::default(), speech: Speech::Begun, in_progress: false, turn: Turn::Come }
    }
}

impl<I: AsyncWrite + Unpin> RawHeads<I> {
    /// Takes the first write of a connection, of `length` bytes beginning with `bytes`. Before any request was handed out it
    /// can only be the codec's refusal. `None`: it is not, and is to be written as it is.
    fn poll_first_write(&mut self, cx: &mut Context<'_>, bytes: &[u8], length: usize) -> Option<Poll<io::Result<usize>>> {
        if let Speech::Silent(direction) = self.speech {
            let own = self.findings.requests() == 0;
            let refusal = own.then(|| Refusal::of_codec(bytes, &self.findings)).flatten();
            self.speech = match refusal {
                Some(refusal) => Speech::Refusing(Box::new(refusal.answer(bytes, direction))),
                None => Speech::Begun,
            };
        }
        while let Speech::Refusing(rest) = &mut self.speech {
            match Pin::new(&mut self.io).poll_write(cx, rest) {
                Poll::Pending => return Some(Poll::Pending),
                Poll::Ready(Ok(written)) if written > 0 => rest.advance(written),
                Poll::Ready(Ok(_)) => return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
            }
            if rest.is_empty() {
                self.speech = Speech::Begun;
                return Some(Poll::Ready(Ok(length)));
            }
        }
        None
    }

    fn has_begun(&self) -> bool {
        matches!(self.speech, Speech::Begun)
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for RawHeads<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.in_progress = false;
        let before = buf.filled().len();
        if this.early.is_empty() {
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        } else {
            let taken = this.early.len().min(buf.remaining());
            buf.put_slice(&this.early[..taken]);
            this.early.advance(taken);
        }
        if let Some(tracker) = &mut this.tracker {
            this.turn = Turn::Due;
            tracker.follow(&buf.filled()[before..]);
            tracker.note(&this.findings);
            this.in_progress = tracker.state == State::Start && tracker.heads > 0;
            if tracker.lost || this.findings.tunnel.load(Ordering::Relaxed) {
                (this.tracker, this.in_progress) = (None, false);
            } else if let Some(number) = tracker.first_bad {
                this.findings.first_bad.store(number, Ordering::Relaxed);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: Watch> RawHeads<I> {
    /// Whether a client that goes away is noticed here, so that the codec need not look out for it.
    pub fn watches(&self) -> bool {
        self.tracker.is_some() && self.io.can_watch()
    }

    /// Looks at the client while its request is in progress. One that has sent more is believed to be there.
    fn watch(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.in_progress && self.io.can_watch() {
            match self.io.poll_watch(cx) {
                Poll::Ready(Meanwhile::Gone) => return Err(io::ErrorKind::ConnectionAborted.into()),
                Poll::Ready(Meanwhile::Spoke) => self.in_progress = false,
                Poll::Pending => {}
            }
        }
        Ok(())
    }
}

impl<I: AsyncWrite + Watch + Unpin> AsyncWrite for RawHeads<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.turn.poll(cx));
        if !this.has_begun()
            && let Some(done) = this.poll_first_write(cx, bytes, bytes.len())
        {
            return done;
        }
        Pin::new(&mut this.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.turn.poll(cx));
        if !this.has_begun() {
            let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
            if let Some(done) = this.poll_first_write(cx, first, slices.iter().map(|slice| slice.len()).sum()) {
                return done;
            }
        }
        Pin::new(&mut this.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        // The codec flushes whenever it has done what it can.
        Poll::Ready(this.watch(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // The codec shuts a plaintext connection down when it is about to be closed, which does the same.
        if this.watches() && !this.findings.tunnel.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

/// Where in the byte stream we are.
#[derive(Debug, Default)]
struct Tracker {
    state: State,
    /// The beginning of a line that was cut off by the end of a read.
    partial: Vec<u8>,
    /// Bytes of the present head.
    head_size: usize,
    /// Fields of the present head.
    fields: usize,
    strange_encoding: bool,
    framing: Framing,
    heads: u64,
    first_bad: Option<u64>,
    /// The bytes made no sense; the codec will refuse them.
    lost: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Empty lines before a request line.
    #[default]
    Start,
    Headers,
    /// So many bytes of body.
    Body(u64),
    ChunkSize,
    /// So many bytes of chunk, line end included.
    Chunk(u64),
    Trailers,
}

#[derive(Clone, Copy, Debug, Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
    encodings: bool,
}

impl Tracker {
    fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.lost {
            match self.state {
                State::Body(left) | State::Chunk(left) => {
                    let taken = left.min(bytes.len() as u64);
                    bytes = &bytes[taken as usize..];
                    self.advance(left - taken);
                }
                State::Start | State::Headers | State::ChunkSize | State::Trailers => bytes = self.follow_line(bytes),
            }
        }
    }

    /// Passes on why the codec may refuse what was read.
    fn note(&self, findings: &Findings) {
        if self.fields >= MAX_HEADERS {
            findings.many_fields.store(true, Ordering::Relaxed);
        }
        if self.strange_encoding {
            findings.strange_encoding.store(true, Ordering::Relaxed);
        }
    }

    fn advance(&mut self, left: u64) {
        self.state = match self.state {
            State::Body(_) if left == 0 => State::Start,
            State::Body(_) => State::Body(left),
            State::Chunk(_) if left == 0 => State::ChunkSize,
            State::Chunk(_) => State::Chunk(left),
            other => other,
        };
    }

    /// Takes one line; keeps its beginning when its end is missing.
    fn follow_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            self.partial.extend_from_slice(bytes);
            self.lost = self.partial.len() > MAX_HEAD;
            return &[];
        };
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        if self.partial.is_empty() {
            self.line(line);
        } else {
            let mut whole = std::mem::take(&mut self.partial);
            whole.extend_from_slice(line);
            self.line(&whole);
        }
        rest
    }

    fn line(&mut self, line: &[u8]) {
        if self.state == State::Trailers && !line.ends_with(b"\r") {
            // Where hyper sees the end of these trailers is no longer known, so whatever follows them is refused.
            self.first_bad.get_or_insert(self.heads);
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.state {
            State::Start if line.is_empty() => {}
            State::Start => {
                (self.state, self.framing) = (State::Headers, Framing::default());
                (self.head_size, self.fields) = (line.len(), 0);
            }
            State::Headers if line.is_empty() => self.end_of_head(),
            State::Headers => {
                self.head_size += line.len();
                self.fields += 1;
                self.lost = self.head_size > MAX_HEAD;
                self.header(line);
            }
            State::ChunkSize => self.chunk_size(line),
            State::Trailers if line.is_empty() => self.state = State::Start,
            State::Trailers | State::Body(_) | State::Chunk(_) => {}
        }
    }

    fn header(&mut self, line: &[u8]) {
        // The first letter decides for most headers that they are neither, the length of the name for nearly all others.
        if !matches!(line.first(), Some(b'c' | b'C' | b't' | b'T')) {
            return;
        }
        let Some(colon) = line.iter().take(18).position(|byte| *byte == b':') else { return };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.len() == 14 && name.eq_ignore_ascii_case(b"content-length") {
            self.framing.length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            self.lost = self.framing.length.is_none();
        } else if name.len() == 17 && name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.framing.encodings = true;
            let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
            self.framing.chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
        }
    }

    fn end_of_head(&mut self) {
        if self.framing.encodings && self.framing.length.is_some() && self.first_bad.is_none() {
            self.first_bad = Some(self.heads);
        }
        self.strange_encoding |= self.framing.encodings && !self.framing.chunked;
        self.heads += 1;
        self.state = match self.framing {
            Framing { chunked: true, .. } => State::ChunkSize,
            Framing { length: Some(length @ 1..), .. } => State::Body(length),
            _ => State::Start,
        };
    }

    fn chunk_size(&mut self, line: &[u8]) {
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = std::str::from_utf8(&line[..digits]).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
        match size {
            Some(0) => self.state = State::Trailers,
            Some(size) if size < u64::MAX - 2 => self.state = State::Chunk(size + 2),
            _ => self.lost = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    const CHUNKED: &str = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nt: 1\r\n\r\n";
    const BOTH: &str = "POST / HTTP/1.1\r\ncontent-LENGTH: 3\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n";

    fn first_bad(reads: &[&[u8]]) -> (u64, Option<u64>) {
        let mut tracker = Tracker::default();
        for read in reads {
            tracker.follow(read);
        }
        (tracker.heads, tracker.first_bad)
    }

    #[test]
    fn length_and_encoding_together_are_found_wherever_they_come() {
        let all = [GET, POST, CHUNKED, GET, BOTH, GET].concat();
        assert_eq!(first_bad(&[all.as_bytes()]), (6, Some(4)));
        assert_eq!(first_bad(&[[GET, POST, CHUNKED].concat().as_bytes()]), (3, None));
    }

    #[test]
    fn a_body_that_looks_like_a_head_is_none() {
        let body = "GET / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n";
        let post = format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        assert_eq!(first_bad(&[post.as_bytes(), GET.as_bytes()]), (2, None));
    }

    #[test]
    fn after_trailers_whose_lines_end_without_cr_nothing_more_is_accepted() {
        let trailers = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nt: 1\n\r\na: b\r\n\r\n";
        assert_eq!(first_bad(&[[GET, trailers, BOTH].concat().as_bytes()]).1, Some(2), "BOTH is the third request");
    }

    #[test]
    fn nonsense_stops_the_following_and_bounds_what_is_kept() {
        let mut tracker = Tracker::default();
        tracker.follow(&vec![b'x'; 2 * MAX_HEAD]);
        assert!(tracker.lost);
    }

    proptest! {
        #[test]
        fn the_cut_between_reads_does_not_matter(cuts in prop::collection::vec(0usize..400, 0..12)) {
            let all = [CHUNKED, POST, BOTH, GET].concat();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % all.len()).collect();
            cuts.sort_unstable();
            let mut tracker = Tracker::default();
            let mut from = 0;
            for cut in cuts.into_iter().chain([all.len()]) {
                tracker.follow(&all.as_bytes()[from..cut]);
                from = cut;
            }
            prop_assert_eq!((tracker.heads, tracker.first_bad), (4, Some(2)));
        }
    }
}
