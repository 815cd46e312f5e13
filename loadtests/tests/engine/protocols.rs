//! Every protocol and kind of connection against servers that others wrote.

use std::{fs, time::Duration};

use outrigger_loadtests::{Amount, Cause, Plan, bench::certificates};

use crate::fixture::{Program, free_ports, haproxy, nghttpd, nginx, report};

const ANSWER: &str = "location / { return 200 'web-1:v1'; } location /big { alias $folder/big; } location /none { return 204; }";

fn plain_nginx(folder: &std::path::Path) -> (Program, u16) {
    let [port] = free_ports();
    fs::write(folder.join("big"), vec![b'x'; 3_000_000]).expect("written");
    (nginx(folder, &format!("server {{ listen 127.0.0.1:{port}; {ANSWER} }}"), &[port]), port)
}

fn url(port: u16, path: &str) -> String {
    format!("http://127.0.0.1:{port}{path}")
}

#[tokio::test]
async fn kept_connections_are_used_again_and_each_worker_has_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_nginx, port) = plain_nginx(folder.path());
    let report = report(Plan { concurrency: 8, threads: 2, preconnect: true, ..Plan::new(url(port, "/"), 2000) }).await;
    assert_eq!((report.requests, report.status(200), report.version("v1")), (2000, 2000, 2000), "{:?}", report.error_examples);
    assert!(report.connections.opened <= 8 && report.connections.opened + report.connections.reused == 2000, "{:?}", report.connections);
    assert_eq!(report.answers.iter().map(|answer| answer.index).collect::<Vec<_>>(), (0..2000).collect::<Vec<_>>());
}

#[tokio::test]
async fn bodies_of_every_kind_are_read_to_their_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_nginx, port) = plain_nginx(folder.path());
    for (path, status, bytes) in [("/big", 200, 3_000_000), ("/none", 204, 0), ("/nowhere/", 200, 8)] {
        let report = report(Plan { concurrency: 3, ..Plan::new(url(port, path), 20) }).await;
        assert_eq!(report.status(status), 20, "{path}: {:?}", report.error_examples);
        assert!(report.answers.iter().all(|answer| answer.bytes == bytes), "{path}");
        assert_eq!(report.connections.opened, 3, "{path}");
    }
    let head = report(Plan { method: http::Method::HEAD, ..Plan::new(url(port, "/big"), 5) }).await;
    assert_eq!((head.status(200), head.connections.opened), (5, 1), "an answer to HEAD has no body: {:?}", head.error_examples);
}

#[tokio::test]
async fn connections_are_renewed_after_the_requests_they_may_carry() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_nginx, port) = plain_nginx(folder.path());
    for (plan, opened) in [
        (Plan { requests_per_connection: Some(10), ..Plan::new(url(port, "/"), 100) }, 10),
        (Plan { new_connections: true, ..Plan::new(url(port, "/"), 30) }, 30),
        (Plan::new(url(port, "/"), 10).header("connection", "close").expect("a header"), 10),
    ] {
        let report = report(plan).await;
        assert_eq!((report.error_count(), report.connections.opened), (0, opened), "{:?}", report.error_examples);
    }
}

#[tokio::test]
async fn several_urls_are_interleaved_by_exact_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_nginx, port) = plain_nginx(folder.path());
    let urls = ["/a", "/none", "/c"].map(|path| url(port, path));
    let plan =
        Plan { more_urls: urls[1..].to_vec(), weights: vec![6, 3, 1], concurrency: 4, threads: 2, ..Plan::new(urls[0].clone(), 1000) };
    let report = report(plan).await;
    let counts: Vec<u64> = urls.iter().map(|url| report.breakdown.url[url].requests).collect();
    assert_eq!(counts, [600, 300, 100]);
    assert_eq!(report.connections.opened, 4, "one origin, shared connections");
}

#[tokio::test]
async fn a_name_goes_where_resolve_says_and_the_host_header_is_the_urls() {
    let folder = tempfile::tempdir().expect("a folder");
    let [port] = free_ports();
    let _nginx = nginx(folder.path(), &format!("server {{ listen 127.0.0.1:{port}; location / {{ return 200 $http_host; }} }}"), &[port]);
    let mut plan = Plan { keep_bodies: true, ..Plan::new(format!("http://shop.invalid:{port}/"), 1) };
    plan.resolve.extend(format!("shop.invalid:{port}:127.0.0.1").parse());
    let report = report(plan).await;
    assert_eq!(report.answers[0].body.as_deref(), Some(format!("shop.invalid:{port}").as_str()), "{:?}", report.error_examples);
}

#[tokio::test]
async fn tls_verifies_the_server_and_shows_the_clients_certificate() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = certificates::write(folder.path()).expect("certificates");
    let [port] = free_ports();
    let (certificate, key, authority) = (files.certificate.display(), files.key.display(), files.authority.display());
    let server = format!(
        "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};
           ssl_client_certificate {authority}; ssl_verify_client on; location / {{ return 200 '$ssl_client_verify:$ssl_server_name'; }} }}"
    );
    let _nginx = nginx(folder.path(), &server, &[port]);
    let mut plan = Plan { keep_bodies: true, concurrency: 2, ..Plan::new(format!("https://127.0.0.1:{port}/"), 10) };
    plan.tls.roots = Some(files.authority.clone());
    plan.tls.sni = Some("peer.test".into());
    let without = report(plan.clone()).await;
    assert_eq!(without.status(400), 10, "nginx wants a certificate: {:?}", without.error_examples);
    plan.tls.identity = Some((files.certificate.clone(), files.key.clone()));
    let with = report(plan.clone()).await;
    assert_eq!(with.answers[0].body.as_deref(), Some("SUCCESS:peer.test"), "{:?}", with.error_examples);
    assert_eq!((with.status(200), with.connections.opened), (10, 2));
    plan.tls.sni = Some("other.test".into());
    assert_eq!(report(plan.clone()).await.errors.get(&Cause::Tls), Some(&10), "the name is not in the certificate");
    plan.tls.insecure = true;
    assert_eq!(report(plan.clone()).await.status(200), 10);
    plan.http2 = true;
    let refused = report(plan).await;
    assert_eq!(refused.errors.get(&Cause::Tls), Some(&10), "this server does not offer HTTP/2");
    assert!(refused.error_examples[0].contains("ALPN"), "{:?}", refused.error_examples);
}

#[tokio::test]
async fn http2_is_spoken_by_prior_knowledge_and_by_alpn_over_shared_connections() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = certificates::write(folder.path()).expect("certificates");
    fs::write(folder.path().join("page"), vec![b'y'; 100_000]).expect("written");
    let [clear, secure] = free_ports();
    let _clear = nghttpd(folder.path(), clear, None);
    let _secure = nghttpd(folder.path(), secure, Some((&files.key, &files.certificate)));
    for url in [url(clear, "/page"), format!("https://127.0.0.1:{secure}/page")] {
        let mut plan = Plan { http2: true, concurrency: 20, connections: 2, threads: 2, preconnect: true, ..Plan::new(&url, 400) };
        plan.tls.insecure = true;
        let shared = report(plan.clone()).await;
        assert_eq!((shared.status(200), shared.connections.opened), (400, 2), "{url}: {:?}", shared.error_examples);
        assert!(shared.answers.iter().all(|answer| answer.bytes == 100_000), "{url}");
        let bytes = shared.bytes;
        assert!(bytes.sent > 400 * 10 && bytes.received > 400 * 100_020, "heads and frames count as with HTTP/1.1: {bytes:?}");
        let renewed = report(Plan { requests_per_connection: Some(20), concurrency: 1, threads: 1, connections: 1, ..plan }).await;
        assert_eq!((renewed.status(200), renewed.connections.opened), (400, 20), "{url}: {:?}", renewed.error_examples);
    }
}

#[tokio::test]
async fn an_http2_server_that_renews_its_connections_in_order_loses_no_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let [port] = free_ports();
    let server = format!("server {{ listen 127.0.0.1:{port} http2; keepalive_requests 20; {ANSWER} }}");
    let _nginx = nginx(folder.path(), &server, &[port]);
    let report = report(Plan { http2: true, concurrency: 16, connections: 2, ..Plan::new(url(port, "/"), 600) }).await;
    assert_eq!((report.status(200), report.error_count()), (600, 0), "{:?}", report.error_examples);
    assert!(report.connections.opened >= 20, "the server ended none: {:?}", report.connections);
}

#[tokio::test]
async fn a_unix_socket_takes_the_place_of_host_and_port() {
    let folder = tempfile::tempdir().expect("a folder");
    let [port] = free_ports();
    let sections = format!(
        "frontend f\n  bind 127.0.0.1:{port}\n  bind unix@$folder/socket\n  http-request return status 200 content-type text/plain string \"hap-1:v2\""
    );
    let _haproxy = haproxy(folder.path(), &sections, &[port]);
    // HAProxy gives the socket its name after it listens on the port.
    let socket = folder.path().join("socket");
    let begin = std::time::Instant::now();
    while !socket.exists() {
        assert!(begin.elapsed() < Duration::from_secs(30), "HAProxy makes no socket");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let plan = Plan { unix_socket: Some(socket), concurrency: 3, ..Plan::new("http://anything/", 100) };
    let report = report(plan).await;
    assert_eq!((report.version("v2"), report.connections.opened), (100, 3), "{:?}", report.error_examples);
}

#[tokio::test]
async fn large_request_bodies_are_sent_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let [port] = free_ports();
    let server = format!(
        "server {{ listen 127.0.0.1:{port}; client_max_body_size 10m; location / {{ proxy_pass http://127.0.0.1:{port}/length; }}
           location /length {{ return 200 '$content_length:sent'; }} location /refused {{ client_max_body_size 1k; proxy_pass http://127.0.0.1:1; }} }}"
    );
    let _nginx = nginx(folder.path(), &server, &[port]);
    let body = vec![b'z'; 5_000_000];
    let sent = report(Plan { body: body.clone(), method: http::Method::POST, ..Plan::new(url(port, "/"), 3) }).await;
    assert_eq!(sent.pods.get("5000000").map(|pod| pod.requests), Some(3), "{:?} {:?}", sent.pods, sent.error_examples);
    let refused = report(Plan { body, method: http::Method::POST, ..Plan::new(url(port, "/refused"), 3) }).await;
    assert_eq!(refused.status(413), 3, "an answer before the body is all sent counts: {:?}", refused.error_examples);
}

#[tokio::test]
async fn a_line_to_a_tcp_server_has_its_end() {
    let upper = crate::fixture::scripted(|stream| {
        let mut line = String::new();
        let _read = std::io::BufRead::read_line(&mut std::io::BufReader::new(&stream), &mut line);
        let _sent = std::io::Write::write_all(&mut &stream, line.to_uppercase().as_bytes());
    });
    for (body, sent) in [("ping", 5), ("ping\n", 5)] {
        let plan = Plan { body: body.into(), keep_bodies: true, ..Plan::new(format!("tcp://{upper}"), 2) };
        let report = report(Plan { timeout: Duration::from_secs(5), ..plan }).await;
        assert_eq!(report.answers[0].body.as_deref(), Some("PING\n"), "{:?}", report.error_examples);
        assert_eq!(report.bytes.sent, 2 * sent);
    }
}

#[tokio::test]
async fn echoed_bytes_come_back_over_one_connection() {
    let echo = crate::fixture::scripted(|stream| {
        let mut reader = stream.try_clone().expect("a socket");
        let mut writer = stream;
        let _ended = std::io::copy(&mut reader, &mut writer);
    });
    let plan = Plan {
        tcp_echo: true,
        body: vec![b'e'; 1_000_000],
        concurrency: 2,
        timeout: Duration::from_secs(20),
        amount: Amount::Requests(20),
        ..Plan::new(format!("tcp://{echo}"), 0)
    };
    let report = report(plan).await;
    assert_eq!((report.requests, report.error_count(), report.connections.opened), (20, 0, 2), "{:?}", report.error_examples);
    assert_eq!((report.bytes.sent, report.bytes.received), (20_000_000, 20_000_000));
}
