//! What is wrong with a pod and can be lived with: a warning, or a refusal if the injector is strict.

use crate::InjectError;

/// Complaints about one pod, in the order in which they were found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Complaints(Vec<(String, &'static str)>);

impl Complaints {
    /// Notes `what` is wrong and what happens all the same.
    pub(crate) fn add(&mut self, what: String, consequence: &'static str) {
        self.0.push((what, consequence));
    }

    /// An annotation whose value cannot be understood counts as not given.
    pub(crate) fn annotation(&mut self, name: &str, value: &str, reason: &str) {
        self.add(format!("annotation {name}: {reason} (got `{}`)", shorten(value)), "it counts as not given");
    }

    /// All as warnings.
    ///
    /// # Errors
    /// The first one, if strict.
    pub(crate) fn settle(self, strict: bool) -> Result<Vec<String>, InjectError> {
        match self.0.first() {
            Some((what, _)) if strict => Err(InjectError::Strict(what.clone())),
            _ => Ok(self.0.into_iter().map(|(what, consequence)| format!("{what}; {consequence}")).collect()),
        }
    }
}

/// Values are echoed so that they are found again, not in full.
fn shorten(value: &str) -> String {
    let line = value.trim().replace('\n', " ");
    match line.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", line.get(..end).unwrap_or_default()),
        None => line,
    }
}
