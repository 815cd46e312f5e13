//! Listening sockets: bound, accepted from, closed when the configuration drops them.
//!
//! Sockets live on the runtime that calls [`Listeners::apply`]; connections leave it at once for a worker. Wildcard
//! listeners are one IPv4 and one IPv6 socket, since a dual-stack socket would hide IPv4's SO_ORIGINAL_DST behind mapped
//! addresses. A host without IPv6 gets the IPv4 socket alone.

use std::io;
use std::net::{self, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use outrigger_config::model::{ProxyType, Snapshot};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::dispatch::Dispatcher;
use crate::runtime::stay_on_this_host;
use crate::sys::{accept, watched};
use crate::upstream::transparent::any_address;

/// Pending connections the kernel holds per socket; it cuts this to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Connections accepted in a row.
const BATCH: usize = 32;
/// First and longest pause after the process ran out of descriptors or memory.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// A port the proxy listens on, and what arrives there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entrance {
    /// What arrives.
    pub kind: EntranceKind,
    /// Address to bind; `None` = all, IPv4 and IPv6.
    pub bind: Option<IpAddr>,
    /// Port to bind.
    pub port: u16,
    /// Capture ports of this proxy: a connection captured on its way to one of them at our own address is a loop.
    pub own_ports: Arc<[u16]>,
    /// Connections come by TPROXY: to addresses that are not the socket's, and the application is to see who sent them.
    pub transparent: bool,
}

impl Entrance {
    /// Whether all that arrives comes from this host: the application's own connections, and those to a loopback address.
    fn is_local(&self) -> bool {
        self.kind == EntranceKind::Outbound || self.bind.is_some_and(|ip| ip.is_loopback())
    }
}

/// What arrives at an entrance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntranceKind {
    /// Captured connections of the local application.
    Outbound,
    /// Captured connections to the local application.
    Inbound,
    /// Connections to a gateway port.
    Gateway,
}

/// The capture ports of a sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapturePorts {
    /// Default 15001.
    pub outbound: u16,
    /// Default 15006.
    pub inbound: u16,
    /// Interception mode TPROXY: inbound connections keep their addresses. Needs CAP_NET_ADMIN.
    pub transparent: bool,
}

impl Default for CapturePorts {
    fn default() -> Self {
        CapturePorts { outbound: 15001, inbound: 15006, transparent: false }
    }
}

/// The entrances a configuration asks for: two capture ports on a sidecar, the Gateways' ports on a router.
pub fn entrances(model: &Snapshot, ports: CapturePorts) -> Vec<Entrance> {
    let own_ports: Arc<[u16]> = [ports.outbound, ports.inbound].into();
    let entrance = |kind, bind, port| {
        let transparent = ports.transparent && kind == EntranceKind::Inbound;
        Entrance { kind, bind, port, own_ports: Arc::clone(&own_ports), transparent }
    };
    match model.node.proxy_type {
        ProxyType::Sidecar => {
            vec![entrance(EntranceKind::Outbound, None, ports.outbound), entrance(EntranceKind::Inbound, None, ports.inbound)]
        }
        ProxyType::Router => model.gateways.iter().map(|listener| entrance(EntranceKind::Gateway, listener.bind, listener.port)).collect(),
    }
}

/// A port that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}")]
pub struct BindError {
    /// The address asked for.
    pub address: SocketAddr,
    /// What the kernel said, and what to do about it.
    pub reason: String,
    /// The kernel's own error.
    #[source]
    pub source: io::Error,
}

impl BindError {
    fn new(address: SocketAddr, source: io::Error) -> Self {
        let port = address.port();
        let reason = match source.kind() {
            io::ErrorKind::AddrInUse => {
                format!("the port is taken, perhaps by another proxy in this network namespace (see `ss -ltnp sport = :{port}`)")
            }
            io::ErrorKind::PermissionDenied => {
                format!("not allowed; ports below net.ipv4.ip_unprivileged_port_start need root or CAP_NET_BIND_SERVICE (port {port})")
            }
            io::ErrorKind::AddrNotAvailable => "no interface has this address".to_owned(),
            _ => source.to_string(),
        };
        BindError { address, reason, source }
    }

    /// Whether the host merely lacks IPv6.
    fn is_missing_family(&self) -> bool {
        let absent = [nix::libc::EAFNOSUPPORT, nix::libc::EADDRNOTAVAIL, nix::libc::EPROTONOSUPPORT];
        self.address.is_ipv6() && self.source.raw_os_error().is_some_and(|code| absent.contains(&code))
    }
}

/// A non-blocking listening socket with SO_REUSEADDR; IPv6 sockets take IPv6 only. Its connections inherit TCP_NODELAY.
///
/// # Errors
/// [`BindError`] names the port and who may hold it.
pub fn bind(address: SocketAddr) -> Result<net::TcpListener, BindError> {
    let socket = open(address).map_err(|error| BindError::new(address, error))?;
    listen(&socket, address).map_err(|error| BindError::new(address, error))?;
    Ok(socket.into())
}

/// The same, for connections that never leave the host.
fn bind_local(address: SocketAddr) -> Result<net::TcpListener, BindError> {
    let listener = bind(address)?;
    stay_on_this_host(&SockRef::from(&listener));
    Ok(listener)
}

/// The same, for connections that TPROXY brings.
fn bind_transparent(address: SocketAddr) -> Result<net::TcpListener, BindError> {
    let socket = open(address).map_err(|error| BindError::new(address, error))?;
    any_address(&socket, address.is_ipv4()).map_err(|source| BindError {
        address,
        reason: format!(
            "interception mode TPROXY needs CAP_NET_ADMIN (securityContext: runAsUser 0, runAsGroup 1337, capabilities add NET_ADMIN): {source}"
        ),
        source,
    })?;
    listen(&socket, address).map_err(|error| BindError::new(address, error))?;
    Ok(socket.into())
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

fn listen(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)
}

/// The sockets of an entrance: one address, or IPv4 and IPv6 wildcards.
///
/// # Errors
/// As [`bind`]; a missing IPv6 is no error.
pub fn bind_entrance(entrance: &Entrance) -> Result<Vec<net::TcpListener>, BindError> {
    let bind = if entrance.transparent {
        bind_transparent
    } else if entrance.is_local() {
        bind_local
    } else {
        bind
    };
    if let Some(ip) = entrance.bind {
        return bind(SocketAddr::new(ip, entrance.port)).map(|listener| vec![listener]);
    }
    let mut sockets = vec![bind((Ipv4Addr::UNSPECIFIED, entrance.port).into())?];
    match bind((Ipv6Addr::UNSPECIFIED, entrance.port).into()) {
        Ok(socket) => sockets.push(socket),
        Err(error) if error.is_missing_family() => {}
        Err(error) => return Err(error),
    }
    Ok(sockets)
}

/// One entrance being listened on.
#[derive(Debug)]
struct Open {
    entrance: Entrance,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// The listening sockets of the process, following the configuration.
#[derive(Debug)]
pub struct Listeners {
    dispatcher: Dispatcher,
    open: Vec<Open>,
}

impl Listeners {
    /// No socket yet; connections will go to `dispatcher`.
    pub fn new(dispatcher: Dispatcher) -> Self {
        Listeners { dispatcher, open: Vec::new() }
    }

    /// Opens what is wanted and not open, closes what is open and not wanted, leaves the rest alone. Must run on the
    /// runtime that shall accept. Entrances that cannot be bound are reported and tried again at the next call.
    pub fn apply(&mut self, wanted: &[Entrance]) -> Vec<BindError> {
        self.open.retain(|open| {
            let keep = wanted.contains(&open.entrance);
            if !keep {
                open.stop.send_replace(true);
            }
            keep
        });
        let mut errors = Vec::new();
        for entrance in wanted {
            if self.open.iter().all(|open| open.entrance != *entrance) {
                match self.listen(entrance) {
                    Ok(open) => self.open.push(open),
                    Err(error) => errors.push(error),
                }
            }
        }
        errors
    }

    /// The entrances being listened on.
    pub fn entrances(&self) -> impl Iterator<Item = &Entrance> {
        self.open.iter().map(|open| &open.entrance)
    }

    /// Closes every socket after taking what the kernel has already accepted, and waits for that.
    pub async fn close(&mut self) {
        for open in self.open.drain(..) {
            open.stop.send_replace(true);
            for task in open.tasks {
                let _ = task.await;
            }
        }
    }

    fn listen(&self, entrance: &Entrance) -> Result<Open, BindError> {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = Vec::new();
        let address = SocketAddr::new(entrance.bind.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), entrance.port);
        for socket in bind_entrance(entrance)? {
            let socket = watched(socket).map_err(|error| BindError::new(address, error))?;
            let acceptor = Acceptor { socket, entrance: Arc::new(entrance.clone()), dispatcher: self.dispatcher.clone() };
            tasks.push(tokio::spawn(acceptor.run(stopped.clone())));
        }
        Ok(Open { entrance: entrance.clone(), stop, tasks })
    }
}

/// The accept loop of one socket. It accepts by itself rather than by a `tokio::net::TcpListener`, which would register each
/// connection with the runtime that accepts it only for it to be taken out again.
struct Acceptor {
    socket: AsyncFd<net::TcpListener>,
    entrance: Arc<Entrance>,
    dispatcher: Dispatcher,
}

impl Acceptor {
    async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut pause = BACK_OFF.0;
        loop {
            let ready = tokio::select! {
                ready = self.socket.readable() => ready,
                _ = stopped.wait_for(|stop| *stop) => break,
            };
            // An error means that the runtime is going.
            let Ok(ready) = ready else { break };
            self.take_batch(ready, &mut pause).await;
        }
        self.take_remaining();
    }

    /// Takes what is there, and no more than [`BATCH`] before those that are connected get their turn.
    async fn take_batch(&self, mut ready: AsyncFdReadyGuard<'_, net::TcpListener>, pause: &mut Duration) {
        for _ in 0..BATCH {
            match ready.try_io(|socket| accept(socket.get_ref())) {
                Ok(accepted) => self.take(accepted, pause).await,
                Err(_would_block) => return,
            }
        }
        tokio::task::yield_now().await;
    }

    /// Hands a connection on, or waits out a shortage. Without the pause a full descriptor table would spin.
    async fn take(&self, accepted: io::Result<(net::TcpStream, SocketAddr)>, pause: &mut Duration) {
        match accepted {
            Ok((stream, peer)) => {
                *pause = BACK_OFF.0;
                self.hand_on(stream, peer);
            }
            Err(error) if is_shortage(&error) => {
                tracing::warn!(port = self.entrance.port, %error, ?pause, "accept failed; new connections wait");
                tokio::time::sleep(*pause).await;
                *pause = (*pause * 2).min(BACK_OFF.1);
            }
            Err(error) => tracing::debug!(port = self.entrance.port, %error, "a connection ended before it was accepted"),
        }
    }

    /// Closing a listening socket resets what its queue holds; those clients believe they are connected.
    fn take_remaining(self) {
        while let Ok((stream, peer)) = accept(self.socket.get_ref()) {
            self.hand_on(stream, peer);
        }
    }

    fn hand_on(&self, stream: net::TcpStream, peer: SocketAddr) {
        self.dispatcher.dispatch(stream, peer, &self.entrance);
    }
}

/// Whether accept failed for want of descriptors or memory, rather than because of the one connection.
fn is_shortage(error: &io::Error) -> bool {
    use nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
    error.raw_os_error().is_some_and(|code| [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(&code))
}
