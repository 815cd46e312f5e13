//! The same rules in nftables' own form, in tables that cover both families (contract 2.7), written in one transaction.
//!
//! nftables shows a rule in words of its own, which differ between releases. So every rule carries a comment: why it is there,
//! and a number made of its text and chain. Comparing what stands with what is wanted is comparing comments, in order.

pub mod text;

mod access;
mod kernel;
mod program;

pub(crate) use access::{Nftables, Standing};

use std::collections::BTreeMap;
use std::fmt;

use crate::merge::Merged;
use crate::state::State;

/// What the names of our tables begin with; the rest is the name of the iptables table.
pub(crate) const PREFIX: &str = "istio-proxy-";

/// Comments by table and chain, in order. A rule without a comment of ours is there as its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing(BTreeMap<(String, String), Vec<String>>);

impl Listing {
    /// What would be listed after writing these rules.
    pub(crate) fn wanted(merged: &[Merged]) -> Self {
        let mut listing = Self::default();
        for rule in merged {
            listing.chain(&text::table(rule.rule.table), &rule.rule.chain.native_name()).push(text::comment(rule));
        }
        listing
    }

    /// Reads what `nft list table` prints, for any number of tables one after the other.
    pub(crate) fn parse(printed: &str) -> Self {
        let mut listing = Self::default();
        let (mut table, mut chain) = (String::new(), None);
        for line in printed.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("table inet ").and_then(|rest| rest.strip_suffix(" {")) {
                table = name.to_owned();
            } else if let Some(name) = line.strip_prefix("chain ").and_then(|rest| rest.strip_suffix(" {")) {
                listing.chain(&table, name);
                chain = Some(name.to_owned());
            } else if line == "}" {
                chain = None;
            } else if let Some(chain) = chain.as_ref().filter(|_| !line.is_empty() && !line.starts_with("type ")) {
                listing.chain(&table, chain).push(comment_of(line).to_owned());
            }
        }
        listing
    }

    fn chain(&mut self, table: &str, chain: &str) -> &mut Vec<String> {
        self.0.entry((table.to_owned(), chain.to_owned())).or_default()
    }

    pub(crate) fn has_chain(&self, name: &str) -> bool {
        self.0.keys().any(|(_, chain)| chain == name)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares with what is wanted, in order.
    pub(crate) fn compare(&self, wanted: &Self) -> State {
        if self.is_empty() {
            return State::Absent;
        }
        let places = self.0.keys().chain(wanted.0.keys());
        places.into_iter().find_map(|place| self.difference_in(wanted, place)).map_or(State::Same, State::Different)
    }

    fn difference_in(&self, wanted: &Self, place: &(String, String)) -> Option<String> {
        let (table, chain) = place;
        match (self.0.get(place), wanted.0.get(place)) {
            (Some(have), Some(want)) if have == want => None,
            (None, _) => Some(format!("chain {chain} of table {table} is missing")),
            (_, None) => Some(format!("chain {chain} of table {table} is not expected")),
            (Some(have), Some(want)) => {
                let number = have.iter().zip(want).take_while(|(have, want)| have == want).count();
                let text = |rules: &[String]| rules.get(number).map_or_else(|| "missing".to_owned(), |rule| format!("`{rule}`"));
                let (have, want) = (text(have), text(want));
                Some(format!("rule {} of {chain} in table {table} is {have}, where {want} is wanted", number + 1))
            }
        }
    }
}

/// One line per rule: table, chain, comment.
impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((table, chain), comments) in &self.0 {
            comments.iter().try_for_each(|comment| writeln!(f, "{table} {chain}: {comment}"))?;
        }
        Ok(())
    }
}

fn comment_of(line: &str) -> &str {
    line.rsplit_once(" comment \"")
        .or_else(|| line.strip_prefix("comment \"").map(|rest| ("", rest)))
        .and_then(|(_, rest)| rest.strip_suffix('"'))
        .unwrap_or(line)
}

#[cfg(test)]
mod tests;
