//! Where the run-time state of one description is put when somebody first asks for it.
//!
//! What stays as it was described keeps its slot from one configuration to the next, so that whoever asks first, under either,
//! makes the state for both. What changes before anybody has asked gets a slot in the same line: requests under the
//! configuration before may still be on their way, and whichever state of the line is made first is what the others go on from.
//! Thus a limit stays one limit and a cursor one cursor, whatever the moment of the change.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The state that was made first of all that are in line.
type Line<S> = Arc<OnceLock<Arc<S>>>;

/// A place for a state that is made when it is needed.
#[derive(Debug)]
pub struct Slot<S> {
    state: OnceLock<Arc<S>>,
    /// Until the state is made, which is what others go on from then: not to keep the first as long as this description stays.
    line: Mutex<Option<Line<S>>>,
}

impl<S> Default for Slot<S> {
    fn default() -> Self {
        Slot { state: OnceLock::new(), line: Mutex::new(None) }
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
    pub fn latest(&self) -> Option<Arc<S>> {
        let in_line = || match &*self.line() {
            Some(line) => line.get().cloned(),
            // It may have been made, and the line let go, since.
            None => self.get().cloned(),
        };
        self.get().cloned().or_else(in_line)
    }

    /// The state. `next` makes it, from the first of the line if that is another's; given the state of the very same
    /// description, it returns that.
    ///
    /// Whoever makes a state puts it into the line first. So it cannot be missed by a description that comes meanwhile, which
    /// takes the line along: two states without knowledge of each other are never made.
    pub fn get_or_make(&self, next: impl Fn(Option<&Arc<S>>) -> Arc<S>) -> &Arc<S> {
        if let Some(made) = self.state.get() {
            return made;
        }
        let state = self.state.get_or_init(|| {
            // Not locked while the state is made: a description that comes meanwhile takes the line along.
            let line = Arc::clone(self.line().get_or_insert_default());
            next(Some(line.get_or_init(|| next(None))))
        });
        let line = self.line().take();
        drop(line);
        state
    }

    /// The slot of the next description, while nothing is made under this one.
    pub fn in_line(&self) -> Self {
        let mut line = self.line();
        let line = match self.get() {
            // Made since whoever calls this has looked.
            Some(made) => Arc::new(OnceLock::from(Arc::clone(made))),
            None => Arc::clone(line.get_or_insert_default()),
        };
        Slot { line: Mutex::new(Some(line)), ..Slot::default() }
    }

    fn line(&self) -> MutexGuard<'_, Option<Line<S>>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn the_first_of_a_line_is_kept_until_those_in_line_are_made_and_no_longer() {
        let before = Slot::default();
        let after = before.in_line();
        let first = Arc::downgrade(before.get_or_make(|first| first.cloned().unwrap_or_else(|| Arc::new("old".to_owned()))));
        drop(before);
        assert!(first.upgrade().is_some(), "the next goes on from it");
        assert_eq!(after.get_or_make(|first| Arc::new(format!("new after {}", first.unwrap()))).as_str(), "new after old");
        assert!(first.upgrade().is_none());
    }

    #[test]
    fn what_was_made_just_before_the_next_stands_in_line_is_not_missed() {
        let before = Slot::default();
        before.get_or_make(|first| first.cloned().unwrap_or_else(|| Arc::new("old".to_owned())));
        assert_eq!(before.in_line().latest().unwrap().as_str(), "old");
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
