//! What connections keep of configurations that have been replaced: nothing, once their requests are over.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use outrigger_proxy::listener::EntranceKind::{Inbound, Outbound};
use outrigger_proxy::snapshot::Config;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::fixture::*;
use crate::http_fixture::*;

/// Publishes the same configuration anew; the one before, if anybody has it.
fn replace(proxy: &Proxy) -> Weak<Config> {
    let before = proxy.worker.config.load_full();
    proxy.worker.config.publish(Config::build(before.model.clone(), Some(&before)));
    Arc::downgrade(&before)
}

/// Frees what nobody uses, as the control thread does, until this is among it.
async fn is_freed(proxy: &Proxy, config: &Weak<Config>) {
    soon(async {
        while config.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            proxy.worker.config.free_replaced();
        }
    })
    .await;
}

/// An HTTP/2 connection that had an answer.
async fn idle_http2(proxy: &Proxy) -> hyper::client::conn::http2::SendRequest<Empty<Bytes>> {
    let stream = proxy.capture(Outbound, vip()).await;
    let (mut sender, driver) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("handshake");
    tokio::spawn(driver);
    let request = http::Request::get("http://web.shop/").body(Empty::new()).expect("request");
    let answer = soon(sender.send_request(request)).await.expect("answer");
    assert_eq!(soon(answer.into_body().collect()).await.expect("body").to_bytes(), "ok");
    sender
}

/// Bytes that are carried to `origin` and back.
async fn tunnel(proxy: &Proxy, origin: &Origin) -> (TcpStream, TcpStream) {
    let mut client = proxy.capture(Inbound, origin.address()).await;
    client.write_all(b"\0hello").await.expect("write");
    let (mut server, _) = origin.accept().await;
    expect(&mut server, "\0hello").await;
    (client, server)
}

#[tokio::test]
async fn idle_connections_keep_no_configuration_that_was_replaced() {
    let (origin, bytes) = (Answering::start(|_, _| ok("ok")).await, Origin::start().await);
    let proxy = in_front_of(origin.address, |_| ());
    let (mut used, mut unused) = (Client::of(&proxy).await, Client::of(&proxy).await);
    assert_eq!(used.get("/").await.text(), "ok");
    let http2 = idle_http2(&proxy).await;
    let tunnel = tunnel(&proxy, &bytes).await;
    for _ in 0..2 {
        is_freed(&proxy, &replace(&proxy)).await;
    }
    assert_eq!((used.get("/").await.text(), unused.get("/").await.text()), ("ok".to_owned(), "ok".to_owned()));
    is_freed(&proxy, &replace(&proxy)).await;
    drop((http2, tunnel));
}

#[tokio::test]
async fn a_request_keeps_its_configuration_to_its_end() {
    let origin = Origin::start().await;
    let proxy = in_front_of(origin.address(), |_| ());
    let mut client = Client::of(&proxy).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut server, _) = origin.accept().await;
    read_request(&mut server).await.expect("request");
    let before = replace(&proxy);
    proxy.worker.config.free_replaced();
    assert!(before.strong_count() > 1, "it began under it");
    server.write_all(ok("ok").as_bytes()).await.expect("write");
    assert_eq!(client.receive().await.text(), "ok");
    soon(async {
        while before.strong_count() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(before.strong_count(), 1, "the worker does not take it apart");
    is_freed(&proxy, &before).await;
}
