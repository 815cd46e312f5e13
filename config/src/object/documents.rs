//! The trees of documents while diagnostics are made.
//!
//! Objects keep their text and no tree, so a position costs reading a document; the items of a `kind: List` have one document
//! in common, and an object may have many diagnostics. Whoever is about to make them holds [`KeptDocuments`]: for so long,
//! what this thread has read stays, within a limit.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::yaml::{self, Node};

/// Most text whose trees are kept, in bytes, the last document aside. A tree is many times larger.
const MAX_TEXT: usize = 512 << 10;

thread_local! {
    static KEPT: RefCell<Option<Trees>> = const { RefCell::new(None) };
}

#[derive(Debug, Default)]
struct Trees {
    /// The oldest first.
    trees: VecDeque<Tree>,
    text: usize,
    documents: usize,
    positions: usize,
}

#[derive(Debug)]
struct Tree {
    text: Arc<str>,
    first_line: u32,
    root: Option<Node>,
}

/// While this lives, a document that a position is asked of stays read on this thread.
#[derive(Debug)]
pub struct KeptDocuments {
    before: Option<Trees>,
    /// Belongs to its thread.
    own: PhantomData<*const ()>,
}

impl KeptDocuments {
    /// Begins to keep them.
    #[expect(clippy::new_without_default, reason = "is a beginning, not a value")]
    pub fn new() -> Self {
        KeptDocuments { before: KEPT.replace(Some(Trees::default())), own: PhantomData }
    }

    /// How often a document was read since.
    pub fn documents(&self) -> usize {
        KEPT.with_borrow(|kept| kept.as_ref().map_or(0, |kept| kept.documents))
    }

    /// How many positions have become known since.
    pub fn positions(&self) -> usize {
        KEPT.with_borrow(|kept| kept.as_ref().map_or(0, |kept| kept.positions))
    }
}

impl Drop for KeptDocuments {
    fn drop(&mut self) {
        KEPT.set(self.before.take());
    }
}

impl Trees {
    fn get(&mut self, text: &Arc<str>, first_line: u32) -> Option<&Node> {
        let is_it = |tree: &Tree| tree.first_line == first_line && Arc::ptr_eq(&tree.text, text);
        let index = self.trees.iter().rposition(is_it).unwrap_or_else(|| self.read(text, first_line));
        self.trees.get(index)?.root.as_ref()
    }

    /// Reads a document and returns its place.
    fn read(&mut self, text: &Arc<str>, first_line: u32) -> usize {
        self.text += text.len();
        while self.text > MAX_TEXT
            && let Some(oldest) = self.trees.pop_front()
        {
            self.text -= oldest.text.len();
        }
        self.documents += 1;
        self.trees.push_back(Tree { text: Arc::clone(text), first_line, root: yaml::read_document(text, first_line) });
        self.trees.len() - 1
    }
}

/// Looks at the tree of a document.
pub(super) fn look<R>(text: &Arc<str>, first_line: u32, look: impl FnOnce(Option<&Node>) -> R) -> R {
    KEPT.with_borrow_mut(|kept| match kept {
        Some(kept) => look(kept.get(text, first_line)),
        None => look(yaml::read_document(text, first_line).as_ref()),
    })
}

pub(super) fn count_position() {
    KEPT.with_borrow_mut(|kept| {
        if let Some(kept) = kept {
            kept.positions += 1;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_read_again_and_the_last_always_stays() {
        let kept = KeptDocuments::new();
        let texts: Vec<Arc<str>> = ["a", "b"].map(|value| format!("{value}: {}", "x".repeat(MAX_TEXT - 100)).into()).into();
        let (small, last) = (Arc::from("c: 1"), Arc::from("d: ".to_owned() + &"x".repeat(MAX_TEXT)));
        for (text, documents) in
            [(&texts[0], 1), (&small, 2), (&texts[0], 2), (&texts[1], 3), (&small, 3), (&texts[0], 4), (&last, 5), (&last, 5)]
        {
            assert!(look(text, 1, |root| root.is_some()));
            assert_eq!(kept.documents(), documents);
        }
    }

    #[test]
    fn nothing_is_kept_without_being_asked_for_and_an_inner_keeper_ends_alone() {
        let text = Arc::from("a: 1");
        let outer = KeptDocuments::new();
        look(&text, 1, |_| ());
        drop(KeptDocuments::new());
        look(&text, 1, |_| ());
        assert_eq!(outer.documents(), 1);
        drop(outer);
        look(&text, 1, |_| ());
        assert!(KEPT.with_borrow(Option::is_none));
    }
}
