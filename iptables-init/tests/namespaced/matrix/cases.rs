//! The table: configurations, and what becomes of packets under each.

use std::net::{IpAddr, SocketAddr};

use outrigger_iptables_init::{Args, Family};

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The application: uid and gid 1000.
    App,
    /// The application under another group.
    Group(u32),
    /// The proxy: uid and gid 1337.
    Proxy,
    /// A proxy that runs as uid 0: only its group tells.
    ProxyGroup,
    /// The proxy delivering inbound traffic, from 127.0.0.6 or ::6.
    Delivery,
    /// Another machine.
    Outside,
    /// A machine behind the pod's second interface.
    Nested,
}

/// Where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    Elsewhere,
    Service,
    Pod,
    Localhost,
    /// 127.1.2.3; IPv6 has only one loopback address.
    OtherLoopback,
    Resolver,
    OtherResolver,
    /// The machine behind the second interface, and the pod's own end of it.
    Nested,
    PodNested,
    /// Somewhere only the pod could lead a nested machine to.
    BeyondPod,
}

impl To {
    /// The address, where the family has it.
    pub fn address(self, family: Family) -> Option<IpAddr> {
        let (v4, v6) = match self {
            Self::Elsewhere => ("203.0.113.7", "2001:db8::7"),
            Self::Service => ("10.96.0.7", "fd00:96::7"),
            Self::Pod => ("10.77.0.2", "fd77::2"),
            Self::Localhost => ("127.0.0.1", "::1"),
            Self::OtherLoopback => ("127.1.2.3", ""),
            Self::Resolver => ("10.77.0.53", "fd77::53"),
            Self::OtherResolver => ("10.77.0.54", "fd77::54"),
            Self::Nested => ("10.78.0.1", "fd78::1"),
            Self::PodNested => ("10.78.0.2", "fd78::2"),
            Self::BeyondPod => ("198.51.100.7", "2001:db8:100::7"),
        };
        if family == Family::V4 { v4 } else { v6 }.parse().ok()
    }
}

/// Whom the packet reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaches {
    /// The proxy's outbound side, which knows where the client was headed.
    Outbound,
    /// The proxy's inbound side, likewise.
    Inbound,
    /// The proxy's inbound side, by TPROXY, which hands it to the application under the client's address.
    InboundThenApp,
    /// The application in the pod, directly.
    App,
    /// A machine outside, directly.
    Peer,
    /// The proxy's resolver.
    DnsProxy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
}

#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub protocol: Protocol,
    pub from: From,
    pub to: To,
    pub port: u16,
    pub reaches: Reaches,
}

impl Packet {
    /// What is answered: who it is; and for the proxy where the client was headed, for the application who it sees.
    pub fn expected(&self, family: Family) -> String {
        let target = self.to.address(family).map(|address| SocketAddr::new(address, self.port));
        let headed = target.map(|target| target.to_string()).unwrap_or_default();
        let seen = if family == Family::V4 { "10.77.0.1" } else { "fd77::1" };
        match self.reaches {
            Reaches::Outbound => format!("outbound {headed}"),
            Reaches::Inbound => format!("inbound {headed}"),
            Reaches::InboundThenApp => format!("inbound {headed} app {seen}"),
            Reaches::App => "app".to_owned(),
            Reaches::Peer => "peer".to_owned(),
            Reaches::DnsProxy => "dns-proxy".to_owned(),
        }
    }
}

pub struct Case {
    pub name: &'static str,
    pub change: fn(&mut Args),
    pub packets: &'static [Packet],
}

const fn tcp(from: From, to: To, port: u16, reaches: Reaches) -> Packet {
    Packet { protocol: Protocol::Tcp, from, to, port, reaches }
}

const fn udp(from: From, to: To, port: u16, reaches: Reaches) -> Packet {
    Packet { protocol: Protocol::Udp, from, to, port, reaches }
}

fn set(value: &str) -> Option<String> {
    Some(value.to_owned())
}

use Reaches as R;

pub const CASES: &[Case] = &[
    Case {
        name: "default",
        change: |_| {},
        packets: &[
            // 1, 5-8: the proxy's own ports are reached, others captured.
            tcp(From::Outside, To::Pod, 15008, R::App),
            tcp(From::Outside, To::Pod, 15090, R::App),
            tcp(From::Outside, To::Pod, 15021, R::App),
            tcp(From::Outside, To::Pod, 15020, R::App),
            tcp(From::Outside, To::Pod, 8080, R::Inbound),
            tcp(From::Nested, To::PodNested, 8080, R::Inbound),
            // 10: delivery is left alone.
            tcp(From::Delivery, To::Pod, 8080, R::App),
            // 11: self calls, but not to localhost nor to the tunnel.
            tcp(From::Proxy, To::Pod, 8080, R::Inbound),
            tcp(From::Proxy, To::Pod, 15008, R::App),
            tcp(From::Proxy, To::Localhost, 8080, R::App),
            // 12: the application talks to itself.
            tcp(From::App, To::Pod, 8080, R::App),
            tcp(From::App, To::Localhost, 8080, R::App),
            tcp(From::App, To::OtherLoopback, 8080, R::App),
            // 13, 16: what the proxy sends.
            tcp(From::Proxy, To::Elsewhere, 8080, R::Peer),
            tcp(From::ProxyGroup, To::Elsewhere, 8080, R::Peer),
            // 18, and no UDP.
            tcp(From::App, To::Elsewhere, 8080, R::Outbound),
            tcp(From::App, To::Service, 9090, R::Outbound),
            udp(From::App, To::Resolver, 53, R::Peer),
        ],
    },
    Case {
        name: "-b empty",
        change: |args| args.istio_inbound_ports = set(""),
        packets: &[tcp(From::Outside, To::Pod, 8080, R::App), tcp(From::App, To::Elsewhere, 8080, R::Outbound)],
    },
    Case {
        name: "-b list",
        change: |args| args.istio_inbound_ports = set("9090,15021"),
        packets: &[
            tcp(From::Outside, To::Pod, 9090, R::Inbound),
            tcp(From::Outside, To::Pod, 8080, R::App),
            // -d does not count here.
            tcp(From::Outside, To::Pod, 15021, R::Inbound),
        ],
    },
    Case {
        name: "-d list",
        change: |args| args.istio_local_exclude_ports = set("9090"),
        packets: &[tcp(From::Outside, To::Pod, 9090, R::App), tcp(From::Outside, To::Pod, 15021, R::Inbound)],
    },
    Case {
        name: "-i empty",
        change: |args| args.istio_service_cidr = set(""),
        packets: &[tcp(From::App, To::Elsewhere, 8080, R::Peer), tcp(From::Outside, To::Pod, 8080, R::Inbound)],
    },
    Case {
        name: "-i list",
        change: |args| args.istio_service_cidr = set("10.96.0.0/12,fd00:96::/32"),
        packets: &[tcp(From::App, To::Service, 8080, R::Outbound), tcp(From::App, To::Elsewhere, 8080, R::Peer)],
    },
    Case {
        name: "-i with a loopback range",
        change: |args| args.istio_service_cidr = set("127.1.2.3/32,10.77.0.0/24,fd77::/64"),
        packets: &[
            tcp(From::App, To::OtherLoopback, 8080, R::Outbound),
            tcp(From::App, To::Pod, 8080, R::Outbound),
            tcp(From::App, To::Localhost, 8080, R::App),
            tcp(From::App, To::Elsewhere, 8080, R::Peer),
        ],
    },
    Case {
        name: "-x",
        change: |args| args.istio_service_exclude_cidr = set("203.0.113.0/24,2001:db8::/64"),
        packets: &[tcp(From::App, To::Elsewhere, 8080, R::Peer), tcp(From::App, To::Service, 8080, R::Outbound)],
    },
    Case {
        name: "-o",
        change: |args| args.istio_local_outbound_ports_exclude = set("9090"),
        packets: &[
            tcp(From::App, To::Elsewhere, 9090, R::Peer),
            tcp(From::App, To::Elsewhere, 8080, R::Outbound),
            // Before rule 11: not even a self call.
            tcp(From::Proxy, To::Pod, 9090, R::App),
        ],
    },
    Case {
        name: "-q with -i empty",
        change: |args| {
            args.istio_service_cidr = set("");
            args.istio_outbound_ports = set("9090");
        },
        packets: &[tcp(From::App, To::Elsewhere, 9090, R::Outbound), tcp(From::App, To::Elsewhere, 8080, R::Peer)],
    },
    Case {
        name: "-c",
        change: |args| args.istio_exclude_interfaces = set("vm0"),
        packets: &[
            tcp(From::Nested, To::PodNested, 8080, R::App),
            tcp(From::Outside, To::Pod, 8080, R::Inbound),
            tcp(From::App, To::Nested, 8080, R::Peer),
            tcp(From::App, To::Elsewhere, 8080, R::Outbound),
        ],
    },
    Case {
        name: "-k with -i *",
        change: |args| args.kube_virt_interfaces = set("vm0"),
        packets: &[
            tcp(From::Nested, To::BeyondPod, 8080, R::Outbound),
            tcp(From::Nested, To::PodNested, 8080, R::Outbound),
            tcp(From::Outside, To::Pod, 8080, R::Inbound),
        ],
    },
    Case {
        name: "-k with -i list",
        change: |args| {
            args.kube_virt_interfaces = set("vm0");
            args.istio_service_cidr = set("198.51.100.0/24,2001:db8:100::/64");
        },
        packets: &[
            tcp(From::Nested, To::BeyondPod, 8080, R::Outbound),
            tcp(From::Nested, To::PodNested, 8080, R::App),
            tcp(From::Outside, To::Pod, 8080, R::Inbound),
        ],
    },
    Case {
        name: "groups excluded",
        change: |args| args.outbound_owner_groups_exclude = set("202,203"),
        packets: &[
            tcp(From::Group(202), To::Elsewhere, 8080, R::Peer),
            tcp(From::Group(203), To::Elsewhere, 8080, R::Peer),
            tcp(From::App, To::Elsewhere, 8080, R::Outbound),
        ],
    },
    Case {
        name: "groups included",
        change: |args| args.outbound_owner_groups = set("202,203"),
        packets: &[
            tcp(From::Group(202), To::Elsewhere, 8080, R::Outbound),
            tcp(From::Group(203), To::Elsewhere, 8080, R::Outbound),
            tcp(From::App, To::Elsewhere, 8080, R::Peer),
        ],
    },
    Case {
        name: "several users and groups",
        change: |args| {
            args.proxy_uid = set("77,1337");
            args.proxy_gid = set("202,1337");
        },
        packets: &[
            tcp(From::Group(202), To::Elsewhere, 8080, R::Peer),
            tcp(From::Proxy, To::Elsewhere, 8080, R::Peer),
            tcp(From::Group(203), To::Elsewhere, 8080, R::Outbound),
        ],
    },
    Case {
        name: "another localhost",
        change: |args| {
            args.outbound_ipv4_loopback_cidr = set("127.0.0.0/8");
            args.istio_service_cidr = set("127.1.2.3/32,0.0.0.0/0,::/0");
        },
        packets: &[tcp(From::App, To::OtherLoopback, 8080, R::App), tcp(From::App, To::Elsewhere, 8080, R::Outbound)],
    },
    Case {
        name: "DNS",
        change: |args| args.redirect_dns = set("true"),
        packets: &[
            udp(From::App, To::Resolver, 53, R::DnsProxy),
            udp(From::App, To::OtherResolver, 53, R::Peer),
            udp(From::Proxy, To::Resolver, 53, R::Peer),
            udp(From::ProxyGroup, To::Resolver, 53, R::Peer),
            tcp(From::App, To::Resolver, 53, R::DnsProxy),
            tcp(From::App, To::OtherResolver, 53, R::Outbound),
            tcp(From::Proxy, To::Resolver, 53, R::Peer),
            // A resolver in the pod: the proxy's queries to it are no self calls.
            tcp(From::Proxy, To::Pod, 53, R::App),
            tcp(From::ProxyGroup, To::Pod, 53, R::App),
            tcp(From::Proxy, To::Pod, 8080, R::Inbound),
            tcp(From::App, To::Pod, 8080, R::App),
        ],
    },
    Case {
        name: "DNS to any server",
        change: |args| {
            args.redirect_dns = set("true");
            args.capture_all_dns = set("true");
        },
        packets: &[
            udp(From::App, To::OtherResolver, 53, R::DnsProxy),
            tcp(From::App, To::OtherResolver, 53, R::DnsProxy),
            tcp(From::App, To::Localhost, 53, R::DnsProxy),
            udp(From::Proxy, To::OtherResolver, 53, R::Peer),
            tcp(From::App, To::Elsewhere, 8080, R::Outbound),
        ],
    },
    Case {
        name: "DNS of some groups",
        change: |args| {
            args.redirect_dns = set("true");
            args.outbound_owner_groups_exclude = set("202");
        },
        packets: &[udp(From::Group(202), To::Resolver, 53, R::Peer), udp(From::App, To::Resolver, 53, R::DnsProxy)],
    },
    Case {
        name: "TPROXY",
        change: |args| args.istio_inbound_interception_mode = set("TPROXY"),
        packets: &[
            tcp(From::Outside, To::Pod, 8080, R::InboundThenApp),
            tcp(From::Outside, To::Pod, 15021, R::App),
            tcp(From::App, To::Pod, 8080, R::App),
            tcp(From::Delivery, To::Pod, 8080, R::App),
            tcp(From::App, To::Elsewhere, 8080, R::Outbound),
            tcp(From::ProxyGroup, To::Elsewhere, 8080, R::Peer),
            // The self call of a proxy that runs as uid 0 and gid 1337.
            tcp(From::ProxyGroup, To::Pod, 8080, R::Inbound),
        ],
    },
    Case {
        name: "TPROXY -b list, -c",
        change: |args| {
            args.istio_inbound_interception_mode = set("TPROXY");
            args.istio_inbound_ports = set("8080");
            args.istio_exclude_interfaces = set("vm0");
        },
        packets: &[
            tcp(From::Outside, To::Pod, 8080, R::InboundThenApp),
            tcp(From::Outside, To::Pod, 9090, R::App),
            tcp(From::Nested, To::PodNested, 8080, R::App),
        ],
    },
    Case {
        name: "TPROXY -b empty",
        change: |args| {
            args.istio_inbound_interception_mode = set("TPROXY");
            args.istio_inbound_ports = set("");
        },
        packets: &[tcp(From::Outside, To::Pod, 8080, R::App), tcp(From::App, To::Elsewhere, 8080, R::Outbound)],
    },
    Case {
        name: "other ports, back from TPROXY",
        change: |args| {
            args.envoy_port = set("16001");
            args.inbound_capture_port = set("16006");
            args.inbound_tunnel_port = set("9090");
        },
        packets: &[
            tcp(From::App, To::Elsewhere, 8080, R::Outbound),
            tcp(From::Outside, To::Pod, 8080, R::Inbound),
            tcp(From::Outside, To::Pod, 9090, R::App),
            tcp(From::Outside, To::Pod, 15008, R::Inbound),
        ],
    },
];
