//! What applications speak, through real redirection and two sidecars.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use outrigger_loadtests::Plan;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::bed::{Bed, Turn, bounded};
use crate::manifest::{self, App};

/// A server that also speaks gRPC, TCP that greets first (declared or not), and has IPv6; a StatefulSet; a pod outside.
async fn bed(name: &str) -> Result<Bed> {
    let server = App::new("shop", "server").env("STAND_IN_PORTS", "8080,9090/grpc,3306/mysql,3307/mysql,9000/tcp");
    let ports = "{name: http, port: 80, targetPort: 8080}, {name: grpc, port: 50051, targetPort: 9090}, {name: db, port: 3306}, \
        {name: tcp, port: 9000}";
    let server6 = manifest::service(
        "shop",
        "server6",
        "server",
        "{name: http, port: 80, targetPort: 8080}",
        ", ipFamilies: [IPv6], ipFamilyPolicy: SingleStack",
    );
    let db = App::stateful("shop", "db", 2).yaml();
    let headless = manifest::service("shop", "db", "db", "{name: http, port: 8080}", ", clusterIP: None");
    let shop = App::new("shop", "client").yaml() + &server.yaml() + &manifest::service("shop", "server", "server", ports, "") + &server6;
    let outside = manifest::outside("outside") + &App::new("outside", "outsider").yaml();
    Bed::start(name, &[("all.yaml", manifest::meshed("shop") + &shop + &db + &headless + &outside)]).await
}

#[test]
fn http_in_all_its_forms_passes_two_sidecars() {
    bounded(Turn::Shared, 90, async {
        let bed = bed("http").await?;
        http_1_0(&bed).await?;
        let mut h2 = Plan::new("http://server/", 20);
        (h2.http2, h2.concurrency) = (true, 4);
        let report = bed.load_well("client", &h2).await?;
        ensure!(report.version("v1") == 20, "HTTP/2 with prior knowledge: {:?}", report.versions);
        let mut grpc = Plan::new("http://server:50051/shop.Cart/Add", 20);
        (grpc.grpc, grpc.body) = (true, b"three apples".to_vec());
        let report = bed.load_well("client", &grpc).await?;
        ensure!(report.grpc_statuses.get("0") == Some(&20), "trailers of gRPC: {:?}", report.grpc_statuses);
        let mut web_socket = Plan::new("ws://server/chat", 5);
        web_socket.body = b"hello".to_vec();
        bed.load_well("client", &web_socket).await.context("WebSocket")?;
        both_ways(&bed).await.context("streaming both ways")?;
        bed.end().await
    });
}

/// An old client, told apart by its first line alone.
async fn http_1_0(bed: &Bed) -> Result<()> {
    let mut stream = bed.testbed.connect("client", SocketAddr::new(bed.service("server")?, 80)).await?;
    stream.write_all(b"GET /old HTTP/1.0\r\nHost: server\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let head = answer.to_ascii_lowercase();
    ensure!(head.starts_with("http/1.0 200") || head.starts_with("http/1.1 200"), "{answer}");
    ensure!(head.contains("x-path: /old") && !head.contains("transfer-encoding"), "{answer}");
    ensure!(answer.trim_end().ends_with(":v1"), "{answer}");
    Ok(())
}

/// A chunk is answered before the next one is sent.
async fn both_ways(bed: &Bed) -> Result<()> {
    let stream = bed.testbed.connect("client", SocketAddr::new(bed.service("server")?, 80)).await?;
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"POST /echo HTTP/1.1\r\nHost: server\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
    for number in 0..5 {
        let chunk = format!("chunk {number}\n");
        write.write_all(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes()).await?;
        let echoed = async {
            loop {
                let line = lines.next_line().await?.context("the answer ended early")?;
                if line.starts_with("chunk") {
                    ensure!(line == chunk.trim_end(), "{line} instead of {chunk}");
                    return anyhow::Ok(());
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(5), echoed).await.with_context(|| format!("no echo of chunk {number}"))??;
    }
    write.write_all(b"0\r\n\r\n").await?;
    Ok(())
}

#[test]
fn connections_that_are_no_http_reach_their_ends() {
    bounded(Turn::Shared, 90, async {
        let bed = bed("tcp").await?;
        let (server, service) = (bed.address("server")?, bed.service("server")?);
        // A port whose name says nothing, one of no Service at all, and one declared as TCP, where the client begins.
        greeted(&bed, SocketAddr::new(service, 3306)).await.context("server first, Service port without protocol")?;
        greeted(&bed, SocketAddr::new(server, 3307)).await.context("server first, port nobody declared")?;
        let mut stream = bed.testbed.connect("client", SocketAddr::new(service, 9000)).await?;
        echoed(&mut stream, b"ping\n").await.context("declared TCP")?;
        unknown(&bed).await?;
        bed.end().await
    });
}

/// The greeting comes without the client having said anything; then bytes go both ways.
async fn greeted(bed: &Bed, target: SocketAddr) -> Result<()> {
    let mut stream = bed.testbed.connect("client", target).await?;
    let mut greeting = [0; 6];
    tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut greeting)).await.context("no greeting")??;
    ensure!(&greeting == b"server", "greeted by {:?}", String::from_utf8_lossy(&greeting));
    while stream.read_u8().await? != b'\n' {}
    echoed(&mut stream, b"SELECT 1\n").await
}

async fn echoed(stream: &mut TcpStream, text: &[u8]) -> Result<()> {
    stream.write_all(text).await?;
    let mut answer = vec![0; text.len()];
    tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut answer)).await.context("no echo")??;
    ensure!(answer == text, "{:?}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// Destinations that the mesh does not know are passed through: a pod outside it, and an address of the host.
async fn unknown(bed: &Bed) -> Result<()> {
    let outsider = bed.address("outsider")?;
    let report = bed.load_well("client", &Plan::new(format!("http://{outsider}:8080/"), 5)).await.context("a pod outside")?;
    ensure!(report.pods.keys().all(|pod| pod.starts_with("outsider")), "{:?}", report.pods);
    let listener = tokio::net::TcpListener::bind((bed.testbed.state().subnet.host_v4(), 0)).await?;
    let host = listener.local_addr()?;
    let echo = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut read, &mut write).await
    });
    let mut stream = bed.testbed.connect("client", host).await?;
    echoed(&mut stream, b"to the world outside\n").await.context("an address of the host")?;
    drop(stream);
    echo.await??;
    Ok(())
}

#[test]
fn ipv6_destinations_are_captured_and_reached() {
    bounded(Turn::Shared, 90, async {
        let bed = bed("ipv6").await?;
        let service = bed.service("server6")?;
        ensure!(service.is_ipv6(), "Service server6 has the address {service}");
        let report = bed.load_well("client", &Plan::new("http://server6/", 10)).await.context("a Service with IPv6 only")?;
        ensure!(report.version("v1") == 10, "{:?}", report.versions);
        // That both sidecars took part: the peer is known by its certificate.
        let mut plan = Plan::new("http://server6/headers", 1);
        plan.keep_bodies = true;
        let report = bed.load_well("client", &plan).await?;
        let seen = report.answers.first().map(|answer| format!("{answer:?}")).unwrap_or_default();
        ensure!(seen.contains("spiffe://cluster.local/ns/shop/sa/client"), "no peer identity in {seen}");
        for pod in ["server", "outsider"] {
            let address = SocketAddr::new(bed.address_v6(pod)?, 8080);
            bed.load_well("client", &Plan::new(format!("http://{address}/"), 3)).await.with_context(|| address.to_string())?;
        }
        greeted(&bed, SocketAddr::new(bed.address_v6("server")?, 3307)).await.context("server first over IPv6")?;
        bed.end().await
    });
}

#[test]
fn headless_and_stateful_names_reach_the_pods_they_name() {
    bounded(Turn::Shared, 90, async {
        let bed = bed("names").await?;
        for pod in ["db-0", "db-1"] {
            let report = bed.load_well("client", &Plan::new(format!("http://{pod}.db:8080/"), 5)).await?;
            ensure!(report.pods.keys().eq([pod]), "{pod}.db is answered by {:?}", report.pods);
        }
        let mut plan = Plan::new("http://db.shop.svc.cluster.local:8080/", 40);
        (plan.concurrency, plan.new_connections) = (4, true);
        let report = bed.load_well("client", &plan).await?;
        ensure!(report.pods.keys().all(|pod| pod.starts_with("db-")), "{:?}", report.pods);
        bed.end().await
    });
}

const LARGE: u64 = 100 << 20;
/// Buffers of two connections and what an allocator keeps; a tenth of the body would already be too much.
const GROWTH_KB: u64 = 8 << 10;

#[test]
fn a_body_of_100_mb_passes_both_ways_without_growing_the_proxies() {
    bounded(Turn::Shared, 120, async {
        let bed = bed("large").await?;
        let server = bed.testbed.pods_labelled("app", "server").first().context("a server")?.name.clone();
        let proxies = [bed.pid("client", Some("istio-proxy"))?, bed.pid(&server, Some("istio-proxy"))?];
        bed.load_well("client", &Plan::new("http://server/bytes/1000000", 3)).await?;
        // What the start needed at its highest, and gave back, is not meant.
        proxies.iter().try_for_each(|proxy| std::fs::write(format!("/proc/{proxy}/clear_refs"), "5"))?;
        let before = proxies.map(resident);
        bed.load_well("client", &Plan::new(format!("http://server/bytes/{LARGE}"), 1)).await.context("download")?;
        echo_large(&bed).await.context("upload and download at once")?;
        for (proxy, before) in proxies.into_iter().zip(before) {
            let (before, peak) = (before?.0, resident(proxy)?.1);
            ensure!(peak < before + GROWTH_KB, "a proxy grew from {before} to {peak} kB");
        }
        bed.end().await
    });
}

/// Resident memory of a process and its highest value so far, in kB.
fn resident(pid: i32) -> Result<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).with_context(|| name.to_owned())?;
        let number: String = line.chars().filter(char::is_ascii_digit).collect();
        anyhow::Ok(number.parse()?)
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

/// Sends while the echo comes back, so that both directions are full. Every byte must come back once and in its place.
async fn echo_large(bed: &Bed) -> Result<()> {
    let stream = bed.testbed.connect("client", SocketAddr::new(bed.service("server")?, 80)).await?;
    let (read, mut write) = stream.into_split();
    let sender = tokio::spawn(async move {
        let head = format!("POST /echo HTTP/1.1\r\nHost: server\r\nContent-Length: {LARGE}\r\n\r\n");
        write.write_all(head.as_bytes()).await?;
        for number in 0..LARGE / PIECE {
            write.write_all(&piece(number)).await?;
        }
        anyhow::Ok(write)
    });
    let mut read = BufReader::new(read);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        ensure!(read.read_line(&mut line).await? > 0, "no answer");
    }
    let mut echoed = vec![0; PIECE as usize];
    for number in 0..LARGE / PIECE {
        read.read_exact(&mut echoed).await.with_context(|| format!("piece {number}"))?;
        ensure!(echoed == piece(number), "piece {number} came back as another");
    }
    let _write = sender.await??;
    Ok(())
}

const PIECE: u64 = 1 << 16;

/// 64 KiB that differ from all others.
fn piece(number: u64) -> Vec<u8> {
    (0..PIECE / 8).flat_map(|word| (number * PIECE + word).to_le_bytes()).collect()
}
