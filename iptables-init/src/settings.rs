//! Flags as written become settings as needed: typed, checked, with Istio's defaults (contract 2.2, 2.3).
//!
//! The only looks at the machine are the user and group database, for names in place of numbers, and with `--redirect-dns` the
//! file that names the resolvers.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use crate::tool::Lock;

pub use read::read;

mod read;
mod resolvers;
mod values;

/// Everything or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection<T> {
    /// `*`
    All,
    /// Exactly these; may be empty.
    Only(Vec<T>),
}

/// What the rules depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Port captured outbound connections go to.
    pub outbound_capture_port: u16,
    /// Port captured inbound connections go to.
    pub inbound_capture_port: u16,
    /// Port that is never captured: the tunnel listener's own.
    pub inbound_tunnel_port: u16,
    /// Users whose traffic is left alone; never empty.
    pub proxy_uids: Vec<u32>,
    /// Groups whose traffic is left alone; never empty.
    pub proxy_gids: Vec<u32>,
    /// Inbound ports captured.
    pub inbound_ports: Selection<u16>,
    /// Inbound ports left alone; counts only with all ports captured.
    pub inbound_exclude_ports: Vec<u16>,
    /// Interfaces left alone.
    pub exclude_interfaces: Vec<String>,
    /// Outbound ranges captured, both families mixed, host bits cleared.
    pub outbound_ranges: Selection<IpNet>,
    /// Outbound ranges left alone.
    pub outbound_exclude_ranges: Vec<IpNet>,
    /// Outbound ports captured whatever the address.
    pub outbound_ports: Vec<u16>,
    /// Outbound ports left alone.
    pub outbound_exclude_ports: Vec<u16>,
    /// Groups whose traffic is captured.
    pub owner_groups: Selection<u32>,
    /// Groups whose traffic is left alone; counts only with all groups captured.
    pub owner_groups_exclude: Vec<u32>,
    /// What is "localhost" in IPv4.
    pub loopback_v4: Ipv4Net,
    /// Drop packets which connection tracking calls invalid.
    pub drop_invalid: bool,
    /// Interfaces behind which nested machines live: what they send counts as outbound.
    pub reroute_interfaces: Vec<String>,
    /// Capture inbound traffic by TPROXY; `None` is REDIRECT.
    pub tproxy: Option<Tproxy>,
    /// DNS capture.
    pub dns: Dns,
    /// Where to do as Istio does although this program knows better.
    pub like_istio: LikeIstio,
}

/// Numbers of TPROXY mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tproxy {
    /// Packet mark that leads to [`Tproxy::route_table`]. The number after it marks the proxy calling its own pod.
    pub mark: u32,
    /// Routing table in which every address is local.
    pub route_table: u32,
}

impl Tproxy {
    /// Istio's numbers.
    pub const DEFAULT: Self = Self { mark: 1337, route_table: 133 };
}

/// Which DNS queries are captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dns {
    /// None.
    Off,
    /// Those to these servers: the pod's resolvers. Never empty.
    Servers(Vec<IpAddr>),
    /// All.
    All,
}

impl Dns {
    /// Whether any query is captured.
    #[must_use]
    pub fn is_on(&self) -> bool {
        *self != Self::Off
    }
}

/// Behaviours of Istio's that `--like-istio` brings back, each by its name in that flag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LikeIstio {
    /// `ipv6-detection`: IPv6 is left alone unless the first address of an interface is an IPv6 one (with `--dual-stack`: any).
    pub ipv6_detection: bool,
    /// `dns-by-group`: with DNS capture, queries of the proxy's group to a resolver in the pod count as self calls.
    pub dns_by_group: bool,
    /// `unordered`: rules that stand in another order count as the wanted ones.
    pub unordered: bool,
    /// `guards`: `--reconcile` drops all TCP and UDP while it works, even where one transaction does it all.
    pub guards: bool,
}

/// Which program, or none, writes the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `iptables-restore` and `ip6tables-restore` of this flavour; `None` finds out which.
    Iptables(Option<Flavour>),
    /// nftables, in tables of its own that cover both families.
    Native,
}

/// Which iptables programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// `iptables-legacy`: the x_tables kernel interface.
    Legacy,
    /// `iptables-nft`: iptables rules kept by nf_tables.
    Nft,
    /// Whatever `iptables` is.
    Plain,
}

/// What to do with the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write them.
    Apply,
    /// Remove them.
    CleanUp,
    /// Leave them to a CNI plugin.
    Skip,
}

/// How to say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An aligned table, one line per rule.
    Text,
    /// JSON, one object per rule.
    Json,
}

/// The proof asked for by `--run-validation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Port that is dialled and on which nothing listens.
    pub port: u16,
    /// How long to try.
    pub timeout: Duration,
}

/// How to go about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Only tell.
    pub dry_run: bool,
    /// Apply, remove or neither.
    pub action: Action,
    /// Replace rules that differ.
    pub reconcile: bool,
    /// Replace rules without looking.
    pub force_apply: bool,
    /// Prove redirection afterwards.
    pub validation: Option<Probe>,
    /// What writes the rules.
    pub backend: Backend,
    /// Every address of an interface counts for `ipv6-detection`, not only the first.
    pub dual_stack: bool,
    /// Only say what each rule is for.
    pub explain: Option<Format>,
    /// The files are the host's, the network is a pod's: the xtables lock must be the pod's own.
    pub cni_mode: bool,
    /// Namespace to work in; `None` is the caller's.
    pub network_namespace: Option<PathBuf>,
}

impl Options {
    /// The lock that legacy programs are to take.
    #[must_use]
    pub fn lock(&self) -> Lock {
        if self.cni_mode { Lock::of_this_namespace() } else { Lock::Usual }
    }
}

#[cfg(test)]
mod tests;
