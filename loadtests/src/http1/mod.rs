//! A lean HTTP/1.1 client connection: the request is written as bytes prepared once, the answer's head is parsed in
//! place, and of the body only what was asked for is kept. One write and one read per small exchange.

mod chunked;
mod head;

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    answer::{Cause, Failure},
    io::{Io, lost},
    seen::{Seen, Wants},
    tls,
};
use chunked::Chunked;
use head::{Framing, Head};

/// Room for what is read; heads of most answers and small bodies fit.
const ROOM: usize = 16 * 1024;
/// A head that does not fit in this is refused. Bodies larger than [`ROOM`] are read in pieces of this.
const MAX_ROOM: usize = 256 * 1024;

/// One connection; carries one request at a time.
pub(crate) struct Http1 {
    io: Io,
    /// Bytes received and not yet used are `start..end`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    reusable: bool,
    /// Whether anything ever came from the server.
    heard: bool,
}

impl Http1 {
    pub(crate) fn new(io: Io) -> Self {
        Self { io, buffer: vec![0; ROOM], start: 0, end: 0, reusable: true, heard: false }
    }

    /// Whether it may carry another request: the last answer was read to its end and left it open.
    pub(crate) fn reusable(&self) -> bool {
        self.reusable
    }

    /// Whether the server has not closed it meanwhile. Without news it costs no system call.
    pub(crate) async fn is_open(&mut self) -> bool {
        let news = poll_fn(|cx| Poll::Ready(self.poll_fill(cx))).await;
        // Bytes before the request was sent are no answer to it; servers say goodbye in this way (408).
        self.reusable && self.start == self.end && news.is_pending()
    }

    /// Waits a moment for what the server may say against the session.
    ///
    /// # Errors
    /// TLS was broken off. What else is wrong shows with the first request.
    pub(crate) async fn objection(&mut self) -> Result<(), Failure> {
        if !self.io.is_tls() {
            return Ok(());
        }
        let news = tokio::time::timeout(tls::OBJECTION, poll_fn(|cx| self.poll_fill(cx))).await;
        let failure = news.ok().and_then(Result::err).map(|error| lost(Cause::Closed, &error));
        failure.filter(|failure| failure.cause == Cause::Tls).map_or(Ok(()), Err)
    }

    /// Sends a request and reads its answer to the end. `bodiless`: an answer to it has no body.
    pub(crate) async fn exchange(&mut self, request: &[u8], bodiless: bool, wants: &Wants, seen: &mut Seen) -> Result<(), Failure> {
        self.reusable = false;
        let sent = self.send(request).await;
        seen.sent = sent.as_ref().map_or(0, |all| if *all { request.len() as u64 } else { 0 });
        let head = match (sent, self.head(bodiless, wants, seen).await) {
            // A server that refuses a body may answer and close before it has read all: its answer counts.
            (_, Ok(head)) => head,
            // A server may say why it refuses a session while the request is being written.
            (Err(_), Err(failure)) if failure.cause == Cause::Tls => return Err(failure),
            (Err(error), Err(_)) => return Err(lost(Cause::Closed, &error)),
            (Ok(_), Err(failure)) => return Err(failure),
        };
        seen.status = Some(head.status);
        self.body(head.framing, wants, seen).await?;
        self.reusable = head.keep_alive && seen.sent == request.len() as u64;
        Ok(())
    }

    /// Writes the request; `false` when the server ended, failed, or answered at length before all of it was written.
    async fn send(&mut self, request: &[u8]) -> io::Result<bool> {
        let most = request.len() + MAX_ROOM;
        let mut written = 0;
        let mut begun = false;
        poll_fn(|cx| {
            while let Some(rest) = request.get(written..).filter(|rest| !rest.is_empty()) {
                match Pin::new(&mut self.io).poll_write(cx, rest) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(length)) => written += length,
                    Poll::Ready(Err(_)) if begun => return Poll::Ready(Ok(())),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    // A server that sends more than the request given back waits for no more of it. What it sends is kept no
                    // longer, but read as any other answer.
                    Poll::Pending if self.end - self.start >= most => return Poll::Ready(Ok(())),
                    // Only a large body fills the socket. Its answer may begin meanwhile, and a server that nobody reads
                    // from stops reading.
                    Poll::Pending => match std::task::ready!(self.poll_fill(cx))? {
                        0 => return Poll::Ready(Ok(())),
                        _ => begun = true,
                    },
                }
            }
            Pin::new(&mut self.io).poll_flush(cx)
        })
        .await?;
        Ok(written == request.len())
    }

    /// Reads a final head, passing over interim ones.
    async fn head(&mut self, bodiless: bool, wants: &Wants, seen: &mut Seen) -> Result<Head, Failure> {
        loop {
            let bytes = self.buffer.get(self.start..self.end).unwrap_or_default();
            let parsed =
                if bytes.is_empty() { Ok(None) } else { head::parse(bytes, bodiless, |name, value| wants.field(seen, name, value)) };
            match parsed.map_err(|words| no_response(bytes, &words))? {
                Some(head) if head.status == 101 => return Err(Failure::new(Cause::Protocol, "status 101, but no upgrade was asked for")),
                Some(head) => {
                    self.start += head.length;
                    seen.received += head.length as u64;
                    if head.status >= 200 {
                        return Ok(head);
                    }
                }
                None => self.more_of_a_head().await?,
            }
            wants.forget_fields(seen);
        }
    }

    async fn more_of_a_head(&mut self) -> Result<(), Failure> {
        if self.end - self.start >= MAX_ROOM {
            return Err(Failure::new(Cause::Protocol, format!("a response head of more than {MAX_ROOM} bytes")));
        }
        match poll_fn(|cx| self.poll_fill(cx)).await {
            Ok(0) if self.start == self.end && (self.heard || self.io.is_tls()) => {
                Err(Failure::new(Cause::Closed, "closed without an answer"))
            }
            Ok(0) if self.start == self.end => {
                Err(Failure::new(Cause::Closed, "closed without an answer (does the server speak TLS? then https://)"))
            }
            Ok(0) => Err(Failure::new(Cause::Closed, "closed within the response head")),
            Ok(_) => Ok(()),
            Err(error) => Err(lost(Cause::Closed, &error)),
        }
    }

    /// Reads the body to its end.
    async fn body(&mut self, framing: Framing, wants: &Wants, seen: &mut Seen) -> Result<(), Failure> {
        match framing {
            Framing::Length(length) => self.counted(length, wants, seen).await,
            Framing::Chunked => self.chunked(wants, seen).await,
            Framing::UntilClose => self.until_close(wants, seen).await,
        }
    }

    async fn counted(&mut self, length: u64, wants: &Wants, seen: &mut Seen) -> Result<(), Failure> {
        let mut left = length;
        while left > 0 {
            if self.start == self.end {
                self.roomy(left);
                self.more_of_a_body(format_args!("{left} of {length} bytes missing")).await?;
            }
            let there = self.buffer.get(self.start..self.end).unwrap_or_default();
            let piece = there.get(..usize::try_from(left).unwrap_or(usize::MAX).min(there.len())).unwrap_or_default();
            wants.body(seen, piece);
            left -= piece.len() as u64;
            self.start += piece.len();
        }
        Ok(())
    }

    async fn chunked(&mut self, wants: &Wants, seen: &mut Seen) -> Result<(), Failure> {
        let mut decoder = Chunked::default();
        loop {
            let there = self.buffer.get(self.start..self.end).unwrap_or_default();
            let taken = decoder.take(there, |data| wants.body(seen, data));
            self.start += taken.map_err(|_| Failure::new(Cause::Body, "broken chunked coding"))?;
            if decoder.done() {
                return Ok(());
            }
            self.more_of_a_body(format_args!("no last chunk")).await?;
        }
    }

    async fn until_close(&mut self, wants: &Wants, seen: &mut Seen) -> Result<(), Failure> {
        loop {
            wants.body(seen, self.buffer.get(self.start..self.end).unwrap_or_default());
            self.start = self.end;
            match poll_fn(|cx| self.poll_fill(cx)).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(lost(Cause::Body, &error)),
            }
        }
    }

    async fn more_of_a_body(&mut self, missing: std::fmt::Arguments<'_>) -> Result<(), Failure> {
        match poll_fn(|cx| self.poll_fill(cx)).await {
            Ok(0) => Err(Failure::new(Cause::Body, format!("closed within the body: {missing}"))),
            Ok(_) => Ok(()),
            Err(error) => Err(lost(Cause::Body, &error)),
        }
    }

    /// Makes room for a large rest of a body, which would otherwise cost a system call per [`ROOM`].
    fn roomy(&mut self, left: u64) {
        if left > self.buffer.len() as u64 && self.buffer.len() < MAX_ROOM {
            self.buffer.resize(MAX_ROOM, 0);
        }
    }

    /// Reads once behind what is there; 0 at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else {
                self.buffer.resize(self.buffer.len() * 2, 0);
            }
        }
        let mut room = ReadBuf::new(self.buffer.get_mut(self.end..).unwrap_or_default());
        std::task::ready!(Pin::new(&mut self.io).poll_read(cx, &mut room))?;
        let length = room.filled().len();
        self.end += length;
        self.heard |= length > 0;
        Poll::Ready(Ok(length))
    }
}

/// Bytes that are no response; those of a TLS alert are told apart.
fn no_response(bytes: &[u8], words: &str) -> Failure {
    let hint = if bytes.starts_with(&[0x15, 0x03]) { " (a TLS alert: the server speaks TLS, expected https://)" } else { "" };
    Failure::new(Cause::Protocol, format!("{words}{hint}"))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write, copy},
        net::{TcpListener, TcpStream},
        time::Duration,
    };

    use super::*;
    use crate::{io::Socket, plan::Plan};

    /// More than the sockets on the way hold.
    const LARGE: usize = 16 << 20;
    const REQUEST_HEAD: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 16777216\r\n\r\n";

    /// One large request to a server that does so after the head; the connection and what was seen.
    async fn posted(serve: fn(TcpStream) -> io::Result<u64>) -> anyhow::Result<(Http1, Seen)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept()?;
            stream.read_exact(&mut [0; REQUEST_HEAD.len()])?;
            serve(stream)
        });
        let wants = Wants::new(&Plan::new(format!("http://{address}/"), 1));
        let (mut http1, mut seen) = (Http1::new(Io::Plain(Socket::Tcp(tokio::net::TcpStream::connect(address).await?))), wants.seen());
        let request = [REQUEST_HEAD, &vec![b'z'; LARGE]].concat();
        let exchange = http1.exchange(&request, false, &wants, &mut seen);
        tokio::time::timeout(Duration::from_secs(20), exchange).await?.map_err(|failure| anyhow::anyhow!(failure.detail))?;
        Ok((http1, seen))
    }

    fn answer_head(stream: &mut TcpStream, length: usize) -> io::Result<()> {
        stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").as_bytes())
    }

    #[tokio::test]
    async fn of_an_answer_that_comes_instead_of_the_request_being_read_no_more_is_kept_than_the_request_is_large() -> anyhow::Result<()> {
        let (http1, seen) = posted(|mut stream| {
            answer_head(&mut stream, 6 * LARGE)?;
            stream.write_all(&vec![b'a'; 6 * LARGE])?;
            // Until the client is gone.
            while stream.peek(&mut [0]).is_ok_and(|length| length > 0) {
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(0)
        })
        .await?;
        assert_eq!((seen.status, seen.body_length, http1.reusable()), (Some(200), 6 * LARGE as u64, false));
        assert!(http1.buffer.len() <= 2 * (LARGE + MAX_ROOM), "{}", http1.buffer.len());
        Ok(())
    }

    #[tokio::test]
    async fn a_body_that_comes_back_while_it_is_sent_is_an_answer_like_any_other() -> anyhow::Result<()> {
        let (http1, seen) = posted(|mut stream| {
            answer_head(&mut stream, LARGE)?;
            copy(&mut stream.try_clone()?, &mut stream)
        })
        .await?;
        assert_eq!((seen.status, seen.body_length, http1.reusable()), (Some(200), LARGE as u64, true));
        Ok(())
    }
}
