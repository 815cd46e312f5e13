//! The client side of gRPC's health check: one call of `grpc.health.v1.Health/Check`.

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpStream;

/// An answer is a few bytes; anything longer is not one.
const LIMIT: usize = 4 << 10;
const SERVING: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Asks for the health of `service` (empty = the server as a whole).
///
/// # Errors
/// No answer, or one that is not SERVING.
pub async fn check(stream: TcpStream, service: &str) -> anyhow::Result<()> {
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let driver = tokio::spawn(async move { drop(connection.await) });
    let request = Request::post("http://localhost/grpc.health.v1.Health/Check")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(framed(&HealthCheckRequest { service: service.to_owned() })))?;
    let response = sender.send_request(request).await?;
    let status = response.headers().get("grpc-status").cloned();
    let body = Limited::new(response.into_body(), LIMIT).collect().await.map_err(anyhow::Error::from_boxed);
    driver.abort();
    if let Some(status) = status.filter(|status| status != "0") {
        bail!("the server answered grpc-status {}", String::from_utf8_lossy(status.as_bytes()));
    }
    verdict(&body?.to_bytes())
}

fn framed(message: &HealthCheckRequest) -> Bytes {
    let length = u32::try_from(message.encoded_len()).unwrap_or(u32::MAX);
    let mut frame = vec![0];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&message.encode_to_vec());
    frame.into()
}

fn verdict(body: &[u8]) -> anyhow::Result<()> {
    let message = body.get(5..).context("the server answered without a message")?;
    match HealthCheckResponse::decode(message)?.status {
        SERVING => Ok(()),
        other => bail!("the server's health is {other}, not SERVING (1)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_serving_is_healthy() {
        assert!(verdict(&[0, 0, 0, 0, 2, 8, 1]).is_ok());
        assert!(verdict(&[0, 0, 0, 0, 2, 8, 2]).expect_err("not serving").to_string().contains("not SERVING"));
        assert!(verdict(&[0, 0, 0, 0, 0]).is_err());
        assert!(verdict(&[]).is_err());
    }

    #[test]
    fn a_request_is_one_uncompressed_message() {
        assert_eq!(framed(&HealthCheckRequest { service: "db".into() })[..], [0, 0, 0, 0, 4, 10, 2, b'd', b'b']);
    }
}
