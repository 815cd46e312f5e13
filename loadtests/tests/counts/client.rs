//! The client's side: connections that send and receive when they are told.

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::scenario::{ANSWER_BYTES, GATEWAY_PORT, HOST, IN_FLIGHT, Scenario};
use crate::stream::{Stream, Tls};
use crate::{http1, http2};

/// One connection to the gateway.
pub struct Client {
    scenario: Scenario,
    stream: Stream,
    codec: Codec,
    /// Requests per round.
    share: usize,
}

enum Codec {
    Http1 { request: Vec<u8>, reader: http1::Reader },
    Http2 { writer: http2::Writer, next_stream: u32 },
}

impl Client {
    /// Connects.
    pub async fn connect(scenario: Scenario, tls: &Tls) -> Result<Client> {
        let tcp = TcpStream::connect(("127.0.0.1", GATEWAY_PORT)).await.context("connecting to the gateway")?;
        tcp.set_nodelay(true)?;
        let mut stream = if scenario.tls_in { tls.connect(tcp, HOST).await? } else { Box::new(tcp) };
        let codec = if scenario.http2 {
            stream.write_all(&[http2::PREFACE, &http2::opening()].concat()).await?;
            Codec::Http2 { writer: http2::Writer::default(), next_stream: 1 }
        } else {
            Codec::Http1 { request: http1::request(&scenario), reader: http1::Reader::default() }
        };
        Ok(Client { scenario, stream, codec, share: IN_FLIGHT / scenario.connections() })
    }

    /// Sends this connection's requests of a round.
    pub async fn send(&mut self) -> Result<()> {
        match &mut self.codec {
            Codec::Http1 { request, .. } => self.stream.write_all(request).await?,
            Codec::Http2 { writer, next_stream } => {
                let mut request = |_| {
                    let stream = *next_stream;
                    *next_stream += 2;
                    writer.request(&self.scenario, stream)
                };
                let requests: Vec<u8> = (0..self.share).flat_map(&mut request).collect();
                self.stream.write_all(&requests).await?;
            }
        }
        Ok(self.stream.flush().await?)
    }

    /// Receives the answers to them; anything but 200 with the whole body is an error.
    pub async fn receive(&mut self) -> Result<()> {
        match &mut self.codec {
            Codec::Http1 { reader, .. } => {
                let line = reader.message(&mut self.stream).await?.context("the proxy closed a client's connection")?;
                ensure!(line.starts_with("HTTP/1.1 200 "), "the proxy answered {line:?}");
            }
            Codec::Http2 { .. } => receive_http2(&mut self.stream, self.share).await?,
        }
        Ok(())
    }
}

async fn receive_http2(stream: &mut Stream, share: usize) -> Result<()> {
    let (mut ended, mut body) = (0, 0);
    while ended < share {
        let frame = http2::Frame::read(stream).await?.context("the proxy closed a client's connection")?;
        frame.refuse_ends()?;
        ensure!(frame.says_ok() || !frame.is_head(), "the proxy did not answer with 200: {frame:?}");
        if let Some(reply) = frame.reply() {
            stream.write_all(&reply).await?;
        }
        ended += usize::from(frame.ends_message());
        body += frame.body_bytes();
    }
    ensure!(body == share * ANSWER_BYTES, "{body} bytes of answers where {} were expected", share * ANSWER_BYTES);
    Ok(())
}
