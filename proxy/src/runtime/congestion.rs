//! Connections that never leave the host are not paced.
//!
//! Where the kernel's default congestion control is one of the BBR family, a socket sends by timers, at the rate of the
//! narrowest link it has seen. On loopback there is no such link, and the timers cost a third of a bulk transfer's CPU
//! (`docs/performance.md`). Such sockets take reno, which every process may choose; it sends whenever there is room.
//!
//! Assumed: the default is that of the network namespace the process was started in, and does not change. The choice must
//! come before the handshake (on the listening socket, whose connections inherit it, or before `connect`), since a socket that
//! was once paced stays paced.

use std::sync::OnceLock;

use socket2::SockRef;

/// What sockets get that choose nothing.
const DEFAULT: &str = "/proc/sys/net/ipv4/tcp_congestion_control";
/// Available and allowed to everybody on every Linux.
const UNPACED: &[u8] = b"reno";

/// Makes the connections of `socket` send without pacing. Costs nothing where they would anyway; where the kernel refuses, they
/// are paced as any other.
pub fn stay_on_this_host(socket: &SockRef<'_>) {
    static PACED: OnceLock<bool> = OnceLock::new();
    if *PACED.get_or_init(|| std::fs::read_to_string(DEFAULT).is_ok_and(|name| is_paced(&name))) {
        let _ = socket.set_tcp_congestion(UNPACED);
    }
}

/// Whether a congestion control sends by timers.
fn is_paced(name: &str) -> bool {
    name.trim_start().starts_with("bbr")
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT, is_paced, stay_on_this_host};
    use socket2::{Domain, SockRef, Socket, Type};

    #[test]
    fn the_bbr_family_is_paced() {
        for (name, paced) in [("bbr\n", true), ("bbr3\n", true), ("cubic\n", false), ("reno\n", false), ("", false)] {
            assert_eq!(is_paced(name), paced, "{name:?}");
        }
    }

    #[test]
    fn a_socket_that_stays_on_this_host_is_not_paced_and_keeps_any_other_default() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        stay_on_this_host(&SockRef::from(&socket));
        let chosen = socket.tcp_congestion().unwrap();
        let chosen = String::from_utf8_lossy(&chosen).trim_end_matches('\0').to_owned();
        let default = std::fs::read_to_string(DEFAULT).unwrap();
        assert_eq!(chosen, if is_paced(&default) { "reno" } else { default.trim() });
    }
}
