//! Reading what the kernel holds, in a form that can be given back to it.

use std::io;

use super::Item;
use super::attribute::{self, Attributes};
use super::batch::{CHAIN_HOOK, CHAIN_OF_RULE, CHAIN_TYPE, COMMENT, EXPRESSIONS, NAME_OF_CHAIN, TABLE, USER_DATA};
use super::socket::{self, INET, NF_TABLES, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR};

// Values of linux/netlink.h and linux/netfilter/nf_tables.h.
const NLM_F_DUMP: u16 = 0x300;
const GET_CHAIN: u16 = 4;
const GET_RULE: u16 = 7;
const NEW_RULE: u16 = 6;

/// Every chain of family `inet`, then every rule.
pub(super) fn all() -> io::Result<Vec<Item>> {
    let mut items = dump(GET_CHAIN)?;
    items.extend(dump(GET_RULE)?);
    Ok(items)
}

fn dump(kind: u16) -> io::Result<Vec<Item>> {
    let socket = socket::connect()?;
    socket::send(&socket, &socket::message(NF_TABLES << 8 | kind, NLM_F_REQUEST | NLM_F_DUMP, INET, 0, &[]))?;
    let mut items = Vec::new();
    loop {
        let answer = socket::receive(&socket)?;
        let mut rest = answer.as_slice();
        while let Some((kind, body, next)) = socket::split(rest) {
            match kind {
                NLMSG_DONE => return Ok(items),
                NLMSG_ERROR => socket::acknowledged(body)?,
                _ => items.extend(body.get(4..).and_then(|attributes| item(kind & 0xff, attributes))),
            }
            rest = next;
        }
        if !rest.is_empty() || answer.is_empty() {
            return Err(socket::too_short());
        }
    }
}

/// What is needed to make the thing again: its names, and of a chain the hook, of a rule what it does.
fn item(kind: u16, bytes: &[u8]) -> Option<Item> {
    let attributes = attribute::read(bytes);
    let find = |kind| attribute::find(&attributes, kind);
    let is_rule = kind == NEW_RULE;
    let table = attribute::text(find(TABLE)?);
    let chain = attribute::text(find(if is_rule { CHAIN_OF_RULE } else { NAME_OF_CHAIN })?);
    let kept: &[u16] =
        if is_rule { &[TABLE, CHAIN_OF_RULE, EXPRESSIONS, USER_DATA] } else { &[TABLE, NAME_OF_CHAIN, CHAIN_HOOK, CHAIN_TYPE] };
    let again = attributes.iter().filter(|(kind, _)| kept.contains(kind));
    let again = again.fold(Attributes::new(), |again, (kind, value)| {
        // Expressions and hooks have the same number.
        if *kind == EXPRESSIONS { again.nested_bytes(*kind, value) } else { again.bytes(*kind, value) }
    });
    let comment = find(USER_DATA).filter(|_| is_rule).and_then(comment).unwrap_or_else(|| "a rule without a comment".to_owned());
    Some(Item { table, chain, is_rule, attributes: again, comment })
}

fn comment(data: &[u8]) -> Option<String> {
    let (kind, length) = (*data.first()?, usize::from(*data.get(1)?));
    (kind == COMMENT).then(|| data.get(2..2 + length).map(attribute::text))?
}
