//! Requests and answers as they cross a sidecar.

use crate::http_fixture::*;

#[tokio::test]
async fn a_request_reaches_the_service_and_the_answer_comes_back() {
    let origin = Answering::start(|_, seen| ok(&seen.head)).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut client = Client::of(&proxy).await;
    let got = client.get("/a/b?q=1").await;
    assert_eq!(got.status(), 200);
    let seen = got.text();
    assert!(seen.starts_with("GET /a/b?q=1 HTTP/1.1\r\n"), "{seen}");
    assert_eq!(header(&seen, "host"), Some("web.shop"));
    assert_eq!(header(&seen, "x-envoy-attempt-count"), Some("1"));
    assert_eq!(header(&seen, "x-forwarded-proto"), Some("http"));
    assert_eq!(header(&seen, "x-envoy-decorator-operation"), Some("web.shop.svc.cluster.local:80/*"));
    assert!(header(&seen, "x-request-id").is_some_and(|id| id.len() == 36));
    assert!(header(&seen, "x-envoy-peer-metadata-id").is_some_and(|id| id.starts_with("sidecar~")));
    assert_eq!(got.header("server"), Some("envoy"));
    assert!(got.header("x-envoy-upstream-service-time").is_some() && got.header("date").is_some());
}

#[tokio::test]
async fn one_upstream_connection_serves_one_client_request_by_request() {
    let origin = Answering::start(|number, _| ok(&number.to_string())).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut client = Client::of(&proxy).await;
    for number in 0..20 {
        assert_eq!(client.get("/").await.text(), (2 * number).to_string());
        assert_eq!(client.post("/", "body").await.text(), (2 * number + 1).to_string());
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Answering::start(|_, seen| ok(seen.head.split(' ').nth(1).unwrap_or_default())).await;
    let proxy = in_front_of(origin.address, |_| ());
    let mut client = Client::of(&proxy).await;
    let requests: String = (0..5).map(|n| format!("GET /{n} HTTP/1.1\r\nhost: a\r\n\r\n")).collect();
    client.send(requests).await;
    for n in 0..5 {
        assert_eq!(client.receive().await.text(), format!("/{n}"));
    }
}
