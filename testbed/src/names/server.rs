//! The DNS server of a run, on the node's addresses, by UDP and TCP.
//!
//! Its sockets are made inside the node namespace and served from outside. Questions about names that are not the
//! run's go to the host's resolvers, through the host's own network.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, watch};

use super::reply::{self, Verdict};
use super::zone::Zone;
use crate::network::{NetNs, Subnet};

const PORT: u16 = 53;
/// How long the host's resolver may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions to the host's resolver at the same time.
const FORWARDED: usize = 64;
/// An idle TCP client is dropped after this time.
const IDLE: Duration = Duration::from_secs(10);

/// The running server; dropping it ends it.
#[derive(Debug)]
pub struct Server {
    zone: watch::Sender<Arc<Zone>>,
    _tasks: tokio::task::JoinSet<()>,
}

#[derive(Clone)]
struct Shared {
    zone: watch::Receiver<Arc<Zone>>,
    resolvers: Arc<[SocketAddr]>,
    permits: Arc<Semaphore>,
}

impl Server {
    /// Opens the sockets and begins to answer, at first that nothing exists. Call it in a tokio runtime.
    ///
    /// # Errors
    /// When a socket cannot be bound in the node namespace.
    pub fn start(node: &NetNs, subnet: &Subnet) -> Result<Server> {
        let mut addresses = vec![IpAddr::V4(subnet.node_v4())];
        if subnet.v6 {
            addresses.push(IpAddr::V6(subnet.node_v6()));
        }
        let (zone, receiver) = watch::channel(Arc::default());
        let shared = Shared { zone: receiver, resolvers: host_resolvers().into(), permits: Arc::new(Semaphore::new(FORWARDED)) };
        let mut tasks = tokio::task::JoinSet::new();
        for address in addresses {
            let (udp, tcp) = node.run(|| bind(SocketAddr::new(address, PORT)))?.context("binding the DNS server")?;
            tasks.spawn(serve_udp(tokio::net::UdpSocket::from_std(udp)?, shared.clone()));
            tasks.spawn(serve_tcp(tokio::net::TcpListener::from_std(tcp)?, shared.clone()));
        }
        Ok(Server { zone, _tasks: tasks })
    }

    /// Replaces what is known.
    pub fn publish(&self, zone: Zone) {
        self.zone.send_if_modified(|old| {
            let changed = **old != zone;
            if changed {
                *old = Arc::new(zone);
            }
            changed
        });
    }
}

fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let (udp, tcp) = (UdpSocket::bind(address)?, TcpListener::bind(address)?);
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    Ok((udp, tcp))
}

fn host_resolvers() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let address = |line: &str| line.strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok();
    text.lines().filter_map(address).map(|address| SocketAddr::new(address, PORT)).collect()
}

async fn serve_udp(socket: tokio::net::UdpSocket, shared: Shared) {
    let socket = Arc::new(socket);
    let mut buffer = [0; 4096];
    loop {
        // An error here belongs to an earlier answer that could not be delivered.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        let question = &buffer[..length];
        let verdict = reply::decide(question, &shared.zone.borrow(), reply::udp_limit(question));
        match verdict {
            Verdict::Reply(bytes) => drop(socket.send_to(&bytes, client).await),
            Verdict::Forward(fallback) => {
                let (socket, shared, question) = (socket.clone(), shared.clone(), question.to_vec());
                tokio::spawn(async move {
                    let bytes = shared.forward(&question).await.unwrap_or(fallback);
                    drop(socket.send_to(&bytes, client).await);
                });
            }
            Verdict::Ignore => {}
        }
    }
}

async fn serve_tcp(listener: tokio::net::TcpListener, shared: Shared) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve_connection(stream, shared.clone()))),
            // Out of descriptors: nothing gets better by trying at once.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn serve_connection(mut stream: tokio::net::TcpStream, shared: Shared) -> Option<()> {
    loop {
        let length = tokio::time::timeout(IDLE, stream.read_u16()).await.ok()?.ok()?;
        let mut question = vec![0; usize::from(length)];
        tokio::time::timeout(IDLE, stream.read_exact(&mut question)).await.ok()?.ok()?;
        let verdict = reply::decide(&question, &shared.zone.borrow(), usize::from(u16::MAX));
        let answer = match verdict {
            Verdict::Reply(bytes) => bytes,
            Verdict::Forward(fallback) => shared.forward(&question).await.unwrap_or(fallback),
            Verdict::Ignore => return None,
        };
        stream.write_u16(u16::try_from(answer.len()).ok()?).await.ok()?;
        stream.write_all(&answer).await.ok()?;
    }
}

impl Shared {
    /// Asks the host's resolvers one after the other.
    async fn forward(&self, question: &[u8]) -> Option<Vec<u8>> {
        let _permit = self.permits.acquire().await.ok()?;
        for resolver in self.resolvers.iter() {
            if let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, ask(*resolver, question)).await {
                return Some(answer);
            }
        }
        None
    }
}

async fn ask(resolver: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = if resolver.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = tokio::net::UdpSocket::bind(any).await?;
    socket.connect(resolver).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // The first two bytes are the id (RFC 1035, 4.1.1); anything else is a late answer to somebody else.
        if buffer.get(..2) == question.get(..2) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}
