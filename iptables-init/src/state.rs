//! What stands in the kernel, and whether it is exactly what the plan wants.
//!
//! Compared in order: a rule set with the right rules in the wrong order captures something else (contract section 8, item 5).
//! Conditions of one rule are compared without order and without module names (`-m tcp`), which differ between iptables releases.

use crate::render;
use crate::rule::{Rule, Table};

/// Prefix of the names of our chains, and of Istio's.
const PREFIX: &str = "ISTIO_";

/// A rule found in the kernel: its chain, and the rest as `iptables-save` wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    table: String,
    chain: String,
    text: String,
}

/// All rules of one family and flavour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// (table, chain) of every chain with our prefix.
    chains: Vec<(String, String)>,
    rules: Vec<Found>,
}

/// How the kernel's rules relate to the wanted ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// No chain of ours, no jump to one.
    Absent,
    /// Exactly the wanted rules, in order.
    Same,
    /// Something else of ours; the first difference in words.
    Different(String),
}

impl Ruleset {
    /// Reads the output of `iptables-save`. Lines that are no table, chain or rule are comments.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut set = Self::default();
        let mut table = String::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = name.trim().to_owned();
            } else if let Some(name) =
                line.strip_prefix(':').or_else(|| line.strip_prefix("-N ")).and_then(|rest| rest.split_whitespace().next())
            {
                if name.starts_with(PREFIX) {
                    set.chains.push((table.clone(), name.to_owned()));
                }
            } else if let Some((chain, rest)) = line.strip_prefix("-A ").map(|rest| rest.split_once(' ').unwrap_or((rest, ""))) {
                set.rules.push(Found { table: table.clone(), chain: chain.to_owned(), text: rest.to_owned() });
            }
        }
        set
    }

    /// The rules of a plan, as the kernel would show them.
    #[must_use]
    pub fn wanted(plan: &[Rule]) -> Self {
        Self::parse(&render::render(plan))
    }

    /// Compares with what is wanted.
    #[must_use]
    pub fn compare(&self, wanted: &Self) -> State {
        if self.is_absent() {
            return State::Absent;
        }
        let (mut ours, mut theirs) = (self.chains.clone(), wanted.chains.clone());
        ours.sort();
        theirs.sort();
        if let Some((table, chain)) = theirs.iter().find(|chain| !ours.contains(chain)) {
            return State::Different(format!("chain {chain} of table {table} is missing"));
        }
        if let Some((table, chain)) = ours.iter().find(|chain| !theirs.contains(chain)) {
            return State::Different(format!("chain {chain} of table {table} is not expected"));
        }
        wanted.places().iter().find_map(|place| self.difference_in(wanted, place)).map_or(State::Same, State::Different)
    }

    /// Whether neither a chain of ours nor a jump to one exists.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.chains.is_empty() && !self.rules.iter().any(Found::jumps_to_ours)
    }

    /// Restore lines that remove everything of ours from one table: jumps first, then the chains. Rules of the kernel's own chains which
    /// the plan put there and which jump nowhere (excluded interfaces) go too.
    #[must_use]
    pub fn removal(&self, wanted: &Self, table: Table) -> Vec<String> {
        let chains: Vec<&str> = self.chains.iter().filter(|(of, _)| of == table.name()).map(|(_, chain)| chain.as_str()).collect();
        let jumps = self.rules.iter().filter(|rule| rule.table == table.name() && !rule.is_in_our_chain() && rule.is_ours(wanted));
        let mut lines: Vec<String> = jumps.map(|rule| format!("-D {} {}", rule.chain, rule.text)).collect();
        lines.extend(chains.iter().map(|chain| format!("-F {chain}")));
        lines.extend(chains.iter().map(|chain| format!("-X {chain}")));
        lines
    }

    /// The (table, chain) pairs that hold rules, without repetition.
    fn places(&self) -> Vec<(&str, &str)> {
        let mut places: Vec<(&str, &str)> = self.chains.iter().map(|(table, chain)| (table.as_str(), chain.as_str())).collect();
        places.extend(self.rules.iter().map(|rule| (rule.table.as_str(), rule.chain.as_str())));
        places.sort_unstable();
        places.dedup();
        places
    }

    fn difference_in(&self, wanted: &Self, place: &(&str, &str)) -> Option<String> {
        let (table, chain) = *place;
        let at = |set: &'_ Self| set.rules.iter().filter(|rule| rule.table == table && rule.chain == chain).cloned().collect::<Vec<_>>();
        let expected = at(wanted);
        let found: Vec<Found> = at(self).into_iter().filter(|rule| rule.is_in_our_chain() || rule.is_ours(wanted)).collect();
        for (number, want) in expected.iter().enumerate() {
            match found.get(number) {
                None => return Some(format!("{chain} of table {table} lacks `{}`", want.text)),
                Some(have) if have.key() != want.key() => {
                    return Some(format!("rule {} of {chain} in table {table} is `{}`, not `{}`", number + 1, have.text, want.text));
                }
                Some(_) => {}
            }
        }
        found.get(expected.len()).map(|extra| format!("{chain} of table {table} also has `{}`", extra.text))
    }
}

impl Found {
    fn is_in_our_chain(&self) -> bool {
        self.chain.starts_with(PREFIX)
    }

    fn jumps_to_ours(&self) -> bool {
        let mut words = self.text.split_whitespace();
        words.any(|word| word == "-j" || word == "-g") && words.next().is_some_and(|target| target.starts_with(PREFIX))
    }

    fn is_ours(&self, wanted: &Ruleset) -> bool {
        self.jumps_to_ours()
            || wanted.rules.iter().any(|rule| rule.table == self.table && rule.chain == self.chain && rule.key() == self.key())
    }

    /// The rule's options, each with its negation and values, sorted, without `-m NAME`.
    fn key(&self) -> Vec<String> {
        let mut options: Vec<String> = Vec::new();
        let mut negated = false;
        for word in self.text.split_whitespace() {
            if word == "!" {
                negated = true;
            } else if word.starts_with('-') || options.is_empty() {
                options.push(format!("{}{word}", if std::mem::take(&mut negated) { "! " } else { "" }));
            } else if let Some(option) = options.last_mut() {
                option.push(' ');
                option.push_str(word);
            }
        }
        options.retain(|option| !option.starts_with("-m "));
        options.sort_unstable();
        options
    }
}

#[cfg(test)]
mod tests;
