//! TPROXY (contract 2.4): inbound connections reach the proxy with both their addresses untouched, so that the proxy can
//! pass the client's on to the application. Outbound traffic is redirected as ever.
//!
//! Two marks tell packets on `lo` apart: the mark of TPROXY itself, which the routing rule turns into "deliver here", and one
//! more than that for the proxy calling its own pod, which is the only traffic on `lo` that the inbound side is to see.

use super::{Plan, to_loopback};
use crate::rule::{Chain, Match, Table, Target};
use crate::settings::{Selection, Tproxy};

impl Plan<'_> {
    /// Chains first, as in Istio, then what leads to them.
    pub(super) fn inbound_by_tproxy(&mut self, tproxy: Tproxy) {
        let Tproxy { mark, .. } = tproxy;
        self.mangle(Chain::IstioDivert, vec![], Target::SetMark(mark), "packets of accepted connections are routed to their socket");
        self.mangle(Chain::IstioDivert, vec![], Target::Accept, "and need nothing else");
        let new = vec![Match::NotDestination(self.localhost()), Match::Tcp];
        let port = self.settings.inbound_capture_port;
        self.mangle(Chain::IstioTproxy, new, Target::Tproxy { port, mark }, "new connections go to the proxy, addresses untouched");
        self.enter_inbound(Table::Mangle);
        self.leave_local_packets(tproxy);
        match &self.settings.inbound_ports {
            Selection::Only(ports) => ports.iter().for_each(|port| self.intercept(Match::TcpPort(*port))),
            Selection::All => {
                self.exclude_inbound_ports(Table::Mangle);
                self.intercept(Match::Tcp);
            }
        }
    }

    fn leave_local_packets(&mut self, Tproxy { mark, .. }: Tproxy) {
        let mut leave = |matches, why| self.mangle(Chain::IstioInbound, matches, Target::Return, why);
        leave(vec![Match::Tcp, Match::Mark(mark)], "the proxy and its application talk under the client's address; again would be a loop");
        let from_loopback = || Match::InInterface("lo".to_owned());
        let delivered = vec![Match::Source(self.passthrough()), from_loopback(), Match::Tcp];
        let mut leave = |matches, why| self.mangle(Chain::IstioInbound, matches, Target::Return, why);
        leave(delivered, "the proxy delivers inbound traffic from here; again would be a loop");
        let own = vec![from_loopback(), Match::Tcp, Match::NotMark(self_call(mark))];
        leave(own, "the application talks to itself by the pod's address");
    }

    fn intercept(&mut self, port: Match) {
        let known = vec![port.clone(), Match::ConntrackEstablished];
        self.mangle(Chain::IstioInbound, known, Target::Jump(Chain::IstioDivert), "connections the proxy has accepted stay with it");
        self.mangle(Chain::IstioInbound, vec![port], Target::Jump(Chain::IstioTproxy), "new inbound connections are captured");
    }

    /// The rest of TPROXY: marks remembered, given and restored.
    pub(super) fn mark_for_tproxy(&mut self) {
        let Some(Tproxy { mark, .. }) = self.settings.tproxy else { return };
        let marked = || vec![Match::Tcp, Match::Mark(mark)];
        self.mangle(Chain::Prerouting, marked(), Target::SaveMark, "a connection made under a client's address is remembered");
        let delivered = vec![to_loopback(), Match::Tcp, Match::Mark(mark)];
        self.mangle(Chain::Output, delivered, Target::Return, "what the proxy delivers keeps its mark");
        for (proxy, _) in self.owners() {
            let self_call_packets = vec![Match::NotDestination(self.localhost()), to_loopback(), Match::Tcp, proxy];
            let why = "the proxy calls its own pod: the inbound side (policy, mTLS, metrics) still applies";
            self.mangle(Chain::Output, self_call_packets, Target::SetMark(self_call(mark)), why);
        }
        let answers = vec![Match::Tcp, Match::ConnectionMark(mark)];
        self.mangle(Chain::Output, answers, Target::RestoreMark, "the application's answers to a client's address go to the proxy");
    }
}

/// 1338 beside Istio's 1337.
fn self_call(mark: u32) -> u32 {
    mark.wrapping_add(1)
}
