//! Numbers for texts that repeat.

use std::collections::HashMap;

use foldhash::fast::FixedState;

/// Distinct texts that are told apart; further ones count as [`OTHERS`], so that a value that differs in every answer
/// cannot take all memory.
const MOST: usize = 10_000;
/// What stands for all texts beyond the limit.
pub(crate) const OTHERS: &[u8] = b"(others)";

/// Texts numbered in the order of their first appearance.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interner {
    keys: HashMap<Box<[u8]>, u32, FixedState>,
    names: Vec<Box<[u8]>>,
}

impl Interner {
    /// The text's number, a new one if need be.
    pub(crate) fn key(&mut self, text: &[u8]) -> u32 {
        match self.keys.get(text) {
            Some(key) => *key,
            None => self.add(if self.names.len() < MOST { text } else { OTHERS }),
        }
    }

    #[cold]
    fn add(&mut self, text: &[u8]) -> u32 {
        if let Some(key) = self.keys.get(text) {
            return *key;
        }
        let key = self.names.len() as u32;
        self.names.push(text.into());
        self.keys.insert(text.into(), key);
        key
    }

    /// The text with this number.
    pub(crate) fn get(&self, key: u32) -> Option<&[u8]> {
        self.names.get(key as usize).map(AsRef::as_ref)
    }

    /// All texts by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.names.iter().map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_its_number() {
        let mut interner = Interner::default();
        assert_eq!([&b"a"[..], b"b", b"a", b""].map(|text| interner.key(text)), [0, 1, 0, 2]);
        assert_eq!(interner.iter().collect::<Vec<_>>(), [&b"a"[..], b"b", b""]);
    }

    #[test]
    fn too_many_texts_share_the_last_number() {
        let mut interner = Interner::default();
        let keys: Vec<u32> = (0..MOST + 3).map(|i| interner.key(i.to_string().as_bytes())).collect();
        assert_eq!(keys[MOST..], [MOST as u32; 3]);
        assert_eq!(interner.key(b"5"), 5);
    }
}
