//! Connections to the application that come from the client's own address, in interception mode TPROXY.
//!
//! The mark leads the application's answers back to this socket instead of to the client: the capture rules copy it to the
//! connection and route what carries it to the loopback interface (sidecar contract 2.4).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::Socket;

use crate::error::Error;

/// Mark of packets between proxy and application unless the capture rules were given another.
pub(crate) const DEFAULT_MARK: u32 = 1337;
/// Ports below those that clients take by default (`net.ipv4.ip_local_port_range`).
const PORTS: Range<u16> = 1024..32768;
/// Ports tried before the choice is left to the kernel.
const TRIES: usize = 8;
/// Dials, each from another port.
const DIALS: usize = 5;
/// Time of a dial other than the last. Plenty within a host: the application's queue is full, or the port is the client's.
const DIAL: Duration = Duration::from_secs(1);

/// One for the whole process, as the capture rules are.
static MARK: AtomicU32 = AtomicU32::new(DEFAULT_MARK);

/// Sets the mark of all connections to come.
pub(crate) fn set_mark(mark: u32) {
    MARK.store(mark, Ordering::Relaxed);
}

/// Lets a socket have addresses that are not this host's.
///
/// # Errors
/// Without CAP_NET_ADMIN.
pub(crate) fn any_address(socket: &Socket, ipv4: bool) -> io::Result<()> {
    if ipv4 { socket.set_ip_transparent_v4(true) } else { socket.set_ip_transparent_v6(true) }
}

/// Binds an unconnected socket to an address of somebody else.
///
/// Not to a port of the kernel's choice: that is likelier the very port of the client, and the application's end of this
/// connection would then have the same four numbers as our end of the client's. Nor may it keep an application from listening
/// on the port, hence SO_REUSEADDR; a port that somebody listens on is refused nevertheless.
///
/// # Errors
/// Without CAP_NET_ADMIN.
pub(super) fn bind(socket: &Socket, source: IpAddr) -> io::Result<()> {
    any_address(socket, source.is_ipv4())?;
    socket.set_mark(MARK.load(Ordering::Relaxed))?;
    socket.set_reuse_address(true)?;
    for _ in 0..TRIES {
        match socket.bind(&SocketAddr::new(source, rand::random_range(PORTS)).into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
    let _ = setsockopt(socket, sockopt::IpBindAddressNoPort, &true);
    socket.bind(&SocketAddr::new(source, 0).into())
}

/// Dials once more from another port, some times, when the port may be the reason of a failure: another connection has the
/// same four numbers. With our own the kernel says so; with the client's the application never hears of the dial.
///
/// # Errors
/// What `open` says, or (within) the last dial.
pub(super) async fn dial<T, D>(mut open: impl FnMut() -> Result<D, Error>) -> Result<io::Result<T>, Error>
where
    D: Future<Output = io::Result<T>>,
{
    for _ in 1..DIALS {
        match tokio::time::timeout(DIAL, open()?).await {
            Err(_) => {}
            Ok(Err(error)) if [io::ErrorKind::AddrNotAvailable, io::ErrorKind::AddrInUse].contains(&error.kind()) => {}
            Ok(connected) => return Ok(connected),
        }
    }
    Ok(open()?.await)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a dial meets; `None` is silence.
    async fn dialled(outcomes: &[Option<Result<(), io::ErrorKind>>]) -> (io::Result<()>, usize) {
        let mut dials = 0;
        let open = || {
            let outcome = outcomes[dials];
            dials += 1;
            Ok(async move {
                match outcome {
                    Some(outcome) => outcome.map_err(io::Error::from),
                    None => std::future::pending().await,
                }
            })
        };
        let result = dial(open).await.expect("opened");
        (result, dials)
    }

    #[tokio::test(start_paused = true)]
    async fn a_port_that_gets_no_connection_is_exchanged() {
        let taken = Some(Err(io::ErrorKind::AddrNotAvailable));
        let (result, dials) = dialled(&[None, taken, Some(Ok(()))]).await;
        assert!(result.is_ok() && dials == 3);
        let (result, dials) = dialled(&[taken; DIALS]).await;
        assert_eq!((result.expect_err("failed").kind(), dials), (io::ErrorKind::AddrNotAvailable, DIALS));
    }

    #[tokio::test(start_paused = true)]
    async fn an_application_that_refuses_is_not_asked_again() {
        let (result, dials) = dialled(&[Some(Err(io::ErrorKind::ConnectionRefused))]).await;
        assert!(result.is_err() && dials == 1);
    }
}
