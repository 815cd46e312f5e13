//! Writes of one turn leave in one call; flushes, back-pressure and the end are kept.

use std::future::poll_fn;
use std::pin::pin;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Counts the writes that reach a pipe which takes `room` bytes before it must be read.
#[derive(Debug)]
struct Pipe {
    end: tokio::io::DuplexStream,
    writes: Arc<Mutex<usize>>,
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.end).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.end).poll_write(cx, bytes));
        *lock(&self.writes) += 1;
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.end).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.end).poll_shutdown(cx)
    }
}

fn pipe(room: usize) -> (BatchedIo<Pipe>, tokio::io::DuplexStream, Arc<Mutex<usize>>) {
    let (end, other) = tokio::io::duplex(room);
    let writes = Arc::default();
    (BatchedIo::new(Pipe { end, writes: Arc::clone(&writes) }), other, writes)
}

#[tokio::test]
async fn what_is_written_and_flushed_in_one_turn_leaves_as_one_write() {
    let (mut io, mut other, writes) = pipe(1 << 20);
    let sender = io.sender();
    let turn = async {
        for frame in [&b"one "[..], b"two ", b"three"] {
            io.write_all(frame).await.expect("collected");
            io.flush().await.expect("ignored");
        }
    };
    sender.run(pin!(turn)).await;
    let mut read = [0; 13];
    other.read_exact(&mut read).await.expect("sent");
    assert_eq!((&read, *lock(&writes)), (b"one two three", 1));
}

#[tokio::test]
async fn a_slow_reader_gets_every_byte_in_order_and_holds_the_writer_back() {
    let (mut io, mut other, _) = pipe(1000);
    let sender = io.sender();
    let sent: Vec<u8> = (0..500_000_u32).map(|n| (n % 251) as u8).collect();
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        let turn = async {
            // Small writes are collected, large ones go past the collection.
            for chunk in sent.chunks(3000).flat_map(|chunk| chunk.chunks(2500)).chain([&sent[..100_000]]) {
                io.write_all(chunk).await.expect("taken");
            }
            io.shutdown().await.expect("all sent");
        };
        sender.run(pin!(turn)).await;
    });
    let mut read = Vec::new();
    other.read_to_end(&mut read).await.expect("read");
    writing.await.expect("written");
    assert_eq!(read.len(), 600_000);
    assert!(read[..500_000] == expected[..] && read[500_000..] == expected[..100_000]);
}

#[tokio::test]
async fn what_a_session_holds_when_the_socket_is_full_is_sent_without_another_frame() {
    let (end, mut other) = tokio::io::duplex(1000);
    let mut io = BatchedIo::new(tokio::io::BufWriter::with_capacity(64 * 1024, end));
    let sender = io.sender();
    let connection = tokio::spawn(async move {
        let turn = async {
            io.write_all(&[7; 10_000]).await.expect("taken");
            std::future::pending::<()>().await;
        };
        sender.run(pin!(turn)).await;
    });
    let mut read = [0; 10_000];
    let reading = tokio::time::timeout(std::time::Duration::from_secs(10), other.read_exact(&mut read));
    reading.await.expect("sent in time").expect("read");
    assert!(read.iter().all(|byte| *byte == 7));
    connection.abort();
}

#[tokio::test]
async fn no_more_is_collected_than_a_bound() {
    let (mut io, _other, _) = pipe(1);
    let mut collected = 0;
    poll_fn(|cx| {
        while let Poll::Ready(taken) = Pin::new(&mut io).poll_write(cx, &[0; 1000]) {
            collected += taken.expect("taken");
        }
        Poll::Ready(())
    })
    .await;
    assert!(collected <= MOST, "{collected}");
}

#[tokio::test]
async fn a_connection_whose_last_write_failed_hears_of_it_at_its_next_read() {
    let (mut io, other, _) = pipe(1000);
    drop(other);
    let sender = io.sender();
    sender.run(pin!(async { io.write_all(b"into the void").await })).await.expect("collected");
    let error = io.read_u8().await.expect_err("the write failed");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}
