//! Requests that are no plain HTTP exchange: one TCP conversation, or one WebSocket message, per request.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
    net::TcpStream,
};

use crate::{
    answer::{Answer, Cause, Failure},
    http::{authority, describe},
    plan::Plan,
    pool::Dialer,
};

/// Response heads and lines above this are cut off as broken.
const MAX_LINE: u64 = 64 * 1024;

/// Connects, sends the body (a server may also speak first), reads one line. Closing without a line is an error.
pub(crate) async fn tcp(plan: &Plan, dialer: &Dialer, answer: &mut Answer) -> Result<(), Failure> {
    let mut stream = BufStream::new(dialer.tcp().await?);
    let lost = |error| Failure::new(Cause::Closed, error);
    stream.write_all(&plan.body).await.map_err(lost)?;
    stream.flush().await.map_err(lost)?;
    let line = line(&mut stream).await?;
    answer.bytes = line.len() as u64;
    describe(plan, &HeaderMap::new(), &line, answer);
    Ok(())
}

/// Upgrades, sends the body as one text message and expects it back.
pub(crate) async fn websocket(plan: &Plan, dialer: &Dialer, answer: &mut Answer) -> Result<(), Failure> {
    let mut stream = BufStream::new(dialer.tcp().await?);
    let lost = |error| Failure::new(Cause::Closed, error);
    stream.write_all(&upgrade_head(plan, dialer)).await.map_err(lost)?;
    stream.flush().await.map_err(lost)?;
    let (status, headers) = response_head(&mut stream).await?;
    answer.status = Some(status);
    if status != 101 {
        describe(plan, &headers, b"", answer);
        return Ok(());
    }
    let message = plan.body.get(..plan.body.len().min(125)).unwrap_or_default();
    let echoed = exchange_message(&mut stream, message).await.map_err(|error| Failure::new(Cause::Body, error))?;
    answer.bytes = echoed.len() as u64;
    describe(plan, &headers, &echoed, answer);
    if echoed == message { Ok(()) } else { Err(Failure::new(Cause::Protocol, "another message came back than was sent")) }
}

fn upgrade_head(plan: &Plan, dialer: &Dialer) -> Vec<u8> {
    let mut head = format!("GET {} HTTP/1.1\r\n", dialer.target.path_and_query).into_bytes();
    let mut line = |name: &str, value: &[u8]| {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    };
    line("host", authority(plan, &dialer.target).as_bytes());
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
    let mut headers = HeaderMap::new();
    loop {
        let field = line(stream).await?;
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
async fn exchange_message(stream: &mut BufStream<TcpStream>, message: &[u8]) -> std::io::Result<Vec<u8>> {
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
async fn close(stream: &mut BufStream<TcpStream>) {
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
        Err(error) => Err(Failure::new(Cause::Closed, error)),
        Ok(0) => Err(Failure::new(Cause::Closed, "closed without an answer")),
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
    async fn a_peer_that_closes_or_babbles_is_an_error() {
        let closed = response_head(&mut &b""[..]).await.map_err(|failure| failure.cause);
        assert_eq!(closed.err(), Some(Cause::Closed));
        let babble = response_head(&mut &b"220 ready\r\n\r\n"[..]).await.map_err(|failure| failure.cause);
        assert_eq!(babble.err(), Some(Cause::Protocol));
    }
}
