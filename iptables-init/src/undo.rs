//! What has been done, and how to take it back.

use crate::Error;

type Step = Box<dyn FnOnce() -> Result<(), Error>>;

/// Steps back, in the order of the steps forth.
#[derive(Default)]
pub(crate) struct Undo(Vec<Step>);

impl Undo {
    /// Remembers how to take back what has just been done, or is to be tried next.
    pub(crate) fn push(&mut self, step: impl FnOnce() -> Result<(), Error> + 'static) {
        self.0.push(Box::new(step));
    }

    /// Takes everything back, the last first. A step that fails is told and passed over.
    pub(crate) fn run(self) {
        if !self.0.is_empty() {
            tracing::warn!("rolling back: the rules that stood before are put back");
        }
        for step in self.0.into_iter().rev() {
            if let Err(error) = step() {
                tracing::error!("could not roll back: {error}");
            }
        }
    }
}
