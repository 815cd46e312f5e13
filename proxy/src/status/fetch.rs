//! One HTTP request to the local application: for scrapes and forwarded probes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};

/// Traffic of the proxy to its application comes from here; the capture rules leave it alone.
fn source(destination: SocketAddr) -> IpAddr {
    match destination {
        SocketAddr::V4(_) => Ipv4Addr::new(127, 0, 0, 6).into(),
        SocketAddr::V6(_) => Ipv6Addr::from_bits(6).into(),
    }
}

/// An answer with its body, cut at the limit given.
#[derive(Debug)]
pub struct Answer {
    /// Status line and headers.
    pub head: http::response::Parts,
    /// At most the limit.
    pub body: Bytes,
}

/// Connects, from 127.0.0.6 or ::6.
pub async fn connect(destination: SocketAddr) -> io::Result<TcpStream> {
    let socket = if destination.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Where that address cannot be used there are no capture rules either.
    let _ = socket.bind(SocketAddr::new(source(destination), 0));
    socket.connect(destination).await
}

/// Sends a request without a body over a fresh connection and reads the answer within `time`.
///
/// # Errors
/// Connecting, the exchange, or the time given.
pub async fn fetch(destination: SocketAddr, request: Request<Empty<Bytes>>, limit: usize, time: Duration) -> anyhow::Result<Answer> {
    let exchange = async {
        let stream = connect(destination).await.with_context(|| format!("cannot connect to {destination}"))?;
        send(stream, request, limit).await
    };
    match tokio::time::timeout(time, exchange).await {
        Ok(answer) => answer,
        Err(_) => bail!("no answer from {destination} within {time:?}"),
    }
}

/// Sends a request over a stream that is connected (and secured) already.
pub async fn send<IO>(stream: IO, request: Request<Empty<Bytes>>, limit: usize) -> anyhow::Result<Answer>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // The connection's own errors arrive through the request as well.
    let driver = tokio::spawn(async move { drop(connection.await) });
    let answer = read(sender.send_request(request).await?, limit).await;
    driver.abort();
    answer
}

/// The same over HTTP/2; the request's URI names scheme and authority.
pub async fn send_http2<IO>(stream: IO, request: Request<Empty<Bytes>>, limit: usize) -> anyhow::Result<Answer>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let driver = tokio::spawn(async move { drop(connection.await) });
    let answer = read(sender.send_request(request).await?, limit).await;
    driver.abort();
    answer
}

async fn read(response: Response<Incoming>, limit: usize) -> anyhow::Result<Answer> {
    let (head, mut incoming) = response.into_parts();
    let mut body = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        if let Ok(data) = frame?.into_data() {
            let room = limit.saturating_sub(body.len());
            body.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
            if body.len() >= limit {
                break;
            }
        }
    }
    Ok(Answer { head, body: body.freeze() })
}
