//! An echoing WebSocket (RFC 6455), just enough of it: data frames come back unmasked with their own opcode and
//! fragmentation, ping is answered by pong, close by close. No extensions.

use std::io;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::body::{self, Body};

/// RFC 6455 section 1.3: appended to the client's key before hashing.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// A frame above this closes the connection; nobody tests an echo with more.
const MAX_FRAME: u64 = 16 * 1024 * 1024;

const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// Whether the client asks for a WebSocket.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Answers 101 and echoes from then on, or 400 without a key.
pub(crate) fn accept(mut request: Request<Incoming>) -> Response<Body> {
    let Some(accept) = request.headers().get("sec-websocket-key").and_then(|key| accept_value(key.as_bytes())) else {
        let mut refusal = Response::new(body::fixed("expected the header sec-websocket-key\n"));
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        return refusal;
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            // The client going away is the usual end of it.
            let _gone = serve(upgraded).await;
        }
    });
    let mut response = Response::new(body::fixed(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert("sec-websocket-accept", accept);
    response
}

fn accept_value(key: &[u8]) -> Option<HeaderValue> {
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key);
    hash.update(GUID.as_bytes());
    HeaderValue::from_str(&STANDARD.encode(hash.finish())).ok()
}

async fn serve(upgraded: Upgraded) -> io::Result<()> {
    echo(TokioIo::new(upgraded)).await
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<()> {
    loop {
        let (first, mut payload) = read_frame(&mut stream).await?;
        match first & 0x0F {
            PONG => {}
            PING => write_frame(&mut stream, (first & 0xF0) | PONG, &payload).await?,
            CLOSE => {
                payload.truncate(2);
                write_frame(&mut stream, first, &payload).await?;
                return stream.shutdown().await;
            }
            _ => write_frame(&mut stream, first, &payload).await?,
        }
    }
}

/// One frame: its first byte (fin bit and opcode) and its payload, unmasked.
async fn read_frame<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<(u8, Vec<u8>)> {
    let first = stream.read_u8().await?;
    let second = stream.read_u8().await?;
    let length = match second & 0x7F {
        126 => u64::from(stream.read_u16().await?),
        127 => stream.read_u64().await?,
        short => u64::from(short),
    };
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "frame too long"));
    }
    let mut mask = [0_u8; 4];
    if second & 0x80 != 0 {
        stream.read_exact(&mut mask).await?;
    }
    let mut payload = Vec::new();
    // `take` lets the buffer grow with what really arrives, not with what the header claims.
    (&mut *stream).take(length).read_to_end(&mut payload).await?;
    if (payload.len() as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    Ok((first, payload))
}

async fn write_frame<S: AsyncWrite + Unpin>(stream: &mut S, first: u8, payload: &[u8]) -> io::Result<()> {
    let mut frame = Vec::with_capacity(payload.len() + 10);
    frame.push(first);
    match payload.len() {
        short @ 0..=125 => frame.push(short as u8),
        medium @ 126..=0xFFFF => {
            frame.push(126);
            frame.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    stream.write_all(&frame).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_value_is_that_of_the_standards_example() {
        let value = accept_value(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(value, Some(HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    }

    #[tokio::test]
    async fn a_masked_message_comes_back_unmasked_and_close_ends_it() -> io::Result<()> {
        let (mut client, server) = tokio::io::duplex(1024);
        let served = tokio::spawn(echo(server));
        let masked: Vec<u8> = b"hi".iter().zip([1, 2]).map(|(byte, key)| byte ^ key).collect();
        client.write_all(&[0x81, 0x82, 1, 2, 3, 4]).await?;
        client.write_all(&masked).await?;
        let mut echoed = [0; 4];
        client.read_exact(&mut echoed).await?;
        assert_eq!(&echoed, b"\x81\x02hi");
        client.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await?;
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await?;
        assert_eq!(rest, [0x88, 0]);
        served.await.map_err(io::Error::other)?
    }

    #[tokio::test]
    async fn a_frame_that_claims_too_much_is_refused() {
        let mut claim: &[u8] = &[0x82, 127, 0xFF, 0, 0, 0, 0, 0, 0, 0];
        assert!(read_frame(&mut claim).await.is_err());
    }
}
