//! A batch of changes, which is one transaction: either all of it takes effect or nothing.

use std::io;

use super::attribute::Attributes;
use super::socket::{self, INET, NF_TABLES, NLM_F_REQUEST};
use crate::Error;
use crate::native::text::{self, Hook};
use crate::rule::Table;

// Values of linux/netlink.h, linux/netfilter/nfnetlink.h and linux/netfilter/nf_tables.h.
const NLM_F_ACK: u16 = 0x4;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
pub(super) const TABLE: u16 = 1;
pub(super) const NAME_OF_CHAIN: u16 = 3;
pub(super) const CHAIN_HOOK: u16 = 4;
pub(super) const CHAIN_TYPE: u16 = 7;
pub(super) const CHAIN_OF_RULE: u16 = 2;
pub(super) const EXPRESSIONS: u16 = 4;
pub(super) const USER_DATA: u16 = 7;
/// Type of a comment within the user data, before its length and text.
pub(super) const COMMENT: u8 = 0;

/// Changes in their order.
#[derive(Default)]
pub(super) struct Batch(Vec<Change>);

struct Change {
    kind: u16,
    flags: u16,
    attributes: Attributes,
}

impl Batch {
    /// Adding a table first makes it no error to delete one that is not there.
    pub(super) fn without_our_tables() -> Self {
        let mut batch = Self::default();
        for name in Table::ALL.map(text::table) {
            batch.add_table(&name);
            batch.delete_table(&name);
        }
        batch
    }

    fn push(&mut self, kind: u16, flags: u16, attributes: Attributes) {
        self.0.push(Change { kind, flags, attributes });
    }

    pub(super) fn add_table(&mut self, name: &str) {
        self.push(NEW_TABLE, NLM_F_CREATE, Attributes::new().text(TABLE, name));
    }

    pub(super) fn delete_table(&mut self, name: &str) {
        self.push(DELETE_TABLE, 0, Attributes::new().text(TABLE, name));
    }

    pub(super) fn add_chain(&mut self, table: &str, name: &str, hook: Option<Hook>) {
        let mut attributes = Attributes::new().text(TABLE, table).text(NAME_OF_CHAIN, name);
        if let Some(hook) = hook {
            let place = Attributes::new().number(1, hook.number).bytes(2, &hook.priority.to_be_bytes());
            attributes = attributes.nested(CHAIN_HOOK, &place).text(CHAIN_TYPE, hook.kind);
        }
        self.push(NEW_CHAIN, NLM_F_CREATE, attributes);
    }

    pub(super) fn add_rule(&mut self, table: &str, chain: &str, expressions: &Attributes, comment: &str) {
        let mut data = vec![COMMENT, u8::try_from(comment.len() + 1).unwrap_or(u8::MAX)];
        data.extend(comment.as_bytes());
        data.push(0);
        let attributes = Attributes::new().text(TABLE, table).text(CHAIN_OF_RULE, chain);
        self.push(NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, attributes.nested(EXPRESSIONS, expressions).bytes(USER_DATA, &data));
    }

    /// A chain or rule as it was dumped.
    pub(super) fn add_again(&mut self, is_rule: bool, attributes: &Attributes) {
        let (kind, flags) = if is_rule { (NEW_RULE, NLM_F_CREATE | NLM_F_APPEND) } else { (NEW_CHAIN, NLM_F_CREATE) };
        self.push(kind, flags, attributes.clone());
    }

    /// # Errors
    /// The kernel refuses; then nothing has changed.
    pub(super) fn commit(self) -> Result<(), Error> {
        self.exchange().map_err(Error::Nftables)
    }

    /// The kernel answers errors in the order of messages, and the last message because it is asked to: so the first answer says it all.
    fn exchange(mut self) -> io::Result<()> {
        if let Some(last) = self.0.last_mut() {
            last.flags |= NLM_F_ACK;
        }
        let mut bytes = socket::message(BATCH_BEGIN, NLM_F_REQUEST, 0, NF_TABLES, &[]);
        for Change { kind, flags, attributes } in &self.0 {
            bytes.extend(socket::message(NF_TABLES << 8 | kind, NLM_F_REQUEST | flags, INET, 0, attributes.as_bytes()));
        }
        bytes.extend(socket::message(BATCH_END, NLM_F_REQUEST, 0, NF_TABLES, &[]));
        let socket = socket::connect()?;
        socket::send(&socket, &bytes)?;
        socket::acknowledgement(&socket::receive(&socket)?)
    }
}
