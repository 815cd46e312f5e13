//! A prefilter over ordered rules that never changes the answer.

use super::RequestHead;
use crate::model::Route;

/// Finds the first matching rule of a list.
#[derive(Clone, Debug, Default)]
pub struct RuleIndex {}

impl RuleIndex {
    /// The position of the first rule that matches.
    pub fn find(&self, head: &RequestHead<'_>, rules: &[Route]) -> Option<usize> {
        rules.iter().position(|rule| rule.matches.is_match(head))
    }
}
