//! Lists of names in one piece of text.
//!
//! The names under which a service is known are cut from one another (`web.shop.svc.cluster.local.`, without the dot,
//! `web.shop.svc`, `web.shop`, `web`), and a proxy holds them for every service of the mesh. Here a name that begins as the one
//! stored before it takes no text of its own.

use serde::{Serialize, Serializer};

/// A list of strings, ordered as they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StringList {
    text: String,
    /// Where each string begins in `text`, and its length.
    spans: Vec<(u32, u32)>,
}

impl StringList {
    /// Adds a string at the end. Returns false, and adds nothing, once the list holds 4 GiB.
    pub fn push(&mut self, string: &str) -> bool {
        let (Ok(_), Ok(length)) = (u32::try_from(self.text.len() + string.len()), u32::try_from(string.len())) else { return false };
        let start = self.place(string);
        self.spans.push((start, length));
        true
    }

    /// Where `string` stands now: where the string stored last does when one begins with the other, else at the end.
    fn place(&mut self, string: &str) -> u32 {
        let longest_start = self.spans.last().map_or(0, |(start, _)| *start);
        let stored = self.text.get(longest_start as usize..).unwrap_or_default();
        if stored.starts_with(string) {
            return longest_start;
        }
        if let Some(rest) = string.strip_prefix(stored) {
            self.text.push_str(rest);
            return longest_start;
        }
        let start = self.text.len() as u32;
        self.text.push_str(string);
        start
    }

    /// The string at a position.
    pub fn get(&self, position: usize) -> Option<&str> {
        let (start, length) = *self.spans.get(position)?;
        self.text.get(start as usize..)?.get(..length as usize)
    }

    /// All strings in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|position| self.get(position).unwrap_or_default())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Gives back the space that growing took.
    pub fn shrink_to_fit(&mut self) {
        self.text.shrink_to_fit();
        self.spans.shrink_to_fit();
    }
}

impl<S: AsRef<str>> FromIterator<S> for StringList {
    fn from_iter<I: IntoIterator<Item = S>>(strings: I) -> Self {
        let mut list = StringList::default();
        for string in strings {
            list.push(string.as_ref());
        }
        list.shrink_to_fit();
        list
    }
}

impl Serialize for StringList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_list_holds_what_was_added(strings in prop::collection::vec("[ab\u{e9}.]{0,4}", 0..20)) {
            let list = StringList::from_iter(&strings);
            prop_assert!(list.iter().eq(strings.iter().map(String::as_str)));
            prop_assert_eq!((list.len(), list.is_empty(), list.get(strings.len())), (strings.len(), strings.is_empty(), None));
        }
    }

    #[test]
    fn names_that_begin_alike_share_their_text() {
        let names = ["a.shop.svc.cluster.local", "a.shop.svc.cluster.local.", "a", "a.shop", "a.shop.svc", "10.0.0.7", "b"];
        assert_eq!(StringList::from_iter(names).text, "a.shop.svc.cluster.local.10.0.0.7b");
    }
}
