//! Connections made from inside a namespace by the testbed itself: probes, the proxies' admin pages.
//!
//! A socket belongs to the namespace it was made in, for ever; so only its making needs a thread in there.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};

use super::netns::NetNs;

/// Longest body read; a configuration dump of a large mesh has some megabytes.
const LONGEST_BODY: usize = 64 << 20;

/// Answer to a GET.
#[derive(Clone, Debug)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Whole body.
    pub body: Bytes,
}

/// Connects from inside the namespace. Call it in a tokio runtime.
///
/// # Errors
/// When the namespace is gone or nothing accepts.
pub async fn connect(netns: &NetNs, target: SocketAddr) -> Result<TcpStream> {
    let namespace = netns.clone();
    let socket = tokio::task::spawn_blocking(move || namespace.run(|| socket(target))).await???;
    let socket = TcpSocket::from_std_stream(socket.into());
    socket.connect(target).await.with_context(|| format!("connecting to {target}"))
}

fn socket(target: SocketAddr) -> std::io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(target), socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// GET by HTTP/1.1 from inside the namespace, on a connection of its own.
///
/// # Errors
/// When nothing accepts, or what answers is not HTTP.
pub async fn get(netns: &NetNs, target: SocketAddr, path: &str, headers: &[(String, String)]) -> Result<Response> {
    let stream = connect(netns, target).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let mut request = hyper::Request::get(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") });
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header("host", target.to_string());
    }
    request = request.header("connection", "close").header("user-agent", "outrigger-testbed");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let answer = async {
        let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LONGEST_BODY).collect().await.map_err(anyhow::Error::from_boxed)?;
        anyhow::Ok(Response { status, body: body.to_bytes() })
    };
    let answer = answer.await.with_context(|| format!("GET {path} from {target}"));
    driver.abort();
    answer
}
