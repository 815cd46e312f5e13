//! A session over a pipe: large receives, little room, goodbyes, and what follows a close.

use rustls::{ClientConnection, ServerConnection};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::identity::tests::pair;

type Client = Session<DuplexStream, ClientConnection>;
type Server = Session<DuplexStream, ServerConnection>;

/// Both ends of a session over a pipe that holds `room` bytes.
async fn session(room: usize) -> (Client, Server) {
    let (client, server) = pair();
    let (near, far) = duplex(room);
    let name = ServerName::try_from("peer.test").expect("a name");
    let connect = tokio_rustls::TlsConnector::from(client).connect(name, near);
    let accept = tokio_rustls::TlsAcceptor::from(server).accept(far);
    let (client, server) = tokio::join!(connect, accept);
    (Session::new(client.expect("handshake").into_inner()), Session::new(server.expect("handshake").into_inner()))
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

#[tokio::test]
async fn whatever_the_sizes_of_reads_writes_and_socket_every_byte_arrives_in_order() {
    for (room, write, read) in [(100, 7000, 333), (1 << 20, 200_000, 9), (5000, 100_000, 150_000), (70_000, 1, 70_000), (64, 64, 64)] {
        let (mut client, mut server) = session(room).await;
        let sent = content(if write == 1 { 5000 } else { 300_000 });
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            for chunk in sent.chunks(write) {
                client.write_all(chunk).await.expect("written");
            }
            client.shutdown().await.expect("closed");
            client
        });
        let (mut got, mut buffer) = (Vec::new(), vec![0; read]);
        loop {
            match server.read(&mut buffer).await.expect("read") {
                0 => break,
                count => got.extend_from_slice(&buffer[..count]),
            }
        }
        assert!(got == expected, "room {room}, writes of {write}, reads of {read}: {} bytes", got.len());
        assert!(server.left.is_empty());
        drop(writing.await);
    }
}

#[tokio::test]
async fn a_reader_with_room_gets_several_records_from_one_receive() {
    let (mut client, mut server) = session(1 << 20).await;
    client.write_all(&content(60_000)).await.expect("four records");
    let mut buffer = vec![0; 128 * 1024];
    assert_eq!(server.read(&mut buffer).await.expect("read"), 60_000);
}

#[tokio::test]
async fn a_session_ends_at_close_notify_and_can_still_be_answered() {
    let (mut client, mut server) = session(1 << 20).await;
    client.shutdown().await.expect("closed");
    assert_eq!(server.read(&mut [0; 10]).await.expect("a clean end"), 0);
    assert_eq!(server.read(&mut [0; 10]).await.expect("still ended"), 0);
    server.write_all(b"late").await.expect("the other direction is open");
    let mut late = [0; 4];
    client.read_exact(&mut late).await.expect("read");
    assert_eq!(&late, b"late");
}

#[tokio::test]
async fn a_stream_cut_without_close_notify_is_an_error_and_not_an_end() {
    let (client, mut server) = session(1 << 20).await;
    drop(client);
    let error = server.read(&mut [0; 10]).await.expect_err("truncated");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn bytes_that_were_tampered_with_are_an_error_and_the_peer_is_told() {
    let (mut client, mut server) = session(1 << 20).await;
    client.io.write_all(&[23, 3, 3, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await.expect("written");
    let error = server.read(&mut [0; 10]).await.expect_err("no such record");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let told = client.read(&mut [0; 10]).await.expect_err("an alert");
    assert!(told.to_string().contains("BadRecordMac"), "{told}");
}

#[tokio::test]
async fn an_idle_session_holds_no_receive_buffer() {
    let (mut client, mut server) = session(1 << 20).await;
    client.write_all(&content(30_000)).await.expect("written");
    server.read_exact(&mut vec![0; 30_000]).await.expect("read");
    assert_eq!(server.left.capacity(), 0);
    assert!(SPARE.take().is_some(), "the thread has it back");
}

#[tokio::test]
async fn two_of_us_agree_on_aes_128() {
    let (client, _server) = session(1 << 20).await;
    let suite = client.tls.negotiated_cipher_suite().expect("agreed").suite();
    assert_eq!(suite, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
}
