//! Host names to positions: exact, then the longest suffix wildcard, then `*`.
//!
//! Assumptions: the tables are filled once and read by every request. Lookup hashes the name once, and once more for
//! each distinct wildcard length, so thousands of wildcards cost no more than a handful; it never allocates.

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use crate::string_list::StringList;

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
            Some(suffix) => self.suffixes.entry(suffix.len()).or_default().insert(suffix, position),
            None => self.exact.insert(&domain, position),
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
            shorter.filter_map(|(length, table)| table.get(host.get(host.len() - length..)?)).next()
        };
        self.exact.get(host).or_else(wildcard).or(self.any)
    }
}

/// Names to positions: a hash table of numbers into one list of names, a third of the size of a map that owns each name. Names
/// are never taken out.
#[derive(Clone, Debug, Default)]
struct Table {
    hasher: foldhash::fast::RandomState,
    names: StringList,
    positions: Vec<u32>,
    /// A power of two, at least a quarter of them free; none before the first name.
    slots: Box<[Slot]>,
}

/// A place for a name: its number, and as much of its hash as tells most others from it without a look at the text.
#[derive(Clone, Copy, Debug)]
struct Slot {
    tag: u32,
    name: u32,
}

const FREE: Slot = Slot { tag: 0, name: u32::MAX };

impl Table {
    /// False when the name is there already, or when there is no more room for it: after four billion.
    fn insert(&mut self, name: &str, position: usize) -> bool {
        let Ok(position) = u32::try_from(position) else { return false };
        let number = self.names.len() as u32;
        if self.get(name).is_some() || number == FREE.name || !self.names.push(name) {
            return false;
        }
        self.positions.push(position);
        if self.names.len() * 4 > self.slots.len() * 3 {
            self.slots = vec![FREE; (self.slots.len() * 2).max(4)].into();
            (0..number).for_each(|number| self.occupy(number));
        }
        self.occupy(number);
        true
    }

    fn occupy(&mut self, number: u32) {
        let hash = self.hasher.hash_one(self.names.get(number as usize).unwrap_or_default());
        let free = self.probe(hash).find(|place| self.slots.get(*place).is_some_and(|slot| slot.name == FREE.name));
        if let Some(slot) = free.and_then(|place| self.slots.get_mut(place)) {
            *slot = Slot { tag: tag(hash), name: number };
        }
    }

    fn get(&self, name: &str) -> Option<usize> {
        let hash = self.hasher.hash_one(name);
        let taken = self.probe(hash).map_while(|place| self.slots.get(place).filter(|slot| slot.name != FREE.name));
        let same = |slot: &&Slot| slot.tag == tag(hash) && self.names.get(slot.name as usize) == Some(name);
        { taken }.find(same).and_then(|slot| self.positions.get(slot.name as usize)).map(|position| *position as usize)
    }

    /// The places for a name, best first; each once.
    fn probe(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let mask = self.slots.len().wrapping_sub(1);
        (0..self.slots.len()).map(move |step| (hash as usize).wrapping_add(step) & mask)
    }

    fn shrink_to_fit(&mut self) {
        self.names.shrink_to_fit();
        self.positions.shrink_to_fit();
    }
}

fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
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
