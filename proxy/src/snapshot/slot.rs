//! Where the run-time state of one description is put when somebody first asks for it.
//!
//! What stays as it was described keeps its slot from one configuration to the next, so that whoever asks first, under either,
//! makes the state for both. What changes before anybody has asked gets a slot in the same line: requests under the
//! configuration before may still be on their way, and whichever state of the line is made first is what the others go on from.
//! Thus a limit stays one limit and a cursor one cursor, whatever the moment of the change.

use std::sync::{Arc, OnceLock};

/// A place for a state that is made when it is needed.
#[derive(Debug)]
pub struct Slot<S> {
    state: OnceLock<Arc<S>>,
    /// The state that was made first of all that are in line.
    first: OnceLock<Arc<OnceLock<Arc<S>>>>,
}

impl<S> Default for Slot<S> {
    fn default() -> Self {
        Slot { state: OnceLock::new(), first: OnceLock::new() }
    }
}

impl<S> Slot<S> {
    /// The state of a description that goes on from what was made before.
    pub fn made(state: Arc<S>) -> Self {
        Slot { state: state.into(), ..Slot::default() }
    }

    /// The state, if anybody has asked for it.
    pub fn get(&self) -> Option<&Arc<S>> {
        self.state.get()
    }

    /// What a later description goes on from.
    pub fn latest(&self) -> Option<&Arc<S>> {
        self.get().or_else(|| self.first.get()?.get())
    }

    /// The state. `next` makes it, from the first of the line if that is another's; given the state of the very same
    /// description, it returns that.
    ///
    /// Whoever makes a state puts it into the line first. So it cannot be missed by a description that comes meanwhile, which
    /// takes the line along: two states without knowledge of each other are never made.
    pub fn get_or_make(&self, next: impl Fn(Option<&Arc<S>>) -> Arc<S>) -> &Arc<S> {
        self.state.get_or_init(|| next(Some(self.first.get_or_init(Arc::default).get_or_init(|| next(None)))))
    }

    /// The slot of the next description, while nothing is made under this one.
    pub fn in_line(&self) -> Self {
        let first = self.first.get_or_init(Arc::default);
        Slot { first: Arc::clone(first).into(), ..Slot::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::OnceCell;

    use super::*;

    #[test]
    fn what_is_made_while_the_configuration_changes_is_not_missed() {
        let (before, after) = (Slot::default(), OnceCell::new());
        let old = before.get_or_make(|first| match first {
            None => {
                let change = || {
                    assert_eq!(before.latest(), None, "it is being made");
                    before.in_line()
                };
                after.get_or_init(change);
                Arc::new("old".to_owned())
            }
            Some(first) => Arc::clone(first),
        });
        let new = after.get().unwrap().get_or_make(|first| Arc::new(format!("{} after {}", "new", first.unwrap())));
        assert_eq!((old.as_str(), new.as_str()), ("old", "new after old"));
    }

    #[test]
    fn whichever_is_asked_for_first_the_other_goes_on_from_it() {
        let before = Slot::default();
        let after = before.in_line();
        let make = |name: &'static str| {
            move |first: Option<&Arc<String>>| match first {
                Some(first) if first.starts_with(name) => Arc::clone(first),
                Some(first) => Arc::new(format!("{name} after {first}")),
                None => Arc::new(name.to_owned()),
            }
        };
        assert_eq!(after.get_or_make(make("new")).as_str(), "new");
        assert_eq!(before.latest().unwrap().as_str(), "new");
        assert_eq!(before.get_or_make(make("old")).as_str(), "old after new");
        assert_eq!(before.latest().unwrap().as_str(), "old after new");
    }
}
