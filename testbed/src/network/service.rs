//! Service addresses for everyone, with or without a sidecar: what kube-proxy does, with nft in the node namespace.
//!
//! The whole ruleset is rendered anew and applied as one transaction, so a connection meets either the old set of
//! endpoints or the new one. Connections already made keep their endpoint (connection tracking remembers it).

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};

use anyhow::Result;

use super::{Subnet, command, netns::NetNs};

/// Transport protocol of a Service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP, the default.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// One address and port of a Service with the ready endpoints behind it, all of the same IP family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontend {
    /// Where clients connect.
    pub address: SocketAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Where connections end up, each with the same chance. None: connections are refused.
    pub backends: Vec<SocketAddr>,
}

/// Replaces the rules of the node namespace.
///
/// # Errors
/// When `nft` is missing or refuses.
pub fn apply(node: &NetNs, subnet: &Subnet, frontends: &[Frontend], pods: &BTreeSet<IpAddr>) -> Result<()> {
    let ruleset = render(subnet, frontends, pods);
    node.run(|| command::nft(&ruleset))?
}

/// The ruleset as `nft -f` reads it.
///
/// An address of the run's range that is neither a Service with endpoints nor a living pod answers at once that
/// nothing is there, instead of leaving the caller to a timeout.
pub fn render(subnet: &Subnet, frontends: &[Frontend], pods: &BTreeSet<IpAddr>) -> String {
    let served: Vec<&Frontend> = frontends.iter().filter(|frontend| !frontend.backends.is_empty()).collect();
    let mut text = String::from("flush ruleset\ntable inet outrigger {\n");
    for (number, frontend) in served.iter().enumerate() {
        let _ = writeln!(text, "  chain service_{number} {{ {}; }}", balance(frontend));
    }
    text.push_str(&map("services_v4", "ipv4_addr", &entries(&served, SocketAddr::is_ipv4)));
    text.push_str(&map("services_v6", "ipv6_addr", &entries(&served, SocketAddr::is_ipv6)));
    text.push_str(&set("pods_v4", "ipv4_addr", pods.iter().filter(|pod| pod.is_ipv4())));
    text.push_str(&set("pods_v6", "ipv6_addr", pods.iter().filter(|pod| pod.is_ipv6())));
    text.push_str(&chains(subnet, &hairpin(pods)));
    text.push_str("}\n");
    text
}

/// What is done with packets: Services become backends, and what is not there is refused.
fn chains(subnet: &Subnet, hairpin: &str) -> String {
    let lookup = "ip daddr . meta l4proto . th dport vmap @services_v4\n    \
                  ip6 daddr . meta l4proto . th dport vmap @services_v6";
    let (range4, range6) = (subnet.range_v4(), subnet.range_v6());
    let (host4, host6) = (subnet.host_v4(), subnet.host_v6());
    format!(
        "  chain prerouting {{
    type nat hook prerouting priority -100;
    {lookup}
  }}
  chain output {{
    type nat hook output priority -100;
    {lookup}
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat;
{hairpin}  }}
  chain forward {{
    type filter hook forward priority filter;
    ct state established,related accept
    ip daddr {host4} accept
    ip6 daddr {host6} accept
    ip daddr {range4} ip daddr != @pods_v4 meta l4proto tcp reject with tcp reset
    ip6 daddr {range6} ip6 daddr != @pods_v6 meta l4proto tcp reject with tcp reset
    ip daddr {range4} ip daddr != @pods_v4 reject
    ip6 daddr {range6} ip6 daddr != @pods_v6 reject
  }}
"
    )
}

fn balance(frontend: &Frontend) -> String {
    let family = if frontend.address.is_ipv4() { "ip" } else { "ip6" };
    let protocol = frontend.protocol;
    let backend = |address: &SocketAddr| format!("{} . {}", address.ip(), address.port());
    match frontend.backends.as_slice() {
        [only] => format!("meta l4proto {protocol} dnat {family} to {only}"),
        several => {
            let choices: Vec<String> =
                several.iter().enumerate().map(|(index, address)| format!("{index} : {}", backend(address))).collect();
            let (count, choices) = (several.len(), choices.join(", "));
            format!("meta l4proto {protocol} dnat {family} to numgen random mod {count} map {{ {choices} }}")
        }
    }
}

fn entries(served: &[&Frontend], family: fn(&SocketAddr) -> bool) -> Vec<String> {
    let entry = |(number, frontend): (usize, &&Frontend)| {
        let (address, protocol) = (frontend.address, frontend.protocol);
        format!("{} . {protocol} . {} : goto service_{number}", address.ip(), address.port())
    };
    served.iter().enumerate().filter(|(_, frontend)| family(&frontend.address)).map(entry).collect()
}

fn map(name: &str, address_type: &str, entries: &[String]) -> String {
    let key = format!("type {address_type} . inet_proto . inet_service : verdict");
    format!("  map {name} {{ {key}; {} }}\n", elements(entries))
}

fn set<'a>(name: &str, address_type: &str, members: impl Iterator<Item = &'a IpAddr>) -> String {
    let members: Vec<String> = members.map(ToString::to_string).collect();
    format!("  set {name} {{ type {address_type}; {} }}\n", elements(&members))
}

fn elements(entries: &[String]) -> String {
    if entries.is_empty() { String::new() } else { format!("elements = {{ {} }};", entries.join(", ")) }
}

/// A pod that reaches itself through a Service would drop the answer: it comes from its own address. So such a
/// connection takes the node's address as source, as kube-proxy does.
fn hairpin(pods: &BTreeSet<IpAddr>) -> String {
    let family = |keyword: &str, v4: bool| {
        let pairs: Vec<String> = pods.iter().filter(|pod| pod.is_ipv4() == v4).map(|pod| format!("{pod} . {pod}")).collect();
        if pairs.is_empty() {
            return String::new();
        }
        format!("    {keyword} saddr . {keyword} daddr {{ {} }} masquerade\n", pairs.join(", "))
    };
    family("ip", true) + &family("ip6", false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frontend(address: &str, backends: &[&str]) -> Frontend {
        let backends = backends.iter().map(|backend| backend.parse().unwrap()).collect();
        Frontend { address: address.parse().unwrap(), protocol: Protocol::Tcp, backends }
    }

    fn rules(frontends: &[Frontend], pods: &[&str]) -> String {
        let subnet: Subnet = serde_json::from_str("{\"index\": 832, \"v6\": true}").unwrap();
        render(&subnet, frontends, &pods.iter().map(|pod| pod.parse().unwrap()).collect())
    }

    #[test]
    fn every_endpoint_has_the_same_chance() {
        let text = rules(&[frontend("10.244.8.1:80", &["10.244.0.16:8080", "10.244.0.17:9090"])], &[]);
        assert!(text.contains("goto service_0"), "{text}");
        assert!(text.contains("numgen random mod 2 map { 0 : 10.244.0.16 . 8080, 1 : 10.244.0.17 . 9090 }"), "{text}");
    }

    #[test]
    fn a_service_without_endpoints_is_not_translated_and_so_refused() {
        let text = rules(&[frontend("10.244.8.1:80", &[])], &["10.244.0.16"]);
        assert!(!text.contains("10.244.8.1"), "{text}");
        assert!(text.contains("ip daddr 10.244.0.0/20 ip daddr != @pods_v4 meta l4proto tcp reject with tcp reset"), "{text}");
    }

    #[test]
    fn a_pod_that_calls_itself_is_seen_as_the_node() {
        let text = rules(&[], &["10.244.0.16", "fd6f:7574:340::1:10"]);
        assert!(text.contains("ip saddr . ip daddr { 10.244.0.16 . 10.244.0.16 } masquerade"), "{text}");
        assert!(text.contains("ip6 saddr . ip6 daddr { fd6f:7574:340::1:10 . fd6f:7574:340::1:10 } masquerade"), "{text}");
    }
}
