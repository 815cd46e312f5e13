//! Ports that speak plain TCP: an echo, optionally after a greeting.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Sends `greeting` (may be empty), then returns every byte until the client ends its side.
pub(crate) async fn echo(mut stream: TcpStream, greeting: &str) -> io::Result<()> {
    stream.write_all(greeting.as_bytes()).await?;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return stream.shutdown().await;
        }
        stream.write_all(buffer.get(..read).unwrap_or_default()).await?;
    }
}
