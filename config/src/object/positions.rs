//! Positions of field paths, remembered with the object: finding one means reading the text again, and the same diagnostics
//! come up with every change of any file.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::documents;
use crate::yaml::Position;

/// The positions asked for before. Takes no part in equality.
#[derive(Default)]
pub(crate) struct PositionCache(Mutex<Vec<(Box<str>, Position)>>);

impl PositionCache {
    pub(crate) fn of(known: Vec<(Box<str>, Position)>) -> Self {
        PositionCache(Mutex::new(known))
    }

    pub(crate) fn known(&self) -> Vec<(Box<str>, Position)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn get_or_find(&self, path: &str, find: impl FnOnce() -> Position) -> Position {
        // A poisoned lock holds complete entries all the same.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, position)) = known.iter().find(|(known, _)| **known == *path) {
            return *position;
        }
        let position = find();
        known.push((path.into(), position));
        documents::count_position();
        position
    }
}

impl Clone for PositionCache {
    fn clone(&self) -> Self {
        PositionCache::default()
    }
}

impl PartialEq for PositionCache {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for PositionCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PositionCache")
    }
}
