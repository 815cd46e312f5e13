//! nftables without the program `nft`: the kernel's own interface (nfnetlink), so that an image of one binary can capture.

mod attribute;
mod batch;
mod dump;
mod encode;
mod socket;

use super::{Listing, PREFIX, text};
use crate::Error;
use crate::merge::Merged;
use crate::rule::Table;
use batch::Batch;

const GUARD: &str = "outrigger-guard";

/// A chain or rule as the kernel described it, to be given back to it after a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    table: String,
    chain: String,
    is_rule: bool,
    attributes: attribute::Attributes,
    comment: String,
}

/// What our tables hold.
///
/// # Errors
/// The kernel has no nf_tables, or refuses.
pub(crate) fn list() -> Result<Vec<Item>, Error> {
    let mut items = dump::all().map_err(Error::Nftables)?;
    items.retain(|item| item.table.starts_with(PREFIX));
    Ok(items)
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
        if !of_table.is_empty() {
            add_table(&mut batch, table, &of_table);
        }
    }
    batch.commit()
}

/// A chain must exist before a rule jumps to it.
fn add_table(batch: &mut Batch, table: Table, rules: &[&Merged]) {
    let name = text::table(table);
    batch.add_table(&name);
    for chain in text::chains(rules) {
        batch.add_chain(&name, &chain.native_name(), text::hook_of(table, chain));
    }
    for rule in rules {
        batch.add_rule(&name, &rule.rule.chain.native_name(), &encode::rule(rule), &text::comment(rule));
    }
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
    tables.iter().for_each(|table| batch.add_table(table));
    items.iter().for_each(|item| batch.add_again(item.is_rule, &item.attributes));
    batch.commit()
}

/// Whether temporary rules of ours drop everything.
///
/// # Errors
/// The kernel has no nf_tables, or refuses.
pub(crate) fn has_guard() -> Result<bool, Error> {
    dump::all().map(|items| items.iter().any(|item| item.table == GUARD)).map_err(Error::Nftables)
}

/// Drops all TCP and UDP.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn raise_guard() -> Result<(), Error> {
    let mut batch = Batch::default();
    batch.add_table(GUARD);
    for (number, name) in [(1, "input"), (2, "forward"), (3, "output")] {
        batch.add_chain(GUARD, name, Some(text::Hook { kind: "filter", number, priority: -1 }));
        for udp in [false, true] {
            batch.add_rule(GUARD, name, &encode::drop_protocol(udp), "temporary");
        }
    }
    batch.commit()
}

/// Lets them pass again.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn lower_guard() -> Result<(), Error> {
    let mut batch = Batch::default();
    batch.delete_table(GUARD);
    batch.commit()
}

#[cfg(test)]
mod tests;
