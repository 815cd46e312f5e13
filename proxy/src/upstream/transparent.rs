//! Connections to the application that come from the client's own address, in interception mode TPROXY.
//!
//! The mark leads the application's answers back to this socket instead of to the client: the capture rules copy it to the
//! connection and route what carries it to the loopback interface (sidecar contract 2.4).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::Socket;

use crate::listener::accept::transparent;

/// Mark of packets between proxy and application, which the capture rules know.
const MARK: u32 = 1337;
/// Ports below those that clients take by default (`net.ipv4.ip_local_port_range`).
const PORTS: Range<u16> = 1024..32768;
/// Ports tried before the choice is left to the kernel.
const TRIES: usize = 8;

/// Binds an unconnected socket to an address of somebody else.
///
/// Not to a port of the kernel's choice: it might choose the very port of the client, and the application's end of this
/// connection would then have the same four numbers as our end of the client's.
///
/// # Errors
/// Without CAP_NET_ADMIN.
pub(super) fn bind(socket: &Socket, source: IpAddr) -> io::Result<()> {
    transparent(socket, source.is_ipv4())?;
    socket.set_mark(MARK)?;
    for _ in 0..TRIES {
        match socket.bind(&SocketAddr::new(source, rand::random_range(PORTS)).into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
    let _ = setsockopt(socket, sockopt::IpBindAddressNoPort, &true);
    socket.bind(&SocketAddr::new(source, 0).into())
}
