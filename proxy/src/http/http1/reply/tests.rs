//! Answers and a 100 to clients that do not read, and answers to requests that came to no end.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use futures_util::Stream;
use http::{Response, Version};
use http_body_util::StreamBody;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::http::http1::wire::Wire;
use crate::listener::Transport;
use crate::prefixed::Prefixed;

const ASKED: Asked = Asked { version: Version::HTTP_11, head_only: false, keep_alive: true, expects_continue: false };

impl Outgoing for http_body_util::Full<Bytes> {}
impl<S: Stream<Item = Result<Frame<Bytes>, ()>> + Unpin> Outgoing for StreamBody<S> {}

/// A wire to a client whose window is full and of which `read` was read already, and that client.
async fn full_after(read: &'static str) -> (Shared, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let server = listener.accept().await.unwrap().0;
    // The kernel may find room once more after it said that there was none.
    while tokio::time::timeout(std::time::Duration::from_millis(50), server.writable()).await.is_ok() {
        let _ = server.try_write(&[b'-'; 64 * 1024]);
    }
    (Wire::shared(Prefixed::new(read.into(), Transport::Plain(server.into()))), client)
}

/// A task that counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Bell {
    fn rings(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_100_that_the_client_had_no_room_for_wakes_both_who_wait_for_it() {
    for reader_comes_last in [true, false] {
        let (wire, mut client) = full_after("POST / HTTP/1.1\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n").await;
        poll_fn(|cx| lock(&wire).poll_head(false, cx)).await;
        let number = lock(&wire).request();
        let (reader, owner) = (Arc::<Bell>::default(), Arc::<Bell>::default());
        let (read_waker, own_waker) = (Waker::from(Arc::clone(&reader)), Waker::from(Arc::clone(&owner)));
        let read = || lock(&wire).poll_body(number, &mut Context::from_waker(&read_waker)).is_pending();
        let own = || {
            let mut cx = Context::from_waker(&own_waker);
            assert!(lock(&wire).poll_gone(&mut cx).is_pending());
            lock(&wire).poll_flush(&mut cx).is_pending()
        };
        // The kernel knows only of the last of them.
        assert!(read() && own());
        if reader_comes_last {
            assert!(read());
        }
        let last = if reader_comes_last { &reader } else { &owner };
        let mut room = vec![0; 64 * 1024];
        while last.rings() == 0 {
            let _ = tokio::time::timeout(std::time::Duration::from_millis(5), client.read(&mut room)).await;
        }
        let (before, other) = if reader_comes_last { (owner.rings(), &owner) } else { (reader.rings(), &reader) };
        assert!(if reader_comes_last { read() } else { !own() }, "the 100 is sent");
        assert!(lock(&wire).unsent.is_empty());
        assert!(other.rings() > before, "reader last: {reader_comes_last}");
    }
}

/// The body of an answer whose time is over.
struct Overdue;

impl http_body::Body for Overdue {
    type Data = Bytes;
    type Error = ();

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
        Poll::Pending
    }
}

impl Outgoing for Overdue {
    fn poll_overdue(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

#[tokio::test]
async fn an_answer_is_held_to_its_time_while_a_100_is_stuck_before_it() {
    let (wire, _client) = full_after("POST / HTTP/1.1\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n").await;
    poll_fn(|cx| lock(&wire).poll_head(false, cx)).await;
    let number = lock(&wire).request();
    poll_fn(|cx| {
        assert!(lock(&wire).poll_body(number, cx).is_pending());
        Poll::Ready(())
    })
    .await;
    assert!(!lock(&wire).unsent.is_empty(), "the 100");
    let mut reply = Reply::new(Response::new(Overdue), ASKED);
    // At its first turn an answer may give way to others.
    let sent = poll_fn(|cx| reply.poll_send(&wire, cx));
    assert_eq!(tokio::time::timeout(std::time::Duration::from_secs(5), sent).await, Ok(Err(Cut)));
}

#[tokio::test]
async fn an_answer_that_broke_off_while_the_client_did_not_read_is_not_complete() {
    let (wire, mut client) = full_after("").await;
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
        let server = Transport::Plain(listener.accept().await.unwrap().0.into());
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
