//! From the bytes of a question to the bytes of an answer. Pure.

use std::net::IpAddr;

use hickory_proto::op::{Message, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::zone::{Answer, Zone};

/// Seconds a client may keep an answer: as CoreDNS' Kubernetes plugin says.
const TTL: u32 = 5;

/// What to do about a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send this.
    Reply(Vec<u8>),
    /// Ask the host's resolver; if there is none, send this.
    Forward(Vec<u8>),
    /// Not a question that could be answered at all.
    Ignore,
}

/// Decides about one message. `limit` is the transport's message size in bytes: larger answers are truncated, so
/// that the client asks again by TCP.
pub fn decide(question: &[u8], zone: &Zone, limit: usize) -> Verdict {
    let Ok(request) = Message::from_vec(question) else { return Verdict::Ignore };
    let [query] = request.queries.as_slice() else { return Verdict::Ignore };
    if request.metadata.op_code != OpCode::Query {
        return finish(answer(&request, query, ResponseCode::NotImp), limit).map_or(Verdict::Ignore, Verdict::Reply);
    }
    let name = query.name().to_ascii();
    let mut reply = answer(&request, query, ResponseCode::NoError);
    let foreign = fill(&mut reply, query, zone.find(&name), zone);
    match finish(reply, limit) {
        Some(bytes) if foreign => Verdict::Forward(bytes),
        Some(bytes) => Verdict::Reply(bytes),
        None => Verdict::Ignore,
    }
}

fn answer(request: &Message, query: &Query, code: ResponseCode) -> Message {
    let mut reply = Message::response(request.metadata.id, request.metadata.op_code);
    reply.metadata = Metadata::response_from_request(&request.metadata);
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = code;
    reply.add_query(query.clone());
    reply
}

/// True if somebody else has to answer.
fn fill(reply: &mut Message, query: &Query, found: Answer, zone: &Zone) -> bool {
    reply.metadata.authoritative = found != Answer::Foreign;
    match found {
        Answer::Addresses(addresses) => {
            reply.add_answers(records(query.name(), query.query_type(), &addresses));
        }
        Answer::Alias(target) => alias(reply, query, &target, zone),
        Answer::NoSuchName | Answer::Foreign => reply.metadata.response_code = ResponseCode::NXDomain,
    }
    reply.metadata.response_code == ResponseCode::NXDomain && !reply.metadata.authoritative
}

/// A name outside follows the alias by itself; one of ours is answered along with it.
fn alias(reply: &mut Message, query: &Query, target: &str, zone: &Zone) {
    let Ok(name) = Name::from_ascii(format!("{target}.")) else { return };
    reply.add_answer(Record::from_rdata(query.name().clone(), TTL, RData::CNAME(CNAME(name.clone()))));
    if let Answer::Addresses(addresses) = zone.find(target) {
        reply.add_answers(records(&name, query.query_type(), &addresses));
    }
}

fn records(name: &Name, asked: RecordType, addresses: &[IpAddr]) -> Vec<Record> {
    let data = |address: &IpAddr| match (address, asked) {
        (IpAddr::V4(v4), RecordType::A | RecordType::ANY) => Some(RData::A(A(*v4))),
        (IpAddr::V6(v6), RecordType::AAAA | RecordType::ANY) => Some(RData::AAAA(AAAA(*v6))),
        _ => None,
    };
    addresses.iter().filter_map(data).map(|data| Record::from_rdata(name.clone(), TTL, data)).collect()
}

fn finish(reply: Message, limit: usize) -> Option<Vec<u8>> {
    let bytes = reply.to_vec().ok()?;
    if bytes.len() <= limit { Some(bytes) } else { reply.truncate().to_vec().ok() }
}

/// The message size a client accepts by UDP: what it says (EDNS), else 512 (RFC 1035, 4.2.1).
pub fn udp_limit(question: &[u8]) -> usize {
    Message::from_vec(question).map_or(512, |request| usize::from(request.max_payload()).min(1232))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(zone: &Zone, name: &str, kind: RecordType, limit: usize) -> (bool, Message) {
        let mut request = Message::query();
        request.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        match decide(&request.to_vec().unwrap(), zone, limit) {
            Verdict::Reply(bytes) => (false, Message::from_vec(&bytes).unwrap()),
            Verdict::Forward(bytes) => (true, Message::from_vec(&bytes).unwrap()),
            Verdict::Ignore => panic!("not answered"),
        }
    }

    fn zone(pods: u8) -> Zone {
        let mut zone = Zone::default();
        let addresses = (0..pods).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        zone.add_service("shop", "front", addresses);
        zone.add_alias("shop", "other", "front.shop.svc.cluster.local");
        zone
    }

    #[test]
    fn a_name_without_address_of_the_asked_family_exists_all_the_same() {
        let (_, reply) = ask(&zone(1), "front.shop.svc.cluster.local.", RecordType::AAAA, 512);
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
        assert!(reply.answers.is_empty() && reply.metadata.authoritative);
    }

    #[test]
    fn an_alias_to_one_of_our_names_comes_with_its_addresses() {
        let (_, reply) = ask(&zone(1), "other.shop.svc.cluster.local.", RecordType::A, 512);
        let kinds: Vec<RecordType> = reply.answers.iter().map(Record::record_type).collect();
        assert_eq!(kinds, [RecordType::CNAME, RecordType::A]);
    }

    #[test]
    fn unknown_names_inside_are_denied_and_others_forwarded() {
        let (forward, reply) = ask(&zone(1), "none.shop.svc.cluster.local.", RecordType::A, 512);
        assert!(!forward && reply.metadata.response_code == ResponseCode::NXDomain);
        let (forward, reply) = ask(&zone(1), "example.org.", RecordType::A, 512);
        assert!(forward && reply.metadata.response_code == ResponseCode::NXDomain);
    }

    #[test]
    fn an_answer_too_large_for_the_transport_is_marked_truncated() {
        let (_, reply) = ask(&zone(60), "front.shop.svc.cluster.local.", RecordType::A, 512);
        assert!(reply.metadata.truncation && reply.answers.is_empty());
        let (_, reply) = ask(&zone(60), "front.shop.svc.cluster.local.", RecordType::A, 65_535);
        assert_eq!(reply.answers.len(), 60);
    }

    #[test]
    fn bytes_that_are_no_question_are_ignored() {
        assert_eq!(decide(b"hello", &zone(1), 512), Verdict::Ignore);
    }
}
