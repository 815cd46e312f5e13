//! Ports that speak plain TCP: an echo, optionally with a line that says who answers.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Sends `greeting` at once and `preface` before the first bytes that come back (both may be empty), and returns every
/// byte until the client ends its side.
pub(crate) async fn echo(mut stream: TcpStream, greeting: &str, preface: &str) -> io::Result<()> {
    stream.write_all(greeting.as_bytes()).await?;
    let mut preface = preface.as_bytes();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return stream.shutdown().await;
        }
        stream.write_all(std::mem::take(&mut preface)).await?;
        stream.write_all(buffer.get(..read).unwrap_or_default()).await?;
    }
}
