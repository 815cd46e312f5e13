//! Listening sockets as the kernel gives them, and what to say when it does not.
//!
//! Wildcard entrances are one IPv4 and one IPv6 socket, since a dual-stack socket would hide IPv4's SO_ORIGINAL_DST behind
//! mapped addresses. A host without IPv6 gets the IPv4 socket alone.

use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::entrance::Entrance;
use crate::runtime::stay_on_this_host;
use crate::upstream::transparent::any_address;

/// Pending connections the kernel holds per socket; it cuts this to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A port that cannot be listened on.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}")]
pub struct BindError {
    /// The address asked for.
    pub address: SocketAddr,
    /// What the kernel said, and what to do about it.
    pub reason: String,
    /// The kernel's own error.
    #[source]
    pub source: Arc<io::Error>,
}

impl BindError {
    pub(super) fn new(address: SocketAddr, source: io::Error) -> Self {
        let port = address.port();
        let reason = match source.kind() {
            io::ErrorKind::AddrInUse => {
                format!(
                    "the port is taken, perhaps by another proxy in this network namespace or by this one's admin or status server \
                     (see `ss -ltnp sport = :{port}`)"
                )
            }
            io::ErrorKind::PermissionDenied => {
                format!("not allowed; ports below net.ipv4.ip_unprivileged_port_start need root or CAP_NET_BIND_SERVICE (port {port})")
            }
            io::ErrorKind::AddrNotAvailable => "no interface has this address".to_owned(),
            _ => source.to_string(),
        };
        BindError { address, reason, source: source.into() }
    }

    /// Says besides that single addresses of the port are open in its place.
    pub(super) fn with_stand_ins(mut self) -> Self {
        self.reason.push_str("; only the addresses of this port that Gateways bind by themselves are served");
        self
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
        source: source.into(),
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
