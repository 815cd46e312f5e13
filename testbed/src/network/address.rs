//! The address plan: every run takes one free /20 of IPv4 and one /64 of IPv6.
//!
//! | part of the /20 | use |
//! |---|---|
//! | .1 | the node: next hop of all pods, DNS server |
//! | .2 | the host's end of the link |
//! | .16 to the middle | pods |
//! | upper half | Services |
//!
//! IPv6 mirrors it: `::1` node, `::2` host, `::1:n` pods, `::2:n` Services.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use anyhow::{Result, bail};
use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::command;

/// Runs share 10.192.0.0/10, from the middle upwards: the ends are where VPNs and cloud resolvers like to sit.
const BASE: Ipv4Addr = Ipv4Addr::new(10, 192, 0, 0);
const PLANS: u16 = 1024;
const FIRST_CHOICE: u16 = 832;
const FIRST_POD: u16 = 16;
const FIRST_SERVICE: u16 = 2048;

/// How many pods a run can hold at one time.
pub const PODS: u16 = FIRST_SERVICE - FIRST_POD;
/// How many Services with an address a run can hold.
pub const SERVICES: u16 = 2047;

/// The range of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// Which of the [`PLANS`] ranges.
    index: u16,
    /// Whether pods get IPv6 addresses; false only on a kernel built without.
    pub v6: bool,
}

impl Subnet {
    /// The first range that overlaps no route of this host, no name server and no range in `taken`.
    ///
    /// # Errors
    /// When all of them are in use or routes cannot be read.
    pub fn choose(taken: &[Subnet]) -> Result<Subnet> {
        let mut used = routes(&command::ip_output(&["-4", "route", "show", "table", "all"])?);
        used.extend(name_servers());
        let v6 = Path::new("/proc/sys/net/ipv6").exists();
        let order = (FIRST_CHOICE..PLANS).chain(0..FIRST_CHOICE);
        match order.map(|index| Subnet { index, v6 }).find(|candidate| candidate.is_free(&used, taken)) {
            Some(subnet) => Ok(subnet),
            None => bail!("no free /20 left in {BASE}/10: end some of the runs with `outrigger down`"),
        }
    }

    fn is_free(&self, used: &[Ipv4Net], taken: &[Subnet]) -> bool {
        let range = self.range_v4();
        let overlaps = |net: &Ipv4Net| net.contains(&range) || range.contains(net);
        !used.iter().any(overlaps) && !taken.iter().any(|other| other.index == self.index)
    }

    /// All IPv4 addresses of the run.
    pub fn range_v4(&self) -> Ipv4Net {
        Ipv4Net::new(self.v4(0), 20).unwrap_or_default()
    }

    /// The part of it where Services live.
    pub fn services_v4(&self) -> Ipv4Net {
        Ipv4Net::new(self.v4(FIRST_SERVICE), 21).unwrap_or_default()
    }

    /// All IPv6 addresses of the run.
    pub fn range_v6(&self) -> Ipv6Net {
        Ipv6Net::new(self.v6_at(0, 0), 64).unwrap_or_default()
    }

    /// The part of it where Services live.
    pub fn services_v6(&self) -> Ipv6Net {
        Ipv6Net::new(self.v6_at(2, 0), 112).unwrap_or_default()
    }

    /// Next hop of all pods and address of the DNS server.
    pub fn node_v4(&self) -> Ipv4Addr {
        self.v4(1)
    }

    /// As [`Subnet::node_v4`].
    pub fn node_v6(&self) -> Ipv6Addr {
        self.v6_at(0, 1)
    }

    /// The host's address on the link: what pods see when the host calls them.
    pub fn host_v4(&self) -> Ipv4Addr {
        self.v4(2)
    }

    /// As [`Subnet::host_v4`].
    pub fn host_v6(&self) -> Ipv6Addr {
        self.v6_at(0, 2)
    }

    /// Name of the interface on the host; tells which range it belongs to.
    pub fn host_link(&self) -> String {
        format!("outrigger{}", self.index)
    }

    /// Address of pod `number`, counted from 0 and below [`PODS`].
    pub fn pod_v4(&self, number: u16) -> Ipv4Addr {
        self.v4(FIRST_POD + number)
    }

    /// As [`Subnet::pod_v4`].
    pub fn pod_v6(&self, number: u16) -> Ipv6Addr {
        self.v6_at(1, FIRST_POD + number)
    }

    /// Address of Service `number`, counted from 0 and below [`SERVICES`].
    pub fn service_v4(&self, number: u16) -> Ipv4Addr {
        self.v4(FIRST_SERVICE + 1 + number)
    }

    /// As [`Subnet::service_v4`].
    pub fn service_v6(&self, number: u16) -> Ipv6Addr {
        self.v6_at(2, 1 + number)
    }

    fn v4(&self, offset: u16) -> Ipv4Addr {
        Ipv4Addr::from_bits(BASE.to_bits() + u32::from(self.index) * 4096 + u32::from(offset))
    }

    /// A unique local address (RFC 4193) whose third group tells the run.
    fn v6_at(&self, kind: u16, offset: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfd6f, 0x7574, self.index, 0, 0, 0, kind, offset)
    }
}

/// Destinations of `ip route show`, without default routes, which every address is part of.
fn routes(listing: &str) -> Vec<Ipv4Net> {
    let types = ["unicast", "local", "broadcast", "multicast", "unreachable", "blackhole", "prohibit", "throw"];
    let destination = |line: &str| {
        let mut words = line.split_whitespace().skip_while(|word| types.contains(word));
        let word = words.next()?.to_owned();
        word.parse::<Ipv4Net>().ok().or_else(|| word.parse::<Ipv4Addr>().ok().map(Ipv4Net::from))
    };
    listing.lines().filter_map(destination).filter(|net| net.prefix_len() > 0).collect()
}

/// The host's resolvers: behind the default route, but a route of ours would hide them.
fn name_servers() -> Vec<Ipv4Net> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let address = |line: &str| line.strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok();
    let v4 = |address: IpAddr| match address {
        IpAddr::V4(v4) => Some(Ipv4Net::from(v4)),
        IpAddr::V6(_) => None,
    };
    text.lines().filter_map(address).filter_map(v4).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_neighbours_do_not_touch() {
        let [a, b] = [Subnet { index: 5, v6: true }, Subnet { index: 6, v6: true }];
        assert!(!a.range_v4().contains(&b.range_v4().network()));
        assert!(a.range_v4().contains(&a.pod_v4(PODS - 1)));
        assert!(!a.services_v4().contains(&a.pod_v4(PODS - 1)));
        assert!(a.services_v4().contains(&a.service_v4(SERVICES - 2)));
        assert!(a.services_v6().contains(&a.service_v6(7)));
        assert!(!a.services_v6().contains(&a.pod_v6(7)));
        assert_ne!(a.range_v6(), b.range_v6());
    }

    #[test]
    fn a_range_that_a_route_covers_or_lies_in_is_not_free() {
        let subnet = Subnet { index: 832, v6: false };
        assert_eq!(subnet.range_v4().to_string(), "10.244.0.0/20");
        let free = |listing: &str| subnet.is_free(&routes(listing), &[]);
        assert!(free("default via 192.0.2.1 dev eth0\n192.0.2.0/24 dev eth0 proto kernel"));
        assert!(!free("10.0.0.0/8 via 192.0.2.9 dev tun0"));
        assert!(!free("10.244.3.0/24 dev docker0"));
        assert!(!free("local 10.244.3.7 dev lo table local"));
        assert!(!subnet.is_free(&[], &[subnet]));
    }
}
