//! Where a redirected connection was really going, and whether following it would come back to ourselves.
//!
//! netfilter's REDIRECT keeps the destination as dialled; SO_ORIGINAL_DST (IPv4) and IP6T_SO_ORIGINAL_DST (IPv6) tell it.
//! A connection that was not redirected has no such entry, or one equal to the address it came in on: somebody dialled
//! the capture port itself, and forwarding "to the original destination" would dial it again without end.
//!
//! TPROXY changes no address: what the client dialled is the address of the accepted socket.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};

use socket2::SockRef;

/// Why a captured connection is not served.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// No redirection happened: the capture port was dialled directly.
    #[error("not redirected: {local} was dialled directly ({reason})")]
    NotRedirected {
        /// Address the connection came in on.
        local: SocketAddr,
        /// What the kernel said.
        reason: String,
    },
    /// The original destination is one of the proxy's own capture ports.
    #[error("original destination {0} is this proxy's own capture port")]
    Loop(SocketAddr),
    /// The peer was gone before its addresses could be read.
    #[error("socket: {0}")]
    Socket(#[from] io::Error),
}

/// The original destination of a captured connection from `peer`, checked against loops. `own_ports` are the capture ports of this
/// proxy, among them the one it came in on, `own_addresses` the addresses of its pod.
///
/// # Errors
/// [`CaptureError`]: the connection must be closed, never forwarded.
pub fn recover(stream: &TcpStream, peer: SocketAddr, own_ports: &[u16], own_addresses: &[IpAddr]) -> Result<SocketAddr, CaptureError> {
    let answer = ask(stream, peer);
    if let Ok(original) = &answer
        && is_elsewhere(*original, own_ports)
    {
        return Ok(*original);
    }
    let local = canonical(stream.local_addr()?);
    let original = answer.map_err(|error| CaptureError::NotRedirected { local, reason: error.to_string() })?;
    check(original, local, own_ports, own_addresses)?;
    Ok(original)
}

/// The destination of a connection that TPROXY brought: our end of it has that very address. One that came to a capture
/// port was redirected there, or dialled it.
///
/// # Errors
/// As [`recover`].
pub fn recover_transparent(
    stream: &TcpStream,
    peer: SocketAddr,
    own_ports: &[u16],
    own_addresses: &[IpAddr],
) -> Result<SocketAddr, CaptureError> {
    let local = canonical(stream.local_addr()?);
    if own_ports.contains(&local.port()) { recover(stream, peer, own_ports, own_addresses) } else { Ok(local) }
}

/// Both ends of a connection are of one family.
fn ask(stream: &TcpStream, peer: SocketAddr) -> io::Result<SocketAddr> {
    let socket = SockRef::from(stream);
    let address = if canonical(peer).is_ipv4() { socket.original_dst_v4()? } else { socket.original_dst_v6()? };
    address.as_socket().map(canonical).ok_or_else(|| io::Error::other("the kernel gave no internet address"))
}

/// Whether an address passes [`check`] whatever our own is: what was dialled directly, and every loop, has a port of ours.
fn is_elsewhere(original: SocketAddr, own_ports: &[u16]) -> bool {
    !own_ports.contains(&original.port())
}

/// The decision apart from the system calls.
fn check(original: SocketAddr, local: SocketAddr, own_ports: &[u16], own_addresses: &[IpAddr]) -> Result<(), CaptureError> {
    if original == local {
        return Err(CaptureError::NotRedirected { local, reason: "the kernel knows no other destination".to_owned() });
    }
    let ip = original.ip();
    let ours = ip.is_loopback() || ip.is_unspecified() || ip == local.ip() || own_addresses.contains(&ip);
    if ours && own_ports.contains(&original.port()) { Err(CaptureError::Loop(original)) } else { Ok(()) }
}

/// IPv4 addresses in IPv6 clothing as plain IPv4; flow label and scope dropped, so that addresses compare equal.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    #[test]
    fn only_redirected_connections_to_somebody_else_pass() {
        let pod = ["10.1.0.5".parse().expect("ip"), "fd00::5".parse().expect("ip")];
        let cases = [
            ("10.96.0.7:80", "127.0.0.1:15001", true),
            ("10.1.0.5:8080", "10.1.0.5:15006", true),
            ("127.0.0.1:15001", "127.0.0.1:15001", false),
            ("10.1.0.5:15006", "127.0.0.1:15001", false),
            ("127.0.0.1:15006", "127.0.0.1:15001", false),
            ("[fd00::5]:15001", "[::1]:15001", false),
            ("[::]:15001", "[::1]:15001", false),
            ("10.1.0.9:15006", "127.0.0.1:15001", true),
            ("10.1.0.5:15090", "127.0.0.1:15001", true),
        ];
        for (original, local, passes) in cases {
            let verdict = check(address(original), address(local), &[15001, 15006], &pod);
            assert_eq!(verdict.is_ok(), passes, "{original} over {local}: {verdict:?}");
            assert!(
                passes || !is_elsewhere(address(original), &[15001, 15006]),
                "{original} is refused only when our own address is asked for"
            );
        }
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        assert_eq!(canonical(address("[::ffff:10.0.0.1]:80")), address("10.0.0.1:80"));
    }
}
