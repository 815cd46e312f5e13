//! Bulk transfers go through pipes, and nobody can tell but by the cost: half-close, resets, counts and back-pressure are those
//! of copied bytes.

use std::time::Duration;

use outrigger_proxy::listener::EntranceKind::Outbound;
use outrigger_proxy::tcp::Pipes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::*;
use crate::tcp_fixture::{opaque, service, vip};

/// Enough that a direction takes a pipe.
const BULK: usize = 2 * 1024 * 1024;

/// A forwarded connection: the end that sends in the direction under test, and the other one.
struct Flow {
    proxy: Proxy,
    sender: TcpStream,
    receiver: TcpStream,
    spliced: bool,
}

impl Flow {
    /// `up` = the client sends; `spliced` = bulk has gone that way.
    async fn new(up: bool, spliced: bool) -> Flow {
        let origin = Origin::start().await;
        let proxy = Proxy::plain(opaque(service(&[origin.address()])));
        let client = proxy.capture(Outbound, vip()).await;
        let (server, _) = origin.accept().await;
        let (sender, receiver) = if up { (client, server) } else { (server, client) };
        let mut flow = Flow { proxy, sender, receiver, spliced };
        if spliced {
            flow.send(BULK).await;
        } else {
            flow.send(100).await;
        }
        assert_eq!(flow.pipes().counts().0, usize::from(spliced), "pipes in use");
        flow
    }

    /// All four kinds, with a name for messages.
    async fn kinds() -> Vec<(String, Flow)> {
        let mut kinds = Vec::new();
        for (up, spliced) in [(true, true), (true, false), (false, true), (false, false)] {
            let name = format!("client sends: {up}, spliced: {spliced}");
            kinds.push((name, Flow::new(up, spliced).await));
        }
        kinds
    }

    fn pipes(&self) -> &Pipes {
        &self.proxy.worker.pipes
    }

    /// Sends bytes and compares what arrives.
    async fn send(&mut self, count: usize) {
        let sent = pattern(count);
        let mut received = vec![0; count];
        let (written, read) = soon(async { tokio::join!(self.sender.write_all(&sent), self.receiver.read_exact(&mut received)) }).await;
        written.expect("write");
        read.expect("read");
        assert!(sent == received, "other bytes than were sent");
    }

    async fn pipes_in_use(&self, wanted: usize) {
        let reached = async {
            while self.pipes().counts().0 != wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let limit = Duration::from_secs(8);
        tokio::time::timeout(limit, reached).await.unwrap_or_else(|_| panic!("{:?} instead of {wanted} in use", self.pipes().counts()));
    }
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("linger");
    drop(stream);
}

#[tokio::test]
async fn a_direction_that_ends_leaves_the_other_open_until_it_ends_too() {
    for (kind, mut flow) in Flow::kinds().await {
        flow.sender.shutdown().await.expect("shutdown");
        assert_eq!(rest(&mut flow.receiver).await, b"", "{kind}: only the end was missing");
        flow.receiver.write_all(b"still open").await.expect("write");
        expect(&mut flow.sender, "still open").await;
        flow.receiver.shutdown().await.expect("shutdown");
        assert_eq!(rest(&mut flow.sender).await, b"", "{kind}");
        flow.pipes_in_use(0).await;
    }
}

#[tokio::test]
async fn the_end_comes_after_the_last_byte_of_a_bulk_transfer() {
    for (kind, mut flow) in Flow::kinds().await {
        let sent = pattern(BULK + 12_345);
        let sending = async {
            flow.sender.write_all(&sent).await.expect("write");
            flow.sender.shutdown().await.expect("shutdown");
        };
        let ((), received) = tokio::join!(sending, rest(&mut flow.receiver));
        assert!(received == sent, "{kind}: {} of {} bytes", received.len(), sent.len());
    }
}

#[tokio::test]
async fn a_reset_by_the_sender_reaches_the_receiver_as_one() {
    for (kind, mut flow) in Flow::kinds().await {
        reset(flow.sender);
        let error = soon(flow.receiver.read(&mut [0; 8])).await.expect_err(&kind);
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{kind}");
    }
}

#[tokio::test]
async fn a_reset_by_the_receiver_reaches_the_sender_as_one() {
    for (kind, mut flow) in Flow::kinds().await {
        reset(flow.receiver);
        let error = soon(flow.sender.read(&mut [0; 8])).await.expect_err(&kind);
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{kind}");
    }
}

#[tokio::test]
async fn a_reset_in_the_midst_of_a_bulk_transfer_frees_the_pipe() {
    for up in [true, false] {
        let mut flow = Flow::new(up, true).await;
        // Nobody reads: the pipe holds bytes that can go nowhere.
        let stuck = async { while flow.sender.write_all(&pattern(65_536)).await.is_ok() {} };
        assert!(tokio::time::timeout(A_WHILE, stuck).await.is_err(), "back-pressure reaches the sender");
        reset(flow.receiver);
        let error = soon(async {
            loop {
                if let Err(error) = flow.sender.write_all(&pattern(65_536)).await {
                    return error;
                }
            }
        });
        assert!(is_end(error.await.kind()));
        while flow.proxy.worker.pipes.counts().0 > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(flow.proxy.worker.pipes.counts(), (0, 0), "a pipe with bytes of another connection is not kept");
    }
}

fn is_end(kind: std::io::ErrorKind) -> bool {
    matches!(kind, std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe)
}

#[tokio::test]
async fn a_slow_receiver_loses_nothing() {
    let mut flow = Flow::new(true, true).await;
    let sent = pattern(8 * BULK);
    let (mut receiver, mut received) = (flow.receiver, Vec::new());
    let reading = async {
        let mut piece = vec![0; 300_000];
        while received.len() < sent.len() {
            let count = receiver.read(&mut piece).await.expect("read");
            received.extend_from_slice(&piece[..count]);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let (written, ()) = soon(async { tokio::join!(flow.sender.write_all(&sent), reading) }).await;
    written.expect("write");
    assert!(received == sent);
}

#[tokio::test]
async fn bytes_are_counted_while_a_bulk_transfer_lives() {
    let flow = Flow::new(false, true).await;
    let all = format!("}} {BULK}");
    let counted = async {
        while !flow.proxy.metric("istio_tcp_sent_bytes_total", &["reporter"]).await.ends_with(&all) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(8), counted).await.expect("reported within the interval");
    flow.proxy.metric("istio_tcp_connections_opened_total", &["} 1"]).await;
}

#[tokio::test]
async fn pipes_come_back_when_a_connection_turns_to_small_talk_or_falls_silent() {
    let mut chatty = Flow::new(true, true).await;
    for _ in 0..40 {
        chatty.send(700).await;
    }
    assert_eq!(chatty.pipes().counts(), (0, 1), "the connection lives, its pipe is free");
    let silent = Flow::new(false, true).await;
    silent.pipes_in_use(0).await;
    assert!(silent.spliced && silent.pipes().counts().1 == 1);
}

#[tokio::test]
async fn small_exchanges_never_take_a_pipe() {
    let mut flow = Flow::new(true, false).await;
    for _ in 0..500 {
        flow.send(1000).await;
    }
    assert_eq!(flow.pipes().counts(), (0, 0));
}

#[tokio::test]
async fn without_a_pipe_to_be_had_bulk_is_copied() {
    let mut flow = Flow::new(true, false).await;
    let pipes = flow.pipes().clone();
    let taken: Vec<_> = std::iter::from_fn(|| pipes.lend()).collect();
    assert!(!taken.is_empty());
    flow.send(BULK).await;
    assert_eq!(pipes.counts().0, taken.len());
    drop(taken);
    assert_eq!(pipes.counts(), (0, 2), "few are kept");
    flow.send(BULK).await;
    assert_eq!(pipes.counts(), (1, 1), "the next bulk finds one");
}
