//! Host names to positions: exact, then the longest suffix wildcard, then `*`.

use std::collections::HashMap;

/// Domains of one route table. Names are stored in lower case.
#[derive(Clone, Debug, Default)]
pub struct HostMap {
    exact: HashMap<String, usize, foldhash::fast::RandomState>,
    /// Suffixes with the leading dot (or without, for Istio's `*foo.com`), longest first.
    suffixes: Vec<(String, usize)>,
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
            Some(suffix) => self.insert_suffix(suffix, position),
            None => {
                let free = !self.exact.contains_key(&domain);
                self.exact.entry(domain).or_insert(position);
                free
            }
        }
    }

    fn insert_suffix(&mut self, suffix: &str, position: usize) -> bool {
        if self.suffixes.iter().any(|(known, _)| known == suffix) {
            return false;
        }
        let place = self.suffixes.partition_point(|(known, _)| known.len() >= suffix.len());
        self.suffixes.insert(place, (suffix.to_owned(), position));
        true
    }

    /// The position for a Host value; port and case are ignored. Allocates only for values with capitals.
    pub fn find(&self, authority: &str) -> Option<usize> {
        let host = without_port(authority);
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.find_lower(&host.to_ascii_lowercase());
        }
        self.find_lower(host)
    }

    fn find_lower(&self, host: &str) -> Option<usize> {
        let suffix = || self.suffixes.iter().find(|(suffix, _)| host.len() > suffix.len() && host.ends_with(suffix.as_str()));
        self.exact.get(host).copied().or_else(|| suffix().map(|(_, position)| *position)).or(self.any)
    }
}

/// Cuts `:port` off a Host value; IPv6 literals keep their brackets.
fn without_port(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(colon) if authority[colon + 1..].bytes().all(|b| b.is_ascii_digit()) && !authority[..colon].ends_with(':') => {
            let host = &authority[..colon];
            if host.contains(':') && !host.ends_with(']') { authority } else { host }
        }
        _ => authority,
    }
}
