//! Rules as nf_tables expressions: values are loaded into a register and compared there; what happens is an expression as well.
//!
//! The same as [`super::super::text`] says in words; the tests let `nft` read what this writes and compare.

use ipnet::IpNet;

use super::attribute::Attributes;
use crate::merge::Merged;
use crate::rule::{Family, Match, Target};

// Values of linux/netfilter/nf_tables.h and linux/netfilter.h.
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const REGISTER: u32 = 1;
const REGISTER_OF_VERDICTS: u32 = 0;
const EQUAL: u32 = 0;
const UNEQUAL: u32 = 1;
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
const META_MARK: u32 = 3;
const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_SKUID: u32 = 10;
const META_SKGID: u32 = 11;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const CT_STATE: u32 = 0;
const CT_MARK: u32 = 3;
const CT_ZONE: u32 = 17;
const CT_INVALID: u32 = 1;
const CT_ESTABLISHED_OR_RELATED: u32 = 2 | 4;
const TCP: u8 = 6;
const UDP: u8 = 17;
const DROP: i32 = 0;
const ACCEPT: i32 = 1;
const JUMP: i32 = -3;
const RETURN: i32 = -5;
/// Interface names fill this many bytes.
const NAME_LENGTH: usize = 16;

/// The expressions of a rule.
#[derive(Default)]
pub(super) struct Expressions {
    list: Attributes,
    /// What the expressions so far have made sure of, so that it is asked once.
    family: Option<Family>,
    protocol: Option<u8>,
}

/// All of a rule: conditions, then what happens.
pub(super) fn rule(merged: &Merged) -> Attributes {
    let mut expressions = Expressions::default();
    if let Some(family) = merged.family.filter(|_| !merged.has_address()) {
        expressions.family(family);
    }
    merged.rule.matches.iter().for_each(|condition| expressions.condition(condition));
    expressions.target(merged);
    expressions.list
}

/// Drops one protocol, for the guard.
pub(super) fn drop_protocol(udp: bool) -> Attributes {
    let mut expressions = Expressions::default();
    expressions.protocol(if udp { UDP } else { TCP });
    expressions.verdict(DROP, None);
    expressions.list
}

impl Expressions {
    fn add(&mut self, name: &str, data: &Attributes) {
        let expression = Attributes::new().text(NFTA_EXPR_NAME, name).nested(NFTA_EXPR_DATA, data);
        self.list = std::mem::take(&mut self.list).nested(NFTA_LIST_ELEM, &expression);
    }

    fn load_meta(&mut self, key: u32) {
        self.add("meta", &Attributes::new().number(1, REGISTER).number(2, key));
    }

    fn load_ct(&mut self, key: u32) {
        self.add("ct", &Attributes::new().number(1, REGISTER).number(2, key));
    }

    fn load_payload(&mut self, base: u32, offset: u32, length: u32) {
        self.add("payload", &Attributes::new().number(1, REGISTER).number(2, base).number(3, offset).number(4, length));
    }

    fn compare(&mut self, operator: u32, value: &[u8]) {
        let data = Attributes::new().bytes(NFTA_DATA_VALUE, value);
        self.add("cmp", &Attributes::new().number(1, REGISTER).number(2, operator).nested(3, &data));
    }

    fn mask(&mut self, mask: &[u8]) {
        let value = |bytes: &[u8]| Attributes::new().bytes(NFTA_DATA_VALUE, bytes);
        let length = u32::try_from(mask.len()).unwrap_or_default();
        let data = Attributes::new().number(1, REGISTER).number(2, REGISTER).number(3, length);
        self.add("bitwise", &data.nested(4, &value(mask)).nested(5, &value(&vec![0; mask.len()])));
    }

    fn immediate(&mut self, value: &[u8]) {
        let data = Attributes::new().bytes(NFTA_DATA_VALUE, value);
        self.add("immediate", &Attributes::new().number(1, REGISTER).nested(2, &data));
    }

    fn verdict(&mut self, code: i32, chain: Option<&str>) {
        let mut verdict = Attributes::new().bytes(1, &code.to_be_bytes());
        if let Some(chain) = chain {
            verdict = verdict.text(2, chain);
        }
        let data = Attributes::new().nested(NFTA_DATA_VERDICT, &verdict);
        self.add("immediate", &Attributes::new().number(1, REGISTER_OF_VERDICTS).nested(2, &data));
    }

    fn family(&mut self, family: Family) {
        if self.family.replace(family).is_none() {
            self.load_meta(META_NFPROTO);
            self.compare(EQUAL, &[crate::netlink::number(family)]);
        }
    }

    fn protocol(&mut self, protocol: u8) {
        if self.protocol.replace(protocol).is_none() {
            self.load_meta(META_L4PROTO);
            self.compare(EQUAL, &[protocol]);
        }
    }

    fn port(&mut self, protocol: u8, offset: u32, operator: u32, port: u16) {
        self.protocol(protocol);
        self.load_payload(TRANSPORT, offset, 2);
        self.compare(operator, &port.to_be_bytes());
    }

    fn meta(&mut self, key: u32, operator: u32, value: u32) {
        self.load_meta(key);
        self.compare(operator, &value.to_ne_bytes());
    }

    fn interface(&mut self, key: u32, name: &str) {
        let mut value = name.as_bytes().to_vec();
        match name.strip_suffix('+') {
            Some("") => return,
            Some(prefix) => value.truncate(prefix.len()),
            None => value.resize(NAME_LENGTH, 0),
        }
        self.load_meta(key);
        self.compare(EQUAL, &value);
    }

    /// Source and destination stand at different places in the two headers.
    fn address(&mut self, net: &IpNet, is_source: bool, operator: u32) {
        let (family, address, mask, offset) = match net {
            IpNet::V4(net) => (Family::V4, net.addr().octets().to_vec(), net.netmask().octets().to_vec(), if is_source { 12 } else { 16 }),
            IpNet::V6(net) => (Family::V6, net.addr().octets().to_vec(), net.netmask().octets().to_vec(), if is_source { 8 } else { 24 }),
        };
        self.family(family);
        self.load_payload(NETWORK, offset, u32::try_from(address.len()).unwrap_or_default());
        if net.prefix_len() != net.max_prefix_len() {
            self.mask(&mask);
        }
        self.compare(operator, &address);
    }

    fn conntrack_state(&mut self, bits: u32) {
        self.load_ct(CT_STATE);
        self.mask(&bits.to_ne_bytes());
        self.compare(UNEQUAL, &[0; 4]);
    }

    fn condition(&mut self, condition: &Match) {
        match condition {
            Match::Source(net) => self.address(net, true, EQUAL),
            Match::Destination(net) => self.address(net, false, EQUAL),
            Match::NotDestination(net) => self.address(net, false, UNEQUAL),
            Match::InInterface(name) => self.interface(META_IIFNAME, name),
            Match::OutInterface(name) => self.interface(META_OIFNAME, name),
            Match::Tcp => self.protocol(TCP),
            Match::TcpPort(port) => self.port(TCP, 2, EQUAL, *port),
            Match::NotTcpPort(port) => self.port(TCP, 2, UNEQUAL, *port),
            Match::NotTcpPorts(ports) => ports.iter().for_each(|port| self.port(TCP, 2, UNEQUAL, *port)),
            Match::UdpPort(port) => self.port(UDP, 2, EQUAL, *port),
            Match::UdpSourcePort(port) => self.port(UDP, 0, EQUAL, *port),
            Match::Uid(uid) => self.meta(META_SKUID, EQUAL, *uid),
            Match::NotUid(uid) => self.meta(META_SKUID, UNEQUAL, *uid),
            Match::Gid(gid) => self.meta(META_SKGID, EQUAL, *gid),
            Match::NotGid(gid) => self.meta(META_SKGID, UNEQUAL, *gid),
            Match::Mark(mark) => self.meta(META_MARK, EQUAL, *mark),
            Match::NotMark(mark) => self.meta(META_MARK, UNEQUAL, *mark),
            Match::ConnectionMark(mark) => {
                self.load_ct(CT_MARK);
                self.compare(EQUAL, &mark.to_ne_bytes());
            }
            Match::ConntrackInvalid => self.conntrack_state(CT_INVALID),
            Match::ConntrackEstablished => self.conntrack_state(CT_ESTABLISHED_OR_RELATED),
        }
    }

    fn target(&mut self, merged: &Merged) {
        match merged.rule.target {
            Target::Return => self.verdict(RETURN, None),
            Target::Jump(chain) => self.verdict(JUMP, Some(&chain.native_name())),
            Target::Redirect(port) => {
                self.immediate(&port.to_be_bytes());
                self.add("redir", &Attributes::new().number(1, REGISTER).number(3, PROTO_SPECIFIED));
            }
            Target::Tproxy { port, mark } => {
                self.immediate(&port.to_be_bytes());
                let family = crate::netlink::number(merged.family.unwrap_or(Family::V4));
                self.add("tproxy", &Attributes::new().number(1, u32::from(family)).number(3, REGISTER));
                self.set_mark(mark);
                self.verdict(ACCEPT, None);
            }
            Target::SetMark(mark) => self.set_mark(mark),
            Target::SaveMark => {
                self.load_meta(META_MARK);
                self.add("ct", &Attributes::new().number(2, CT_MARK).number(4, REGISTER));
            }
            Target::RestoreMark => {
                self.load_ct(CT_MARK);
                self.store_mark();
            }
            Target::Zone(zone) => {
                self.immediate(&zone.to_ne_bytes());
                self.add("ct", &Attributes::new().number(2, CT_ZONE).number(4, REGISTER));
            }
            Target::Accept => self.verdict(ACCEPT, None),
            Target::Drop => self.verdict(DROP, None),
        }
    }

    fn set_mark(&mut self, mark: u32) {
        self.immediate(&mark.to_ne_bytes());
        self.store_mark();
    }

    fn store_mark(&mut self) {
        self.add("meta", &Attributes::new().number(2, META_MARK).number(3, REGISTER));
    }
}

/// The port in the register counts (NF_NAT_RANGE_PROTO_SPECIFIED).
const PROTO_SPECIFIED: u32 = 2;
