//! What one request may cost, in numbers that are the same on every machine.
//!
//! One test in a process of its own: the counts are the process's.

#[path = "../direct/fixture.rs"]
#[allow(dead_code, reason = "shared with other tests; this one uses a part")]
mod fixture;
#[path = "../direct/http_fixture.rs"]
#[allow(dead_code, reason = "shared with other tests; this one uses a part")]
mod http_fixture;
#[allow(dead_code, reason = "shared with other tests; this one uses a part")]
mod sys;

use http_fixture::{Client, default_retries, in_front_of};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Heap allocations per plain HTTP/1.1 request (design, section 5). A bare hyper relay makes 8.
const ALLOCATIONS: usize = 10;

const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nhost: web.shop\r\nuser-agent: curl/8\r\naccept: */*\r\n\
    x-request-id: 12345678-1234-4123-8123-123456789012\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: text/plain\r\n\
    date: Fri, 20 Nov 2026 11:40:41 GMT\r\n\r\nhello";

/// Answers whatever one read brings, without allocating.
async fn origin() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
            stream.write_all(ANSWER).await.expect("write");
        }
    });
    address
}

async fn exchanges(client: &mut Client, count: usize) {
    let mut buffer = [0; 4096];
    for _ in 0..count {
        client.0.write_all(REQUEST).await.expect("write");
        assert!(client.0.read(&mut buffer).await.expect("read") > 0);
    }
}

#[tokio::test]
async fn a_request_with_routing_retries_and_metrics_on_keeps_to_the_budget_of_allocations() {
    let proxy = in_front_of(origin().await, |route| route.retry = Some(default_retries().into()));
    let mut client = Client::of(&proxy).await;
    exchanges(&mut client, 200).await;
    let before = sys::allocations();
    exchanges(&mut client, 1000).await;
    let made = sys::allocations() - before;
    assert!(made <= ALLOCATIONS * 1000, "{made} allocations in 1000 requests");
}
