//! One connection over a pipe that holds little, where what has been written and what has been read can be told apart.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Connection, Limits, Reviewed, Seat};
use crate::webhook::State;

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(30);

/// A client that has asked for this path, and the end of its connection.
async fn asked(path: &str, limits: Limits) -> (DuplexStream, JoinHandle<()>, watch::Sender<bool>) {
    let large = get(|| async { "x".repeat(1 << 20) });
    let router = Router::new().route("/large", large).route("/review", get(|| async { (axum::Extension(Reviewed), "ok") }));
    let router = router.route("/small", get(|| async { "ok" }));
    let (ends, end) = watch::channel(false);
    let connection = Connection { router, tls: None, limits, end };
    let (mut client, server) = tokio::io::duplex(1024);
    let served = tokio::spawn(async move { connection.speak_http(server, &Arc::new(Seat::new()), Arc::new(State::default())).await });
    client.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    (client, served, ends)
}

#[tokio::test]
async fn an_answer_that_nobody_reads_counts_as_a_request_under_way() {
    let limits = Limits { request: SHORT, idle: LONG, idle_stranger: LONG, ..Limits::default() };
    let (_client, served, _ends) = asked("/large", limits).await;
    timeout(LONG / 3, served).await.expect("its time is the request's").unwrap();
}

#[tokio::test]
async fn after_the_answer_the_connection_may_be_idle_for_longer_than_a_request_takes() {
    let limits = Limits { request: SHORT, idle_stranger: LONG, ..Limits::default() };
    let (mut client, mut served, _ends) = asked("/small", limits).await;
    client.read_exact(&mut [0; 16]).await.unwrap();
    assert!(timeout(SHORT * 4, &mut served).await.is_err(), "it is kept");
}

#[tokio::test]
async fn who_has_not_asked_for_a_review_is_let_go_soon() {
    let limits = Limits { idle: LONG, idle_stranger: SHORT, ..Limits::default() };
    let (_client, served, _ends) = asked("/small", limits).await;
    timeout(LONG / 3, served).await.expect("a stranger's time").unwrap();
    let (_client, mut served, _ends) = asked("/review", limits).await;
    assert!(timeout(SHORT * 4, &mut served).await.is_err(), "who has may stay");
}
