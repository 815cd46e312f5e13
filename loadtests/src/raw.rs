//! Requests that are no plain HTTP exchange: one TCP conversation, or one WebSocket message, per request.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};

use crate::{
    answer::{Cause, Failure},
    io::{Io, lost},
    plan::Plan,
    seen::{Seen, Wants},
    target::{Target, authority},
};

/// Response heads and lines above this are cut off as broken.
const MAX_LINE: u64 = 64 * 1024;
/// So many header fields a response may have, and bytes in its head.
const MAX_FIELDS: usize = 128;
const MAX_HEAD: usize = 256 << 10;

/// Sends the body as a line (a server may also speak first), reads one line. Closing without a line is an error.
pub(crate) async fn line_exchange(io: Io, plan: &Plan, wants: &Wants, seen: &mut Seen) -> Result<(), Failure> {
    let mut stream = BufStream::new(io);
    // A server that reads lines would wait for the end of one that has none until the timeout.
    let end: &[u8] = if plan.body.is_empty() || plan.body.ends_with(b"\n") { b"" } else { b"\n" };
    send(&mut stream, &[&plan.body, end], seen).await?;
    let line = line(&mut stream).await?;
    wants.body(seen, &line);
    Ok(())
}

/// Sends the body and expects it back, byte for byte.
pub(crate) async fn echo(io: &mut Io, plan: &Plan, wants: &Wants, seen: &mut Seen) -> Result<(), Failure> {
    let (mut reader, mut writer) = tokio::io::split(io);
    let there = async {
        writer.write_all(&plan.body).await?;
        writer.flush().await
    };
    let back = async {
        let mut echoed = vec![0; plan.body.len()];
        reader.read_exact(&mut echoed).await.map(|_| echoed)
    };
    // Both at once: a body larger than the buffers on the way comes back before all of it is gone.
    let ((), echoed) = tokio::try_join!(there, back).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Failure::new(Cause::Closed, "closed before all of the body came back"),
        _ => lost(Cause::Closed, &error),
    })?;
    seen.sent = plan.body.len() as u64;
    wants.body(seen, &echoed);
    if echoed == plan.body { Ok(()) } else { Err(Failure::new(Cause::Protocol, "other bytes came back than were sent")) }
}

/// Upgrades, sends the body as one text message and expects it back.
pub(crate) async fn websocket(io: Io, plan: &Plan, target: &Target, wants: &Wants, seen: &mut Seen) -> Result<(), Failure> {
    let mut stream = BufStream::new(io);
    send(&mut stream, &[&upgrade_head(plan, target)], seen).await?;
    let (status, headers) = response_head(&mut stream).await?;
    seen.status = Some(status);
    wants.fields(seen, &headers);
    if status != 101 {
        return Ok(());
    }
    let message = plan.body.get(..plan.body.len().min(125)).unwrap_or_default();
    let echoed = exchange_message(&mut stream, message).await.map_err(|error| Failure::new(Cause::Body, error))?;
    wants.body(seen, &echoed);
    if echoed == message { Ok(()) } else { Err(Failure::new(Cause::Protocol, "another message came back than was sent")) }
}

async fn send(stream: &mut BufStream<Io>, pieces: &[&[u8]], seen: &mut Seen) -> Result<(), Failure> {
    let sent = async {
        for piece in pieces {
            stream.write_all(piece).await?;
        }
        stream.flush().await
    };
    sent.await.map_err(|error| lost(Cause::Closed, &error))?;
    seen.sent = pieces.iter().map(|piece| piece.len() as u64).sum();
    Ok(())
}

fn upgrade_head(plan: &Plan, target: &Target) -> Vec<u8> {
    let mut head = format!("GET {} HTTP/1.1\r\n", target.path_and_query).into_bytes();
    let mut line = |name: &str, value: &[u8]| {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    };
    line("host", authority(plan, target).as_bytes());
    line("connection", b"Upgrade");
    line("upgrade", b"websocket");
    line("sec-websocket-version", b"13");
    // The key guards against caches that mistake the answer; a fixed one serves a test client.
    line("sec-websocket-key", b"b3V0cmlnZ2VyIGNvdW50cw==");
    for (name, value) in plan.headers.iter().filter(|(name, _)| *name != http::header::HOST) {
        line(name.as_str(), value.as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

async fn response_head<S: AsyncBufRead + Unpin>(stream: &mut S) -> Result<(u16, HeaderMap), Failure> {
    let broken = || Failure::new(Cause::Protocol, "not an HTTP/1.1 response");
    let first = line(stream).await?;
    let status = first.strip_prefix(b"HTTP/1.1 ").and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok());
    let status = status.ok_or_else(broken)?;
    let (mut headers, mut length) = (HeaderMap::new(), first.len());
    loop {
        let field = line(stream).await?;
        length += field.len();
        if headers.len() >= MAX_FIELDS || length > MAX_HEAD {
            let limits = format!("more than {MAX_FIELDS} header fields or {} KiB of them", MAX_HEAD >> 10);
            return Err(Failure::new(Cause::Protocol, limits));
        }
        let field = field.trim_ascii_end();
        if field.is_empty() {
            return Ok((status, headers));
        }
        let colon = field.iter().position(|byte| *byte == b':').ok_or_else(broken)?;
        let (name, value) = field.split_at(colon);
        let name = HeaderName::from_bytes(name).map_err(|_| broken())?;
        let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default().trim_ascii()).map_err(|_| broken())?;
        headers.append(name, value);
    }
}

/// Sends one masked text frame of at most 125 bytes (RFC 6455 section 5.2) and reads one unmasked short frame.
async fn exchange_message(stream: &mut BufStream<Io>, message: &[u8]) -> std::io::Result<Vec<u8>> {
    const MASK: [u8; 4] = [0x6F, 0x72, 0x67, 0x67];
    let length = u8::try_from(message.len()).unwrap_or(125);
    let mut frame = vec![0x81, 0x80 | length];
    frame.extend_from_slice(&MASK);
    frame.extend(message.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    stream.write_all(&frame).await?;
    stream.flush().await?;
    let _opcode = stream.read_u8().await?;
    let length = stream.read_u8().await? & 0x7F;
    let mut payload = vec![0; usize::from(length)];
    stream.read_exact(&mut payload).await?;
    close(stream).await;
    Ok(payload)
}

/// Says goodbye and waits a moment for the answer, so that no proxy on the way logs a broken connection.
async fn close(stream: &mut BufStream<Io>) {
    let goodbye = async {
        stream.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await?;
        stream.flush().await?;
        stream.read_u16().await
    };
    let _unanswered = tokio::time::timeout(Duration::from_millis(200), goodbye).await;
}

async fn line<S: AsyncBufRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, Failure> {
    let mut line = Vec::new();
    let read = stream.take(MAX_LINE).read_until(b'\n', &mut line).await;
    match read {
        Err(error) => Err(lost(Cause::Closed, &error)),
        Ok(0) => Err(Failure::new(Cause::Closed, "closed without an answer")),
        Ok(length) if !line.ends_with(b"\n") && (length as u64) < MAX_LINE => {
            Err(Failure::new(Cause::Body, "closed in the middle of a line"))
        }
        Ok(_) => Ok(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_response_head_is_read_up_to_its_empty_line() -> Result<(), Failure> {
        let mut input = &b"HTTP/1.1 101 Switching\r\nX-Pod: a\r\nx-pod:b\r\n\r\nrest"[..];
        let (status, headers) = response_head(&mut input).await?;
        assert_eq!(status, 101);
        assert_eq!(headers.get_all("x-pod").iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(input, b"rest");
        Ok(())
    }

    #[tokio::test]
    async fn a_head_without_end_is_refused_at_its_limits() {
        let many = format!("HTTP/1.1 101 Switching\r\n{}", "x-a: b\r\n".repeat(40_000));
        let long = format!("HTTP/1.1 101 Switching\r\n{}", format!("x-a: {}\r\n", "b".repeat(60_000)).repeat(10));
        for head in [many, long] {
            let failure = response_head(&mut head.as_bytes()).await.expect_err("too much");
            assert_eq!((failure.cause, failure.detail.contains("more than 128 header fields or 256 KiB")), (Cause::Protocol, true));
        }
    }

    #[tokio::test]
    async fn a_line_that_is_cut_off_is_no_answer() {
        assert_eq!(line(&mut &b"web-1:v1\n"[..]).await.map_err(|failure| failure.cause), Ok(b"web-1:v1\n".to_vec()));
        assert_eq!(line(&mut &b"web-1:v"[..]).await.map_err(|failure| failure.cause), Err(Cause::Body));
    }

    #[tokio::test]
    async fn a_peer_that_closes_or_babbles_is_an_error() {
        let closed = response_head(&mut &b""[..]).await.map_err(|failure| failure.cause);
        assert_eq!(closed.err(), Some(Cause::Closed));
        let babble = response_head(&mut &b"220 ready\r\n\r\n"[..]).await.map_err(|failure| failure.cause);
        assert_eq!(babble.err(), Some(Cause::Protocol));
    }
}
