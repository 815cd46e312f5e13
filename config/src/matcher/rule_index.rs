//! A prefilter over ordered rules that never changes the answer.
//!
//! Paths decide most rules, so rules are filed by their path condition: exact paths in a hash map, prefixes in a sorted
//! list in which each entry knows the longest other entry that begins it, regular expressions in one automaton. Each
//! file yields positions in ascending order; the remaining conditions are tried only where the path fits, and only for
//! positions before the best match found so far. A lookup allocates nothing.

use std::cmp::Ordering;
use std::collections::HashMap;

use regex_automata::meta::Regex;

use super::{PathMatch, RequestHead, RouteMatch, full_regex_set};
use crate::model::Route;

/// Lists up to this length are tried in order: the prefilter would cost more than it saves.
const SHORT: usize = 3;

/// Finds the first matching rule of a list. The default value tries the rules in order.
#[derive(Clone, Debug, Default)]
pub struct RuleIndex {
    table: Option<Box<Table>>,
}

#[derive(Clone, Debug)]
struct Table {
    exact: HashMap<Box<str>, Vec<u32>, foldhash::fast::RandomState>,
    prefixes: PrefixTable,
    /// `ignoreUriCase`: exact paths and prefixes alike, compared without regard to ASCII case.
    folded: PrefixTable,
    regexes: RegexTable,
}

impl RuleIndex {
    /// Files the rules of one virtual host. [`RuleIndex::find`] must be given the same rules.
    pub fn new(rules: &[Route]) -> Self {
        if rules.len() <= SHORT {
            return RuleIndex::default();
        }
        RuleIndex { table: Some(Box::new(Table::new(rules.iter().map(|rule| &rule.matches)))) }
    }

    /// The position of the first rule that matches.
    pub fn find(&self, head: &RequestHead<'_>, rules: &[Route]) -> Option<usize> {
        match &self.table {
            None => rules.iter().position(|rule| rule.matches.is_match(head)),
            Some(table) => table.find(head, |position| rules.get(position).map(|rule| &rule.matches)),
        }
    }
}

impl Table {
    fn new<'r>(rules: impl Iterator<Item = &'r RouteMatch>) -> Self {
        let mut exact: HashMap<Box<str>, Vec<u32>, foldhash::fast::RandomState> = HashMap::default();
        let (mut prefixes, mut folded, mut regexes) = (Vec::new(), Vec::new(), Vec::new());
        for (position, rule) in (0..).zip(rules) {
            match &rule.path {
                PathMatch::Exact { path, ignore_case: false } => exact.entry(path.as_str().into()).or_default().push(position),
                PathMatch::Prefix { prefix, ignore_case: false } => prefixes.push((prefix.as_str(), position)),
                PathMatch::Exact { path: text, ignore_case: true } | PathMatch::Prefix { prefix: text, ignore_case: true } => {
                    folded.push((text.as_str(), position));
                }
                PathMatch::Regex(regex) => regexes.push((regex.as_str(), position)),
            }
        }
        Table {
            exact,
            prefixes: PrefixTable::new(prefixes, false),
            folded: PrefixTable::new(folded, true),
            regexes: RegexTable::new(&regexes),
        }
    }

    fn find<'r>(&self, head: &RequestHead<'_>, rule: impl Fn(usize) -> Option<&'r RouteMatch>) -> Option<usize> {
        let mut best = u32::MAX;
        let mut improve = |positions: &[u32], path_is_certain: bool| {
            let fits = |position: &u32| {
                let rule = rule(*position as usize);
                rule.is_some_and(|rule| (path_is_certain || rule.path.is_match(head.path)) && rule.is_match_beyond_path(head))
            };
            if let Some(found) = positions.iter().take_while(|position| **position < best).find(|position| fits(position)) {
                best = *found;
            }
        };
        if let Some(positions) = self.exact.get(head.path) {
            improve(positions, true);
        }
        self.prefixes.for_each_prefix_of(head.path, |positions| improve(positions, true));
        self.folded.for_each_prefix_of(head.path, |positions| improve(positions, false));
        improve(self.regexes.candidates(head.path), false);
        (best != u32::MAX).then_some(best as usize)
    }
}

/// Prefixes in byte order, with links from each to the longest other entry that begins it.
///
/// Everything that sorts between a prefix of `path` and `path` itself begins with that prefix too. So all entries that
/// begin `path` lie on the chain of links from the last entry that does not sort after it.
#[derive(Clone, Debug, Default)]
struct PrefixTable {
    entries: Vec<PrefixEntry>,
    fold: bool,
}

#[derive(Clone, Debug)]
struct PrefixEntry {
    prefix: Box<str>,
    positions: Vec<u32>,
    parent: Option<usize>,
}

impl PrefixTable {
    fn new(mut prefixes: Vec<(&str, u32)>, fold: bool) -> Self {
        prefixes.sort_by(|a, b| compare(a.0, b.0, fold).then(a.1.cmp(&b.1)));
        let mut entries: Vec<PrefixEntry> = Vec::new();
        for (prefix, position) in prefixes {
            match entries.last_mut() {
                Some(last) if compare(&last.prefix, prefix, fold) == Ordering::Equal => last.positions.push(position),
                _ => entries.push(PrefixEntry { prefix: prefix.into(), positions: vec![position], parent: None }),
            }
        }
        let mut table = PrefixTable { entries, fold };
        for index in 1..table.entries.len() {
            table.entries[index].parent = table.ancestor(Some(index - 1), &table.entries[index].prefix);
        }
        table
    }

    /// The first entry on the chain from `start` that begins `text`.
    fn ancestor(&self, start: Option<usize>, text: &str) -> Option<usize> {
        let mut link = start;
        while let Some(entry) = link.and_then(|index| self.entries.get(index)) {
            if begins(&entry.prefix, text, self.fold) {
                return link;
            }
            link = entry.parent;
        }
        None
    }

    fn for_each_prefix_of(&self, path: &str, mut visit: impl FnMut(&[u32])) {
        let after = self.entries.partition_point(|entry| compare(&entry.prefix, path, self.fold) != Ordering::Greater);
        let mut link = self.ancestor(after.checked_sub(1), path);
        while let Some(entry) = link.and_then(|index| self.entries.get(index)) {
            visit(&entry.positions);
            link = entry.parent;
        }
    }
}

fn compare(a: &str, b: &str, fold: bool) -> Ordering {
    if !fold {
        return a.cmp(b);
    }
    a.bytes().map(|byte| byte.to_ascii_lowercase()).cmp(b.bytes().map(|byte| byte.to_ascii_lowercase()))
}

fn begins(prefix: &str, text: &str, fold: bool) -> bool {
    let begin = text.as_bytes().get(..prefix.len());
    begin.is_some_and(|begin| if fold { begin.eq_ignore_ascii_case(prefix.as_bytes()) } else { begin == prefix.as_bytes() })
}

/// All regular expressions of the rules in one automaton.
#[derive(Clone, Debug, Default)]
struct RegexTable {
    /// `None` when there are no expressions, or when together they exceed the size limit.
    set: Option<Regex>,
    positions: Vec<u32>,
}

impl RegexTable {
    fn new(regexes: &[(&str, u32)]) -> Self {
        let sources: Vec<&str> = regexes.iter().map(|(source, _)| *source).collect();
        let set = if sources.is_empty() { None } else { full_regex_set(&sources) };
        RegexTable { set, positions: regexes.iter().map(|(_, position)| *position).collect() }
    }

    /// Positions from the first expression that matches. Each expression covers the whole path, so the automaton, which
    /// prefers earlier expressions, reports the earliest one; those behind it are left to the caller.
    fn candidates(&self, path: &str) -> &[u32] {
        match &self.set {
            None => &self.positions,
            Some(set) => {
                let first = set.find(path).map(|found| found.pattern().as_usize());
                first.and_then(|first| self.positions.get(first..)).unwrap_or_default()
            }
        }
    }
}

#[cfg(test)]
mod tests;
