//! Host names to positions: exact, then the longest suffix wildcard, then `*`.
//!
//! Assumptions: the tables are filled once and read by every request. Lookup hashes the name once, and once more for
//! each distinct wildcard length, so thousands of wildcards cost no more than a handful; it never allocates.

use std::collections::{BTreeMap, HashMap};

type Table = HashMap<Box<str>, usize, foldhash::fast::RandomState>;

/// Longest name that DNS allows, trailing dot included; longer Host values can only meet `*`.
const LONGEST_NAME: usize = 255;

/// Domains of one route table. Names are stored in lower case.
#[derive(Clone, Debug, Default)]
pub struct HostMap {
    exact: Table,
    /// Suffixes (with the leading dot, or without it for Istio's `*foo.com`) by their length.
    suffixes: BTreeMap<usize, Table>,
    any: Option<usize>,
}

impl HostMap {
    /// Adds a domain. The first owner of a domain keeps it: returns false when it was taken.
    pub fn insert(&mut self, domain: &str, position: usize) -> bool {
        let domain = domain.to_ascii_lowercase();
        match domain.strip_prefix('*') {
            Some("") => {
                let free = self.any.is_none();
                self.any.get_or_insert(position);
                free
            }
            Some(suffix) => insert_new(self.suffixes.entry(suffix.len()).or_default(), suffix, position),
            None => insert_new(&mut self.exact, &domain, position),
        }
    }

    /// Gives back the space that filling took beyond what is held.
    pub fn shrink_to_fit(&mut self) {
        self.exact.shrink_to_fit();
        self.suffixes.values_mut().for_each(Table::shrink_to_fit);
    }

    /// The position for a Host value; port and case are ignored.
    pub fn find(&self, authority: &str) -> Option<usize> {
        let host = without_port(authority);
        if !host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.find_lower(host);
        }
        let mut buffer = [0; LONGEST_NAME];
        let lower = buffer.get_mut(..host.len()).map(|lower| {
            lower.copy_from_slice(host.as_bytes());
            lower.make_ascii_lowercase();
            &*lower
        });
        lower.and_then(|lower| std::str::from_utf8(lower).ok()).map_or(self.any, |lower| self.find_lower(lower))
    }

    fn find_lower(&self, host: &str) -> Option<usize> {
        let wildcard = || {
            let shorter = self.suffixes.range(..host.len()).rev();
            shorter.filter_map(|(length, table)| table.get(host.get(host.len() - length..)?)).next().copied()
        };
        self.exact.get(host).copied().or_else(wildcard).or(self.any)
    }
}

fn insert_new(table: &mut Table, name: &str, position: usize) -> bool {
    let free = !table.contains_key(name);
    if free {
        table.insert(name.into(), position);
    }
    free
}

/// Cuts `:port` off a Host value. IPv6 literals keep their brackets; one without brackets has no port.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']')) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests;
