//! Messages to and from the kernel (netlink(7), nfnetlink).

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::{self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, setsockopt, sockopt};
use nix::sys::time::TimeVal;

// Values of linux/netlink.h and linux/netfilter/nfnetlink.h.
pub(super) const NLM_F_REQUEST: u16 = 0x1;
pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
pub(super) const NF_TABLES: u16 = 10;
pub(super) const INET: u8 = 1;
const HEADER: usize = 16;
/// Room for a batch of some ten thousand rules.
const BUFFER: usize = 8 << 20;

/// Length, type, flags, sequence and port numbers; then family, version and a number that names the subsystem of a batch.
pub(super) fn message(kind: u16, flags: u16, family: u8, resource: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + 4 + attributes.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(1_u32.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend([family, 0]);
    bytes.extend(resource.to_be_bytes());
    bytes.extend(attributes);
    bytes
}

/// With a limit on waiting: the kernel answers at once or never.
pub(super) fn connect() -> io::Result<OwnedFd> {
    let socket = socket::socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(10, 0))?;
    Ok(socket)
}

pub(super) fn receive(socket: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 1 << 16];
    let length = socket::recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
    buffer.truncate(length);
    Ok(buffer)
}

pub(super) fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    // Only the machine's own root may go beyond the system's limit; within a user namespace that limit (some hundred rules) must do.
    if setsockopt(socket, sockopt::SndBufForce, &BUFFER).is_err() {
        let _ = setsockopt(socket, sockopt::SndBuf, &BUFFER);
    }
    socket::sendto(socket.as_raw_fd(), bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    Ok(())
}

/// What the first message of an answer acknowledges.
pub(super) fn acknowledgement(answer: &[u8]) -> io::Result<()> {
    match split(answer) {
        Some((NLMSG_ERROR, body, _)) => acknowledged(body),
        _ => Err(too_short()),
    }
}

/// The first message: its type, its body, and what follows.
pub(super) fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?)).ok()?;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    Some((kind, bytes.get(HEADER..length)?, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

pub(super) fn acknowledged(body: &[u8]) -> io::Result<()> {
    match body.get(..4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
        None => Err(too_short()),
    }
}

pub(super) fn too_short() -> io::Error {
    io::Error::other("the kernel's answer was too short")
}
