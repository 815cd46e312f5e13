//! Maps by name, small and many: labels, annotations, selectors.
//!
//! A mesh has thousands of them with one to five entries each, and a `BTreeMap` takes half a kilobyte for the first. This
//! is a sorted list; it reads like a `BTreeMap` and finds by binary search. Filling it entry by entry moves what sorts
//! behind, so it is for maps that people write.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A map from names to values, ordered by name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StringMap<V = String>(Vec<(String, V)>);

/// Names and values of a [`StringMap`] in order.
pub type Iter<'m, V> = std::iter::Map<std::slice::Iter<'m, (String, V)>, fn(&(String, V)) -> (&String, &V)>;

impl<V> Default for StringMap<V> {
    fn default() -> Self {
        StringMap(Vec::new())
    }
}

impl<V> StringMap<V> {
    /// A map without entries.
    pub const fn new() -> Self {
        StringMap(Vec::new())
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.as_str().cmp(name))
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&V> {
        self.find(name).ok().and_then(|at| self.0.get(at)).map(|(_, value)| value)
    }

    /// The value of a name, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        self.find(name).ok().and_then(|at| self.0.get_mut(at)).map(|(_, value)| value)
    }

    /// Whether there is a value for a name.
    pub fn contains_key(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    /// Sets the value of a name and returns the one it had.
    pub fn insert(&mut self, name: String, value: V) -> Option<V> {
        match self.find(&name) {
            Ok(at) => self.0.get_mut(at).map(|(_, known)| std::mem::replace(known, value)),
            Err(at) => {
                self.0.insert(at, (name, value));
                None
            }
        }
    }

    /// Takes the value of a name out.
    pub fn remove(&mut self, name: &str) -> Option<V> {
        self.find(name).ok().map(|at| self.0.remove(at).1)
    }

    /// Keeps the entries of which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&String, &mut V) -> bool) {
        self.0.retain_mut(|(name, value)| keep(name, value));
    }

    /// Names and values in order.
    pub fn iter(&self) -> Iter<'_, V> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// Names in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &String> + ExactSizeIterator + Clone {
        self.0.iter().map(|(name, _)| name)
    }

    /// Values in the order of their names.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + ExactSizeIterator + Clone {
        self.0.iter().map(|(_, value)| value)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Of a repeated name the last value counts.
impl<V> FromIterator<(String, V)> for StringMap<V> {
    fn from_iter<I: IntoIterator<Item = (String, V)>>(entries: I) -> Self {
        let mut list: Vec<(String, V)> = entries.into_iter().collect();
        list.sort_by(|a, b| a.0.cmp(&b.0));
        list.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        list.shrink_to_fit();
        StringMap(list)
    }
}

impl<V> Extend<(String, V)> for StringMap<V> {
    fn extend<I: IntoIterator<Item = (String, V)>>(&mut self, entries: I) {
        entries.into_iter().for_each(|(name, value)| drop(self.insert(name, value)));
    }
}

impl<V, const N: usize> From<[(String, V); N]> for StringMap<V> {
    fn from(entries: [(String, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<V> IntoIterator for StringMap<V> {
    type Item = (String, V);
    type IntoIter = std::vec::IntoIter<(String, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'m, V> IntoIterator for &'m StringMap<V> {
    type Item = (&'m String, &'m V);
    type IntoIter = Iter<'m, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<V: std::fmt::Debug> std::fmt::Debug for StringMap<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<V: Serialize> Serialize for StringMap<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for StringMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = std::collections::BTreeMap::deserialize(deserializer)?;
        Ok(map.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_string_map_holds_what_an_ordered_map_holds(changes in prop::collection::vec(("[a-d]{0,2}", prop::option::of(0..9)), 0..20)) {
            let (mut list, mut tree) = (StringMap::<i32>::new(), BTreeMap::<String, i32>::new());
            for (name, value) in changes.clone() {
                match value {
                    Some(value) => prop_assert_eq!(list.insert(name.clone(), value), tree.insert(name, value)),
                    None => prop_assert_eq!(list.remove(&name), tree.remove(&name)),
                }
            }
            prop_assert!(list.iter().eq(tree.iter()));
            prop_assert_eq!(list.get("b"), tree.get("b"));
            let set = || changes.iter().filter_map(|(name, value)| value.map(|value| (name.clone(), value)));
            prop_assert!(StringMap::from_iter(set()).iter().eq(BTreeMap::from_iter(set()).iter()), "the last of a name counts");
        }
    }
}
