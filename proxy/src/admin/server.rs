//! The small HTTP server behind the admin, status and metrics ports.
//!
//! These ports stand open to the pod's network, so everything a peer controls is bounded: connections, time to send a
//! head, life of a connection. A peer that exceeds a bound loses its connection and disturbs nobody else.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::listener::bind::bind;

/// Connections per port.
const CONNECTIONS: usize = 256;
/// Time to send a request head, also on a kept connection.
const HEAD: Duration = Duration::from_secs(10);
/// Life of a connection; scrapers and probes open a new one.
const LIFE: Duration = Duration::from_secs(60);
/// Pause after accept failed for want of resources.
const SHORTAGE: Duration = Duration::from_millis(100);

/// The address a request came from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Bound sockets and what they serve.
#[derive(Debug)]
pub struct Server {
    sockets: Vec<std::net::TcpListener>,
    router: Router,
}

impl Server {
    /// Binds `port` on each of `addresses`. Addresses after the first may fail, as IPv6 does on a host without it.
    ///
    /// # Errors
    /// The port is taken or not allowed; the message says by whom and why.
    pub fn bind(addresses: &[IpAddr], port: u16, router: Router) -> anyhow::Result<Server> {
        let mut sockets = Vec::new();
        for address in addresses {
            match bind(SocketAddr::new(*address, port)) {
                Ok(socket) => sockets.push(socket),
                Err(error) if sockets.is_empty() || error.source.kind() == std::io::ErrorKind::AddrInUse => return Err(error.into()),
                Err(error) => tracing::debug!(target: "admin", "{error}"),
            }
        }
        Ok(Server { sockets, router })
    }

    /// Addresses bound.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// Serves for ever.
    pub async fn run(self) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        let accepting = self.sockets.into_iter().map(|socket| accept(socket, self.router.clone(), Arc::clone(&permits)));
        futures_util::future::join_all(accepting).await;
    }
}

async fn accept(socket: std::net::TcpListener, router: Router, permits: Arc<Semaphore>) {
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(target: "admin", "cannot accept connections: {error}"),
    };
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                tokio::time::sleep(SHORTAGE).await;
                continue;
            }
        };
        // Over the bound the connection is dropped, which closes it.
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            let router = router.clone();
            tokio::spawn(async move {
                let _permit = permit;
                let _ = tokio::time::timeout(LIFE, serve(stream, peer, router)).await;
            });
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, router: Router) {
    let service = TowerToHyperService::new(router.layer(Extension(Peer(peer))));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(64 << 10);
    // A broken connection concerns only its peer.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}
