//! nftables without the program `nft`: the kernel's own interface (nfnetlink), so that an image of one binary can capture.
//!
//! A batch is one transaction: either all of it takes effect or nothing.

mod attribute;
mod encode;

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::{self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, setsockopt, sockopt};
use nix::sys::time::TimeVal;

use super::{Listing, PREFIX, text};
use crate::Error;
use crate::merge::Merged;
use crate::rule::{Chain, Table};
use attribute::Attributes;

// Values of linux/netlink.h, linux/netfilter/nfnetlink.h and linux/netfilter/nf_tables.h.
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NF_TABLES: u16 = 10;
const INET: u8 = 1;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const GET_CHAIN: u16 = 4;
const NEW_RULE: u16 = 6;
const GET_RULE: u16 = 7;
const NAME_OF_TABLE: u16 = 1;
const NAME_OF_CHAIN: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_TYPE: u16 = 7;
const CHAIN_OF_RULE: u16 = 2;
const EXPRESSIONS: u16 = 4;
const USER_DATA: u16 = 7;
const HEADER: usize = 16;
/// Type and length of a comment, and its NUL.
const COMMENT: u8 = 0;
/// A batch of some thousand rules.
const BUFFER: usize = 8 << 20;
const GUARD: &str = "outrigger-guard";

/// A chain or rule as the kernel described it, to be given back to it after a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    table: String,
    chain: String,
    is_rule: bool,
    attributes: Vec<u8>,
    comment: String,
}

/// What our tables hold.
///
/// # Errors
/// The kernel has no nf_tables, or refuses.
pub(crate) fn list() -> Result<Vec<Item>, Error> {
    (|| {
        let mut items = dump(GET_CHAIN)?;
        items.extend(dump(GET_RULE)?);
        items.retain(|item| item.table.starts_with(PREFIX));
        Ok(items)
    })()
    .map_err(Error::Nftables)
}

/// The same for comparing.
pub(crate) fn listing(items: &[Item]) -> Listing {
    let mut listing = Listing::default();
    for item in items {
        let chain = listing.chain(&item.table, &item.chain);
        if item.is_rule {
            chain.push(item.comment.clone());
        }
    }
    listing
}

/// Replaces everything in our tables by these rules.
///
/// # Errors
/// The kernel refuses; then nothing has changed.
pub(crate) fn replace(rules: &[Merged]) -> Result<(), Error> {
    let mut batch = Batch::without_our_tables();
    for table in Table::ALL {
        let of_table: Vec<&Merged> = rules.iter().filter(|rule| rule.rule.table == table).collect();
        if of_table.is_empty() {
            continue;
        }
        let name = text::table(table);
        batch.table(NEW_TABLE, &name);
        let mut chains: Vec<Chain> = Vec::new();
        for rule in &of_table {
            let target = match rule.rule.target {
                crate::rule::Target::Jump(chain) => Some(chain),
                _ => None,
            };
            for chain in [Some(rule.rule.chain), target].into_iter().flatten().filter(|chain| !chains.contains(chain)).collect::<Vec<_>>() {
                chains.push(chain);
                batch.chain(&name, &chain.native_name(), text::hook_of(table, chain));
            }
        }
        for rule in of_table {
            batch.rule(&name, &rule.rule.chain.native_name(), &encode::rule(rule), &text::comment(rule));
        }
    }
    batch.commit()
}

/// Removes our tables.
///
/// # Errors
/// The kernel refuses; then nothing has changed.
pub(crate) fn remove() -> Result<(), Error> {
    Batch::without_our_tables().commit()
}

/// Makes our tables what they were when they were listed.
///
/// # Errors
/// The kernel refuses; then nothing has changed.
pub(crate) fn put_back(items: &[Item]) -> Result<(), Error> {
    let mut batch = Batch::without_our_tables();
    let mut tables: Vec<&str> = items.iter().map(|item| item.table.as_str()).collect();
    tables.sort_unstable();
    tables.dedup();
    tables.iter().for_each(|table| batch.table(NEW_TABLE, table));
    for item in items {
        let (kind, flags) = if item.is_rule { (NEW_RULE, NLM_F_CREATE | NLM_F_APPEND) } else { (NEW_CHAIN, NLM_F_CREATE) };
        batch.message(kind, flags, &item.attributes);
    }
    batch.commit()
}

/// Drops all TCP and UDP.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn raise_guard() -> Result<(), Error> {
    let mut batch = Batch::new();
    batch.table(NEW_TABLE, GUARD);
    for (number, name) in [(1, "input"), (2, "forward"), (3, "output")] {
        batch.chain(GUARD, name, Some(text::Hook { kind: "filter", number, priority: -1 }));
        for udp in [false, true] {
            batch.rule(GUARD, name, &encode::drop_protocol(udp), "temporary");
        }
    }
    batch.commit()
}

/// Lets them pass again.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn lower_guard() -> Result<(), Error> {
    let mut batch = Batch::new();
    batch.table(DELETE_TABLE, GUARD);
    batch.commit()
}

struct Batch {
    bytes: Vec<u8>,
    /// Where the last message begins.
    last: usize,
}

impl Batch {
    fn new() -> Self {
        Self { bytes: message(BATCH_BEGIN, NLM_F_REQUEST, 0, NF_TABLES, &[]), last: 0 }
    }

    /// Adding a table first makes it no error to delete one that is not there.
    fn without_our_tables() -> Self {
        let mut batch = Self::new();
        for name in Table::ALL.map(text::table) {
            batch.table(NEW_TABLE, &name);
            batch.table(DELETE_TABLE, &name);
        }
        batch
    }

    fn message(&mut self, kind: u16, flags: u16, attributes: &[u8]) {
        self.last = self.bytes.len();
        self.bytes.extend(message(NF_TABLES << 8 | kind, NLM_F_REQUEST | flags, INET, 0, attributes));
    }

    fn table(&mut self, kind: u16, name: &str) {
        let flags = if kind == NEW_TABLE { NLM_F_CREATE } else { 0 };
        self.message(kind, flags, Attributes::new().text(NAME_OF_TABLE, name).as_bytes());
    }

    fn chain(&mut self, table: &str, name: &str, hook: Option<text::Hook>) {
        let mut attributes = Attributes::new().text(NAME_OF_TABLE, table).text(NAME_OF_CHAIN, name);
        if let Some(hook) = hook {
            let place = Attributes::new().number(1, hook.number).bytes(2, &hook.priority.to_be_bytes());
            attributes = attributes.nested(CHAIN_HOOK, &place).text(CHAIN_TYPE, hook.kind);
        }
        self.message(NEW_CHAIN, NLM_F_CREATE, attributes.as_bytes());
    }

    fn rule(&mut self, table: &str, chain: &str, expressions: &Attributes, comment: &str) {
        let mut data = vec![COMMENT, u8::try_from(comment.len() + 1).unwrap_or(u8::MAX)];
        data.extend(comment.as_bytes());
        data.push(0);
        let attributes = Attributes::new().text(NAME_OF_TABLE, table).text(CHAIN_OF_RULE, chain);
        let attributes = attributes.nested(EXPRESSIONS, expressions).bytes(USER_DATA, &data);
        self.message(NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, attributes.as_bytes());
    }

    /// The kernel answers errors in the order of messages, and the last message if it is asked to: so the first answer says it all.
    fn commit(mut self) -> Result<(), Error> {
        if let Some(flags) = self.bytes.get_mut(self.last + 6..self.last + 8) {
            let asked = u16::from_ne_bytes([flags.first().copied().unwrap_or(0), flags.last().copied().unwrap_or(0)]) | NLM_F_ACK;
            flags.copy_from_slice(&asked.to_ne_bytes());
        }
        self.bytes.extend(message(BATCH_END, NLM_F_REQUEST, 0, NF_TABLES, &[]));
        (|| {
            let socket = connect()?;
            setsockopt(&socket, sockopt::SndBufForce, &BUFFER)?;
            socket::sendto(socket.as_raw_fd(), &self.bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
            let answer = receive(&socket)?;
            let (kind, body) = split(&answer).map(|(kind, body, _)| (kind, body)).ok_or_else(too_short)?;
            if kind == NLMSG_ERROR { acknowledged(body) } else { Err(too_short()) }
        })()
        .map_err(Error::Nftables)
    }
}

/// Length, type, flags, sequence and port numbers; then family, version and a number that names the subsystem of a batch.
fn message(kind: u16, flags: u16, family: u8, resource: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + 4 + attributes.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(1_u32.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend([family, 0]);
    bytes.extend(resource.to_be_bytes());
    bytes.extend(attributes);
    bytes
}

/// With a limit on waiting: the kernel answers at once or never.
fn connect() -> io::Result<OwnedFd> {
    let socket = socket::socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(10, 0))?;
    Ok(socket)
}

fn receive(socket: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 1 << 16];
    let length = socket::recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
    buffer.truncate(length);
    Ok(buffer)
}

fn dump(kind: u16) -> io::Result<Vec<Item>> {
    let socket = connect()?;
    let request = message(NF_TABLES << 8 | kind, NLM_F_REQUEST | NLM_F_DUMP, INET, 0, &[]);
    socket::sendto(socket.as_raw_fd(), &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut items = Vec::new();
    loop {
        let answer = receive(&socket)?;
        let mut rest = answer.as_slice();
        while let Some((kind, body, next)) = split(rest) {
            match kind {
                NLMSG_DONE => return Ok(items),
                NLMSG_ERROR => acknowledged(body)?,
                _ => items.extend(body.get(4..).and_then(|attributes| item(kind & 0xff, attributes))),
            }
            rest = next;
        }
        if !rest.is_empty() || answer.is_empty() {
            return Err(too_short());
        }
    }
}

/// The first message: its type, its body, and what follows.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?)).ok()?;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    Some((kind, bytes.get(HEADER..length)?, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn acknowledged(body: &[u8]) -> io::Result<()> {
    match body.get(..4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
        None => Err(too_short()),
    }
}

fn too_short() -> io::Error {
    io::Error::other("the kernel's answer was too short")
}

/// What is needed to make the thing again: its names, and of a chain the hook, of a rule what it does.
fn item(kind: u16, bytes: &[u8]) -> Option<Item> {
    let attributes = attribute::read(bytes);
    let find = |kind| attribute::find(&attributes, kind);
    let is_rule = kind == NEW_RULE;
    let table = attribute::text(find(NAME_OF_TABLE)?);
    let chain = attribute::text(find(if is_rule { CHAIN_OF_RULE } else { NAME_OF_CHAIN })?);
    let kept: &[u16] = if is_rule {
        &[NAME_OF_TABLE, CHAIN_OF_RULE, EXPRESSIONS, USER_DATA]
    } else {
        &[NAME_OF_TABLE, NAME_OF_CHAIN, CHAIN_HOOK, CHAIN_TYPE]
    };
    let again = attributes.iter().filter(|(kind, _)| kept.contains(kind));
    let again = again.fold(Attributes::new(), |again, (kind, value)| {
        // Expressions and hooks have the same number.
        if *kind == EXPRESSIONS { again.nested_bytes(*kind, value) } else { again.bytes(*kind, value) }
    });
    let comment = find(USER_DATA).filter(|_| is_rule).and_then(comment).unwrap_or_else(|| "a rule without a comment".to_owned());
    Some(Item { table, chain, is_rule, attributes: again.as_bytes().to_vec(), comment })
}

fn comment(data: &[u8]) -> Option<String> {
    let (kind, length) = (*data.first()?, usize::from(*data.get(1)?));
    (kind == COMMENT).then(|| data.get(2..2 + length).map(attribute::text))?
}

#[cfg(test)]
mod tests;
