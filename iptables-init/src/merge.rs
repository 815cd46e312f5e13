//! Both families' rules as one list, for nftables (whose `inet` tables hold both) and for people.
//!
//! A rule that both families have is written once. The order within each family is never changed, and a rule that one family
//! alone has says so, by an address or by the family itself; so each family still sees exactly its own plan.

use std::collections::VecDeque;

use crate::plan::plan;
use crate::rule::{Family, Match, Place, Rule, Table};
use crate::settings::Settings;

/// A rule and the family it is for; `None` is both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// For which packets.
    pub family: Option<Family>,
    /// The rule; its place has become its position.
    pub rule: Rule,
}

impl Merged {
    /// Whether an address in the rule already says which family it is for.
    #[must_use]
    pub fn has_address(&self) -> bool {
        self.rule.matches.iter().any(|part| matches!(part, Match::Source(_) | Match::Destination(_) | Match::NotDestination(_)))
    }
}

/// The rules for `families`, table by table by name, chain by chain in order of first mention.
#[must_use]
pub fn merge(settings: &Settings, families: &[Family]) -> Vec<Merged> {
    let plans: Vec<Vec<Rule>> = families.iter().map(|family| in_position(plan(settings, *family))).collect();
    let [one, other] = plans.as_slice() else {
        let family = families.first().copied();
        return plans.into_iter().flatten().map(|rule| Merged { family, rule }).collect();
    };
    let mut merged = Vec::new();
    for chain in chains(one, other) {
        let of = |rules: &[Rule]| rules.iter().filter(|rule| (rule.table, rule.chain) == chain).cloned().collect::<VecDeque<_>>();
        merge_chain(of(one), of(other), &mut merged);
    }
    merged
}

fn chains(one: &[Rule], other: &[Rule]) -> Vec<(Table, crate::rule::Chain)> {
    let mut found = Vec::new();
    for rule in one.iter().chain(other) {
        if !found.contains(&(rule.table, rule.chain)) {
            found.push((rule.table, rule.chain));
        }
    }
    found.sort_by_key(|(table, _)| *table);
    found
}

/// Rules in the order in which they will stand, table by table.
fn in_position(rules: Vec<Rule>) -> Vec<Rule> {
    let mut placed: Vec<Rule> = Vec::new();
    for rule in rules {
        let first = placed.iter().position(|other| (other.table, other.chain) == (rule.table, rule.chain));
        match (rule.place, first) {
            (Place::First, Some(first)) => placed.insert(first, rule),
            _ => placed.push(rule),
        }
    }
    placed.sort_by_key(|rule| rule.table);
    placed.into_iter().map(|rule| Rule { place: Place::Last, ..rule }).collect()
}

/// Takes from the front of either list what the other lacks, and what both have from both at once.
fn merge_chain(mut v4: VecDeque<Rule>, mut v6: VecDeque<Rule>, merged: &mut Vec<Merged>) {
    loop {
        let (family, rule) = match (v4.front(), v6.front()) {
            (None, None) => return,
            (Some(one), Some(other)) if one == other => {
                v6.pop_front();
                (None, v4.pop_front())
            }
            (Some(one), _) if !v6.contains(one) => (Some(Family::V4), v4.pop_front()),
            (_, Some(other)) if !v4.contains(other) => (Some(Family::V6), v6.pop_front()),
            (Some(_), _) => (Some(Family::V4), v4.pop_front()),
            (None, Some(_)) => (Some(Family::V6), v6.pop_front()),
        };
        merged.extend(rule.map(|rule| Merged { family, rule }));
    }
}

#[cfg(test)]
mod tests;
