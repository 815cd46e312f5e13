//! The address `::6/128` on the loopback interface.
//!
//! IPv4 needs nothing of the kind: all of 127.0.0.0/8 is local. In IPv6 only `::1` is, and the proxy could not bind `::6`.

use std::io;

use nix::net::if_::if_nametoindex;

use crate::Error;
use crate::netlink::{self, Change, Request};
use crate::plan::INBOUND_PASSTHROUGH_V6;
use crate::rule::Family;

// Values of linux/rtnetlink.h and linux/if_addr.h.
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 0x2;
const RT_SCOPE_HOST: u8 = 254;

/// Adds or removes the address; says whether that changed anything. Where IPv6 is switched off on `lo` there is nothing to
/// deliver and nothing is done.
pub(crate) fn passthrough_on_loopback(change: Change) -> Result<bool, Error> {
    if is_disabled() {
        tracing::info!("IPv6 is disabled on lo: ::6 is left out");
        return Ok(false);
    }
    request().and_then(|request| netlink::send(&request, change)).map_err(Error::Address)
}

/// Whether IPv6 is switched off on `lo`.
pub(crate) fn is_disabled() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv6/conf/lo/disable_ipv6").is_ok_and(|text| text.trim() == "1")
}

/// Whether the address is there.
pub(crate) fn is_present() -> bool {
    let wanted: String = INBOUND_PASSTHROUGH_V6.octets().iter().map(|octet| format!("{octet:02x}")).collect();
    std::fs::read_to_string("/proc/thread-self/net/if_inet6").is_ok_and(|table| table.lines().any(|line| line.starts_with(&wanted)))
}

fn request() -> io::Result<Request> {
    let mut fixed = vec![netlink::number(Family::V6), 128, IFA_F_NODAD, RT_SCOPE_HOST];
    fixed.extend(if_nametoindex("lo")?.to_ne_bytes());
    let attributes = vec![(IFA_LOCAL, INBOUND_PASSTHROUGH_V6.octets().to_vec())];
    Ok(Request { add: RTM_NEWADDR, remove: RTM_DELADDR, fixed, attributes })
}
