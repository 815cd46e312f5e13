//! A sidecar with one HTTP service, clients that speak bytes, and origins that do what a test tells them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outrigger_config::matcher::{HostMap, RouteMatch, RuleIndex};
use outrigger_config::model::*;
use outrigger_proxy::listener::EntranceKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::*;

/// Where the service lives, as clients dial it.
pub fn vip() -> SocketAddr {
    "10.96.0.8:80".parse().expect("address")
}

/// An HTTP/1 cluster.
pub fn web(name: &str, endpoints: &[SocketAddr]) -> Cluster {
    let host = "web.shop.svc.cluster.local".to_owned();
    let service = ServiceRef { host, name: "web".to_owned(), namespace: "shop".to_owned() };
    Cluster { protocol: UpstreamProtocol::Http1, service: Some(service.into()), ..cluster(name, Discovery::Endpoints, endpoints) }
}

/// A route that sends everything to clusters by weight; cluster numbers count from 2.
pub fn route(weights: &[(u32, u32)]) -> Route {
    let destination = |(cluster, weight): &(u32, u32)| WeightedCluster {
        name: format!("cluster {cluster}"),
        cluster: Some(ClusterId(*cluster)),
        weight: *weight,
        request_headers: Default::default(),
        response_headers: Default::default(),
    };
    with_action(RouteAction::Forward(weights.iter().map(destination).collect()))
}

/// A route that matches everything and does this.
pub fn with_action(action: RouteAction) -> Route {
    Route {
        id: RouteId(0),
        key: "VirtualService shop/web http[0]".to_owned(),
        name: "default".to_owned(),
        matches: RouteMatch::any(),
        action,
        timeout: None,
        retry: None,
        fault: None,
        rewrite: None,
        request_headers: Default::default(),
        response_headers: Default::default(),
        decorator: "web.shop.svc.cluster.local:80/*".to_owned(),
    }
}

/// Istio's built-in policy.
pub fn default_retries() -> RetryPolicy {
    let retry_on = RetryOn { connect_failure: true, refused_stream: true, grpc_status: vec![1, 14], ..RetryOn::default() };
    RetryPolicy {
        attempts: 2,
        per_try_timeout: None,
        retry_on,
        explicit: false,
        ignore_previous_hosts: true,
        retry_remote_localities: false,
        backoff: Duration::from_millis(1),
    }
}

/// A user's `retryOn: 5xx`.
pub fn retry_5xx(attempts: u32) -> RetryPolicy {
    RetryPolicy { attempts, retry_on: RetryOn { five_xx: true, ..RetryOn::default() }, explicit: true, ..default_retries() }
}

/// A route table for every host.
pub fn table(name: &str, route: Route) -> Arc<RouteConfiguration> {
    let mut hosts = HostMap::default();
    hosts.insert("*", 0);
    let host = VirtualHost {
        name: "any".to_owned(),
        domains: ["*"].into_iter().collect(),
        index: RuleIndex::new(std::slice::from_ref(&route)),
        routes: vec![route],
        require_tls: false,
    };
    Arc::new(RouteConfiguration { name: name.to_owned(), hosts, virtual_hosts: vec![host] })
}

/// A sidecar whose service at [`vip`] is routed like this; `clusters` have the numbers from 2 on.
pub fn model(route: Route, clusters: Vec<Cluster>) -> Snapshot {
    let mut all = vec![
        cluster("PassthroughCluster", Discovery::OriginalDst { port: None }, &[]),
        Cluster { protocol: UpstreamProtocol::UseDownstream, ..cluster("inbound|0||", Discovery::Inbound, &[]) },
    ];
    all.extend(clusters);
    let listener = Listener {
        name: "0.0.0.0_80".to_owned(),
        protocol: ListenerProtocol::Http,
        http: Some(table("80", route)),
        tls: Vec::new(),
        tcp: None,
    };
    sidecar(all, vec![(vip(), listener)], (MtlsMode::Disable, ListenerProtocol::Auto))
}

/// A sidecar in front of one origin.
pub fn in_front_of(origin: SocketAddr, change: impl FnOnce(&mut Route)) -> Proxy {
    let mut route = route(&[(2, 1)]);
    change(&mut route);
    Proxy::plain(model(route, vec![web("outbound|80||web", &[origin])]))
}

/// A client of the service at [`vip`].
pub struct Client(pub TcpStream);

/// What a client got.
#[derive(Debug)]
pub struct Got {
    pub head: String,
    pub body: Vec<u8>,
}

impl Got {
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A header of a head written as text.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let pairs = head.lines().filter_map(|line| line.split_once(':'));
    pairs.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

impl Client {
    pub async fn of(proxy: &Proxy) -> Client {
        Client(proxy.capture(EntranceKind::Outbound, vip()).await)
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.expect("write");
    }

    /// Reads one response, by its own framing.
    pub async fn receive(&mut self) -> Got {
        let head = read_head(&mut self.0).await;
        let body = read_body(&mut self.0, &head, true).await;
        Got { head, body }
    }

    pub async fn get(&mut self, path: &str) -> Got {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: web.shop\r\n\r\n")).await;
        self.receive().await
    }

    pub async fn post(&mut self, path: &str, body: &str) -> Got {
        self.send(format!("POST {path} HTTP/1.1\r\nhost: web.shop\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
        self.receive().await
    }
}

/// Reads up to and with the empty line; empty at the end of the stream.
pub async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match soon(stream.read(&mut byte)).await {
            Ok(0) | Err(_) => return String::new(),
            Ok(_) => head.push(byte[0]),
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Reads a body by the framing its head announces. `to_end`: without framing, everything until the end of the stream.
pub async fn read_body(stream: &mut TcpStream, head: &str, to_end: bool) -> Vec<u8> {
    if head.starts_with("HTTP/1.1 204") || head.starts_with("HTTP/1.1 304") || head.starts_with("HTTP/1.1 1") {
        return Vec::new();
    }
    if let Some(length) = header(head, "content-length") {
        let mut body = vec![0; length.parse().expect("length")];
        return soon(stream.read_exact(&mut body)).await.map(|_| body).unwrap_or_default();
    }
    if header(head, "transfer-encoding").is_some() {
        return read_chunks(stream).await;
    }
    if to_end { rest(stream).await } else { Vec::new() }
}

async fn read_line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        match soon(stream.read(&mut byte)).await {
            Ok(0) | Err(_) => break,
            Ok(_) => line.push(byte[0]),
        }
    }
    String::from_utf8_lossy(&line).trim_end().to_owned()
}

async fn read_chunks(stream: &mut TcpStream) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let Ok(size) = usize::from_str_radix(&read_line(stream).await, 16) else { return body };
        if size == 0 {
            while !read_line(stream).await.is_empty() {}
            return body;
        }
        let mut chunk = vec![0; size + 2];
        if soon(stream.read_exact(&mut chunk)).await.is_err() {
            return body;
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

/// A request as an origin saw it.
#[derive(Debug)]
pub struct Seen {
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

/// Reads one request; `None` when the connection ends instead.
pub async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let head = read_head(stream).await;
    let body = if head.is_empty() { return None } else { read_body(stream, &head, false).await };
    Some(Seen { head, body })
}

/// An origin that answers every request by a function of its number (from 0) and what it saw.
pub struct Answering {
    pub address: SocketAddr,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Answering {
    pub async fn start(answer: impl Fn(usize, &Seen) -> String + Send + Sync + 'static) -> Answering {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let origin = Answering { address: listener.local_addr().expect("address"), requests: Arc::default(), connections: Arc::default() };
        let (requests, connections) = (Arc::clone(&origin.requests), Arc::clone(&origin.connections));
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (requests, answer) = (Arc::clone(&requests), Arc::clone(&answer));
                tokio::spawn(async move {
                    while let Some(seen) = read_request(&mut stream).await {
                        let text = answer(requests.fetch_add(1, Ordering::SeqCst), &seen);
                        if stream.write_all(text.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        origin
    }

    /// Requests received so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A 200 with a body.
pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// An answer with a status and no body.
pub fn status(code: u16) -> String {
    format!("HTTP/1.1 {code} Whatever\r\ncontent-length: 0\r\n\r\n")
}
