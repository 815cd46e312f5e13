//! Beginnings of connections in pieces, with pauses, and none at all.

use tokio::io::AsyncWriteExt;

use super::*;

const REQUEST: &[u8] = b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn bytes_arriving_one_by_one_are_judged_and_kept() {
    let (mut client, server) = tokio::io::duplex(64);
    let sender = tokio::spawn(async move {
        for byte in REQUEST {
            client.write_all(&[*byte]).await.expect("write");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        client
    });
    let mut inspector = Inspector::new(server, LookFor::Http);
    let verdict = inspector.inspect(Duration::from_secs(1)).await.expect("no error");
    assert_eq!(verdict, Inspected::Spoke(FirstBytes::Http(HttpVersion::Http1)));
    let (read, mut rest) = inspector.into_parts();
    let mut all = read.to_vec();
    drop(sender.await.expect("sender"));
    rest.read_to_end(&mut all).await.expect("rest");
    assert_eq!(all, REQUEST, "every byte exactly once");
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_reported_and_may_speak_later() {
    let (mut client, server) = tokio::io::duplex(64);
    let mut inspector = Inspector::new(server, LookFor::Http);
    let before = Instant::now();
    assert_eq!(inspector.inspect(Duration::from_millis(100)).await.expect("no error"), Inspected::Silent);
    assert_eq!(before.elapsed(), Duration::from_millis(100));
    client.write_all(REQUEST).await.expect("write");
    let verdict = inspector.inspect(Duration::from_millis(100)).await.expect("no error");
    assert_eq!(verdict, Inspected::Spoke(FirstBytes::Http(HttpVersion::Http1)));
}

#[tokio::test(start_paused = true)]
async fn half_a_word_of_an_unknown_protocol_is_handed_on_after_a_second() {
    let (mut client, server) = tokio::io::duplex(64);
    client.write_all(b"HELLO").await.expect("write");
    let mut inspector = Inspector::new(server, LookFor::Http);
    let before = Instant::now();
    let verdict = inspector.inspect(Duration::from_secs(60)).await.expect("no error");
    assert_eq!(verdict, Inspected::Spoke(FirstBytes::Other));
    assert_eq!(before.elapsed(), REQUEST_LINE_LIMIT);
}

#[tokio::test(start_paused = true)]
async fn a_slow_request_line_still_counts_as_http() {
    let (mut client, server) = tokio::io::duplex(64);
    client.write_all(b"GET /half").await.expect("write");
    let mut inspector = Inspector::new(server, LookFor::Http);
    let verdict = inspector.inspect(Duration::from_secs(60)).await.expect("no error");
    assert_eq!(verdict, Inspected::Spoke(FirstBytes::Http(HttpVersion::Http1)));
}

#[tokio::test(start_paused = true)]
async fn a_client_hello_that_is_never_finished_ends_the_connection() {
    let (mut client, server) = tokio::io::duplex(64);
    client.write_all(b"\x16\x03\x01\x02\x00\x01").await.expect("write");
    let mut inspector = Inspector::new(server, LookFor::TlsOnly);
    let error = inspector.inspect(Duration::from_secs(60)).await.expect_err("time is up");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_client_that_closes_without_a_word_is_closed() {
    let (client, server) = tokio::io::duplex(64);
    drop(client);
    let mut inspector = Inspector::new(server, LookFor::Http);
    assert_eq!(inspector.inspect(Duration::from_secs(1)).await.expect("no error"), Inspected::Closed);
}

#[test]
fn only_what_is_looked_for_is_waited_for() {
    assert_eq!(judge(b"GET /", LookFor::Http), None);
    assert_eq!(judge(b"GET /", LookFor::TlsOnly), Some(FirstBytes::Other));
}

#[test]
fn a_request_line_longer_than_the_limit_is_http_and_a_decision_always_comes() {
    let line = [b"GET /".as_slice(), &[b'x'; MAX_INSPECTED]].concat();
    assert_eq!(judge(&line, LookFor::Http), Some(FirstBytes::Http(HttpVersion::Http1)));
    let endless = [b"\x16\x03\x01\x40\x00\x01\x00\x3f\xff".as_slice(), &[0; MAX_INSPECTED]].concat();
    assert_eq!(judge(&endless[..MAX_INSPECTED], LookFor::TlsOnly), Some(FirstBytes::Other));
}
