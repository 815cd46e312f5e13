//! From settings to the ordered rules. Pure; the numbers in comments are those of the contract's table 2.1.

mod dns;
mod outbound;
mod tproxy;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::rule::{Chain, Family, Match, Place, Rule, Table, Target};
use crate::settings::{Selection, Settings};

pub use dns::DNS_CAPTURE_PORT;

/// Source address from which the proxy delivers inbound traffic to the application, IPv4.
pub const INBOUND_PASSTHROUGH_V4: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);

/// The same in IPv6. Unlike 127.0.0.6 it is no address of `lo` by itself and must be added.
pub const INBOUND_PASSTHROUGH_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);

/// The rules for one family, in the order in which they are added.
#[must_use]
pub fn plan(settings: &Settings, family: Family) -> Vec<Rule> {
    let mut plan = Plan { settings, family, rules: Vec::new() };
    plan.exclude_interfaces();
    plan.drop_invalid();
    plan.leave_reroute_interfaces();
    plan.capture_targets();
    plan.inbound();
    plan.outbound();
    plan.mark_for_tproxy();
    plan.conntrack_zones();
    plan.rules
}

struct Plan<'a> {
    settings: &'a Settings,
    family: Family,
    rules: Vec<Rule>,
}

impl Plan<'_> {
    fn add(&mut self, table: Table, chain: Chain, matches: Vec<Match>, target: Target, why: &'static str) {
        self.rules.push(Rule { table, chain, place: Place::Last, matches, target, why });
    }

    fn nat(&mut self, chain: Chain, matches: Vec<Match>, target: Target, why: &'static str) {
        self.add(Table::Nat, chain, matches, target, why);
    }

    fn mangle(&mut self, chain: Chain, matches: Vec<Match>, target: Target, why: &'static str) {
        self.add(Table::Mangle, chain, matches, target, why);
    }

    fn drop_invalid(&mut self) {
        if self.settings.drop_invalid {
            let jump = Target::Jump(Chain::IstioDrop);
            let why = "the kernel would answer a packet that fits no connection with a reset and break a good one";
            self.mangle(Chain::Prerouting, vec![Match::ConntrackInvalid], jump, why);
            self.mangle(Chain::IstioDrop, vec![], Target::Drop, "packets that fit no connection end here");
        }
    }

    fn exclude_interfaces(&mut self) {
        let mut tables = vec![Table::Nat];
        if self.settings.tproxy.is_some() {
            tables.push(Table::Mangle);
        }
        for table in tables {
            for name in &self.settings.exclude_interfaces {
                let (arrives, leaves) = (vec![Match::InInterface(name.clone())], vec![Match::OutInterface(name.clone())]);
                self.add(table, Chain::Prerouting, arrives, Target::Return, "what arrives by an excluded interface is left alone");
                self.add(table, Chain::Output, leaves, Target::Return, "what leaves by an excluded interface is left alone");
            }
        }
    }

    /// `-k`, first half: in front of the inbound jump, behind what [`outbound`] puts in front of it.
    fn leave_reroute_interfaces(&mut self) {
        for name in &self.settings.reroute_interfaces {
            self.first_in_prerouting(
                vec![Match::InInterface(name.clone())],
                Target::Return,
                "what a nested machine sends is never inbound, even where it is not captured",
            );
        }
    }

    fn first_in_prerouting(&mut self, matches: Vec<Match>, target: Target, why: &'static str) {
        self.rules.push(Rule { table: Table::Nat, chain: Chain::Prerouting, place: Place::First, matches, target, why });
    }

    /// Rules 1 to 3. Only TCP is redirected, so that everything else falls through untouched.
    fn capture_targets(&mut self) {
        let Settings { inbound_tunnel_port, outbound_capture_port, inbound_capture_port, .. } = *self.settings;
        let tunnel = vec![Match::TcpPort(inbound_tunnel_port)];
        self.nat(Chain::IstioInbound, tunnel, Target::Return, "tunnel traffic must reach the HBONE listener itself");
        let outbound = Target::Redirect(outbound_capture_port);
        self.nat(Chain::IstioRedirect, vec![Match::Tcp], outbound, "captured outbound connections go to the proxy");
        let inbound = Target::Redirect(inbound_capture_port);
        self.nat(Chain::IstioInRedirect, vec![Match::Tcp], inbound, "captured inbound connections go to the proxy");
    }

    /// Rules 4 to 8, or with TPROXY what takes their place in table mangle.
    fn inbound(&mut self) {
        if self.settings.inbound_ports == Selection::Only(vec![]) {
            return;
        }
        match self.settings.tproxy {
            Some(tproxy) => self.inbound_by_tproxy(tproxy),
            None => self.inbound_by_redirect(),
        }
    }

    fn inbound_by_redirect(&mut self) {
        self.enter_inbound(Table::Nat);
        let capture = Target::Jump(Chain::IstioInRedirect);
        match &self.settings.inbound_ports {
            Selection::Only(ports) => {
                for port in ports {
                    self.nat(Chain::IstioInbound, vec![Match::TcpPort(*port)], capture, "this inbound port is captured");
                }
            }
            Selection::All => {
                self.exclude_inbound_ports(Table::Nat);
                self.nat(Chain::IstioInbound, vec![Match::Tcp], capture, "everything else inbound is captured");
            }
        }
    }

    fn enter_inbound(&mut self, table: Table) {
        let jump = Target::Jump(Chain::IstioInbound);
        self.add(table, Chain::Prerouting, vec![Match::Tcp], jump, "what arrives from outside the pod may be inbound traffic");
    }

    fn exclude_inbound_ports(&mut self, table: Table) {
        for port in &self.settings.inbound_exclude_ports {
            let why = "this inbound port is not captured: health checks, metrics, or excluded";
            self.add(table, Chain::IstioInbound, vec![Match::TcpPort(*port)], Target::Return, why);
        }
    }

    fn of_family(&self, ranges: &[IpNet]) -> Vec<IpNet> {
        ranges.iter().copied().filter(|range| self.family.holds(range)).collect()
    }

    /// Every owner the proxy may run as, users first, each with its negation.
    fn owners(&self) -> Vec<(Match, Match)> {
        let users = self.settings.proxy_uids.iter().map(|uid| (Match::Uid(*uid), Match::NotUid(*uid)));
        users.chain(self.settings.proxy_gids.iter().map(|gid| (Match::Gid(*gid), Match::NotGid(*gid)))).collect()
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

fn to_loopback() -> Match {
    Match::OutInterface("lo".to_owned())
}
