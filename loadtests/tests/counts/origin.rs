//! The origin: takes requests as they come, answers when it is told.

use std::net::Ipv4Addr;
use std::rc::Rc;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::spawn_local;

use crate::scenario::{ORIGIN_PORT, Scenario};
use crate::stream::{Stream, Tls};
use crate::{http1, http2};

/// A request that waits for its answer, or why there will be none.
pub type Arrival = Result<Ticket>;

/// A request that waits for its answer.
pub struct Ticket {
    connection: Rc<Connection>,
    stream: u32,
}

impl Ticket {
    /// Sends the answer.
    pub async fn answer(self) -> Result<()> {
        let mut side = self.connection.write.lock().await;
        let Side { stream, writer } = &mut *side;
        let bytes = writer.as_mut().map_or_else(http1::answer, |writer| writer.answer(self.stream));
        stream.write_all(&bytes).await?;
        Ok(stream.flush().await?)
    }
}

struct Connection {
    write: Mutex<Side>,
}

struct Side {
    stream: WriteHalf<Stream>,
    /// Of HTTP/2.
    writer: Option<http2::Writer>,
}

/// Serves in the background of a `LocalSet`; every request arrives at the receiver.
pub async fn start(scenario: Scenario, tls: Rc<Tls>) -> Result<mpsc::UnboundedReceiver<Arrival>> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, ORIGIN_PORT)).await.context("the origin's port")?;
    let (arrivals, receiver) = mpsc::unbounded_channel();
    spawn_local(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (arrivals, tls) = (arrivals.clone(), Rc::clone(&tls));
            spawn_local(async move {
                let served = async {
                    tcp.set_nodelay(true)?;
                    let stream = if scenario.tls_out { tls.accept(tcp).await? } else { Box::new(tcp) };
                    serve(scenario.http2, stream, &arrivals).await
                };
                if let Err(error) = served.await {
                    let _gone = arrivals.send(Err(error));
                }
            });
        }
    });
    Ok(receiver)
}

async fn serve(is_http2: bool, stream: Stream, arrivals: &mpsc::UnboundedSender<Arrival>) -> Result<()> {
    let (read, write) = tokio::io::split(stream);
    let side = Side { stream: write, writer: is_http2.then(http2::Writer::default) };
    let connection = Rc::new(Connection { write: Mutex::new(side) });
    let arrived = |stream| drop(arrivals.send(Ok(Ticket { connection: Rc::clone(&connection), stream })));
    if is_http2 { serve_http2(read, &connection, arrived).await } else { serve_http1(read, arrived).await }
}

async fn serve_http1(mut read: ReadHalf<Stream>, arrived: impl Fn(u32)) -> Result<()> {
    let mut reader = http1::Reader::default();
    while reader.message(&mut read).await?.is_some() {
        arrived(0);
    }
    Ok(())
}

async fn serve_http2(mut read: ReadHalf<Stream>, connection: &Connection, arrived: impl Fn(u32)) -> Result<()> {
    let mut preface = [0; http2::PREFACE.len()];
    read.read_exact(&mut preface).await?;
    connection.write.lock().await.stream.write_all(&http2::opening()).await?;
    while let Some(frame) = http2::Frame::read(&mut read).await? {
        frame.refuse_ends()?;
        if let Some(reply) = frame.reply() {
            connection.write.lock().await.stream.write_all(&reply).await?;
        }
        if frame.ends_message() {
            arrived(frame.stream);
        }
    }
    Ok(())
}
