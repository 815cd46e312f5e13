//! Building of mappings with unique keys, in time proportional to their size.

use std::collections::HashMap;

use super::Entry;
use super::document::Repeated;

/// From how many entries on keys are looked up in an index; below, comparing them all is faster.
const INDEXED_FROM: usize = 16;

/// A mapping under construction.
#[derive(Debug, Default)]
pub(super) struct MappingBuilder {
    entries: Vec<Entry>,
    index: HashMap<Box<str>, usize>,
}

impl MappingBuilder {
    /// Adds an entry. Of a repeated key the last value counts, in the place of the first.
    pub(super) fn insert(&mut self, entry: Entry, repeated: &mut Vec<Repeated>) {
        match self.find(&entry.key).and_then(|at| self.entries.get_mut(at)) {
            Some(earlier) => {
                repeated.push(Repeated { key: entry.key.to_string(), position: entry.key_position });
                *earlier = entry;
            }
            None => self.push(entry),
        }
    }

    /// Adds an entry unless the key is there.
    pub(super) fn insert_missing(&mut self, entry: Entry) {
        if self.find(&entry.key).is_none() {
            self.push(entry);
        }
    }

    /// The entries in the order of their first mention.
    pub(super) fn finish(self) -> Vec<Entry> {
        self.entries
    }

    fn find(&self, key: &str) -> Option<usize> {
        if self.entries.len() < INDEXED_FROM {
            return self.entries.iter().position(|entry| &*entry.key == key);
        }
        self.index.get(key).copied()
    }

    fn push(&mut self, entry: Entry) {
        let at = self.entries.len();
        self.entries.push(entry);
        if self.entries.len() == INDEXED_FROM {
            self.index = self.entries.iter().enumerate().map(|(at, entry)| (entry.key.clone(), at)).collect();
        } else if self.entries.len() > INDEXED_FROM
            && let Some(entry) = self.entries.last()
        {
            self.index.insert(entry.key.clone(), at);
        }
    }
}
