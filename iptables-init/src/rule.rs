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
    /// Packet alteration; here only dropping what conntrack calls invalid.
    Mangle,
    /// Address translation: all of the capture.
    Nat,
}

impl Table {
    /// Tables in rendering order.
    pub const ALL: [Self; 2] = [Self::Mangle, Self::Nat];

    /// Name as `iptables -t` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mangle => "mangle",
            Self::Nat => "nat",
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
    /// Dropping (`--drop-invalid`).
    IstioDrop,
}

impl Chain {
    /// Name as the kernel shows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prerouting => "PREROUTING",
            Self::Output => "OUTPUT",
            Self::IstioInbound => "ISTIO_INBOUND",
            Self::IstioRedirect => "ISTIO_REDIRECT",
            Self::IstioInRedirect => "ISTIO_IN_REDIRECT",
            Self::IstioOutput => "ISTIO_OUTPUT",
            Self::IstioDrop => "ISTIO_DROP",
        }
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
    /// UDP to this port.
    UdpPort(u16),
    /// The sending socket belongs to this user.
    Uid(u32),
    /// The sending socket belongs to another user.
    NotUid(u32),
    /// The sending socket belongs to this group.
    Gid(u32),
    /// The sending socket belongs to another group.
    NotGid(u32),
    /// Connection tracking finds the packet fits no connection.
    ConntrackInvalid,
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
    /// Discard.
    Drop,
}

/// One rule, appended to its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The table it stands in.
    pub table: Table,
    /// The chain it is appended to.
    pub chain: Chain,
    /// Conditions, all of which must hold; none means every packet.
    pub matches: Vec<Match>,
    /// What happens then.
    pub target: Target,
}
