//! The nouns: tables, families, rules, matches and targets, as far as the capture rules need them.

use std::fmt;

use ipnet::IpNet;

/// Address family; each has its own kernel tables and programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4: `iptables`.
    V4,
    /// IPv6: `ip6tables`.
    V6,
}

impl Family {
    /// Both families, IPv4 first.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// Whether `net` belongs to this family.
    #[must_use]
    pub fn holds(self, net: &IpNet) -> bool {
        matches!((self, net), (Self::V4, IpNet::V4(_)) | (Self::V6, IpNet::V6(_)))
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// Kernel table. The order is that of the names, in which tables are rendered (contract 2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Packet alteration: marks, TPROXY, dropping what conntrack calls invalid.
    Mangle,
    /// Address translation: what is redirected.
    Nat,
    /// Before connection tracking: which zone a packet is tracked in.
    Raw,
}

impl Table {
    /// Tables in rendering order.
    pub const ALL: [Self; 3] = [Self::Mangle, Self::Nat, Self::Raw];

    /// Name as `iptables -t` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mangle => "mangle",
            Self::Nat => "nat",
            Self::Raw => "raw",
        }
    }
}

/// Chains, the kernel's own and ours (contract 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Packets arriving from outside the pod.
    Prerouting,
    /// Packets generated in the pod.
    Output,
    /// What arrives: which ports are captured.
    IstioInbound,
    /// Outbound capture.
    IstioRedirect,
    /// Inbound capture.
    IstioInRedirect,
    /// What leaves: who and where to is captured.
    IstioOutput,
    /// DNS queries: redirected (table nat), kept apart by zone (table raw).
    IstioOutputDns,
    /// TPROXY: packets of connections the proxy has accepted.
    IstioDivert,
    /// TPROXY: new connections.
    IstioTproxy,
    /// Dropping (`--drop-invalid`).
    IstioDrop,
}

impl Chain {
    /// Name as iptables shows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prerouting => "PREROUTING",
            Self::Output => "OUTPUT",
            Self::IstioInbound => "ISTIO_INBOUND",
            Self::IstioRedirect => "ISTIO_REDIRECT",
            Self::IstioInRedirect => "ISTIO_IN_REDIRECT",
            Self::IstioOutput => "ISTIO_OUTPUT",
            Self::IstioOutputDns => "ISTIO_OUTPUT_DNS",
            Self::IstioDivert => "ISTIO_DIVERT",
            Self::IstioTproxy => "ISTIO_TPROXY",
            Self::IstioDrop => "ISTIO_DROP",
        }
    }

    /// Name in native nftables (contract 2.7).
    #[must_use]
    pub fn native_name(self) -> String {
        self.name().to_lowercase().replace('_', "-")
    }

    /// Whether the kernel brings the chain along.
    #[must_use]
    pub fn is_built_in(self) -> bool {
        matches!(self, Self::Prerouting | Self::Output)
    }
}

/// One condition of a rule. All conditions of a rule must hold. `Not...` are the negated forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// Source address in the range.
    Source(IpNet),
    /// Destination address in the range.
    Destination(IpNet),
    /// Destination address outside the range.
    NotDestination(IpNet),
    /// Arrived on this interface.
    InInterface(String),
    /// Leaves by this interface.
    OutInterface(String),
    /// TCP.
    Tcp,
    /// TCP to this port.
    TcpPort(u16),
    /// TCP to any other port.
    NotTcpPort(u16),
    /// TCP to neither of these ports.
    NotTcpPorts([u16; 2]),
    /// UDP to this port.
    UdpPort(u16),
    /// UDP from this port.
    UdpSourcePort(u16),
    /// The sending socket belongs to this user.
    Uid(u32),
    /// The sending socket belongs to another user.
    NotUid(u32),
    /// The sending socket belongs to this group.
    Gid(u32),
    /// The sending socket belongs to another group.
    NotGid(u32),
    /// The packet bears this mark.
    Mark(u32),
    /// The packet bears another mark, or none.
    NotMark(u32),
    /// The packet's connection bears this mark.
    ConnectionMark(u32),
    /// Connection tracking finds the packet fits no connection.
    ConntrackInvalid,
    /// The packet belongs to a connection, or is about one.
    ConntrackEstablished,
}

/// What happens to a packet that satisfies a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Leave the chain: in ours that means "leave the packet alone".
    Return,
    /// Go on in another chain.
    Jump(Chain),
    /// Deliver to this local port instead; the original destination stays readable (SO_ORIGINAL_DST).
    Redirect(u16),
    /// Hand the packet to the socket that listens on this local port, addresses untouched, and mark it so that it is routed there.
    Tproxy {
        /// The proxy's port.
        port: u16,
        /// The mark set.
        mark: u32,
    },
    /// Mark the packet and go on.
    SetMark(u32),
    /// Remember the packet's mark in its connection, and go on.
    SaveMark,
    /// Give the packet the mark of its connection, and go on.
    RestoreMark,
    /// Track the packet in this connection-tracking zone, unless it has one, and go on.
    Zone(u16),
    /// Be done with this table.
    Accept,
    /// Discard.
    Drop,
}

/// Where in its chain a rule goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Behind what is there.
    Last,
    /// Before everything, other people's rules included.
    First,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The table it stands in.
    pub table: Table,
    /// The chain it stands in.
    pub chain: Chain,
    /// Where it goes when it is added, after the rules before it in the plan.
    pub place: Place,
    /// Conditions, all of which must hold; none means every packet.
    pub matches: Vec<Match>,
    /// What happens then.
    pub target: Target,
    /// Why it is there, for people: a clause of at most 90 characters, printable ASCII without quotation marks.
    pub why: &'static str,
}
