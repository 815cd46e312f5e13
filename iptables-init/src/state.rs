//! What stands in the kernel, and whether it is exactly what the plan wants.
//!
//! Compared in order, unless asked otherwise: a rule set with the right rules in the wrong order captures something else
//! (contract section 8, item 5).
//! Conditions of one rule are compared without order and without module names (`-m tcp`), which differ between iptables releases.

use crate::guard;
use crate::render;
use crate::rule::{Chain, Rule, Table};

/// Prefix of the names of our chains, and of Istio's.
const PREFIX: &str = "ISTIO_";

/// Table and chain of the temporary rules that drop everything.
const GUARD: (&str, &str) = ("filter", guard::CHAIN);

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
    /// The temporary rules that drop everything: their chain, what is in it, the jumps to it. Not part of any comparison.
    guard: Vec<Found>,
    has_guard: bool,
}

/// Whether rules must stand in the wanted order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// They must.
    Counts,
    /// As in Istio, they need not.
    Ignored,
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
                if (table.as_str(), name) == GUARD {
                    set.has_guard = true;
                } else if name.starts_with(PREFIX) {
                    set.chains.push((table.clone(), name.to_owned()));
                }
            } else if let Some((chain, rest)) = line.strip_prefix("-A ").map(|rest| rest.split_once(' ').unwrap_or((rest, ""))) {
                set.rules.push(Found { table: table.clone(), chain: chain.to_owned(), text: rest.to_owned() });
            } else if let Some((chain, rest)) = line.strip_prefix("-I ").and_then(|rest| rest.split_once(" 1 ")) {
                set.insert(Found { table: table.clone(), chain: chain.to_owned(), text: rest.to_owned() });
            }
        }
        set.set_guard_apart();
        set
    }

    fn set_guard_apart(&mut self) {
        let (table, chain) = GUARD;
        let jump = format!("-j {chain}");
        let (guard, rules) =
            std::mem::take(&mut self.rules).into_iter().partition(|rule| rule.table == table && (rule.chain == chain || rule.text == jump));
        (self.guard, self.rules) = (guard, rules);
    }

    /// Whether temporary rules that drop everything stand: a run was ended before it could remove them.
    #[must_use]
    pub fn has_guard(&self) -> bool {
        self.has_guard
    }

    /// Restore lines that remove them from table `filter`.
    #[must_use]
    pub fn guard_removal(&self) -> Vec<String> {
        if !self.has_guard {
            return vec![];
        }
        let (_, name) = GUARD;
        let jumps = self.guard.iter().filter(|rule| rule.chain != name);
        let mut lines: Vec<String> = jumps.map(|rule| format!("-D {} {}", rule.chain, rule.text)).collect();
        lines.extend([format!("-F {name}"), format!("-X {name}")]);
        lines
    }

    /// Whether exactly the first of the wanted tables stand, in the order in which they are written: a run was ended between two.
    #[must_use]
    pub fn is_beginning_of(&self, wanted: &Self, order: Order) -> bool {
        (1..Table::ALL.len()).any(|number| self.compare(&wanted.only(&Table::ALL[..number]), order) == State::Same)
    }

    fn only(&self, tables: &[Table]) -> Self {
        let is_in = |name: &str| tables.iter().any(|table| table.name() == name);
        let chains = self.chains.iter().filter(|(table, _)| is_in(table)).cloned().collect();
        Self { chains, rules: self.rules.iter().filter(|rule| is_in(&rule.table)).cloned().collect(), ..Self::default() }
    }

    /// Puts a rule before the others of its chain.
    fn insert(&mut self, rule: Found) {
        let first = self.rules.iter().position(|other| (&other.table, &other.chain) == (&rule.table, &rule.chain));
        self.rules.insert(first.unwrap_or(self.rules.len()), rule);
    }

    /// The rules of a plan, as the kernel would show them.
    #[must_use]
    pub fn wanted(plan: &[Rule]) -> Self {
        Self::parse(&render::render(plan))
    }

    /// Compares with what is wanted; the order within a chain counts if `order` says so.
    #[must_use]
    pub fn compare(&self, wanted: &Self, order: Order) -> State {
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
        wanted.places().iter().find_map(|place| self.difference_in(wanted, place, order)).map_or(State::Same, State::Different)
    }

    /// Whether neither a chain of ours nor a jump to one exists.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.chains.is_empty() && !self.rules.iter().any(Found::jumps_to_ours)
    }

    /// Restore lines that remove everything of ours from one table: jumps first, then the chains. Rules of the kernel's own chains which
    /// a plan puts there and which jump nowhere (excluded interfaces, marks) go too.
    #[must_use]
    pub fn removal(&self, wanted: &Self, table: Table) -> Vec<String> {
        if self.is_absent() {
            return vec![];
        }
        let chains: Vec<&str> = self.chains.iter().filter(|(of, _)| of == table.name()).map(|(_, chain)| chain.as_str()).collect();
        let jumps = self.rules.iter().filter(|rule| rule.table == table.name() && !rule.is_in_our_chain() && rule.is_ours(wanted));
        let mut lines: Vec<String> = jumps.map(|rule| format!("-D {} {}", rule.chain, rule.text)).collect();
        lines.extend(chains.iter().map(|chain| format!("-F {chain}")));
        lines.extend(chains.iter().map(|chain| format!("-X {chain}")));
        lines
    }

    /// The tables in which something of ours stands.
    #[must_use]
    pub fn tables(&self, wanted: &Self) -> Vec<Table> {
        Table::ALL.into_iter().filter(|table| !self.removal(wanted, *table).is_empty()).collect()
    }

    /// Whether inbound traffic is captured by TPROXY.
    #[must_use]
    pub fn has_tproxy(&self) -> bool {
        self.chains.iter().any(|(_, chain)| chain == Chain::IstioTproxy.name())
    }

    /// The (table, chain) pairs that hold rules, without repetition.
    fn places(&self) -> Vec<(&str, &str)> {
        let mut places: Vec<(&str, &str)> = self.chains.iter().map(|(table, chain)| (table.as_str(), chain.as_str())).collect();
        places.extend(self.rules.iter().map(|rule| (rule.table.as_str(), rule.chain.as_str())));
        places.sort_unstable();
        places.dedup();
        places
    }

    fn difference_in(&self, wanted: &Self, place: &(&str, &str), order: Order) -> Option<String> {
        let (table, chain) = *place;
        let at = |set: &'_ Self| set.rules.iter().filter(|rule| rule.table == table && rule.chain == chain).cloned().collect::<Vec<_>>();
        let mut expected = at(wanted);
        let mut found: Vec<Found> = at(self).into_iter().filter(|rule| rule.is_in_our_chain() || rule.is_ours(wanted)).collect();
        if order == Order::Ignored {
            expected.sort_by_cached_key(Found::key);
            found.sort_by_cached_key(Found::key);
        }
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
            || self.has_a_shape_of_ours()
            || wanted.rules.iter().any(|rule| rule.table == self.table && rule.chain == self.chain && rule.key() == self.key())
    }

    /// Rules that a plan puts into the kernel's own chains without a jump to one of ours, whatever their values: those of an
    /// earlier configuration must go with it. Asked only where chains of ours stand, in a namespace that is the pod's alone.
    fn has_a_shape_of_ours(&self) -> bool {
        let shape: Vec<String> = self.key().iter().map(|option| shape_of(option)).collect();
        let shape: Vec<&str> = shape.iter().map(String::as_str).collect();
        match (self.table.as_str(), self.chain.as_str()) {
            ("nat" | "mangle", "PREROUTING") if shape == ["-i", "-j RETURN"] => true,
            ("nat" | "mangle", "OUTPUT") if shape == ["-j RETURN", "-o"] => true,
            ("mangle", "PREROUTING") => shape == ["--mark", "--save-mark", "-j CONNMARK", "-p tcp"],
            ("mangle", "OUTPUT") => [
                ["--mark", "-j RETURN", "-o", "-p tcp"].as_slice(),
                &["! -d", "--set-xmark", "--uid-owner", "-j MARK", "-o", "-p tcp"],
                &["! -d", "--gid-owner", "--set-xmark", "-j MARK", "-o", "-p tcp"],
                &["--mark", "--restore-mark", "-j CONNMARK", "-p tcp"],
            ]
            .contains(&shape.as_slice()),
            _ => false,
        }
    }

    /// The rule's options, each with its negation and values, sorted, without `-m NAME` and without values that mean "all".
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
        const IDLE: [&str; 4] = ["--nfmask 0xffffffff", "--ctmask 0xffffffff", "--on-ip 0.0.0.0", "--on-ip ::"];
        options.retain(|option| !option.starts_with("-m ") && !IDLE.contains(&option.as_str()));
        options.sort_unstable();
        options
    }
}

/// An option without its value, except where the value says what kind of rule it is.
fn shape_of(option: &str) -> String {
    if option.starts_with("-j ") || option.starts_with("-p ") {
        return option.to_owned();
    }
    let words = option.split(' ').take(if option.starts_with('!') { 2 } else { 1 });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
