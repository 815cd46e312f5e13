//! Answers to clients that do not read, or whose requests came to no end.

use std::future::poll_fn;
use std::sync::Arc;

use http::{Response, Version};
use http_body_util::StreamBody;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::http::http1::wire::Wire;
use crate::listener::{Prefixed, Transport};

const ASKED: Asked =
    Asked { version: Version::HTTP_11, head_only: false, keep_alive: true, expects_continue: false, takes_trailers: false };

/// A wire to a client whose window is full, and that client.
async fn full() -> (Shared, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let server = listener.accept().await.unwrap().0;
    // The kernel may find room once more after it said that there was none.
    while tokio::time::timeout(std::time::Duration::from_millis(50), server.writable()).await.is_ok() {
        let _ = server.try_write(&[b'-'; 64 * 1024]);
    }
    (Wire::shared(Prefixed::new(Bytes::new(), Transport::Plain(server))), client)
}

#[tokio::test]
async fn an_answer_that_broke_off_while_the_client_did_not_read_is_not_complete() {
    let (wire, mut client) = full().await;
    let frames = [Ok(Frame::data(Bytes::from_static(b"half"))), Err(())];
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let mut reply = Reply::new(Response::new(body), ASKED);
    for _ in 0..2 {
        poll_fn(|cx| {
            assert!(reply.poll_send(&wire, cx).is_pending(), "nothing can be written");
            Poll::Ready(())
        })
        .await;
    }
    let read = tokio::spawn(async move {
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).await.unwrap();
        bytes
    });
    assert_eq!(poll_fn(|cx| reply.poll_send(&wire, cx)).await, Err(Cut));
    drop(Arc::into_inner(wire));
    assert!(read.await.unwrap().ends_with(b"\r\n\r\n4\r\nhalf\r\n"), "what came before is sent");
}

#[tokio::test]
async fn an_answer_to_a_request_whose_body_broke_off_says_that_it_is_the_last() {
    for (body, kept) in [("0\r\n\r\n", true), ("no size\r\n", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let server = Transport::Plain(listener.accept().await.unwrap().0);
        let request = format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{body}");
        let wire = Wire::shared(Prefixed::new(request.into(), server));
        poll_fn(|cx| lock(&wire).poll_head(false, cx)).await;
        let number = lock(&wire).request();
        let _ = poll_fn(|cx| lock(&wire).poll_body(number, cx)).await;
        let mut reply = Reply::new(Response::new(http_body_util::Full::from("done")), ASKED);
        poll_fn(|cx| reply.poll_send(&wire, cx)).await.unwrap();
        assert_eq!(reply.keeps_alive(), kept, "{body:?}");
        drop(wire);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer.contains("connection: close\r\n"), !kept, "{answer}");
    }
}
