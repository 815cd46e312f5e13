//! The network of a run: one node namespace with a bridge, one namespace per pod, one link to the host.
//!
//! Every pod has a /32 (and a /128) and reaches everything, its neighbours included, through the node as next hop.
//! So the node sees both directions of every connection, and the translation of Service addresses there is always
//! undone on the way back. (Pods on one subnet would answer each other directly over the bridge and break it.)
//!
//! The host's own namespace gets exactly one interface, one address and two routes; its firewall and sysctls stay
//! as they are. Forwarding is switched on in the node namespace alone.

pub mod address;
pub mod client;
pub mod command;
pub mod netns;
pub mod service;

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};

pub use address::Subnet;
pub use netns::NetNs;

/// What the node's and the pods' namespaces need, as (file below `/proc/sys/net`, value).
///
/// Duplicate address detection would keep an IPv6 address unusable for a second; bridge netfilter would translate
/// a bridged frame a second time; a redirect would tell pods to bypass the node.
const NODE_SYSCTLS: &[(&str, &str)] = &[
    ("ipv4/ip_forward", "1"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/all/accept_dad", "0"),
    ("bridge/bridge-nf-call-iptables", "0"),
    ("bridge/bridge-nf-call-ip6tables", "0"),
];

/// As a container runtime sets them: low ports and ping for everyone.
const POD_SYSCTLS: &[(&str, &str)] = &[
    ("ipv4/ip_unprivileged_port_start", "0"),
    ("ipv4/ping_group_range", "0 2147483647"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv6/conf/all/disable_ipv6", "0"),
    ("ipv6/conf/default/disable_ipv6", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    // A pod that heeded "the other one is right beside you" would answer past the node, and the translation of the
    // Service address would never be undone. IPv6 has no switch at the sender's side.
    ("ipv4/conf/all/accept_redirects", "0"),
    ("ipv4/conf/default/accept_redirects", "0"),
    ("ipv6/conf/all/accept_redirects", "0"),
    ("ipv6/conf/default/accept_redirects", "0"),
];

/// The bridge's hardware address. Left to itself a bridge takes the lowest one of its ports, so that it would change, and every
/// connection in the run stall until neighbours are asked anew, when the pod that had it goes.
const BRIDGE: &str = "02:6f:75:74:72:01";

/// The addresses of one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodAddress {
    /// Position within the run's range; names the pod's port on the bridge.
    pub number: u16,
    /// The primary address.
    pub v4: Ipv4Addr,
    /// The second address; absent on a kernel without IPv6.
    pub v6: Option<Ipv6Addr>,
}

/// The node namespace of a run with its bridge and its link to the host.
#[derive(Debug)]
pub struct Network {
    /// Where addresses come from.
    pub subnet: Subnet,
    /// The node namespace; the DNS server and the Service translation live there.
    pub node: NetNs,
}

impl Network {
    /// Builds the node namespace `outrigger.RUN.node` and links it to the host.
    ///
    /// # Errors
    /// When a namespace cannot be made (no root) or `ip` is missing or refuses.
    pub fn create(run: &str, subnet: Subnet) -> Result<Network> {
        let node = NetNs::create(&format!("{}node", namespace_prefix(run)))?;
        let network = Network { subnet, node };
        network.node.run(|| write_sysctls(NODE_SYSCTLS))?;
        command::ip_batch(&network.host_lines(run)).context("linking the node namespace to the host")?;
        network.node.run(|| command::ip_batch(&network.node_lines()))?.context("setting up the bridge of the node namespace")?;
        Ok(network)
    }

    /// The addresses of the pod with this number.
    pub fn pod_address(&self, number: u16) -> PodAddress {
        PodAddress { number, v4: self.subnet.pod_v4(number), v6: self.subnet.v6.then(|| self.subnet.pod_v6(number)) }
    }

    /// Makes a pod's namespace and joins it to the bridge.
    ///
    /// # Errors
    /// When the namespace exists already or `ip` refuses.
    pub fn attach_pod(&self, namespace: &str, address: PodAddress) -> Result<NetNs> {
        let pod = NetNs::create(namespace)?;
        let lines = self.pod_lines(address);
        pod.run(|| {
            write_sysctls(POD_SYSCTLS);
            command::ip_batch(&lines)
        })?
        .with_context(|| format!("setting up the network of {namespace}"))?;
        let port = format!("link set p{} master br0 up\n", address.number);
        self.node.run(|| command::ip_batch(&port))?.context("joining a pod to the bridge")?;
        Ok(pod)
    }

    fn host_lines(&self, run: &str) -> String {
        let (subnet, link) = (&self.subnet, self.subnet.host_link());
        let (host4, node4, range4) = (subnet.host_v4(), subnet.node_v4(), subnet.range_v4());
        let mut lines = format!(
            "link add {link} type veth peer name host netns {node}\n\
             link set {link} alias {alias}\n\
             link set {link} up\n\
             addr add {host4} peer {node4}/32 dev {link}\n\
             route add {range4} via {node4} dev {link} src {host4}\n",
            node = self.node.path().display(),
            alias = namespace_prefix(run),
        );
        if subnet.v6 && host_has_ipv6() {
            let (host6, range6) = (subnet.host_v6(), subnet.range_v6());
            lines.push_str(&format!(
                "addr add {host6}/128 dev {link} nodad\n\
                 route add {range6} via fe80::1 dev {link} src {host6}\n"
            ));
        }
        lines
    }

    fn node_lines(&self) -> String {
        let subnet = &self.subnet;
        let mut lines = format!(
            "link set lo up\n\
             link add br0 address {BRIDGE} type bridge\n\
             link set br0 up\n\
             addr add {node4}/32 dev br0\n\
             route add {range4} dev br0\n\
             link set host up\n\
             route add {host4}/32 dev host\n",
            node4 = subnet.node_v4(),
            range4 = subnet.range_v4(),
            host4 = subnet.host_v4(),
        );
        if subnet.v6 {
            lines.push_str(&format!(
                "addr add {node6}/128 dev br0 nodad\n\
                 route add {range6} dev br0\n\
                 addr add fe80::1/64 dev host nodad\n\
                 route add {host6}/128 dev host\n",
                node6 = subnet.node_v6(),
                range6 = subnet.range_v6(),
                host6 = subnet.host_v6(),
            ));
        }
        lines
    }

    fn pod_lines(&self, address: PodAddress) -> String {
        let node4 = self.subnet.node_v4();
        let mut lines = format!(
            "link set lo up\n\
             link add eth0 type veth peer name p{number} netns {node}\n\
             link set eth0 up\n\
             addr add {v4}/32 dev eth0\n\
             route add {node4}/32 dev eth0\n\
             route add default via {node4} dev eth0 src {v4}\n",
            number = address.number,
            node = self.node.path().display(),
            v4 = address.v4,
        );
        if let Some(v6) = address.v6 {
            let node6 = self.subnet.node_v6();
            lines.push_str(&format!(
                "addr add {v6}/128 dev eth0 nodad\n\
                 route add {node6}/128 dev eth0\n\
                 route add default via {node6} dev eth0 src {v6}\n"
            ));
        }
        lines
    }
}

/// How the names of all namespaces of a run begin: what a later run looks for after a crash.
pub fn namespace_prefix(run: &str) -> String {
    format!("outrigger.{run}.")
}

/// The interfaces on the host that belong to a run: those that carry its name as alias. Interface names alone do not
/// tell, because they are used again.
pub fn host_links(run: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/sys/class/net") else { return Vec::new() };
    let ours = |name: &String| {
        let alias = std::fs::read_to_string(format!("/sys/class/net/{name}/ifalias")).unwrap_or_default();
        alias.trim() == namespace_prefix(run)
    };
    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).filter(ours).collect()
}

/// A setting whose file is absent belongs to a kernel part that is not loaded, so there is nothing to set.
fn write_sysctls(settings: &[(&str, &str)]) {
    for (file, value) in settings {
        if let Err(error) = std::fs::write(format!("/proc/sys/net/{file}"), value) {
            tracing::debug!(file, value, %error, "sysctl not set");
        }
    }
}

/// Whether the host's own namespace can hold IPv6 addresses.
fn host_has_ipv6() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6").is_ok_and(|value| value.trim() == "0")
}
