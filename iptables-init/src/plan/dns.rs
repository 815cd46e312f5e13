//! DNS capture (contract 2.5): queries go to the proxy's resolver, and the two legs of a query are tracked apart.
//!
//! A captured query and the query that the resolver sends for it can have the same addresses and ports. In one table of
//! connections the second would be taken for the first and redirected as well; in two zones they do not meet.

use std::net::IpAddr;

use super::Plan;
use super::outbound::DNS;
use crate::rule::{Chain, Match, Table, Target};
use crate::settings::Dns;

/// Where the proxy's resolver listens, UDP and TCP.
pub const DNS_CAPTURE_PORT: u16 = 15053;

/// Zone of what the proxy asks and is answered.
const PROXY_ZONE: u16 = 1;
/// Zone of what applications ask and are answered.
const APPLICATION_ZONE: u16 = 2;

impl Plan<'_> {
    /// The resolvers whose queries are captured in this family; `None` inside stands for any resolver.
    fn resolvers(&self) -> Vec<Option<IpAddr>> {
        match &self.settings.dns {
            Dns::Off => vec![],
            Dns::All => vec![None],
            Dns::Servers(servers) => servers.iter().copied().filter(|server| self.family.holds(&(*server).into())).map(Some).collect(),
        }
    }

    pub(super) fn enter_dns(&mut self) {
        let resolvers = self.resolvers();
        if resolvers.is_empty() {
            return;
        }
        let jump = Target::Jump(Chain::IstioOutputDns);
        self.nat(Chain::IstioOutput, vec![], jump, "DNS queries are answered by the proxy");
        for resolver in resolvers {
            for query in [Match::TcpPort(DNS), Match::UdpPort(DNS)] {
                let matches = with_destination(resolver, query);
                self.nat(Chain::IstioOutputDns, matches, Target::Redirect(DNS_CAPTURE_PORT), "queries go to the proxy's resolver");
            }
        }
    }

    pub(super) fn conntrack_zones(&mut self) {
        let resolvers = self.resolvers();
        if resolvers.is_empty() {
            return;
        }
        let jump = Target::Jump(Chain::IstioOutputDns);
        self.raw(Chain::Output, vec![], jump, "the two legs of a captured query are tracked apart");
        for (proxy, _) in self.owners() {
            let (asks, answers) = (vec![Match::UdpPort(DNS), proxy.clone()], vec![Match::UdpSourcePort(DNS_CAPTURE_PORT), proxy]);
            self.raw(Chain::IstioOutputDns, asks, Target::Zone(PROXY_ZONE), "what the proxy asks a resolver");
            self.raw(Chain::IstioOutputDns, answers, Target::Zone(APPLICATION_ZONE), "what the proxy answers an application");
        }
        for resolver in &resolvers {
            let asks = with_destination(*resolver, Match::UdpPort(DNS));
            self.raw(Chain::IstioOutputDns, asks, Target::Zone(APPLICATION_ZONE), "what an application asks a resolver");
        }
        self.raw(Chain::Prerouting, vec![], Target::Jump(Chain::IstioInbound), "answers of resolvers belong to what the proxy asked");
        for resolver in resolvers {
            let mut answers: Vec<Match> = resolver.map(|server| Match::Source(server.into())).into_iter().collect();
            answers.push(Match::UdpSourcePort(DNS));
            self.raw(Chain::IstioInbound, answers, Target::Zone(PROXY_ZONE), "what a resolver answers the proxy");
        }
    }

    fn raw(&mut self, chain: Chain, matches: Vec<Match>, target: Target, why: &'static str) {
        self.add(Table::Raw, chain, matches, target, why);
    }
}

fn with_destination(resolver: Option<IpAddr>, query: Match) -> Vec<Match> {
    resolver.map(|server| Match::Destination(server.into())).into_iter().chain([query]).collect()
}
