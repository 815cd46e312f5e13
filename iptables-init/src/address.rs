//! The address `::6/128` on the loopback interface.
//!
//! IPv4 needs nothing of the kind: all of 127.0.0.0/8 is local. In IPv6 only `::1` is, and the proxy could not bind `::6`.
//! Spoken in netlink directly (rtnetlink(7)), so that no image needs iproute2 for it.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};

use crate::Error;
use crate::plan::INBOUND_PASSTHROUGH_V6;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Add,
    Remove,
}

// Values of linux/rtnetlink.h, linux/netlink.h and linux/if_addr.h.
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_CREATE: u16 = 0x400;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 0x2;
const RT_SCOPE_HOST: u8 = 254;
const AF_INET6: u8 = 10;
/// Header (16), interface address message (8), attribute header (4), address (16).
const MESSAGE_LENGTH: u32 = 44;

/// Adds or removes the address. That it is there already, or not there, is no error; where IPv6 is switched off on `lo`
/// there is nothing to deliver and nothing is done.
pub(crate) fn passthrough_on_loopback(change: Change) -> Result<(), Error> {
    if std::fs::read_to_string("/proc/sys/net/ipv6/conf/lo/disable_ipv6").is_ok_and(|text| text.trim() == "1") {
        tracing::info!("IPv6 is disabled on lo: ::6 is left out");
        return Ok(());
    }
    request(change).map_err(Error::Address)
}

fn request(change: Change) -> io::Result<()> {
    let socket: OwnedFd = socket::socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    let message = message(change, if_nametoindex("lo")?);
    socket::sendto(socket.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0_u8; 256];
    let length = socket::recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    match (change, acknowledged(answer.get(..length).unwrap_or_default())?) {
        (_, 0) => Ok(()),
        (Change::Add, code) if code == Errno::EEXIST as i32 => Ok(()),
        (Change::Remove, code) if code == Errno::EADDRNOTAVAIL as i32 => Ok(()),
        (_, code) => Err(io::Error::from_raw_os_error(code)),
    }
}

fn message(change: Change, interface: u32) -> Vec<u8> {
    let (kind, flags) = match change {
        Change::Add => (RTM_NEWADDR, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE),
        Change::Remove => (RTM_DELADDR, NLM_F_REQUEST | NLM_F_ACK),
    };
    let mut bytes = Vec::new();
    bytes.extend(MESSAGE_LENGTH.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(1_u32.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend([AF_INET6, 128, IFA_F_NODAD, RT_SCOPE_HOST]);
    bytes.extend(interface.to_ne_bytes());
    bytes.extend(20_u16.to_ne_bytes());
    bytes.extend(IFA_LOCAL.to_ne_bytes());
    bytes.extend(INBOUND_PASSTHROUGH_V6.octets());
    bytes
}

/// The error number in the kernel's acknowledgement, 0 for success: the four bytes after the header, negated.
fn acknowledged(answer: &[u8]) -> io::Result<i32> {
    let code = answer.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    code.map(i32::wrapping_neg).ok_or_else(|| io::Error::other("the kernel's answer was too short"))
}
