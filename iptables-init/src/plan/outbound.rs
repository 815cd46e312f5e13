//! Rules 9 to 18: who and where to is captured of what leaves. The order is the contract's; each step sees what the one before left.

use ipnet::IpNet;

use super::{Plan, to_loopback};
use crate::rule::{Chain, Match, Target};
use crate::settings::Selection;

/// Port of the Domain Name System.
pub(super) const DNS: u16 = 53;

impl Plan<'_> {
    pub(super) fn outbound(&mut self) {
        self.nat(Chain::Output, vec![], Target::Jump(Chain::IstioOutput), "what is sent inside the pod may be outbound traffic");
        self.exclude_outbound_ports();
        let delivered = vec![Match::Source(self.passthrough()), to_loopback()];
        self.nat(Chain::IstioOutput, delivered, Target::Return, "the proxy delivers inbound traffic from here; again would be a loop");
        let captures_loopback = self.captures_loopback();
        for (proxy, not_proxy) in self.owners() {
            self.owner(proxy, not_proxy, captures_loopback);
        }
        self.owner_groups();
        self.enter_dns();
        let localhost = vec![Match::Destination(self.localhost())];
        self.nat(Chain::IstioOutput, localhost, Target::Return, "whoever names localhost means this pod");
        self.outbound_ranges();
    }

    /// `-o`: at the very start, before anything is sent back into the proxy.
    fn exclude_outbound_ports(&mut self) {
        for port in &self.settings.outbound_exclude_ports {
            let why = "this outbound port is not captured";
            self.nat(Chain::IstioOutput, vec![Match::TcpPort(*port)], Target::Return, why);
            self.nat(Chain::IstioOutput, vec![Match::UdpPort(*port)], Target::Return, why);
        }
    }

    /// Rules 11 to 13 for one user, 14 to 16 for one group: the proxy calling its own pod goes through the inbound side, the
    /// application calling itself does not, and what else the proxy sends is left alone.
    fn owner(&mut self, proxy: Match, not_proxy: Match, captures_loopback: bool) {
        let port = self.self_call_ports(&proxy);
        let self_call = vec![Match::NotDestination(self.localhost()), to_loopback(), port, proxy.clone()];
        let why = "the proxy calls its own pod: the inbound side (policy, mTLS, metrics) still applies";
        self.nat(Chain::IstioOutput, self_call, Target::Jump(Chain::IstioInRedirect), why);
        if !captures_loopback {
            // A resolver may listen on loopback; TCP queries to it must still reach the rules for DNS.
            let own = if self.settings.dns.is_on() {
                vec![to_loopback(), Match::NotTcpPort(DNS), not_proxy]
            } else {
                vec![to_loopback(), not_proxy]
            };
            self.nat(Chain::IstioOutput, own, Target::Return, "the application talks to itself or to a sibling container");
        }
        self.nat(Chain::IstioOutput, vec![proxy], Target::Return, "what the proxy itself sends; again would be a loop");
    }

    /// With DNS capture the proxy's own queries to a resolver in this pod are no self calls. Istio forgets this for groups.
    fn self_call_ports(&self, proxy: &Match) -> Match {
        let tunnel = self.settings.inbound_tunnel_port;
        let forgotten = matches!(proxy, Match::Gid(_)) && self.settings.like_istio.dns_by_group;
        if self.settings.dns.is_on() && !forgotten { Match::NotTcpPorts([DNS, tunnel]) } else { Match::NotTcpPort(tunnel) }
    }

    fn owner_groups(&mut self) {
        match &self.settings.owner_groups {
            Selection::All => {
                for gid in &self.settings.owner_groups_exclude {
                    self.nat(Chain::IstioOutput, vec![Match::Gid(*gid)], Target::Return, "this group is not captured");
                }
            }
            Selection::Only(groups) => {
                let none_of_them = groups.iter().map(|gid| Match::NotGid(*gid)).collect();
                self.nat(Chain::IstioOutput, none_of_them, Target::Return, "only the named groups are captured");
            }
        }
    }

    /// `-x`, then `-q`, then `-i` (rule 18).
    fn outbound_ranges(&mut self) {
        let capture = Target::Jump(Chain::IstioRedirect);
        for range in self.of_family(&self.settings.outbound_exclude_ranges) {
            self.nat(Chain::IstioOutput, destination(range), Target::Return, "this range is not captured");
        }
        for port in &self.settings.outbound_ports {
            self.nat(Chain::IstioOutput, vec![Match::TcpPort(*port)], capture, "this outbound port is captured whatever the address");
        }
        match &self.settings.outbound_ranges {
            Selection::All => {
                self.nat(Chain::IstioOutput, vec![], capture, "the rest is captured");
                self.reroute(None);
            }
            Selection::Only(ranges) => {
                for range in self.of_family(ranges) {
                    self.reroute(Some(range));
                    self.nat(Chain::IstioOutput, destination(range), capture, "this range is captured");
                }
            }
        }
    }

    /// `-k`, second half: what a nested machine sends counts as outbound.
    fn reroute(&mut self, range: Option<IpNet>) {
        for name in &self.settings.reroute_interfaces {
            let mut matches = range.map(destination).unwrap_or_default();
            matches.push(Match::InInterface(name.clone()));
            self.first_in_prerouting(matches, Target::Jump(Chain::IstioRedirect), "what a nested machine sends counts as outbound");
        }
    }

    /// Whoever names a loopback range (of either family) in `-i` wants loopback traffic captured (contract 2.2).
    fn captures_loopback(&self) -> bool {
        matches!(&self.settings.outbound_ranges, Selection::Only(ranges) if ranges.iter().any(|range| range.addr().is_loopback()))
    }
}

/// A range of prefix length 0 matches everything; the kernel keeps no condition for it, so the plan has none either.
fn destination(range: IpNet) -> Vec<Match> {
    if range.prefix_len() == 0 { vec![] } else { vec![Match::Destination(range)] }
}
