//! From settings to the ordered rules. Pure; the numbers in comments are those of the contract's table 2.1.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::rule::{Chain, Family, Match, Rule, Table, Target};
use crate::settings::{Selection, Settings};

/// Source address from which the proxy delivers inbound traffic to the application, IPv4.
pub const INBOUND_PASSTHROUGH_V4: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);

/// The same in IPv6. Unlike 127.0.0.6 it is no address of `lo` by itself and must be added.
pub const INBOUND_PASSTHROUGH_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);

/// The rules for one family, in the order in which they are appended.
#[must_use]
pub fn plan(settings: &Settings, family: Family) -> Vec<Rule> {
    let mut plan = Plan { settings, family, rules: Vec::new() };
    plan.drop_invalid();
    plan.exclude_interfaces();
    plan.capture_targets();
    plan.inbound();
    plan.outbound();
    plan.rules
}

struct Plan<'a> {
    settings: &'a Settings,
    family: Family,
    rules: Vec<Rule>,
}

impl Plan<'_> {
    fn nat(&mut self, chain: Chain, matches: Vec<Match>, target: Target) {
        self.rules.push(Rule { table: Table::Nat, chain, matches, target });
    }

    /// An out-of-window packet of a captured connection would be answered by the kernel itself, with a reset.
    fn drop_invalid(&mut self) {
        if self.settings.drop_invalid {
            let jump = Target::Jump(Chain::IstioDrop);
            self.rules.push(Rule { table: Table::Mangle, chain: Chain::Prerouting, matches: vec![Match::ConntrackInvalid], target: jump });
            self.rules.push(Rule { table: Table::Mangle, chain: Chain::IstioDrop, matches: vec![], target: Target::Drop });
        }
    }

    fn exclude_interfaces(&mut self) {
        for name in &self.settings.exclude_interfaces {
            self.nat(Chain::Prerouting, vec![Match::InInterface(name.clone())], Target::Return);
            self.nat(Chain::Output, vec![Match::OutInterface(name.clone())], Target::Return);
        }
    }

    /// Rules 1 to 3. Only TCP is redirected, so that everything else falls through untouched.
    fn capture_targets(&mut self) {
        let Settings { inbound_tunnel_port, outbound_capture_port, inbound_capture_port, .. } = *self.settings;
        self.nat(Chain::IstioInbound, vec![Match::TcpPort(inbound_tunnel_port)], Target::Return);
        self.nat(Chain::IstioRedirect, vec![Match::Tcp], Target::Redirect(outbound_capture_port));
        self.nat(Chain::IstioInRedirect, vec![Match::Tcp], Target::Redirect(inbound_capture_port));
    }

    /// Rules 4 to 8.
    fn inbound(&mut self) {
        let capture = Target::Jump(Chain::IstioInRedirect);
        match &self.settings.inbound_ports {
            Selection::Only(ports) if ports.is_empty() => {}
            Selection::Only(ports) => {
                self.nat(Chain::Prerouting, vec![Match::Tcp], Target::Jump(Chain::IstioInbound));
                for port in ports {
                    self.nat(Chain::IstioInbound, vec![Match::TcpPort(*port)], capture);
                }
            }
            Selection::All => {
                self.nat(Chain::Prerouting, vec![Match::Tcp], Target::Jump(Chain::IstioInbound));
                for port in &self.settings.inbound_exclude_ports {
                    self.nat(Chain::IstioInbound, vec![Match::TcpPort(*port)], Target::Return);
                }
                self.nat(Chain::IstioInbound, vec![Match::Tcp], capture);
            }
        }
    }

    /// Rules 9 to 18.
    fn outbound(&mut self) {
        self.nat(Chain::Output, vec![], Target::Jump(Chain::IstioOutput));
        self.exclude_outbound_ports();
        let passthrough = self.passthrough();
        self.nat(Chain::IstioOutput, vec![Match::Source(passthrough), loopback_interface()], Target::Return);
        let captures_loopback = self.captures_loopback();
        for uid in &self.settings.proxy_uids {
            self.owner(Match::Uid(*uid), Match::NotUid(*uid), captures_loopback);
        }
        for gid in &self.settings.proxy_gids {
            self.owner(Match::Gid(*gid), Match::NotGid(*gid), captures_loopback);
        }
        self.owner_groups();
        self.nat(Chain::IstioOutput, vec![Match::Destination(self.localhost())], Target::Return);
        self.outbound_ranges();
    }

    /// `-o`: at the very start, before anything is sent back into the proxy.
    fn exclude_outbound_ports(&mut self) {
        for port in &self.settings.outbound_exclude_ports {
            self.nat(Chain::IstioOutput, vec![Match::TcpPort(*port)], Target::Return);
            self.nat(Chain::IstioOutput, vec![Match::UdpPort(*port)], Target::Return);
        }
    }

    /// Rules 11 to 13 for one user, 14 to 16 for one group: the proxy calling its own pod goes through the inbound side, the
    /// application calling itself does not, and what else the proxy sends is left alone.
    fn owner(&mut self, proxy: Match, not_proxy: Match, captures_loopback: bool) {
        let self_call = vec![
            Match::NotDestination(self.localhost()),
            loopback_interface(),
            Match::NotTcpPort(self.settings.inbound_tunnel_port),
            proxy.clone(),
        ];
        self.nat(Chain::IstioOutput, self_call, Target::Jump(Chain::IstioInRedirect));
        if !captures_loopback {
            self.nat(Chain::IstioOutput, vec![loopback_interface(), not_proxy], Target::Return);
        }
        self.nat(Chain::IstioOutput, vec![proxy], Target::Return);
    }

    fn owner_groups(&mut self) {
        match &self.settings.owner_groups {
            Selection::All => {
                for gid in &self.settings.owner_groups_exclude {
                    self.nat(Chain::IstioOutput, vec![Match::Gid(*gid)], Target::Return);
                }
            }
            Selection::Only(groups) => {
                let none_of_them = groups.iter().map(|gid| Match::NotGid(*gid)).collect();
                self.nat(Chain::IstioOutput, none_of_them, Target::Return);
            }
        }
    }

    /// `-x`, then `-q`, then `-i` (rule 18).
    fn outbound_ranges(&mut self) {
        let capture = Target::Jump(Chain::IstioRedirect);
        for range in self.of_family(&self.settings.outbound_exclude_ranges) {
            self.nat(Chain::IstioOutput, destination(range), Target::Return);
        }
        for port in &self.settings.outbound_ports {
            self.nat(Chain::IstioOutput, vec![Match::TcpPort(*port)], capture);
        }
        match &self.settings.outbound_ranges {
            Selection::All => self.nat(Chain::IstioOutput, vec![], capture),
            Selection::Only(ranges) => {
                for range in self.of_family(ranges) {
                    self.nat(Chain::IstioOutput, destination(range), capture);
                }
            }
        }
    }

    fn of_family(&self, ranges: &[IpNet]) -> Vec<IpNet> {
        ranges.iter().copied().filter(|range| self.family.holds(range)).collect()
    }

    /// Whoever names a loopback range (of either family) in `-i` wants loopback traffic captured (contract 2.2).
    fn captures_loopback(&self) -> bool {
        matches!(&self.settings.outbound_ranges, Selection::Only(ranges) if ranges.iter().any(|range| range.addr().is_loopback()))
    }

    fn localhost(&self) -> IpNet {
        match self.family {
            Family::V4 => self.settings.loopback_v4.into(),
            Family::V6 => IpAddr::from(Ipv6Addr::LOCALHOST).into(),
        }
    }

    fn passthrough(&self) -> IpNet {
        match self.family {
            Family::V4 => IpAddr::from(INBOUND_PASSTHROUGH_V4).into(),
            Family::V6 => IpAddr::from(INBOUND_PASSTHROUGH_V6).into(),
        }
    }
}

/// A range of prefix length 0 matches everything; the kernel keeps no condition for it, so the plan has none either.
fn destination(range: IpNet) -> Vec<Match> {
    if range.prefix_len() == 0 { vec![] } else { vec![Match::Destination(range)] }
}

fn loopback_interface() -> Match {
    Match::OutInterface("lo".to_owned())
}
