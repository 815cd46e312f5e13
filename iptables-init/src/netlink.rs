//! Requests to the kernel's routing side (rtnetlink(7)), spoken directly so that no image needs iproute2 for them.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};

use crate::rule::Family;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Add,
    Remove,
}

// Values of linux/netlink.h.
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;

/// One request: message types to add and to remove the thing, its fixed part, and its attributes.
pub(crate) struct Request {
    pub(crate) add: u16,
    pub(crate) remove: u16,
    pub(crate) fixed: Vec<u8>,
    pub(crate) attributes: Vec<(u16, Vec<u8>)>,
}

/// The number of the family in messages.
pub(crate) fn number(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

/// Whether something changed: that the thing is there already, or not there, is no error.
pub(crate) fn send(request: &Request, change: Change) -> io::Result<bool> {
    let socket: OwnedFd = socket::socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    socket::sendto(socket.as_raw_fd(), &message(request, change), &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0_u8; 512];
    let length = socket::recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let code = acknowledged(answer.get(..length).unwrap_or_default())?;
    match (change, Errno::from_raw(code)) {
        _ if code == 0 => Ok(true),
        (Change::Add, Errno::EEXIST) | (Change::Remove, Errno::EADDRNOTAVAIL | Errno::ENOENT | Errno::ESRCH) => Ok(false),
        _ => Err(io::Error::from_raw_os_error(code)),
    }
}

fn message(request: &Request, change: Change) -> Vec<u8> {
    let (kind, flags) = match change {
        Change::Add => (request.add, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL),
        Change::Remove => (request.remove, NLM_F_REQUEST | NLM_F_ACK),
    };
    let mut bytes = vec![0; 4];
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(1_u32.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(&request.fixed);
    for (kind, value) in &request.attributes {
        // Values are addresses and numbers: 4 or 16 bytes, so no padding is needed.
        bytes.extend(u16::try_from(4 + value.len()).unwrap_or(u16::MAX).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
    }
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    bytes.splice(..4, length.to_ne_bytes());
    bytes
}

/// The error number in the kernel's acknowledgement, 0 for success: the four bytes after the header, negated.
fn acknowledged(answer: &[u8]) -> io::Result<i32> {
    let code = answer.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    code.map(i32::wrapping_neg).ok_or_else(|| io::Error::other("the kernel's answer was too short"))
}
